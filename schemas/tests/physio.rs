//! Physiological chunks through the log, and each fault of one with its reason.

mod common;

use bytes::Bytes;
use common::logged;
use lsie_schemas::EventTime;
use lsie_schemas::codec;
use lsie_schemas::log::LogRecord;
use lsie_schemas::record::{
    ChunkPayload, DerivationMethod, PhysioRecord, PhysiologicalChunk, Provider, Record, SourceKind,
    SubjectRole,
};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::{Builder, Uuid};

/// An event as a provider's hydration makes it.
fn event() -> Value {
    json!({
        "unique_id": "9a804531-b53d-5c9e-a4ca-c235984a3a38",
        "event_type": "physiological_chunk",
        "provider": "oura",
        "subject_role": "streamer",
        "source_kind": "ibi",
        "window_start_utc": "2026-04-24T10:00:00Z",
        "window_end_utc": "2026-04-24T12:05:00.250+02:00",
        "ingest_timestamp_utc": "2026-04-24T10:06:00Z",
        "payload": {
            "sample_interval_s": 1,
            "valid_sample_count": 4,
            "expected_sample_count": 4,
            "derivation_method": "provider",
            "ibi_ms_items": [800, 810.0, 790, 805],
            "rmssd_items_ms": null,
            "heart_rate_items_bpm": [72, 75],
            "motion_items": null,
        },
    })
}

/// The event with another value at a JSON pointer.
fn with(pointer: &str, value: Value) -> Value {
    let mut event = event();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    event.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object").insert(key.into(), value);
    event
}

fn without(pointers: &[&str]) -> Value {
    let mut event = event();
    for pointer in pointers {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        event.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object").remove(key);
    }
    event
}

fn read(event: &Value) -> Result<PhysiologicalChunk, String> {
    PhysiologicalChunk::read_event(event.to_string().as_bytes()).map_err(|rejection| rejection.reason)
}

#[test]
fn an_event_is_read_with_its_instants_on_utc() {
    let chunk = read(&event()).expect("a good event");
    assert_eq!(chunk.window_end_utc.canonical(), "2026-04-24T10:05:00.250000Z");
    assert_eq!(chunk.payload.ibi_ms_items, Some(vec![800.0, 810.0, 790.0, 805.0]));
    assert_eq!(chunk.payload.heart_rate_items_bpm, Some(vec![72, 75]));
    assert_eq!(read(&chunk.write_event()), Ok(chunk));
}

#[test]
fn what_the_contract_allows_is_accepted() {
    let accepted = [
        with("/payload/sample_interval_s", json!(1.0)),
        with("/payload/valid_sample_count", json!(1_000_000)),
        with("/payload/heart_rate_items_bpm", json!([70.0])),
        with("/payload/heart_rate_items_bpm", json!([20, 300])),
        with("/payload/rmssd_items_ms", json!([0])),
        with("/payload/motion_items", json!([0.0])),
        with("/payload/ibi_ms_items", json!([])),
        with("/window_start_utc", json!("2030-01-01T00:00:00Z")),
        with("/source_kind", json!("session")),
        without(&["/payload/rmssd_items_ms", "/payload/motion_items"]),
        without(&["/payload/ibi_ms_items"]),
    ];
    for event in accepted {
        assert!(read(&event).is_ok(), "{event}: {:?}", read(&event));
    }
}

#[test]
fn every_fault_has_its_reason() {
    let bad = "bad_field";
    let mut cases = vec![
        (json!(12), "malformed_json"),
        (json!({}), "missing_field"),
        (with("/x", json!(1)), "unknown_field"),
        (with("/payload/spo2", json!([97])), "unknown_field"),
        (without(&["/payload/ibi_ms_items", "/payload/heart_rate_items_bpm"]), bad),
    ];
    let required = [
        "/unique_id",
        "/event_type",
        "/provider",
        "/subject_role",
        "/source_kind",
        "/window_start_utc",
        "/window_end_utc",
        "/ingest_timestamp_utc",
        "/payload",
        "/payload/sample_interval_s",
        "/payload/valid_sample_count",
        "/payload/expected_sample_count",
        "/payload/derivation_method",
    ];
    cases.extend(required.map(|pointer| (without(&[pointer]), "missing_field")));
    cases.extend(required.map(|pointer| (with(pointer, Value::Null), bad)));
    let wrong = [
        ("/unique_id", json!("abc")),
        ("/unique_id", json!("9A804531-B53D-5C9E-A4CA-C235984A3A38")),
        ("/unique_id", json!("urn:uuid:9a804531-b53d-5c9e-a4ca-c235984a3a38")),
        ("/event_type", json!("physiological_sample")),
        ("/provider", json!("garmin")),
        ("/subject_role", json!("Streamer")),
        ("/source_kind", json!("heartrate")),
        ("/payload", json!([])),
        ("/payload/sample_interval_s", json!(0)),
        ("/payload/sample_interval_s", json!(0.5)),
        ("/payload/sample_interval_s", json!(1e300)),
        ("/payload/valid_sample_count", json!(-1)),
        ("/payload/expected_sample_count", json!(-7)),
        // Contracts §1: no coercion.
        ("/payload/expected_sample_count", json!("12")),
        ("/payload/expected_sample_count", json!(true)),
        ("/payload/derivation_method", json!("device")),
        ("/payload/ibi_ms_items", json!([800, 0.0])),
        ("/payload/ibi_ms_items", json!([-5])),
        ("/payload/ibi_ms_items", json!(["800"])),
        ("/payload/ibi_ms_items", json!([null])),
        ("/payload/rmssd_items_ms", json!([3, -0.001])),
        ("/payload/heart_rate_items_bpm", json!([19])),
        ("/payload/heart_rate_items_bpm", json!([301])),
        ("/payload/heart_rate_items_bpm", json!([70.5])),
        ("/payload/motion_items", json!([-0.1])),
    ];
    cases.extend(wrong.map(|(pointer, value)| (with(pointer, value), bad)));
    // Contracts §1: an instant without zone is no instant.
    let instants = [json!("x"), json!("2026-04-24T10:05:00")];
    cases.extend(instants.map(|value| (with("/window_end_utc", value), "bad_timestamp")));
    for (event, reason) in cases {
        assert_eq!(read(&event).expect_err("a bad event"), reason, "{event}");
    }
    for text in
        ["", "not json", "{\"unique_id\":\"9a804531", "[1,2]", "{\"payload\":{\"ibi_ms_items\":[1e999]}}"]
    {
        let rejection = PhysiologicalChunk::read_event(text.as_bytes()).expect_err("a bad event");
        assert_eq!(rejection.reason, "malformed_json", "{text}");
    }
}

#[test]
fn a_record_names_its_session_in_body_and_key() {
    let session_id: Uuid = "3f2b8c1e-5a4d-4e6f-8a9b-0c1d2e3f4a5b".parse().expect("a uuid");
    let good = PhysioRecord { session_id, chunk: read(&event()).expect("a good event") };
    let record = logged(good.encode(None));
    assert_eq!(codec::decode(&record), Ok(Record::Physio(good)));
    let reason = |record: &LogRecord| codec::decode(record).expect_err("a bad record").reason;
    let other_key = Bytes::from_static(b"11111111-2222-4333-8444-555555555555");
    assert_eq!(reason(&LogRecord { key: Some(other_key), ..record.clone() }), "key_mismatch");
    let body = |edit: fn(&mut Value)| {
        let mut value: Value = serde_json::from_slice(&record.value).expect("JSON");
        edit(&mut value);
        reason(&LogRecord { value: value.to_string().into(), ..record.clone() })
    };
    assert_eq!(body(|value| value["type"] = json!("chunk")), "unknown_type");
    assert_eq!(body(|value| value["session_id"] = json!("7")), "bad_session_id");
    assert_eq!(body(|value| value["event"] = json!(7)), "bad_field");
    assert_eq!(body(|value| value["event"]["payload"]["valid_sample_count"] = json!(-1)), "bad_field");
}

prop_compose! {
    fn chunk()(
        id in any::<u128>(),
        subject_role in prop::sample::select(&SubjectRole::ALL[..]),
        source_kind in prop_oneof![Just(SourceKind::Ibi), Just(SourceKind::Session)],
        instants in prop::array::uniform3(0..4_102_444_800_000_000i64),
        counts in (1..i64::MAX, 0..i64::MAX, 0..i64::MAX),
        derivation_method in prop_oneof![Just(DerivationMethod::Provider), Just(DerivationMethod::Server)],
        ibi_ms_items in option::of(prop::collection::vec(1e-300..1e300f64, 0..5)),
        rmssd_items_ms in option::of(prop::collection::vec(0.0..1e300f64, 0..5)),
        heart_rates in prop::collection::vec(20..=300i64, 0..5),
        motion_items in option::of(prop::collection::vec(0.0..1e300f64, 0..5)),
    ) -> PhysiologicalChunk {
        PhysiologicalChunk {
            unique_id: Uuid::from_u128(id),
            provider: Provider::Oura,
            subject_role,
            source_kind,
            window_start_utc: EventTime(instants[0]),
            window_end_utc: EventTime(instants[1]),
            ingest_timestamp_utc: EventTime(instants[2]),
            payload: ChunkPayload {
                sample_interval_s: counts.0,
                valid_sample_count: counts.1,
                expected_sample_count: counts.2,
                derivation_method,
                ibi_ms_items,
                rmssd_items_ms,
                heart_rate_items_bpm: Some(heart_rates),
                motion_items,
            },
        }
    }
}

proptest! {
    #[test]
    fn chunks_round_trip(chunk in chunk(), session in any::<[u8; 16]>()) {
        let session_id = Builder::from_random_bytes(session).into_uuid();
        let record = PhysioRecord { session_id, chunk };
        prop_assert_eq!(codec::decode(&logged(record.encode(None))), Ok(Record::Physio(record)));
    }

    #[test]
    fn foreign_bytes_are_refused_or_read(bytes: Vec<u8>) {
        if let Err(rejection) = PhysiologicalChunk::read_event(&bytes) {
            prop_assert!(!rejection.reason.is_empty());
        }
    }
}
