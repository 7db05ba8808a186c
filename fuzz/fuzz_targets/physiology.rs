//! Chunks and closed segments of a session: snapshots and co-modulation of any numbers, in any order of an epoch.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use lsie_operators::comodulation::SessionComodulation;
use lsie_operators::logic::Logic;
use lsie_operators::physiology::{Parameters, Physiology, PhysiologyOutput, PhysiologyRecord};
use lsie_schemas::record::{
    ChunkPayload, DerivationMethod, PhysiologicalChunk, Provider, SourceKind, SubjectRole,
};
use lsie_schemas::{EventTime, LogTime, Uuid};

#[derive(Arbitrary, Debug)]
enum Input {
    Chunk {
        id: u8,
        operator: bool,
        session: bool,
        start_s: i16,
        length_s: i16,
        counts: (u8, u8),
        items: Vec<f64>,
        bpm: Vec<u8>,
    },
    Anywhere {
        id: u8,
        start: i64,
        end: i64,
        items: Vec<f64>,
    },
    Close {
        at_s: i16,
    },
    Epoch,
}

fn chunk(
    id: u8,
    role: SubjectRole,
    kind: SourceKind,
    start: i64,
    end: i64,
    counts: (u8, u8),
    items: Vec<f64>,
    bpm: Vec<i64>,
) -> Option<PhysiologicalChunk> {
    let (ibi, rmssd) = match kind {
        SourceKind::Ibi => (Some(items), None),
        SourceKind::Session => (None, Some(items)),
    };
    let chunk = PhysiologicalChunk {
        unique_id: Uuid::from_u128(id.into()),
        provider: Provider::Oura,
        subject_role: role,
        source_kind: kind,
        window_start_utc: EventTime(start),
        window_end_utc: EventTime(end),
        ingest_timestamp_utc: EventTime(end),
        payload: ChunkPayload {
            sample_interval_s: 1,
            valid_sample_count: counts.0.into(),
            expected_sample_count: counts.1.into(),
            derivation_method: DerivationMethod::Provider,
            ibi_ms_items: ibi,
            rmssd_items_ms: rmssd,
            heart_rate_items_bpm: Some(bpm),
            motion_items: None,
        },
    };
    // What is none never gets past the decoder.
    chunk.checked().ok()
}

fn us(s: i16) -> i64 {
    i64::from(s) * 1_000_000
}

fn run(epochs: &[Vec<PhysiologyRecord>]) -> Vec<String> {
    let (mut body, mut both) = (Physiology::new(Parameters::default()), SessionComodulation::default());
    let mut seen = Vec::new();
    for (index, records) in epochs.iter().enumerate() {
        let (epoch, mut out) = (LogTime(index as u64 * 250), Vec::new());
        body.on_epoch(epoch, records.clone(), &mut out);
        let mut segments = Vec::new();
        for output in out {
            let PhysiologyOutput::Snapshots(snapshots) = output else { continue };
            for snapshot in [&snapshots.streamer, &snapshots.operator].into_iter().flatten() {
                assert!(snapshot.rmssd_ms.is_none_or(|rmssd| rmssd.is_finite() && rmssd >= 0.0));
                assert!((0.0..=1.0).contains(&snapshot.validity_ratio) && snapshot.freshness_s.is_finite());
            }
            segments.push(snapshots);
        }
        seen.push(format!("{segments:?}"));
        let mut out = Vec::new();
        both.on_epoch(epoch, segments, &mut out);
        for row in out {
            assert!(row.co_modulation_index.is_none_or(|r| (-1.0..=1.0).contains(&r)));
            assert!((0.0..=1.0).contains(&row.coverage_ratio));
            assert!(
                [row.streamer_rmssd_mean, row.operator_rmssd_mean].iter().flatten().all(|m| m.is_finite())
            );
            seen.push(format!("{row:?}"));
        }
    }
    seen
}

fuzz_target!(|inputs: Vec<Input>| {
    let mut epochs = vec![Vec::new()];
    for (offset, input) in inputs.into_iter().enumerate() {
        let offset = offset as i64;
        let record = match input {
            Input::Chunk { id, operator, session, start_s, length_s, counts, items, bpm } => {
                let role = if operator { SubjectRole::Operator } else { SubjectRole::Streamer };
                let kind = if session { SourceKind::Session } else { SourceKind::Ibi };
                let start = us(start_s);
                let bpm = bpm.into_iter().map(|bpm| 20 + i64::from(bpm)).collect();
                chunk(id, role, kind, start, start + us(length_s), counts, items, bpm)
                    .map(|chunk| PhysiologyRecord::Chunk { offset, chunk })
            }
            Input::Anywhere { id, start, end, items } => {
                chunk(id, SubjectRole::Streamer, SourceKind::Ibi, start, end, (1, 1), items, Vec::new())
                    .map(|chunk| PhysiologyRecord::Chunk { offset, chunk })
            }
            Input::Close { at_s } => {
                let segment_id = at_s.to_string();
                Some(PhysiologyRecord::SegmentClosed { segment_id, timestamp_utc: EventTime(us(at_s)) })
            }
            Input::Epoch => {
                epochs.push(Vec::new());
                continue;
            }
        };
        epochs.last_mut().expect("an epoch").extend(record);
    }
    let whole = run(&epochs);
    epochs.iter_mut().for_each(|records| records.reverse());
    assert_eq!(run(&epochs), whole);
});
