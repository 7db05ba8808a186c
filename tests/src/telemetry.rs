//! Made telemetry of one session: two wearables, a live platform, outcomes; with records that come twice or late.

use lsie_connectors::feed::TimedRecord;
use lsie_schemas::log::NewRecord;
use lsie_schemas::record::{
    Answered, ChunkPayload, DerivationMethod, EnrichAnswer, LiveEvent, MetaTag, Outcome, PageData,
    PhysioRecord, PhysiologicalChunk, Provider, SourceKind, SubjectRole,
};
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, LogTime, Real};
use uuid::Uuid;

/// The telemetry of session `id`, which begins `start_ms` after `base`, in order of time. It lasts 24 s.
pub fn telemetry(id: Uuid, base: LogTime, start_ms: u64) -> Vec<TimedRecord> {
    let made = Made { id, begin: base.plus_ms(start_ms), start_ms };
    vec![
        made.chunk(2_000, 1, SubjectRole::Streamer, &[800.0, 810.0, 790.0, 805.0], &[72, 75]),
        made.chunk(3_000, 2, SubjectRole::Operator, &[900.0, 940.0], &[61, 62]),
        made.chunk(5_000, 1, SubjectRole::Streamer, &[800.0, 810.0, 790.0, 805.0], &[72, 75]),
        made.event(6_100, 6_000, "like", "ana"),
        made.event(7_600, 7_500, "gift", "ben"),
        made.event(8_000, 6_000, "like", "ana"),
        made.event(12_100, 12_000, "comment", "ana"),
        made.event(20_100, 20_000, "follow", "cy"),
        made.outcome(22_000, 21_000),
        made.outcome(23_000, 21_000),
        // Two seconds after the first of a group that has closed: it grows.
        made.event(24_000, 8_000, "share", "dee"),
    ]
}

/// So many comments at one moment, 10 s into session `id`, each by somebody else.
pub fn flood(id: Uuid, base: LogTime, start_ms: u64, comments: u64) -> Vec<TimedRecord> {
    let made = Made { id, begin: base.plus_ms(start_ms), start_ms };
    (0..comments)
        .map(|number| made.event(10_000, 9_000 + number % 900, "comment", &format!("viewer-{number}")))
        .collect()
}

/// What visits of web pages brought for session `id`, in order of time: a page, one that was not had, and the first once more.
pub fn visits(id: Uuid, base: LogTime, start_ms: u64) -> Vec<TimedRecord> {
    let made = Made { id, begin: base.plus_ms(start_ms), start_ms };
    vec![made.visit(4_000, 1, true), made.visit(9_000, 2, false), made.visit(11_000, 1, true)]
}

struct Made {
    id: Uuid,
    begin: LogTime,
    start_ms: u64,
}

impl Made {
    fn record(&self, at_ms: u64, make: impl FnOnce(Option<LogTime>) -> NewRecord) -> TimedRecord {
        TimedRecord { at_ms: self.start_ms + at_ms, record: make(Some(self.begin.plus_ms(at_ms))) }
    }

    /// The answer of a visit that ended 100 ms before `number` s of the session.
    fn visit(&self, at_ms: u64, number: u128, had: bool) -> TimedRecord {
        let tag = MetaTag { name: Some("author".into()), property: None, content: Some("ana".into()) };
        let answer = EnrichAnswer {
            unique_id: Uuid::from_u128(self.id.as_u128() ^ number),
            session_id: Some(self.id),
            source_url: "https://example.org/ana".into(),
            scraped_at_utc: self.time(number as u64 * 1_000 - 100),
            scrape_type: "creator".into(),
            data: had.then(|| PageData {
                title: "Ana".into(),
                text_content: "sings on Fridays".into(),
                meta_tags: vec![tag],
                status_code: 200,
            }),
            success: had,
            reason: (!had).then(|| "status".into()),
        };
        self.record(at_ms, |at| Answered::Enriched(answer).encode(at))
    }

    fn time(&self, ms: u64) -> EventTime {
        self.begin.plus_ms(ms).as_event()
    }

    /// A minute of inter-beat intervals that ended 30 s before the session.
    fn chunk(&self, at_ms: u64, number: u128, role: SubjectRole, ibi_ms: &[f64], bpm: &[i64]) -> TimedRecord {
        let samples = ibi_ms.len() as i64;
        let chunk = PhysiologicalChunk {
            unique_id: Uuid::from_u128(self.id.as_u128() ^ number),
            provider: Provider::Oura,
            subject_role: role,
            source_kind: SourceKind::Ibi,
            window_start_utc: self.time(0).plus_us(-90_000_000),
            window_end_utc: self.time(0).plus_us(-30_000_000),
            ingest_timestamp_utc: self.time(at_ms),
            payload: ChunkPayload {
                sample_interval_s: 1,
                valid_sample_count: samples,
                expected_sample_count: samples,
                derivation_method: DerivationMethod::Server,
                ibi_ms_items: Some(ibi_ms.to_vec()),
                rmssd_items_ms: None,
                heart_rate_items_bpm: Some(bpm.to_vec()),
                motion_items: None,
            },
        };
        self.record(at_ms, |at| PhysioRecord { session_id: self.id, chunk }.encode(at))
    }

    fn event(&self, at_ms: u64, happened_ms: u64, kind: &str, user: &str) -> TimedRecord {
        let event = LiveEvent {
            session_id: self.id,
            unique_id: Some(user.into()),
            event_type: kind.into(),
            timestamp_utc: self.time(happened_ms),
            payload: Json::new(&serde_json::json!({ "event_id": format!("{kind}-{happened_ms}") })),
            gift_value: (kind == "gift").then_some(5),
            event_id: None,
        };
        self.record(at_ms, |at| event.encode(at))
    }

    fn outcome(&self, at_ms: u64, happened_ms: u64) -> TimedRecord {
        let outcome = Outcome {
            session_id: self.id,
            outcome_type: "creator_follow".into(),
            outcome_value: Real(1.0),
            outcome_time_utc: self.time(happened_ms),
            source_system: "shop".into(),
            source_event_ref: Some("order-1".into()),
            confidence: Real(0.5),
        };
        self.record(at_ms, |at| outcome.encode(at))
    }
}
