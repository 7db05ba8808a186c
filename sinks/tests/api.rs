//! The routes of the API, called without a socket.

mod common;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use common::{arm, arm_summary, change, drive, encounter, metrics, segment, session, session_id};
use lsie_schemas::row::{InferenceRow, PosteriorUpdateRow, RecordClassRow};
use lsie_schemas::{Change, EventTime, LogTime, Real, TableRow, shape};
use lsie_sinks::views::{Api, Shutdown, contents};
use lsie_sinks::{Catalog, Views};
use serde_json::{Value, json};
use tower::ServiceExt;

/// Two sessions, their segments and metrics, encounters of three arms.
fn views() -> Views {
    let views = Views::new(Catalog::all());
    let mut inserted: Vec<Change> = vec![
        change(1000, &session(1, 0, None), 1),
        change(1000, &session(2, 60, Some(90)), 1),
        change(1000, &segment(1, 1), 1),
        change(1000, &segment(1, 2), 1),
        change(1000, &segment(2, 1), 1),
        change(1000, &metrics(1, 1, Some(1.0)), 1),
        change(1000, &metrics(1, 2, Some(2.0)), 1),
        change(1000, &metrics(1, 3, None), 1),
    ];
    inserted.extend(
        [("b", 4.0), ("a", 2.5)].map(|(name, alpha)| change(1000, &arm("greeting_line_v1", name, alpha), 1)),
    );
    inserted.push(change(1000, &arm("other", "x", 1.0), 1));
    let later = vec![
        change(2000, &encounter(1, "b", 10, 0.0, true), 1),
        change(2000, &encounter(1, "a", 20, 0.5, true), 1),
        change(2000, &arm("greeting_line_v1", "a", 2.5), -1),
        change(2000, &arm("greeting_line_v1", "a", 3.5), 1),
    ];
    let last = vec![
        change(3000, &encounter(1, "a", 40, 0.75, true), 1),
        change(3000, &encounter(2, "c", 15, 0.0, false), 1),
        change(3000, &arm_summary("b", [1, 1], 0.0, Some(0.0), [10, 10]), 1),
        change(3000, &arm_summary("a", [2, 2], 0.625, Some(0.625), [20, 40]), 1),
        change(3000, &arm_summary("c", [1, 0], 0.0, None, [15, 15]), 1),
    ];
    drive(&mut views.sink(), &[(1000, inserted), (2000, later), (3000, last)]);
    views
}

struct Answer {
    status: StatusCode,
    epoch: String,
    body: Value,
}

async fn call(views: &Views, method: Method, path: &str) -> Answer {
    let request = Request::builder().method(method).uri(path).body(Body::empty()).expect("a request");
    let response = Api::new(views).router(Shutdown::never()).oneshot(request).await.expect("infallible");
    let status = response.status();
    let epoch = response.headers().get("x-lsie-epoch").expect("on every response");
    let epoch = epoch.to_str().expect("digits").to_owned();
    let bytes = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
    Answer { status, epoch, body }
}

/// The body of a request that succeeds.
async fn get(views: &Views, path: &str) -> Value {
    let answer = call(views, Method::GET, path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
    assert_eq!(answer.epoch, "3000", "{path}");
    answer.body
}

async fn check_fault(path: &str, status: u16, detail: Value) {
    let answer = call(&views(), Method::GET, path).await;
    assert_eq!(answer.status.as_u16(), status, "{path}");
    assert_eq!(answer.body, json!({ "detail": detail }), "{path}");
    assert_eq!(answer.epoch, "3000", "{path}");
}

/// A refusal for one query parameter.
async fn check_query(path: &str, name: &str, message: &str, kind: &str) {
    check_fault(path, 422, json!([{"location": ["query", name], "message": message, "type": kind}])).await;
}

/// One field of every object of a list.
fn field(list: &Value, name: &str) -> Vec<Value> {
    list.as_array().expect("a list").iter().map(|object| object[name].clone()).collect()
}

#[tokio::test]
async fn health_says_that_the_process_lives() {
    assert_eq!(get(&views(), "/health").await, json!({"status": "ok"}));
    let answer = call(&Views::new(Catalog::all()), Method::GET, "/health").await;
    assert_eq!((answer.status.as_u16(), answer.epoch.as_str()), (200, "0"));
}

#[tokio::test]
async fn sessions_newest_first() {
    let expected = json!([
        {
            "session_id": session_id(2).to_string(),
            "stream_url": "https://example.org/2",
            "started_at": "2026-02-02T02:41:00Z",
            "ended_at": "2026-02-02T02:41:30Z",
            "metric_count": 0,
        },
        {
            "session_id": session_id(1).to_string(),
            "stream_url": "https://example.org/1",
            "started_at": "2026-02-02T02:40:00Z",
            "ended_at": null,
            "metric_count": 3,
        },
    ]);
    assert_eq!(get(&views(), "/api/v1/sessions").await, expected);
}

#[tokio::test]
async fn one_session_with_its_summary() {
    let views = views();
    let body = get(&views, &format!("/api/v1/sessions/{}", session_id(1))).await;
    assert_eq!(body["session_id"], json!(session_id(1).to_string()));
    let expected = json!({
        "total_segments": 2,
        "avg_au12": 1.5,
        "avg_pitch_f0": null,
        "avg_jitter": null,
        "avg_shimmer": null,
        "first_segment_at": "2026-02-02T02:40:30Z",
        "last_segment_at": "2026-02-02T02:41:00Z",
    });
    assert_eq!(body["summary"], expected);
    let missing = session_id(7);
    check_fault(&format!("/api/v1/sessions/{missing}"), 404, json!(format!("no session {missing}"))).await;
    let problem = json!([{"location": ["path", "session_id"], "message": "not a UUID", "type": "uuid"}]);
    check_fault("/api/v1/sessions/seven", 422, problem.clone()).await;
    check_fault(&format!("/api/v1/sessions/{}", missing.simple()), 422, problem).await;
}

#[tokio::test]
async fn encounters_newest_created_first() {
    let views = views();
    let all = get(&views, "/api/v1/encounters").await;
    assert_eq!(field(&all, "arm"), ["a", "c", "a", "b"]);
    assert_eq!(field(&all, "created_at")[0], json!("1970-01-01T00:00:03Z"));
    let names = ["arm", "baseline_neutral", "created_at", "experiment_id", "gated_reward", "id", "is_valid"];
    let object = all[0].as_object().expect("an object");
    assert_eq!(object.keys().take(7).collect::<Vec<_>>(), names);
    assert_eq!(object.len(), 14);
    assert!(object["id"].is_u64());
    let arms = async |path: &str| field(&get(&views, path).await, "arm");
    assert_eq!(arms("/api/v1/encounters?arm=a").await, ["a", "a"]);
    assert_eq!(arms("/api/v1/encounters?valid_only=true").await, ["a", "a", "b"]);
    assert_eq!(arms("/api/v1/encounters?valid_only=false&limit=2").await, ["a", "c"]);
    assert_eq!(arms("/api/v1/encounters?experiment_id=other").await, [] as [&str; 0]);
    assert_eq!(arms("/api/v1/encounters?experiment_id=greeting_line_v1&arm=b&limit=1000").await, ["b"]);
}

#[tokio::test]
async fn bad_queries_are_named() {
    check_query("/api/v1/encounters?limit=0", "limit", "not from 1 to 1000", "range").await;
    check_query("/api/v1/encounters?limit=1001", "limit", "not from 1 to 1000", "range").await;
    check_query("/api/v1/encounters?limit=ten", "limit", "not a whole number", "int").await;
    check_query("/api/v1/encounters?limit=-1", "limit", "not a whole number", "int").await;
    check_query("/api/v1/encounters?valid_only=maybe", "valid_only", "neither true nor false", "bool").await;
    check_query("/api/v1/encounters?arn=a", "arn", "not a parameter of this route", "unknown").await;
    check_query("/api/v1/encounters?arm=a&arm=b", "arm", "given more than once", "duplicate").await;
    check_query("/api/v1/sessions?limit=1", "limit", "not a parameter of this route", "unknown").await;
    check_query("/api/v1/segments?session_id=1", "session_id", "not a UUID", "uuid").await;
    let two = call(&views(), Method::GET, "/api/v1/encounters?limit=0&valid_only=x").await;
    assert_eq!(two.body["detail"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn summary_of_an_experiment_best_arm_first() {
    let expected = json!([
        {
            "arm": "a", "encounter_count": 2, "valid_count": 2,
            "avg_reward": 0.625, "avg_valid_reward": 0.625,
            "avg_p90": 0.625, "gate_rate": 1.0, "avg_frames": 150.0,
            "first_encounter": "2026-02-02T02:40:20Z", "last_encounter": "2026-02-02T02:40:40Z",
        },
        {
            "arm": "b", "encounter_count": 1, "valid_count": 1, "avg_reward": 0.0, "avg_valid_reward": 0.0,
            "avg_p90": 0.25, "gate_rate": 0.0, "avg_frames": 150.0,
            "first_encounter": "2026-02-02T02:40:10Z", "last_encounter": "2026-02-02T02:40:10Z",
        },
        {
            "arm": "c", "encounter_count": 1, "valid_count": 0, "avg_reward": 0.0, "avg_valid_reward": null,
            "avg_p90": null, "gate_rate": 0.0, "avg_frames": null,
            "first_encounter": "2026-02-02T02:40:15Z", "last_encounter": "2026-02-02T02:40:15Z",
        },
    ]);
    assert_eq!(get(&views(), "/api/v1/encounters/greeting_line_v1/summary").await, expected);
    check_fault(
        "/api/v1/encounters/none%20such/summary",
        404,
        json!("no encounters of experiment none such"),
    )
    .await;
}

#[tokio::test]
async fn experiments_and_their_arms() {
    let views = views();
    let list = get(&views, "/api/v1/experiments").await;
    assert_eq!(list, json!([{"experiment_id": "greeting_line_v1"}, {"experiment_id": "other"}]));
    let line = |arm: &str, alpha: f64, second: u32| {
        json!({
            "experiment_id": "greeting_line_v1", "arm": arm, "alpha_param": alpha, "beta_param": 1.0,
            "updated_at": format!("1970-01-01T00:00:0{second}Z"),
        })
    };
    let expected =
        json!({"experiment_id": "greeting_line_v1", "arms": [line("a", 3.5, 2), line("b", 4.0, 1)]});
    assert_eq!(get(&views, "/api/v1/experiments/greeting_line_v1").await, expected);
    check_fault("/api/v1/experiments/none", 404, json!("no experiment none")).await;
}

/// However long it is: the newest steps, the oldest of them first; at equal times in one order.
#[tokio::test]
async fn the_history_of_posteriors_is_bounded() {
    let views = Views::new(Catalog::served());
    let step = |arm: &str, epoch: u64| {
        let row = PosteriorUpdateRow {
            experiment_id: "e".into(),
            arm: arm.into(),
            at: LogTime(epoch).as_event(),
            alpha_param: Real(1.0 + epoch as f64 / 1e3),
            beta_param: Real(1.0),
            moved_by: lsie_schemas::table::Json::new(&json!([])),
        };
        Change {
            table: PosteriorUpdateRow::TABLE.name.into(),
            row: row.cells(),
            epoch: LogTime(epoch),
            diff: 1,
        }
    };
    let epochs: Vec<_> = (1..=1_500).map(|n| (n * 2, vec![step("b", n * 2), step("a", n * 2)])).collect();
    drive(&mut views.sink(), &epochs);
    let path = "/api/v1/experiments/e/history";
    let newest = get(&views, path).await;
    assert_eq!(newest.as_array().map(Vec::len), Some(1_000));
    assert_eq!(
        (&newest[0]["at"], &newest[999]["at"]),
        (&json!("1970-01-01T00:00:02.002000Z"), &json!("1970-01-01T00:00:03Z"))
    );
    let three = get(&views, &format!("{path}?limit=3")).await;
    assert_eq!(field(&three, "arm"), ["a", "b", "a"]);
    assert_eq!(get(&views, &format!("{path}?limit=10000")).await.as_array().map(Vec::len), Some(3_000));
    check_query("/api/v1/experiments/e/history?limit=10001", "limit", "not from 1 to 10000", "range").await;
    assert_eq!(get(&views, "/api/v1/experiments/unknown/history").await, json!([]));
}

/// Of the requests, whose identities are hashes, those about the newest sound; and one session's records alone.
#[tokio::test]
async fn what_was_heard_and_what_became_of_records_is_read_by_session() {
    let views = Views::new(Catalog::served());
    let answer = |session: u128, request: &str, second: i64| {
        let row = InferenceRow {
            session_id: session_id(session),
            request_id: request.into(),
            what: "speech".into(),
            segment_id: "s".into(),
            from_utc: EventTime(0),
            to_utc: EventTime(second * 1_000_000),
            input_sha256: "00".into(),
            model: "m".into(),
            answer: None,
            reason: None,
        };
        Change { table: InferenceRow::TABLE.name.into(), row: row.cells(), epoch: LogTime(3_000), diff: 1 }
    };
    let class = |session: String, class: &str, records: i64| {
        let topic = "av.audio".into();
        let row = RecordClassRow { session, topic, class: class.into(), reason: "".into(), records };
        Change { table: RecordClassRow::TABLE.name.into(), row: row.cells(), epoch: LogTime(3_000), diff: 1 }
    };
    let changes = vec![
        answer(1, "ff", 10),
        answer(1, "0a", 30),
        answer(1, "7c", 20),
        answer(2, "00", 99),
        class(session_id(1).to_string(), "used", 7),
        class(session_id(1).to_string(), "late", 1),
        class(session_id(2).to_string(), "used", 3),
        class("unattributed".into(), "filed", 2),
    ];
    drive(&mut views.sink(), &[(3_000, changes)]);
    let of = |session: u128, rest: &str| format!("/api/v1/operator/sessions/{}/{rest}", session_id(session));
    assert_eq!(field(&get(&views, &of(1, "inferences")).await, "request_id"), ["0a", "7c", "ff"]);
    let newest = get(&views, &of(1, "inferences?limit=1")).await;
    assert_eq!(newest[0]["to_utc"], "1970-01-01T00:00:30Z");
    assert_eq!(newest.as_array().map(Vec::len), Some(1));
    check_query(&of(1, "inferences?limit=1001"), "limit", "not from 1 to 1000", "range").await;
    assert_eq!(field(&get(&views, &of(1, "records")).await, "records"), [1, 7]);
    assert_eq!(get(&views, &of(3, "records")).await, json!([]));
}

#[tokio::test]
async fn segments_newest_first() {
    let views = views();
    let all = get(&views, "/api/v1/segments").await;
    assert_eq!(field(&all, "ordinal"), [2, 1, 1]);
    let one = get(&views, &format!("/api/v1/segments?session_id={}&limit=1", session_id(1))).await;
    assert_eq!(field(&one, "closed_by"), ["complete"]);
    assert_eq!(field(&one, "ordinal"), [2]);
    let unknown = get(&views, &format!("/api/v1/segments?session_id={}", session_id(9))).await;
    assert_eq!(unknown, json!([]));
}

#[tokio::test]
async fn every_view_is_listed_and_its_rows_fit_their_schema() {
    let views = views();
    let list = get(&views, "/api/v1/views").await;
    let names: Vec<&str> = views.catalog().tables().iter().map(|table| table.name).collect();
    assert_eq!(field(&list, "view"), names);
    for (table, described) in views.catalog().tables().iter().zip(list.as_array().expect("a list")) {
        let rows = get(&views, &format!("/api/v1/views/{}", table.name)).await;
        let rows = rows.as_array().expect("a list");
        assert_eq!(described["rows"], json!(rows.len()));
        assert_eq!(described["columns"].as_array().map(Vec::len), Some(table.columns.len()));
        let schema = shape::json_schema(table);
        for row in rows {
            let keys: Vec<&String> = row.as_object().expect("an object").keys().collect();
            assert_eq!(json!(keys), schema["required"], "{}", table.name);
        }
    }
}

#[tokio::test]
async fn rows_of_a_view() {
    let views = views();
    let path = |query: &str| format!("/api/v1/views/metrics?{query}");
    assert_eq!(field(&get(&views, &path("limit=2")).await, "au12_intensity"), [1.0, 2.0]);
    let of_session = get(&views, &path(&format!("session_id={}", session_id(2)))).await;
    assert_eq!(of_session, json!([]));
    check_fault("/api/v1/views/nothing", 404, json!("no view nothing")).await;
    check_query("/api/v1/views/metrics?limit=10001", "limit", "not from 1 to 10000", "range").await;
    let no_session = format!("/api/v1/views/experiments?session_id={}", session_id(1));
    check_query(&no_session, "session_id", "view experiments has no column session_id", "unknown").await;
    // A view whose key does not begin with the session is searched.
    let by_scan = get(&views, &format!("/api/v1/views/dead_letters?session_id={}", session_id(1))).await;
    assert_eq!(by_scan, json!([]));
}

#[tokio::test]
async fn unknown_routes_and_methods_have_the_error_body() {
    check_fault("/api/v1/nowhere", 404, json!("no such route")).await;
    check_fault("/nowhere", 404, json!("no such route")).await;
    let answer = call(&views(), Method::PUT, "/api/v1/sessions").await;
    assert_eq!((answer.status.as_u16(), answer.body), (405, json!({"detail": "method not allowed"})));
}

#[tokio::test]
async fn before_the_first_epoch_and_after_a_failure_there_is_no_answer() {
    let paths =
        ["/api/v1/sessions", "/api/v1/views", "/api/v1/views/sessions/changes", "/api/v1/experiments/x"];
    let fresh = Views::new(Catalog::all());
    let failed = views();
    failed.suspend();
    for path in paths {
        for (views, epoch) in [(&fresh, "0"), (&failed, "3000")] {
            let answer = call(views, Method::GET, path).await;
            assert_eq!((answer.status.as_u16(), answer.epoch.as_str()), (503, epoch), "{path}");
            assert!(answer.body["detail"].is_string());
        }
    }
    fresh.serve();
    let answer = call(&fresh, Method::GET, "/api/v1/sessions").await;
    assert_eq!((answer.status.as_u16(), answer.body), (200, json!([])));
}

#[tokio::test]
async fn a_past_epoch_is_answered_as_it_was() {
    let views = views();
    let at = async |path: &str, epoch: u64| {
        let answer = call(&views, Method::GET, &format!("{path}?as_of={epoch}")).await;
        assert_eq!((answer.status.as_u16(), answer.epoch), (200, epoch.to_string()), "{path}");
        answer.body
    };
    assert_eq!(at("/api/v1/sessions", 999).await, json!([]));
    assert_eq!(field(&at("/api/v1/encounters", 1999).await, "arm"), [] as [&str; 0]);
    assert_eq!(field(&at("/api/v1/encounters", 2000).await, "arm"), ["a", "b"]);
    let alpha = async |epoch| at("/api/v1/experiments/greeting_line_v1", epoch).await["arms"][0].clone();
    let (before, after) = (alpha(1500).await, alpha(2000).await);
    assert_eq!(
        (&before["alpha_param"], &before["updated_at"]),
        (&json!(2.5), &json!("1970-01-01T00:00:01Z"))
    );
    assert_eq!((&after["alpha_param"], &after["updated_at"]), (&json!(3.5), &json!("1970-01-01T00:00:02Z")));
    check_query("/api/v1/sessions?as_of=3001", "as_of", "not from 0 to 3000", "range").await;
    check_query("/api/v1/sessions?as_of=-1", "as_of", "not a log time in milliseconds", "int").await;
    drive(&mut views.sink(), &[(700_000, vec![change(700_000, &session(7, 0, None), 1)])]);
    let gone = call(&views, Method::GET, "/api/v1/sessions?as_of=2999").await;
    assert_eq!(gone.status.as_u16(), 422);
    assert_eq!(at("/api/v1/sessions", 3000).await.as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn rows_are_csv_for_who_accepts_that_first() {
    let csv = async |path: &str, accept: &str| {
        let request = Request::get(path).header("accept", accept).body(Body::empty()).expect("a request");
        let response =
            Api::new(&views()).router(Shutdown::never()).oneshot(request).await.expect("infallible");
        let kind = response.headers()["content-type"].to_str().expect("text").to_owned();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        (kind, String::from_utf8(bytes.to_vec()).expect("text"))
    };
    let (kind, text) = csv("/api/v1/encounters?limit=1", "text/csv").await;
    assert_eq!(kind, "text/csv; charset=utf-8; header=present");
    let (head, line) = text.split_once("\r\n").expect("two lines");
    assert_eq!(head.split(',').take(3).collect::<Vec<_>>(), ["id", "session_id", "segment_id"]);
    assert!(line.contains(",a,2026-02-02T02:40:40Z,0.75,0.75,1,true,150,null,"), "{line}");
    let (_, text) = csv("/api/v1/views/transcripts", "text/csv;q=0.9, application/json").await;
    assert_eq!(text, "id,session_id,segment_id,timestamp_utc,text,created_at,updated_at\r\n");
    for (path, accept) in
        [("/api/v1/encounters", "application/json, text/csv"), ("/api/v1/views", "text/csv")]
    {
        assert_eq!(csv(path, accept).await.0, "application/json", "{path}");
    }
}

#[test]
fn without_the_console_a_page_names_every_view() {
    let views = views();
    let page = contents(&views);
    assert!(page.contains("/api/v1/sessions"));
    for table in views.catalog().tables() {
        assert!(page.contains(&format!("<a href=\"/api/v1/views/{}\">", table.name)), "{}", table.name);
    }
    assert_eq!(views.read().epoch(), Some(LogTime(3000)));
}
