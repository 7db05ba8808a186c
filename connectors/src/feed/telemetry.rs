//! What wearables and a live platform would have told of a made session: chunks of both roles, live events, a
//! follow, and an order. Made, like the session itself: whole numbers by a fixed pattern, nobody's heart.

use lsie_schemas::log::NewRecord;
use lsie_schemas::record::{
    ChunkPayload, DerivationMethod, LiveEvent, Outcome, PhysioRecord, PhysiologicalChunk, Provider,
    SourceKind, SubjectRole,
};
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, LogTime, Real};
use uuid::Uuid;

use super::timeline::{FeedOptions, TimedRecord};

/// Between two chunks of a role.
const CHUNK_EVERY_MS: u64 = 20_000;
/// What a chunk covers.
const CHUNK_MS: u64 = 60_000;
/// How long an event of the platform is under way.
const EVENT_LATENCY_MS: u64 = 150;
/// Events of the platform, by ms of the session: a like and a gift make a group, so do a comment and a share.
const EVENTS: [(u64, &str, &str); 6] = [
    (6_000, "like", "ana"),
    (7_200, "gift", "ben"),
    (18_000, "comment", "ana"),
    (33_000, "follow", "cleo"),
    (62_000, "comment", "dan"),
    (63_500, "share", "ben"),
];
/// When an order comes that counts as an outcome.
const ORDER_MS: u64 = 71_000;
/// What the intervals between beats differ by, ms.
const BEATS: [i64; 8] = [0, 22, -14, 31, -27, 9, 18, -36];

/// The telemetry of the first `duration_ms` of a session, in order of time.
pub fn telemetry(options: &FeedOptions, duration_ms: u64) -> Vec<TimedRecord> {
    let made = Made { options, begin: options.base.plus_ms(options.start_ms) };
    let mut records = Vec::new();
    let at_ms = (1_000..duration_ms).step_by(CHUNK_EVERY_MS as usize);
    for (number, at_ms) in at_ms.enumerate() {
        records.push(made.chunk(at_ms, number, SubjectRole::Streamer, 780));
        records.push(made.chunk(at_ms + 500, number, SubjectRole::Operator, 860));
    }
    let heard = EVENTS.iter().filter(|(at_ms, ..)| *at_ms < duration_ms);
    records.extend(heard.map(|(at_ms, kind, user)| made.event(*at_ms, kind, user)));
    if ORDER_MS < duration_ms {
        records.push(made.order(ORDER_MS));
    }
    records.sort_by_key(|timed| timed.at_ms);
    records
}

struct Made<'a> {
    options: &'a FeedOptions,
    begin: LogTime,
}

impl Made<'_> {
    fn record(&self, at_ms: u64, make: impl FnOnce(Option<LogTime>) -> NewRecord) -> TimedRecord {
        let record = make(Some(self.begin.plus_ms(at_ms)));
        TimedRecord { at_ms: self.options.start_ms + at_ms, record }
    }

    fn time(&self, ms: u64) -> EventTime {
        self.begin.plus_ms(ms).as_event()
    }

    /// A minute of intervals that ended as the chunk was sent. The roles differ; both change with the minutes.
    fn chunk(&self, at_ms: u64, number: usize, role: SubjectRole, beat_ms: i64) -> TimedRecord {
        let beats = (CHUNK_MS as i64 / beat_ms) as usize;
        let swing = |i: usize| BEATS[i % BEATS.len()] * (8 + (number as i64 * 3) % 7) / 10;
        let ibi_ms: Vec<f64> = (0..beats).map(|i| (beat_ms + swing(i)) as f64).collect();
        let bpm = 60_000 / beat_ms;
        let session_id = self.options.session_id;
        let role_number = u128::from(role == SubjectRole::Operator);
        let chunk = PhysiologicalChunk {
            unique_id: Uuid::from_u128(session_id.as_u128() ^ (number as u128) << 1 ^ role_number),
            provider: Provider::Oura,
            subject_role: role,
            source_kind: SourceKind::Ibi,
            window_start_utc: self.time(at_ms).plus_us(-(CHUNK_MS as i64) * 1_000),
            window_end_utc: self.time(at_ms),
            ingest_timestamp_utc: self.time(at_ms),
            payload: ChunkPayload {
                sample_interval_s: 1,
                valid_sample_count: beats as i64,
                expected_sample_count: beats as i64,
                derivation_method: DerivationMethod::Server,
                ibi_ms_items: Some(ibi_ms),
                rmssd_items_ms: None,
                heart_rate_items_bpm: Some(vec![bpm, bpm + 1, bpm - 1]),
                motion_items: None,
            },
        };
        self.record(at_ms, |at| PhysioRecord { session_id, chunk }.encode(at))
    }

    fn event(&self, at_ms: u64, kind: &str, user: &str) -> TimedRecord {
        let event = LiveEvent {
            session_id: self.options.session_id,
            unique_id: Some(user.into()),
            event_type: kind.into(),
            timestamp_utc: self.time(at_ms),
            payload: Json::new(&serde_json::json!({ "event_id": format!("{kind}-{at_ms}") })),
            gift_value: (kind == "gift").then_some(5),
            event_id: None,
        };
        self.record(at_ms + EVENT_LATENCY_MS, |at| event.encode(at))
    }

    fn order(&self, at_ms: u64) -> TimedRecord {
        let outcome = Outcome {
            session_id: self.options.session_id,
            outcome_type: "creator_follow".into(),
            outcome_value: Real(1.0),
            outcome_time_utc: self.time(at_ms),
            source_system: "shop".into(),
            source_event_ref: Some("order-1".into()),
            confidence: Real(0.5),
        };
        self.record(at_ms + 2_000, |at| outcome.encode(at))
    }
}

#[cfg(test)]
mod tests {
    use lsie_schemas::codec;
    use lsie_schemas::log::{LogRecord, TopicPartition};

    use super::*;

    #[test]
    fn every_record_decodes_and_none_is_out_of_order() {
        let options =
            FeedOptions::new(LogTime(1_767_607_200_000), Uuid::from_u128(0x1_0000_4000_8000_0000_0000_0001));
        let records = telemetry(&options, 96_000);
        assert!(records.is_sorted_by_key(|timed| timed.at_ms));
        let mut kinds = std::collections::BTreeMap::<&str, usize>::new();
        for timed in records {
            let NewRecord { topic, key, value, headers, timestamp } = timed.record;
            let at = TopicPartition { topic, partition: 0 };
            let log_time = timestamp.expect("a time");
            let raw = LogRecord { at, offset: 0, log_time, key: Some(key), value, headers };
            codec::decode(&raw).unwrap_or_else(|why| panic!("{raw:?}: {why:?}"));
            *kinds.entry(topic.name()).or_default() += 1;
        }
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), [("events", 6), ("outcomes", 1), ("physio", 10)]);
    }
}
