//! Records survive the way through the log, and foreign bytes never do harm.

mod common;

use bytes::Bytes;
use common::logged;
use lsie_schemas::codec::{self, VERSION};
use lsie_schemas::log::{LogRecord, TopicPartition};
use lsie_schemas::record::{
    Answered, ArmText, AudioChunk, CREATOR_FOLLOW, ClockPoll, Control, EndSession, EnrichAnswer,
    EnrichRequest, EpochRange, EpochRecord, ExperimentRecord, Gap, HydrateRequest, LiveEvent, MetaTag,
    Outcome, PageData, Record, Request, StartSession, Stimulus, Stream, Subjects, VideoUnit,
};
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, LogTime, Real, Topic};
use proptest::prelude::*;
use uuid::{Builder, Uuid};

fn session() -> impl Strategy<Value = Uuid> {
    any::<[u8; 16]>().prop_map(|bytes| Builder::from_random_bytes(bytes).into_uuid())
}

fn action() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn control() -> impl Strategy<Value = Control> {
    let streams = prop_oneof![
        Just(vec![Stream::Audio]),
        Just(vec![Stream::Video]),
        Just(vec![Stream::Audio, Stream::Video])
    ];
    let start = (session(), streams, "[a-z]{1,9}", any::<Option<String>>(), proptest::option::of(action()));
    let start = start.prop_map(|(session_id, streams, experiment_id, watched_account, client_action_id)| {
        Control::Start(StartSession {
            session_id,
            streams,
            subjects: Subjects::default(),
            watched_account,
            source_url: "capture:phone".into(),
            experiment_id,
            client_action_id,
        })
    });
    let end = (session(), proptest::option::of(action()))
        .prop_map(|(session_id, client_action_id)| Control::End(EndSession { session_id, client_action_id }));
    let stimulus =
        (session(), action(), any::<Option<String>>()).prop_map(|(session_id, id, operator_note)| {
            let client_action_id = id;
            Control::Stimulus(Stimulus { session_id, client_action_id, operator_note, received_at_utc: None })
        });
    let poll = (session(), any::<i64>(), any::<i64>(), any::<Option<i64>>()).prop_map(
        |(session_id, host_before_us, host_after_us, device_us)| {
            Control::ClockPoll(ClockPoll { session_id, host_before_us, host_after_us, device_us })
        },
    );
    let gap = (session(), prop_oneof![Just(Stream::Audio), Just(Stream::Video)], any::<[u64; 3]>()).prop_map(
        |(session_id, stream, [from_seq, records, bytes])| {
            Control::Gap(Gap { session_id, stream, from_seq, records, bytes })
        },
    );
    prop_oneof![start, end, stimulus, poll, gap]
}

proptest! {
    #[test]
    fn control_records_round_trip(control in control()) {
        let decoded = codec::decode(&logged(control.encode(None)));
        prop_assert_eq!(decoded, Ok(Record::Control(control)));
    }

    #[test]
    fn requests_round_trip(unique_id: u128, texts: [String; 5], attempt: u32) {
        let [subject_role, event_type, data_type, start_datetime, end_datetime] = texts;
        let unique_id = Uuid::from_u128(unique_id);
        let request = Request::Hydrate(HydrateRequest {
            unique_id, subject_role, event_type, data_type, start_datetime, end_datetime, attempt,
        });
        prop_assert_eq!(Request::decode(&logged(request.encode(None))), Ok(request));
    }

    #[test]
    fn what_is_asked_of_pages_and_answered_round_trips(
        unique_id: u128,
        session_id in proptest::option::of(session()),
        texts: [String; 5],
        timeout_seconds: u32,
        at_us in 0..4_000_000_000_000_000i64,
        status_code: u16,
        tag: (Option<String>, Option<String>, Option<String>),
    ) {
        let [target_url, scrape_type, title, text_content, reason] = texts;
        let unique_id = Uuid::from_u128(unique_id);
        let (source_url, kind) = (target_url.clone(), scrape_type.clone());
        let request =
            Request::Enrich(EnrichRequest { unique_id, session_id, target_url, scrape_type, timeout_seconds });
        prop_assert_eq!(Request::decode(&logged(request.encode(None))), Ok(request));
        let meta_tags = vec![MetaTag { name: tag.0, property: tag.1, content: tag.2 }];
        let page = PageData { title, text_content, meta_tags, status_code };
        for data in [Some(page), None] {
            let answer = Answered::Enriched(EnrichAnswer {
                unique_id, session_id, source_url: source_url.clone(), scraped_at_utc: EventTime(at_us),
                scrape_type: kind.clone(), success: data.is_some(), reason: Some(reason.clone()), data,
            });
            let record = logged(answer.encode(None));
            prop_assert_eq!(codec::decode(&record), Ok(Record::Answered(answer)));
            // Of any other key it could come to another worker; none is taken for a session.
            prop_assert_eq!(codec::session_of_key(&record), None);
            let other = LogRecord { key: Some("another".into()), ..record };
            prop_assert_eq!(codec::decode(&other).map_err(|why| why.reason), Err("key_mismatch".to_owned()));
        }
    }

    #[test]
    fn audio_chunks_round_trip(
        session_id in session(),
        seq in 0..=i64::MAX as u64,
        capture_us: i64,
        samples in proptest::collection::vec(any::<i16>(), 1..200),
    ) {
        let pcm: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        let chunk = AudioChunk { session_id, seq, capture_us, pcm: pcm.into() };
        prop_assert_eq!(codec::decode(&logged(chunk.encode(None))), Ok(Record::Audio(chunk)));
    }

    #[test]
    fn video_units_round_trip(
        session_id in session(),
        seq in 0..=i64::MAX as u64,
        capture_us: i64,
        key_frame: bool,
        tail: Vec<u8>,
    ) {
        let unit = Bytes::from([&[0, 0, 0, 1][..], &tail].concat());
        let unit = VideoUnit { session_id, seq, capture_us, key_frame, unit };
        prop_assert_eq!(codec::decode(&logged(unit.encode(None))), Ok(Record::Video(unit)));
    }

    #[test]
    fn experiments_round_trip(experiment_id in "[a-z_0-9]{1,12}", label: String, arm: String, greeting_text: String) {
        let arms = vec![ArmText { arm: arm.clone(), greeting_text: greeting_text.clone() }];
        for record in [
            ExperimentRecord::Create { experiment_id: experiment_id.clone(), label, arms },
            ExperimentRecord::SetArm { experiment_id: experiment_id.clone(), arm: arm.clone(), greeting_text },
            ExperimentRecord::DisableArm { experiment_id: experiment_id.clone(), arm: arm.clone(), greeting_text: None },
            ExperimentRecord::DeleteArm { experiment_id, arm },
        ] {
            prop_assert_eq!(codec::decode(&logged(record.encode(None))), Ok(Record::Experiment(record)));
        }
    }

    #[test]
    fn live_events_round_trip(
        session_id in session(),
        unique_id: Option<String>,
        event_type in prop_oneof![Just("gift".to_string()), "[a-z_]{0,9}"],
        timestamp_us in 0i64..4_102_444_800_000_000,
        text: String,
        event_id: Option<String>,
    ) {
        let event = LiveEvent {
            session_id,
            unique_id,
            gift_value: (event_type == "gift").then_some(5),
            event_type,
            timestamp_utc: EventTime(timestamp_us),
            payload: Json::new(&serde_json::json!({"event_id": 7, "text": text})),
            event_id,
        };
        prop_assert_eq!(codec::decode(&logged(event.encode(None))), Ok(Record::Event(event)));
    }

    #[test]
    fn outcomes_round_trip(
        session_id in session(),
        value in -1e300..1e300f64,
        time_us in 0i64..4_102_444_800_000_000,
        source_system: String,
        source_event_ref: Option<String>,
        confidence in 0.0..=1.0f64,
    ) {
        let outcome = Outcome {
            session_id,
            outcome_type: CREATOR_FOLLOW.into(),
            outcome_value: Real(value),
            outcome_time_utc: EventTime(time_us),
            source_system,
            source_event_ref,
            confidence: Real(confidence),
        };
        prop_assert_eq!(codec::decode(&logged(outcome.encode(None))), Ok(Record::Outcome(outcome)));
    }

    #[test]
    fn epochs_round_trip(log_time: u64, from in 0..1_000_i64, length in 1..1_000_i64) {
        let range = |topic, partition| EpochRange {
            at: TopicPartition { topic, partition },
            from,
            to: from + length,
        };
        let ranges = vec![range(Topic::Control, 0), range(Topic::Control, 1), range(Topic::AvVideo, 0)];
        let epoch = EpochRecord { log_time: LogTime(log_time), ranges };
        prop_assert_eq!(EpochRecord::decode(&epoch.encode().value), Ok(epoch));
    }

    /// Whatever stands in a topic: a record or a reason, never a panic.
    #[test]
    fn foreign_bytes_are_refused_or_read(
        topic in proptest::sample::select(&Topic::ALL[..]),
        key in proptest::option::of(any::<Vec<u8>>()),
        value: Vec<u8>,
        headers in proptest::collection::vec((any::<String>(), any::<Vec<u8>>()), 0..4),
    ) {
        let headers = headers.into_iter().map(|(name, value)| (name, value.into())).collect();
        let record = LogRecord {
            at: TopicPartition { topic, partition: 0 },
            offset: 0,
            log_time: LogTime(0),
            key: key.map(Bytes::from),
            value: value.into(),
            headers,
        };
        if let Err(rejection) = codec::decode(&record) {
            prop_assert!(!rejection.reason.is_empty());
        }
        let _ = EpochRecord::decode(&record.value);
    }
}

fn reason(topic: Topic, value: &str) -> String {
    let record = LogRecord {
        at: TopicPartition { topic, partition: 0 },
        offset: 0,
        log_time: LogTime(0),
        key: Some(Bytes::from_static(b"3f2b8c1e-5a4d-4e6f-8a9b-0c1d2e3f4a5b")),
        value: Bytes::from(value.to_string()),
        headers: Vec::new(),
    };
    codec::decode(&record).expect_err("a bad record").reason
}

#[test]
fn every_fault_of_a_json_record_has_its_reason() {
    let cases = [
        ("", "malformed_json"),
        ("[]", "malformed_json"),
        (r#"{"type":"end"}"#, "missing_field"),
        (r#"{"v":2,"type":"end"}"#, "unknown_version"),
        (r#"{"v":1}"#, "missing_field"),
        (r#"{"v":1,"type":"finish"}"#, "unknown_type"),
        (r#"{"v":1,"type":"end"}"#, "missing_field"),
        (r#"{"v":1,"type":"end","session_id":"7"}"#, "bad_session_id"),
        (r#"{"v":1,"type":"end","session_id":"11111111-2222-4333-8444-555555555555"}"#, "key_mismatch"),
        (
            r#"{"v":1,"type":"end","session_id":"3f2b8c1e-5a4d-4e6f-8a9b-0c1d2e3f4a5b","x":1}"#,
            "unknown_field",
        ),
        (r#"{"v":1,"type":"end","session_id":5}"#, "bad_field"),
    ];
    assert_eq!(VERSION, 1);
    for (value, expected) in cases {
        assert_eq!(reason(Topic::Control, value), expected, "{value}");
    }
}

fn decoded(topic: Topic, value: serde_json::Value) -> Result<Record, String> {
    let record = LogRecord {
        at: TopicPartition { topic, partition: 0 },
        offset: 0,
        log_time: LogTime(0),
        key: Some(Bytes::from_static(b"3f2b8c1e-5a4d-4e6f-8a9b-0c1d2e3f4a5b")),
        value: Bytes::from(value.to_string()),
        headers: Vec::new(),
    };
    codec::decode(&record).map_err(|rejection| rejection.reason)
}

/// A record of the right kind with these fields put over the required ones; null removes a field.
fn with(kind: &str, changes: serde_json::Value) -> serde_json::Value {
    let mut fields = serde_json::json!({
        "v": 1, "type": kind, "session_id": "3f2b8c1e-5a4d-4e6f-8a9b-0c1d2e3f4a5b",
    });
    match kind {
        "live_event" => fields["timestamp_utc"] = "2026-04-24T12:00:00+02:00".into(),
        _ => {
            fields["outcome_type"] = "Follow ".into();
            fields["outcome_time_utc"] = "2026-04-24T10:00:00Z".into();
        }
    }
    for (name, value) in changes.as_object().expect("changes") {
        match value {
            serde_json::Value::String(text) if text == "absent" => {
                fields.as_object_mut().expect("fields").remove(name);
            }
            value => fields[name] = value.clone(),
        }
    }
    fields
}

#[test]
fn faults_of_live_events() {
    let reason = |changes| decoded(Topic::Events, with("live_event", changes)).err();
    let bad = |changes| assert_eq!(reason(changes), Some("bad_field".into()));
    assert_eq!(reason(serde_json::json!({})), None);
    assert_eq!(reason(serde_json::json!({"timestamp_utc": "absent"})), Some("missing_field".into()));
    for naive in ["2026-04-24T10:00:00", "", "now"] {
        assert_eq!(reason(serde_json::json!({"timestamp_utc": naive})), Some("bad_timestamp".into()));
    }
    assert_eq!(reason(serde_json::json!({"unique_id": "x"})), Some("unknown_field".into()));
    bad(serde_json::json!({"payload": [1]}));
    bad(serde_json::json!({"payload": null}));
    bad(serde_json::json!({"event_type": 5}));
    bad(serde_json::json!({"event_type": "Action_Combo"}));
    bad(serde_json::json!({"event_type": "gift", "gift_value": -1}));
    bad(serde_json::json!({"event_type": "gift", "gift_value": 1.5}));
}

#[test]
fn faults_of_outcomes() {
    let reason = |changes| decoded(Topic::Outcomes, with("outcome", changes)).err();
    let bad = |changes| assert_eq!(reason(changes), Some("bad_field".into()));
    assert_eq!(reason(serde_json::json!({})), None);
    assert_eq!(reason(serde_json::json!({"outcome_type": "absent"})), Some("missing_field".into()));
    assert_eq!(reason(serde_json::json!({"outcome_time_utc": "tomorrow"})), Some("bad_timestamp".into()));
    assert_eq!(reason(serde_json::json!({"payload": {}})), Some("unknown_field".into()));
    bad(serde_json::json!({"outcome_type": "gift"}));
    bad(serde_json::json!({"outcome_value": null}));
    bad(serde_json::json!({"source_event_ref": 77}));
    bad(serde_json::json!({"confidence": "0.5"}));
    bad(serde_json::json!({"confidence": 1.5}));
    bad(serde_json::json!({"confidence": -0.1}));
    let huge = with("outcome", serde_json::json!({}))
        .to_string()
        .replace("\"v\":1", "\"v\":1,\"outcome_value\":1e999");
    assert_eq!(self::reason(Topic::Outcomes, &huge), "malformed_json");
}

#[test]
fn defaults_of_live_events_and_outcomes() {
    let Ok(Record::Event(event)) = decoded(Topic::Events, with("live_event", serde_json::json!({}))) else {
        panic!("an event");
    };
    assert_eq!((event.event_type.as_str(), event.unique_id.as_deref()), ("unknown", None));
    assert_eq!((event.payload.as_str(), event.gift_value), ("{}", None));
    assert_eq!(event.timestamp_utc.canonical(), "2026-04-24T10:00:00Z");
    let gift = with("live_event", serde_json::json!({"event_type": "gift"}));
    assert!(matches!(decoded(Topic::Events, gift), Ok(Record::Event(LiveEvent { gift_value: Some(0), .. }))));
    let Ok(Record::Outcome(outcome)) = decoded(Topic::Outcomes, with("outcome", serde_json::json!({})))
    else {
        panic!("an outcome");
    };
    assert_eq!(
        (outcome.outcome_type.as_str(), outcome.source_system.as_str()),
        (CREATOR_FOLLOW, "tiktok_webcast")
    );
    assert_eq!((outcome.outcome_value, outcome.confidence), (Real(1.0), Real(1.0)));
}
