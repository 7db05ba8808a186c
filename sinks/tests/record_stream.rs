//! The records of `/operator` as server-sent events: the same as the answer, and again when it has changed.

mod common;

use axum::body::{Body, BodyDataStream, to_bytes};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use common::{change, drive, session, session_id};
use futures::StreamExt;
use lsie_sinks::views::{Api, Shutdown};
use lsie_sinks::{Catalog, Views};
use serde_json::Value;
use tower::ServiceExt;

async fn ask(views: &Views, path: &str, accept: &str) -> Response {
    let request = Request::get(path).header("accept", accept).body(Body::empty()).expect("a request");
    Api::new(views).router(Shutdown::never()).oneshot(request).await.expect("infallible")
}

async fn answer(views: &Views, path: &str) -> Value {
    let response = ask(views, path, "application/json").await;
    assert_eq!(response.status(), StatusCode::OK);
    let bytes = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// The next event: its id and its record.
async fn event(stream: &mut BodyDataStream) -> (String, Value) {
    let chunk = stream.next().await.expect("an event").expect("a chunk");
    let text = String::from_utf8(chunk.to_vec()).expect("text");
    let line =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
    assert_eq!(line("event: "), "record", "{text}");
    (line("id: "), serde_json::from_str(&line("data: ")).expect("JSON"))
}

#[tokio::test]
async fn a_record_comes_as_it_is_answered_and_again_when_it_has_changed() {
    let views = Views::new(Catalog::served());
    let mut sink = views.sink();
    let path = "/api/v1/operator/alerts";
    drive(&mut sink, &[(1_000, Vec::new())]);
    let overview = "/api/v1/operator/overview";
    let response = ask(&views, overview, "text/event-stream").await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["x-lsie-epoch"], "1000");
    let mut stream = response.into_body().into_data_stream();
    assert_eq!(event(&mut stream).await, ("1000".into(), answer(&views, overview).await));

    // What stays the same is not said again: the next event is that of the next change, however many epochs passed.
    let mut alerts = ask(&views, path, "text/event-stream;q=1, */*").await.into_body().into_data_stream();
    assert_eq!(event(&mut alerts).await, ("1000".into(), Value::Array(Vec::new())));
    drive(&mut sink, &[(2_000, Vec::new()), (3_000, vec![change(3_000, &session(1, 0, None), 1)])]);
    assert_eq!(event(&mut stream).await, ("3000".into(), answer(&views, overview).await));
    let quiet = tokio::time::timeout(std::time::Duration::from_millis(1_500), alerts.next()).await;
    assert!(quiet.is_err(), "no alert came");
}

#[tokio::test]
async fn what_has_no_answer_has_no_stream() {
    let views = Views::new(Catalog::served());
    let of = |id| format!("/api/v1/operator/sessions/{id}");
    let status = async |path: &str| ask(&views, path, "text/event-stream").await.status().as_u16();
    assert_eq!(status("/api/v1/operator/health").await, 503, "before the first epoch");
    drive(&mut views.sink(), &[(1_000, Vec::new())]);
    assert_eq!(status(&of(session_id(9).to_string())).await, 404);
    assert_eq!(status(&of("x".to_owned())).await, 422);
    let response = ask(&views, "/api/v1/sessions", "text/event-stream").await;
    assert_eq!(response.headers()["content-type"], "application/json", "only operators' records are streams");
}
