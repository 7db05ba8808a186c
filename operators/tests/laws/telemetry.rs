//! The telemetry of sessions under the laws: wearables, live events and outcomes of sessions that begin, close
//! segments and end.

use std::sync::Arc;

use lsie_operators::align::{Aligned, Arrived, ClosedSegment, Rule};
use lsie_operators::telemetry::{Telemetry, Told};
use lsie_schemas::log::{LogRecord, TopicPartition};
use lsie_schemas::record::{
    ChunkPayload, DerivationMethod, LiveEvent, Outcome, PhysioRecord, PhysiologicalChunk, Provider, Record,
    SourceKind, StartSession, Stream, SubjectRole, Subjects,
};
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, LogTime, Real, Uuid};
use proptest::prelude::*;

use crate::laws::{Script, order_changes_nothing, restarts_in_pieces_change_nothing, run};

const ANCHOR: EventTime = EventTime(1_767_607_200_000_000);
const EPOCH_US: i64 = 10_000_000;
/// Epochs of a session: four segments, and some in which events still come.
const LENGTH: u64 = 13;

fn session(number: u128) -> Uuid {
    Uuid::from_u128(0x3f2b8c1e_5a4d_4e6f_8a9b_0c1d2e3f0000 + number)
}

/// One record of a session: which kind, what tells it from others, how long ago in quarters of a second.
type Draw = (u8, u8, i64);

fn record(id: Uuid, now: EventTime, (kind, which, ago): Draw) -> Record {
    let time = now.plus_us(-ago * 250_000);
    match kind {
        0 => Record::Physio(PhysioRecord { session_id: id, chunk: chunk(which, time) }),
        1 => Record::Event(LiveEvent {
            session_id: id,
            unique_id: None,
            event_type: if which == 0 { "follow" } else { "like" }.into(),
            timestamp_utc: time,
            payload: Json::new(&serde_json::json!({})),
            gift_value: None,
            event_id: Some(which.to_string()),
        }),
        _ => Record::Outcome(Outcome {
            session_id: id,
            outcome_type: "creator_follow".into(),
            outcome_value: Real(1.0),
            outcome_time_utc: time,
            source_system: "shop".into(),
            source_event_ref: Some(which.to_string()),
            confidence: Real(1.0),
        }),
    }
}

fn chunk(which: u8, end: EventTime) -> PhysiologicalChunk {
    let intervals: Vec<f64> = (0..5 + which).map(|i| 800.0 + f64::from(i * 7 % 11)).collect();
    let samples = intervals.len() as i64;
    PhysiologicalChunk {
        unique_id: Uuid::from_u128(u128::from(which)),
        provider: Provider::Oura,
        subject_role: if which.is_multiple_of(2) { SubjectRole::Streamer } else { SubjectRole::Operator },
        source_kind: SourceKind::Ibi,
        window_start_utc: end.plus_us(-60_000_000),
        window_end_utc: end,
        ingest_timestamp_utc: end,
        payload: ChunkPayload {
            sample_interval_s: 1,
            valid_sample_count: samples,
            expected_sample_count: samples,
            derivation_method: DerivationMethod::Server,
            ibi_ms_items: Some(intervals),
            rmssd_items_ms: None,
            heart_rate_items_bpm: None,
            motion_items: None,
        },
    }
}

fn start(id: Uuid) -> Aligned {
    let start = StartSession {
        session_id: id,
        streams: vec![Stream::Audio],
        subjects: Subjects::default(),
        watched_account: Some("creator".into()),
        source_url: "test:session".into(),
        experiment_id: "greeting_line_v1".into(),
        client_action_id: None,
    };
    Aligned::Started { start, at: ANCHOR }
}

fn closed(session: Uuid, ordinal: i64) -> Aligned {
    Aligned::Closed(ClosedSegment {
        session,
        ordinal,
        anchor: ANCHOR,
        rule: Rule::Complete,
        evidence: None,
        streams: Vec::new(),
        audio_samples: 0,
        audio_sha256: String::new(),
    })
}

/// Draws of each session and epoch.
fn script_of(lives: Vec<Vec<Vec<Draw>>>) -> Script<Aligned> {
    let mut offset = 0;
    let line = |epoch: u64| {
        let now = ANCHOR.plus_us(epoch as i64 * EPOCH_US);
        let log_time = LogTime(now.0.unsigned_abs() / 1_000);
        let mut words = Vec::new();
        for (index, life) in lives.iter().enumerate() {
            let id = session(index as u128);
            words.extend((epoch == 0).then(|| start(id)));
            for draw in life.get(epoch as usize).into_iter().flatten() {
                offset += 1;
                let record = record(id, now, *draw);
                let topic = match &record {
                    Record::Physio(_) => lsie_schemas::Topic::Physio,
                    Record::Event(_) => lsie_schemas::Topic::Events,
                    _ => lsie_schemas::Topic::Outcomes,
                };
                let raw = LogRecord {
                    at: TopicPartition { topic, partition: 0 },
                    offset,
                    log_time,
                    key: Some(id.to_string().into()),
                    value: format!("{draw:?}").into(),
                    headers: Vec::new(),
                };
                words.push(Aligned::Telemetry(Arc::new(Arrived { raw, record })));
            }
            words.extend((epoch > 0 && epoch.is_multiple_of(3)).then(|| closed(id, epoch as i64 / 3)));
            words.extend((epoch == LENGTH).then_some(Aligned::Ended { session: id, at: now }));
        }
        (log_time, words)
    };
    (0..LENGTH + 8).map(line).collect()
}

fn script() -> impl Strategy<Value = Script<Aligned>> {
    let draw = (0u8..3, 0u8..12, 0i64..60);
    let life = prop::collection::vec(prop::collection::vec(draw, 0..4), LENGTH as usize + 4);
    prop::collection::vec(life, 1..3).prop_map(script_of)
}

fn make() -> Telemetry {
    Telemetry::new(60_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn restarts(script in script()) {
        restarts_in_pieces_change_nothing(make, &script);
    }

    #[test]
    fn order(script in script(), turns in prop::collection::vec(0usize..8, 1..5)) {
        order_changes_nothing(make, &script, &turns);
    }

    /// Chunks and events that come again in the epoch after are duplicates, and lead to nothing else. (Whether an
    /// outcome was there before is the linker's to say.)
    #[test]
    fn duplicates(script in script()) {
        let mut doubled = script.clone();
        for line in 1..script.len() {
            let mut again = Vec::new();
            for word in &script[line - 1].1 {
                if let Aligned::Telemetry(arrived) = word
                    && !matches!(arrived.record, Record::Outcome(_))
                {
                    let mut arrived = Arrived::clone(arrived);
                    arrived.raw.offset += 1_000_000;
                    again.push(Aligned::Telemetry(Arc::new(arrived)));
                }
            }
            doubled[line].1.extend(again);
        }
        let results = |said: Vec<Vec<Told>>| -> Vec<Vec<Told>> {
            let counts = |told: &Told| !matches!(told, Told::Classified(_) | Told::Dead(_));
            said.into_iter().map(|said| said.into_iter().filter(counts).collect()).collect()
        };
        prop_assert_eq!(results(run(make(), &doubled)), results(run(make(), &script)));
    }
}
