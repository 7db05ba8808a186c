//! The console's side of the server: its page or what stands for it, its pulse, and the smile's trace.

mod common;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use common::{drive, session_id};
use futures::StreamExt;
use lsie_schemas::row::Au12Row;
use lsie_schemas::{Change, EventTime, LogTime, Real, TableRow};
use lsie_sinks::testing::{TOTALS, catalog, total};
use lsie_sinks::views::{Api, Shutdown};
use lsie_sinks::{Catalog, Views, console};
use serde_json::{Value, json};
use tower::ServiceExt;

async fn get(views: &Views, path: &str, headers: &[(&str, &str)]) -> Response {
    let request =
        headers.iter().fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
    let request = request.body(Body::empty()).expect("a request");
    Api::new(views).router(Shutdown::never()).oneshot(request).await.expect("infallible")
}

async fn text(response: Response) -> String {
    let bytes = to_bytes(response.into_body(), 10 << 20).await.expect("a body");
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn frame(seq: i64, epoch: u64) -> Change {
    let at = EventTime(1_767_607_200_000_000 + seq * 1_000);
    let row = Au12Row { session_id: session_id(1), seq, timestamp_utc: at, intensity: Real(0.25) };
    Change { table: Au12Row::TABLE.name.into(), row: row.cells(), epoch: LogTime(epoch), diff: 1 }
}

#[tokio::test]
async fn the_console_is_served_or_the_page_says_how_to_get_it() {
    let views = Views::new(catalog());
    let bare = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let router = Api::new(&views).without_console().router(Shutdown::never());
        router.oneshot(request).await.expect("infallible")
    };
    assert!(text(bare("/").await).await.contains("The operator console is not in this build"));
    assert_eq!(bare("/console.js").await.status(), StatusCode::NOT_FOUND);
    let page = get(&views, "/", &[]).await;
    assert_eq!(page.status(), StatusCode::OK);
    if !console::is_embedded() {
        assert!(text(page).await.contains("The operator console is not in this build"));
        return;
    }
    assert!(
        page.headers()["content-security-policy"].to_str().expect("text").starts_with("default-src 'self'")
    );
    let tag = page.headers()["etag"].to_str().expect("text").to_owned();
    assert!(text(page).await.contains("console.js"));
    assert_eq!(get(&views, "/", &[("if-none-match", &tag)]).await.status(), StatusCode::NOT_MODIFIED);
    let script = get(&views, "/console.js", &[("accept-encoding", "br, gzip")]).await;
    assert_eq!(script.headers()["content-encoding"], "gzip");
    assert_eq!(script.headers()["content-type"], "text/javascript; charset=utf-8");
}

#[tokio::test]
async fn only_the_console_s_own_files_are_served() {
    let views = Views::new(catalog());
    for path in ["/.gitignore", "/console.js.gz", "/Cargo.toml", "/..%2fCargo.toml", "/etc%2fpasswd"] {
        assert_eq!(get(&views, path, &[]).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn the_pulse_names_what_changed_and_what_was_missed() {
    let views = Views::new(catalog());
    let mut sink = views.sink();
    drive(&mut sink, &[(10, vec![total(10, "a", 1, 1)])]);
    let first = pulse(&views, None).await;
    assert_eq!(first, json!({"epoch": 10, "views": []}), "a new reader asks for everything anyway");
    drive(&mut sink, &[(20, vec![total(20, "b", 1, 1)])]);
    assert_eq!(pulse(&views, Some("10")).await, json!({"epoch": 20, "views": [TOTALS.name]}));
    assert_eq!(pulse(&views, Some("20")).await, json!({"epoch": 20, "views": []}));
}

async fn pulse(views: &Views, last_id: Option<&str>) -> Value {
    let headers: Vec<_> = last_id.map(|id| ("last-event-id", id)).into_iter().collect();
    let mut body = get(views, "/api/v1/pulse", &headers).await.into_body().into_data_stream();
    let chunk = body.next().await.expect("an event").expect("a chunk");
    let event = String::from_utf8(chunk.to_vec()).expect("text");
    let data = event.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
    serde_json::from_str(data).expect("JSON")
}

#[tokio::test]
async fn the_trace_goes_on_from_where_a_reader_is() {
    let views = Views::new(Catalog::served());
    let path = format!("/api/v1/operator/sessions/{}/au12", session_id(1));
    assert_eq!(get(&views, &path, &[]).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let mut sink = views.sink();
    drive(&mut sink, &[(10, vec![frame(3, 10), frame(4, 10)]), (20, vec![frame(5, 20)])]);
    let read = async |query: &str| -> Value {
        let response = get(&views, &format!("{path}{query}"), &[]).await;
        assert_eq!(response.headers()["x-lsie-epoch"], "20");
        serde_json::from_str(&text(response).await).expect("JSON")
    };
    let whole = read("").await;
    assert_eq!((&whole["seq"], &whole["intensity"]), (&json!([3, 4, 5]), &json!([0.25, 0.25, 0.25])));
    assert_eq!(whole["time_ms"][0], json!(1_767_607_200_003.0));
    assert_eq!(read("?after=10").await["seq"], json!([5]));
    for bad in ["?after=x", "?limit=1"] {
        assert_eq!(
            get(&views, &format!("{path}{bad}"), &[]).await.status(),
            StatusCode::UNPROCESSABLE_ENTITY
        );
    }
    let response = get(&views, "/api/v1/operator/sessions/nobody/au12", &[]).await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
}
