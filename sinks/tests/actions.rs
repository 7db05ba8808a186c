//! Actions over HTTP: each is one record, acknowledged before the answer, and told apart by its identity.

mod common;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use common::{action, arm, change, drive, encounter, session, session_id, stimulus};
use lsie_schemas::log::{AppendRecord, Appended, LogError, NewRecord, TopicPartition};
use lsie_schemas::record::{HEADER_ACTION, HEADER_ACTOR};
use lsie_schemas::{LogTime, Topic, Uuid};
use lsie_sinks::views::{Api, Shutdown};
use lsie_sinks::{Catalog, Views};
use proptest::prelude::*;
use serde_json::{Value, json};
use tower::ServiceExt;

/// A log that is a list, and can be away.
#[derive(Default)]
struct List {
    records: Mutex<Vec<NewRecord>>,
    is_away: bool,
}

impl AppendRecord for List {
    fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Appended>, LogError> {
        if self.is_away {
            return Err(LogError::Unavailable("away".into()));
        }
        let mut all = self.records.lock().expect("the test's own lock");
        let acknowledged = records.into_iter().map(|record| {
            all.push(record);
            let at = TopicPartition { topic: Topic::Control, partition: 0 };
            Appended { at, offset: all.len() as i64, log_time: LogTime(1_770_000_100_000) }
        });
        Ok(acknowledged.collect())
    }
}

impl List {
    /// The bodies of what was appended.
    fn bodies(&self) -> Vec<Value> {
        let records = self.records.lock().expect("the test's own lock");
        records.iter().map(|record| serde_json::from_slice(&record.value).expect("JSON")).collect()
    }
}

/// An API over two running sessions and one that ended, an experiment with a used and an unused arm.
struct Desk {
    log: Arc<List>,
    router: Router,
}

impl Desk {
    fn new() -> Desk {
        Desk::over(List::default(), views(&[]))
    }

    fn over(log: List, views: Views) -> Desk {
        let log = Arc::new(log);
        let router = Api::new(&views).with_log(log.clone()).router(Shutdown::never());
        Desk { log, router }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = Request::builder().method(method).uri(format!("/api/v1{path}"));
        let request = match body {
            Some(body) => {
                request.header("content-type", "application/json").body(Body::from(body.to_string()))
            }
            None => request.body(Body::empty()),
        };
        self.send(request.expect("a request")).await
    }

    async fn send(&self, request: Request<Body>) -> (u16, Value) {
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        assert!(response.headers().contains_key("x-lsie-epoch"));
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        (status, serde_json::from_slice(&bytes).expect("JSON"))
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(Method::POST, path, Some(body)).await
    }
}

fn views(more: &[common::Made]) -> Views {
    let views = Views::new(Catalog::all());
    let mut rows = [
        session(1, 0, None),
        session(2, 60, None),
        session(3, 120, Some(150)),
        arm("greetings", "unused", 1.0),
        arm("greetings", "used", 1.5),
        encounter(1, "used", 10, 0.5, true),
    ];
    rows.last_mut().expect("a row").set("experiment_id", "greetings");
    let mut changes: Vec<_> = rows.iter().map(|row| change(1_770_000_000_000, row, 1)).collect();
    changes.extend(more.iter().map(|row| change(1_770_000_000_000, row, 1)));
    drive(&mut views.sink(), &[(1_770_000_000_000, changes)]);
    views
}

const ACTION: Uuid = Uuid::from_u128(0x1111_1111_2222_4333_8444_5555_5555_5555);

fn stimulus_path(n: u128) -> String {
    format!("/operator/sessions/{}/stimulus", session_id(n))
}

#[tokio::test]
async fn a_session_starts_by_a_record_and_its_id_follows_from_the_action() {
    let desk = Desk::new();
    let body = json!({"stream_url": " https://example.org/live ", "experiment_id": "greetings", "client_action_id": ACTION});
    let (status, answer) = desk.post("/sessions", body.clone()).await;
    assert_eq!(status, 200);
    let session = "5af9bb17-cdaf-48e6-bba7-dad6896dcd82";
    assert_eq!(
        (answer["action"].as_str(), answer["session_id"].as_str(), &answer["accepted"], &answer["message"]),
        (Some("start"), Some(session), &json!(true), &Value::Null)
    );
    let record = desk.log.records.lock().expect("a lock")[0].clone();
    assert_eq!((record.topic, record.key), (Topic::Control, session.into()));
    let headers = vec![
        (HEADER_ACTOR.to_owned(), "local".into()),
        (HEADER_ACTION.to_owned(), ACTION.to_string().into()),
    ];
    assert_eq!((record.headers, record.timestamp), (headers, None));
    let written = &desk.log.bodies()[0];
    assert_eq!(
        (written["type"].as_str(), written["source_url"].as_str(), written["client_action_id"].as_str()),
        (Some("start"), Some("https://example.org/live"), Some("11111111-2222-4333-8444-555555555555"))
    );

    let (status, again) = desk.post("/sessions", body).await;
    assert_eq!(
        (status, &again["session_id"], &again["received_at_utc"]),
        (200, &answer["session_id"], &answer["received_at_utc"])
    );
    assert!(again["message"].as_str().expect("a note").starts_with("duplicate"));
    assert_eq!(desk.log.bodies().len(), 1, "a repeated action writes nothing");
}

#[tokio::test]
async fn an_action_that_the_views_know_is_a_duplicate_after_a_restart_too() {
    let known = action(ACTION, "stimulus", Some(1));
    let desk = Desk::over(List::default(), views(&[known]));
    let body = json!({"client_action_id": ACTION, "operator_note": null});
    let (status, answer) = desk.post(&stimulus_path(1), body.clone()).await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(true)));
    assert!(answer["message"].as_str().expect("a note").starts_with("duplicate"));
    assert_eq!(desk.post(&stimulus_path(2), body).await.0, 409, "the identity is another action's");
    assert_eq!(desk.log.bodies(), [] as [Value; 0]);
}

#[tokio::test]
async fn only_the_newest_running_session_can_be_ended() {
    let desk = Desk::new();
    let end = |n: u128| format!("/sessions/{}/end", session_id(n));
    for (n, status) in [(1, 409), (3, 409), (9, 409), (2, 200)] {
        let body = json!({"client_action_id": Uuid::from_u128(ACTION.as_u128() + n)});
        assert_eq!(desk.post(&end(n), body).await.0, status, "session {n}");
    }
    assert_eq!(desk.log.bodies().len(), 1);
    assert_eq!(desk.log.bodies()[0]["session_id"], json!(session_id(2)));
}

#[tokio::test]
async fn a_stimulus_needs_a_session_that_runs_and_is_not_being_measured() {
    let desk = Desk::new();
    let body = |n: u128| json!({"client_action_id": Uuid::from_u128(n), "operator_note": " second try\n"});
    assert_eq!(desk.post(&stimulus_path(9), body(1)).await.0, 404);
    assert_eq!(desk.post(&stimulus_path(3), body(2)).await.0, 409);
    assert_eq!(desk.post(&stimulus_path(1), body(3)).await.0, 200);
    assert_eq!(desk.log.bodies()[0]["operator_note"], json!("second try"));
    assert_eq!(desk.call(Method::POST, "/stimulus", None).await.0, 409, "two sessions run");

    // Far ahead of any wall clock: its measurement is open.
    let open = Desk::over(List::default(), views(&[stimulus(1, 9_000_000_000)]));
    assert_eq!(open.post(&stimulus_path(1), body(4)).await.0, 409);
    assert_eq!(open.post(&stimulus_path(2), body(5)).await.0, 200);
}

#[tokio::test]
async fn the_untargeted_stimulus_goes_to_the_only_session() {
    let views = Views::new(Catalog::all());
    drive(&mut views.sink(), &[(1000, vec![change(1000, &session(1, 0, None), 1)])]);
    let desk = Desk::over(List::default(), views);
    let (status, answer) = desk.call(Method::POST, "/stimulus", None).await;
    assert_eq!((status, answer), (200, json!({"status": "triggered", "receivers": 1})));
    assert_eq!(desk.log.bodies()[0]["session_id"], json!(session_id(1)));
}

#[tokio::test]
async fn a_log_that_does_not_acknowledge_is_a_503_and_nothing_is_remembered() {
    let away = Desk::over(List { is_away: true, ..List::default() }, views(&[]));
    let body = json!({"client_action_id": ACTION});
    for _ in 0..2 {
        assert_eq!(away.post(&stimulus_path(1), body.clone()).await.0, 503);
    }
    let router = Api::new(&views(&[])).router(Shutdown::never());
    let reading = Desk { log: Arc::default(), router };
    assert_eq!(reading.post(&stimulus_path(1), body).await.0, 503, "an API without a log");
}

#[tokio::test]
async fn experiments_are_created_once() {
    let desk = Desk::new();
    let arms = json!([{"arm": "b", "greeting_text": "Hello"}, {"arm": "a", "greeting_text": " Hi "}]);
    let body = json!({"experiment_id": "new", "label": "New", "arms": arms});
    let (status, answer) = desk.post("/experiments", body).await;
    assert_eq!(status, 201);
    let line = |arm: &str, text: &str| {
        json!({
            "experiment_id": "new", "label": "New", "arm": arm, "greeting_text": text, "alpha_param": 1.0,
            "beta_param": 1.0, "enabled": true, "end_dated_at": null, "updated_at": "2026-02-02T02:41:40Z",
        })
    };
    assert_eq!(
        answer,
        json!({"experiment_id": "new", "label": "New", "arms": [line("a", "Hi"), line("b", "Hello")]})
    );
    assert_eq!(desk.log.bodies()[0]["type"], json!("create"));
    let body =
        json!({"experiment_id": "greetings", "label": "x", "arms": [{"arm": "a", "greeting_text": "b"}]});
    assert_eq!(desk.post("/experiments", body).await.0, 409);
}

#[tokio::test]
async fn arms_are_added_edited_disabled_and_deleted() {
    let desk = Desk::new();
    let arms = "/experiments/greetings/arms";
    let new = |arm: &str| json!({"arm": arm, "greeting_text": "Good evening"});
    assert_eq!(desk.post(arms, new("third")).await.0, 201);
    assert_eq!(desk.post(arms, new("used")).await.0, 409);
    assert_eq!(desk.post("/experiments/none/arms", new("third")).await.0, 404);

    let used = format!("{arms}/used");
    let patch = async |path: &str, body: Value| desk.call(Method::PATCH, path, Some(body)).await;
    let (status, edited) = patch(&used, json!({"greeting_text": "Welcome"})).await;
    assert_eq!(
        (status, &edited["greeting_text"], &edited["alpha_param"]),
        (200, &json!("Welcome"), &json!(1.5))
    );
    let (status, off) = patch(&used, json!({"enabled": false, "greeting_text": "Bye"})).await;
    assert_eq!(
        (status, &off["enabled"], &off["end_dated_at"]),
        (200, &json!(false), &json!("2026-02-02T02:41:40Z"))
    );
    for (body, status) in [
        (json!({}), 422),
        (json!({"enabled": true}), 422),
        (json!({"greeting_text": "  "}), 422),
        (json!({"alpha_param": 2.0, "greeting_text": "a"}), 422),
        (json!({"greeting_text": null}), 422),
    ] {
        assert_eq!(patch(&used, body.clone()).await.0, status, "{body}");
    }
    assert_eq!(patch(&format!("{arms}/none"), json!({"greeting_text": "a"})).await.0, 404);

    let delete = async |arm: &str| desk.call(Method::DELETE, &format!("{arms}/{arm}"), None).await;
    let (status, gone) = delete("unused").await;
    assert_eq!((status, &gone["deleted"], &gone["arm_state"]), (200, &json!(true), &Value::Null));
    let (status, kept) = delete("used").await;
    assert_eq!((status, &kept["deleted"], &kept["posterior_preserved"]), (200, &json!(false), &json!(true)));
    assert_eq!(
        (&kept["arm_state"]["enabled"], &kept["arm_state"]["alpha_param"]),
        (&json!(false), &json!(1.5))
    );
    assert_eq!(delete("none").await.0, 404);

    let types: Vec<Value> = desk.log.bodies().iter().map(|body| body["type"].clone()).collect();
    assert_eq!(types, ["set_arm", "set_arm", "disable_arm", "delete_arm", "delete_arm"]);
}

#[tokio::test]
async fn an_idempotency_key_is_taken_where_the_body_has_none() {
    let desk = Desk::new();
    let send = async |arm: &str| {
        let request = Request::post("/api/v1/experiments/greetings/arms")
            .header("content-type", "application/json")
            .header("Idempotency-Key", ACTION.to_string())
            .body(Body::from(json!({"arm": arm, "greeting_text": "Hello"}).to_string()));
        desk.send(request.expect("a request")).await
    };
    let first = send("third").await;
    assert_eq!(first.0, 201);
    assert_eq!(send("third").await, first, "the same answer");
    assert_eq!(send("fourth").await.0, 409, "another request under the same key");
    assert_eq!(desk.log.bodies().len(), 1);
}

#[tokio::test]
async fn bad_bodies_are_refused_with_every_problem() {
    let desk = Desk::new();
    let (status, answer) = desk
        .post("/sessions", json!({"stream_url": 7, "experiment_id": " ", "client_action_id": "x", "id": 1}))
        .await;
    let problem = |name: &str, message: &str, kind: &str| json!({"location": ["body", name], "message": message, "type": kind});
    let expected = json!([
        problem("stream_url", "not a text", "type"),
        problem("experiment_id", "blank", "blank"),
        problem("client_action_id", "not a UUID", "uuid"),
        problem("id", "not a field of this request", "unknown"),
    ]);
    assert_eq!((status, &answer["detail"]), (422, &expected));

    let raw = async |kind: &str, body: Vec<u8>| {
        let request = Request::post("/api/v1/sessions").header("content-type", kind).body(Body::from(body));
        desk.send(request.expect("a request")).await.0
    };
    assert_eq!(raw("application/json", b"{\"a\":".to_vec()).await, 422);
    assert_eq!(raw("application/json", b"[]".to_vec()).await, 422);
    assert_eq!(raw("application/json", vec![0xff, 0xfe]).await, 422);
    assert_eq!(raw("text/plain", b"{}".to_vec()).await, 422);
    assert_eq!(raw("application/json", vec![b' '; 70_000]).await, 413);
    let long = json!({"experiment_id": "e", "label": "l".repeat(3_000), "arms": []});
    assert_eq!(desk.post("/experiments", long).await.0, 422);
    let twice = json!([{"arm": "a", "greeting_text": "b"}, {"arm": " a", "greeting_text": "c"}]);
    assert_eq!(
        desk.post("/experiments", json!({"experiment_id": "e", "label": "l", "arms": twice})).await.0,
        422
    );
    assert_eq!(desk.log.bodies(), [] as [Value; 0]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}|\\x00|[\\n\\t ]{1,3}".prop_map(Value::from),
    ];
    let name = "stream_url|experiment_id|client_action_id|operator_note|label|arms|arm|greeting_text|enabled|[a-z]{1,3}";
    leaf.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name, inner, 0..5).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Whatever is sent, the answer is one of those specified, and at most one record is written.
    #[test]
    fn hostile_bodies_and_paths(body in any_json(), id in "\\PC{1,12}", at in 0..5usize, method in 0..3usize) {
        let id: String = id.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let paths = [
            "/sessions".to_owned(),
            "/experiments".to_owned(),
            format!("/experiments/{id}/arms"),
            format!("/experiments/greetings/arms/{id}"),
            format!("/operator/sessions/{id}/stimulus"),
        ];
        let method = [Method::POST, Method::PATCH, Method::DELETE][method].clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let desk = Desk::new();
        let (status, _) = runtime.block_on(desk.call(method, &paths[at], Some(body)));
        prop_assert!([200, 201, 404, 405, 409, 422].contains(&status), "{}", status);
        prop_assert!(desk.log.bodies().len() <= 1);
    }
}
