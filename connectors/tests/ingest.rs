//! Ingest over HTTP: what is answered with an acceptance is in the log, what is refused has its reason, and while
//! the log is away nothing is taken and nothing is lost.

mod away;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use bytes::Bytes;
use hmac::{Hmac, Mac};
use lsie_connectors::file_log::{FileLog, FileLogOptions};
use lsie_connectors::ingest::{Credentials, router, schema};
use lsie_connectors::{Health, oura};
use lsie_schemas::log::{Fetch, Log, LogRecord, TimestampType, TopicPartition, TopicSpec};
use lsie_schemas::record::is_follow;
use lsie_schemas::{LogTime, Topic, canonical, codec};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use sha2::Sha256;
use tower::ServiceExt;

use away::Away;

const SECRET: &[u8] = b"a secret of the tests";
const SESSION: &str = "0b1f8f5e-6f0e-4c55-9d3c-6d1d5bb0a001";

/// The file log, that can be away, in a folder of its own.
struct BenchLog {
    log: Arc<Away>,
    _dir: tempfile::TempDir,
}

impl BenchLog {
    fn new() -> Arc<BenchLog> {
        let dir = tempfile::tempdir().expect("a folder");
        let log = FileLog::open(dir.path().join("log"), FileLogOptions::default()).expect("a log");
        let spec = |topic| TopicSpec {
            topic,
            partitions: 2,
            timestamps: TimestampType::LogAppend,
            retention_ms: None,
        };
        let topics = [Topic::Physio, Topic::Events, Topic::Outcomes, Topic::Requests].map(spec);
        log.create_topics(&topics).expect("topics");
        let log = Arc::new(Away::new(log));
        Arc::new(BenchLog { log, _dir: dir })
    }

    fn records(&self, topic: Topic) -> Vec<LogRecord> {
        let mut records = Vec::new();
        for at in (0..2).map(|partition| TopicPartition { topic, partition }) {
            let (from, to) = self.log.bounds(at).expect("the log");
            let mut reader = self.log.reader(&[(at, from)], Fetch::default()).expect("a reader");
            while reader.position(at).is_none_or(|position| position < to) {
                records.extend(reader.poll(std::time::Duration::from_millis(20)).expect("records"));
            }
        }
        records
    }
}

fn serve(log: &Arc<BenchLog>, token: Option<&str>) -> (Router, Health) {
    let health = Health::new("ingest");
    let credentials = Credentials { token: token.map(str::to_owned), oura_secret: SECRET.to_vec() };
    (router(log.log.clone(), &credentials, health.clone()).expect("a router"), health)
}

async fn call(router: &Router, request: Request<Body>) -> (u16, Value) {
    let response = router.clone().oneshot(request).await.expect("an answer");
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn post(topic: &str, body: impl ToString) -> Request<Body> {
    Request::post(format!("/api/v1/ingest/{topic}")).body(body.to_string().into()).expect("a request")
}

fn notification(event: &str) -> Value {
    json!({"event_id": event, "event_type": "update", "data_type": "ibi", "subject_role": "streamer",
        "start_datetime": "2026-04-24T10:00:00Z", "end_datetime": "2026-04-24T10:05:00Z",
        "body": "marker-of-a-provider-s-body"})
}

fn signed(body: &Value) -> Request<Body> {
    let body = body.to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).expect("a key");
    mac.update(body.as_bytes());
    let code: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let request = Request::post("/api/v1/ingest/oura/webhook").header(oura::SIGNATURE_HEADER, code);
    request.body(body.into()).expect("a request")
}

fn event() -> Value {
    json!({"v": 1, "type": "live_event", "session_id": SESSION, "event_type": "like",
        "timestamp_utc": "2026-01-05T10:00:06Z"})
}

#[tokio::test]
async fn good_records_of_a_batch_are_taken_and_the_others_get_their_reasons() {
    let log = BenchLog::new();
    let (router, health) = serve(&log, None);
    let with = |name: &str, value: Value| {
        let mut event = event();
        event[name] = value;
        event
    };
    let batch = json!([
        event(),
        with("typo", json!(1)),
        with("gift_value", json!(-1)),
        with("event_type", json!("gift"))
    ]);
    let (status, answer) = call(&router, post("events", batch)).await;
    assert_eq!((status, &answer["accepted"], &answer["rejected"]), (200, &json!(2), &json!(2)));
    let reasons: Vec<&Value> =
        answer["results"].as_array().expect("results").iter().map(|r| &r["reason"]).collect();
    assert_eq!(reasons, [&Value::Null, &json!("unknown_field"), &json!("bad_field"), &Value::Null]);

    let records = log.records(Topic::Events);
    let offsets: Vec<i64> = records.iter().map(|record| record.offset).collect();
    assert_eq!(offsets, [0, 1]);
    assert_eq!(answer["results"][3]["offset"], 1);
    assert!(
        records
            .iter()
            .all(|record| codec::decode(record).is_ok() && record.key.as_deref() == Some(SESSION.as_bytes()))
    );
    assert_eq!(health.report().counts["records_rejected"], 2);
}

#[tokio::test]
async fn what_cannot_be_taken_at_all() {
    let log = BenchLog::new();
    let (router, _) = serve(&log, None);
    assert_eq!(call(&router, post("events", "not JSON")).await.0, 422);
    assert_eq!(call(&router, post("events", json!([1]))).await.0, 422);
    for topic in ["control", "experiments", "av.audio", "epochs", "nonsense"] {
        assert_eq!(call(&router, post(topic, event())).await.0, 404, "{topic}");
    }
    assert_eq!(call(&router, post("physio", event())).await.0, 422, "a record of another topic");
    assert!(log.records(Topic::Events).is_empty());
}

#[tokio::test]
async fn with_a_token_only_its_holder_pushes_and_the_provider_still_signs() {
    let log = BenchLog::new();
    let (router, _) = serve(&log, Some("right"));
    for (given, status) in
        [(None, 401), (Some("Bearer wrong"), 401), (Some("right"), 401), (Some("Bearer right"), 200)]
    {
        let mut request = post("events", event());
        if let Some(given) = given {
            request.headers_mut().insert("authorization", given.parse().expect("a header"));
        }
        assert_eq!(call(&router, request).await.0, status, "{given:?}");
    }
    assert_eq!(call(&router, signed(&notification("evt-1"))).await.0, 200);
}

#[tokio::test]
async fn notifications_by_the_contract() {
    let log = BenchLog::new();
    let (router, health) = serve(&log, None);
    let first = notification("evt-1");
    let accepted = json!({"status": "accepted", "event_id": "08f78f85-9761-527e-8c9f-a7657d22a20f"});
    assert_eq!(call(&router, signed(&first)).await, (200, accepted));
    let (status, answer) = call(&router, signed(&first)).await;
    assert_eq!((status, &answer["status"]), (200, &json!("duplicate")));

    let mut unsigned = signed(&notification("evt-2"));
    unsigned.headers_mut().remove(oura::SIGNATURE_HEADER);
    assert_eq!(call(&router, unsigned).await.0, 401);
    let mut forged = signed(&notification("evt-2"));
    *forged.body_mut() = notification("evt-3").to_string().into();
    assert_eq!(call(&router, forged).await.0, 401);
    let (status, answer) = call(&router, signed(&json!({"subject_role": "owner"}))).await;
    assert_eq!(status, 422);
    assert!(answer["detail"].as_str().is_some_and(|detail| detail.contains("subject_role")));

    // Nothing was taken while the log is away, and the claim was released.
    log.log.away.store(true, Ordering::SeqCst);
    assert_eq!(call(&router, signed(&notification("evt-4"))).await.0, 503);
    log.log.away.store(false, Ordering::SeqCst);
    let (status, answer) = call(&router, signed(&notification("evt-4"))).await;
    assert_eq!((status, &answer["status"]), (200, &json!("accepted")));

    // Another process knows from the topic what was taken.
    let (again, _) = serve(&log, None);
    assert_eq!(call(&again, signed(&first)).await.1["status"], "duplicate");

    let records = log.records(Topic::Requests);
    assert_eq!(records.len(), 2);
    let stored: Vec<Bytes> = records.into_iter().map(|record| record.value).collect();
    assert!(!stored.concat().windows(6).any(|bytes| bytes == b"marker"), "a provider's body goes nowhere");
    let counts = health.report().counts;
    assert_eq!((counts["notifications_accepted"], counts["notifications_unauthorised"]), (2, 2));
}

/// Many senders while the log goes and comes back: each sends until it is accepted; each request is there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_that_come_again_lose_nothing() {
    let log = BenchLog::new();
    let (router, health) = serve(&log, None);
    log.log.away.store(true, Ordering::SeqCst);
    let senders: Vec<_> = (0..600)
        .map(|number| {
            let router = router.clone();
            tokio::spawn(async move {
                let body = notification(&format!("evt-{number}"));
                while call(&router, signed(&body)).await.0 != 200 {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            })
        })
        .collect();
    while health.report().counts.get("notifications_unavailable").is_none_or(|count| *count < 700) {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    log.log.away.store(false, Ordering::SeqCst);
    for sender in senders {
        sender.await.expect("a sender that is accepted");
    }
    let mut keys: Vec<_> = log.records(Topic::Requests).into_iter().map(|record| record.key).collect();
    assert_eq!(keys.len(), 600);
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 600);
}

/// Sends until the log answers.
async fn insist(router: &Router, request: impl Fn() -> Request<Body>) -> (u16, Value) {
    loop {
        let (status, answer) = call(router, request()).await;
        if status != 503 {
            return (status, answer);
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// A log that hangs takes later what it was given: whoever comes again by then has been heard already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_log_that_hangs_and_nothing_is_there_twice() {
    let log = BenchLog::new();
    let ((notified, _), (pushed, _)) = (serve(&log, None), serve(&log, None));
    log.log.hung.store(true, Ordering::SeqCst);
    let first = || signed(&notification("evt-1"));
    let beside = || signed(&notification("evt-2"));
    let push = || post("events", json!([event(), 7]));
    let (one, two, three) =
        tokio::join!(call(&notified, first()), call(&notified, beside()), call(&pushed, push()));
    assert_eq!((one.0, two.0, three.0), (503, 503, 503));
    // Who comes again, and who comes newly.
    assert_eq!(call(&notified, first()).await.0, 503);
    assert_eq!(call(&pushed, push()).await.0, 503);
    assert_eq!(call(&notified, signed(&notification("evt-3"))).await.0, 503);

    log.log.hung.store(false, Ordering::SeqCst);
    let (status, answer) = insist(&pushed, push).await;
    assert_eq!((status, &answer["accepted"], &answer["rejected"]), (200, &json!(1), &json!(1)));
    assert_eq!(answer["results"][0]["offset"], 0);
    assert_eq!(insist(&notified, first).await.1["status"], "duplicate");
    insist(&notified, beside).await;
    assert_eq!(insist(&notified, || signed(&notification("evt-3"))).await.1["status"], "accepted");
    assert_eq!((log.records(Topic::Events).len(), log.records(Topic::Requests).len()), (1, 3));
}

#[tokio::test]
async fn the_shapes_are_published() {
    let log = BenchLog::new();
    let (router, _) = serve(&log, None);
    for topic in ["physio", "events", "outcomes"] {
        let request = Request::get(format!("/api/v1/ingest/{topic}/schema")).body(Body::empty());
        let (status, shape) = call(&router, request.expect("a request")).await;
        assert_eq!(status, 200);
        assert_eq!(shape, schema(Topic::by_name(topic).expect("a topic")));
    }
}

/// The little of JSON Schema that the published shapes use.
fn admits(schema: &Value, value: &Value) -> bool {
    let Value::Object(rules) = schema else { return schema == true };
    rules.iter().all(|(rule, wanted)| match rule.as_str() {
        "type" => {
            let kinds = wanted.as_array().cloned().unwrap_or_else(|| vec![wanted.clone()]);
            kinds.iter().any(|kind| match kind.as_str().expect("a type") {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "number" => value.is_number(),
                "null" => value.is_null(),
                "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
                other => panic!("type {other}"),
            })
        }
        "const" => value == wanted,
        "enum" => wanted.as_array().expect("a list").contains(value),
        "minimum" => value.as_f64().is_none_or(|number| number >= wanted.as_f64().expect("a number")),
        "maximum" => value.as_f64().is_none_or(|number| number <= wanted.as_f64().expect("a number")),
        "exclusiveMinimum" => value.as_f64().is_none_or(|number| number > wanted.as_f64().expect("a number")),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| admits(wanted, item))),
        "anyOf" => wanted.as_array().expect("a list").iter().any(|schema| admits(schema, value)),
        "required" => value.as_object().is_none_or(|object| {
            wanted
                .as_array()
                .expect("names")
                .iter()
                .all(|name| object.contains_key(name.as_str().expect("a name")))
        }),
        "properties" => value.as_object().is_none_or(|object| {
            let shapes: &Map<String, Value> = wanted.as_object().expect("shapes");
            object.iter().all(|(name, value)| shapes.get(name).is_none_or(|shape| admits(shape, value)))
        }),
        "additionalProperties" => value.as_object().is_none_or(|object| {
            let known = rules["properties"].as_object().expect("shapes");
            object.keys().all(|name| known.contains_key(name))
        }),
        "format" => value.as_str().is_none_or(|text| canonical::parse(text).is_ok()),
        "pattern" => value.as_str().is_none_or(|text| match wanted.as_str().expect("a pattern") {
            pattern if pattern.contains("-4[0-9a-f]{3}-") => codec::session_id(text).is_some(),
            pattern if pattern.starts_with("^[0-9a-f]{8}") => codec::uuid(text).is_some(),
            _ => is_follow(text),
        }),
        "$schema" | "title" => true,
        other => panic!("no rule {other}"),
    })
}

fn good(topic: Topic) -> Value {
    match topic {
        Topic::Events => json!({"v": 1, "type": "live_event", "session_id": SESSION, "uniqueId": "ana",
            "event_type": "gift", "timestamp_utc": "2026-01-05T10:00:06Z", "payload": {"event_id": "e-1"},
            "gift_value": 5, "event_id": null}),
        Topic::Outcomes => {
            json!({"v": 1, "type": "outcome", "session_id": SESSION, "outcome_type": "creator_follow",
            "outcome_value": 2.5, "outcome_time_utc": "2026-01-05T10:00:21Z", "source_system": "shop",
            "source_event_ref": "order-1", "confidence": 0.5})
        }
        _ => json!({"v": 1, "type": "physiological_chunk", "session_id": SESSION, "event": {
            "event_type": "physiological_chunk", "unique_id": "9f0c7a52-31f4-4c55-8a38-2f3a5d1c0002",
            "provider": "oura", "subject_role": "streamer", "source_kind": "ibi",
            "window_start_utc": "2026-01-05T09:58:30Z", "window_end_utc": "2026-01-05T09:59:30Z",
            "ingest_timestamp_utc": "2026-01-05T10:00:02Z",
            "payload": {"sample_interval_s": 1, "valid_sample_count": 4, "expected_sample_count": 4,
                "derivation_method": "server", "ibi_ms_items": [800, 810.5], "rmssd_items_ms": null,
                "heart_rate_items_bpm": [72, 75], "motion_items": null}}}),
    }
}

/// Every place of a document, as a JSON Pointer.
fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| places(value, &format!("{at}/{name}"), out))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| places(item, &format!("{at}/{i}"), out))
        }
        _ => {}
    }
}

fn decodes(topic: Topic, value: &Value) -> bool {
    let key = value.get("session_id").and_then(Value::as_str).map(|text| Bytes::from(text.to_owned()));
    let at = TopicPartition { topic, partition: 0 };
    let value = Bytes::from(value.to_string());
    codec::decode(&LogRecord { at, offset: 0, log_time: LogTime(0), key, value, headers: Vec::new() }).is_ok()
}

fn other_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2i64..400).prop_map(Value::from),
        (-2.0f64..400.0).prop_map(Value::from),
        Just(json!(1.0)),
        Just(json!("")),
        Just(json!("follow")),
        Just(json!(SESSION)),
        Just(json!("2026-01-05T10:00:06Z")),
        Just(json!("2026-01-05T10:00:06")),
        Just(json!([])),
        Just(json!([0])),
        Just(json!([25, 30])),
        Just(json!({})),
    ]
}

proptest! {
    /// What the published shape admits the topic takes, and nothing else: one place of a good record is changed,
    /// taken away, or gets a neighbour.
    #[test]
    fn shapes_say_what_the_codec_does(
        topic in prop_oneof![Just(Topic::Physio), Just(Topic::Events), Just(Topic::Outcomes)],
        at: prop::sample::Index,
        change in prop_oneof![Just(0u8), Just(1), Just(2), Just(2)],
        value in other_value(),
    ) {
        let mut record = good(topic);
        prop_assert!(decodes(topic, &record) && admits(&schema(topic), &record));
        let mut all = Vec::new();
        places(&record, "", &mut all);
        let place = at.get(&all).clone();
        match (change, place.rsplit_once('/')) {
            (0, Some((parent, name))) => {
                if let Some(Value::Object(fields)) = record.pointer_mut(parent) { fields.remove(name); }
            }
            (1, _) => {
                if let Some(Value::Object(fields)) = record.pointer_mut(&place) {
                    fields.insert("neighbour".into(), value);
                }
            }
            _ => if let Some(found) = record.pointer_mut(&place) { *found = value; },
        }
        prop_assert_eq!(decodes(topic, &record), admits(&schema(topic), &record), "{}", record);
    }
}
