//! Physiological snapshots under the laws, and against a recomputation from all chunks that ever came.

use std::collections::BTreeSet;

use lsie_operators::align::Class;
use lsie_operators::logic::Logic;
use lsie_operators::physiology::{
    Parameters, Physiology, PhysiologyOutput, PhysiologyRecord, SegmentSnapshots, canonical_order, snapshot,
};
use lsie_schemas::record::{
    ChunkPayload, DerivationMethod, PhysiologicalChunk, Provider, SourceKind, SubjectRole,
};
use lsie_schemas::{EventTime, LogTime, Uuid};
use proptest::prelude::*;

use crate::laws::{Script, order_changes_nothing, restarts_change_nothing, run};

const START_US: i64 = 1_777_024_800_000_000;

/// A chunk as a line of a script has it: identity, age of its window's end in s, length in s, role, kind, values.
type Draw = (u128, i64, i64, bool, bool, Vec<u16>);

fn draw() -> impl Strategy<Value = Draw> {
    // Few identities, so that chunks come again, with other values too: the first one counts.
    let values = prop::collection::vec(400..1200u16, 0..5);
    (0..24u128, -60..1100i64, 0..400i64, any::<bool>(), any::<bool>(), values)
}

fn chunk(now: EventTime, (id, age_s, length_s, is_operator, is_session, values): Draw) -> PhysiologicalChunk {
    let window_end_utc = now.plus_us(-age_s * 1_000_000);
    let series = Some(values.iter().map(|value| f64::from(*value) / 7.0).collect());
    let length = values.len() as i64;
    let (ibi_ms_items, rmssd_items_ms) = if is_session { (None, series) } else { (series, None) };
    PhysiologicalChunk {
        unique_id: Uuid::from_u128(id),
        provider: Provider::Oura,
        subject_role: if is_operator { SubjectRole::Operator } else { SubjectRole::Streamer },
        source_kind: if is_session { SourceKind::Session } else { SourceKind::Ibi },
        window_start_utc: window_end_utc.plus_us(-length_s * 1_000_000),
        window_end_utc,
        ingest_timestamp_utc: now,
        payload: ChunkPayload {
            sample_interval_s: 1,
            valid_sample_count: length,
            expected_sample_count: length + i64::from(age_s % 3 == 0),
            derivation_method: DerivationMethod::Provider,
            ibi_ms_items,
            rmssd_items_ms,
            heart_rate_items_bpm: Some(values.iter().map(|value| i64::from(*value) / 10).collect()),
            motion_items: None,
        },
    }
}

/// Lines of chunks; most of them also close a segment, `step_s` after the one before.
fn script_of(lines: Vec<(Vec<Draw>, bool)>, step_s: i64) -> Script<PhysiologyRecord> {
    let mut offset = 0;
    let line = |(index, (draws, closes)): (usize, (Vec<Draw>, bool))| {
        let now = EventTime(START_US + index as i64 * step_s * 1_000_000);
        let mut records: Vec<PhysiologyRecord> = draws
            .into_iter()
            .map(|draw| {
                offset += 1;
                PhysiologyRecord::Chunk { offset, chunk: chunk(now, draw) }
            })
            .collect();
        let segment_id = format!("segment {index}");
        records.extend(closes.then_some(PhysiologyRecord::SegmentClosed { segment_id, timestamp_utc: now }));
        (LogTime((START_US / 1_000 + index as i64 * step_s * 1_000) as u64 + 2_500), records)
    };
    lines.into_iter().enumerate().map(line).collect()
}

fn script(step_s: i64) -> impl Strategy<Value = Script<PhysiologyRecord>> {
    let line = (prop::collection::vec(draw(), 0..5), prop::bool::weighted(0.8));
    prop::collection::vec(line, 1..16).prop_map(move |lines| script_of(lines, step_s))
}

/// The snapshots of each closed segment, from everything that came up to its epoch.
fn naive(script: &Script<PhysiologyRecord>) -> Vec<SegmentSnapshots> {
    let mut came: Vec<(i64, PhysiologicalChunk)> = Vec::new();
    let mut results = Vec::new();
    for (_, records) in script {
        for record in records {
            if let PhysiologyRecord::Chunk { offset, chunk } = record {
                came.push((*offset, chunk.clone()));
            }
        }
        for record in records {
            let PhysiologyRecord::SegmentClosed { segment_id, timestamp_utc } = record else { continue };
            let mut known = came.clone();
            known.sort_by_key(|(offset, _)| *offset);
            let mut seen = BTreeSet::new();
            known.retain(|(_, chunk)| seen.insert(chunk.unique_id));
            known.sort_by_key(|(_, chunk)| canonical_order(chunk));
            let of_role = |role| {
                let chunks: Vec<&PhysiologicalChunk> =
                    known.iter().map(|(_, chunk)| chunk).filter(|chunk| chunk.subject_role == role).collect();
                snapshot(&chunks, *timestamp_utc, &Parameters::default())
            };
            let (streamer, operator) = (of_role(SubjectRole::Streamer), of_role(SubjectRole::Operator));
            if streamer.is_some() || operator.is_some() {
                let (segment_id, timestamp_utc) = (segment_id.clone(), *timestamp_utc);
                results.push(SegmentSnapshots { segment_id, timestamp_utc, streamer, operator });
            }
        }
    }
    results
}

fn snapshots(outputs: Vec<Vec<PhysiologyOutput>>) -> Vec<SegmentSnapshots> {
    let of = |output| match output {
        PhysiologyOutput::Snapshots(snapshots) => Some(snapshots),
        PhysiologyOutput::Classified { .. } => None,
    };
    outputs.into_iter().flatten().filter_map(of).collect()
}

proptest! {
    #[test]
    fn restarts(script in script(30), slow in script(600)) {
        restarts_change_nothing(Physiology::default, &script);
        restarts_change_nothing(Physiology::default, &slow);
    }

    #[test]
    fn order(script in script(30), turns in prop::collection::vec(0usize..8, 1..5)) {
        order_changes_nothing(Physiology::default, &script, &turns);
    }

    /// Scripts are shorter than identities are remembered, so the naive form remembers all.
    #[test]
    fn incremental_equals_naive(script in script(30)) {
        prop_assert_eq!(snapshots(run(Physiology::default(), &script)), naive(&script));
    }

    /// Records that come again, in their epoch or a later one, get a class and change nothing else.
    #[test]
    fn duplicates(script in script(30), again in prop::collection::vec(0usize..64, 1..6)) {
        let whole = run(Physiology::default(), &script);
        let mut repeated = script.clone();
        for pick in again {
            let from = pick % script.len();
            let to = (from + pick / 8).min(script.len() - 1);
            let record = script[from].1.get(pick % 5).cloned();
            repeated[to].1.extend(record);
        }
        prop_assert_eq!(snapshots(run(Physiology::default(), &repeated)), snapshots(whole.clone()));
        let used = |outputs: Vec<Vec<PhysiologyOutput>>| -> Vec<i64> {
            let of = |output| match output {
                PhysiologyOutput::Classified { offset, class: Class::Used | Class::Late } => Some(offset),
                _ => None,
            };
            outputs.into_iter().flatten().filter_map(of).collect()
        };
        prop_assert_eq!(used(run(Physiology::default(), &repeated)), used(whole));
        restarts_change_nothing(Physiology::default, &repeated);
    }

    /// Governance: what a checkpoint holds is the same whatever was measured.
    #[test]
    fn a_checkpoint_holds_no_measured_value(lines in prop::collection::vec((prop::collection::vec(draw(), 0..5), any::<bool>()), 1..8)) {
        let bytes = |script: &Script<PhysiologyRecord>| {
            let mut logic = Physiology::default();
            for (epoch, records) in script {
                logic.on_epoch(*epoch, records.clone(), &mut Vec::new());
            }
            serde_json::to_vec(&logic.snapshot()).expect("a snapshot can be written")
        };
        let mut other = lines.clone();
        other.iter_mut().flat_map(|(draws, _)| draws).for_each(|draw| {
            draw.5.iter_mut().for_each(|value| *value += 1);
        });
        prop_assert_eq!(bytes(&script_of(lines, 30)), bytes(&script_of(other, 30)));
    }
}
