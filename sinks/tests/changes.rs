//! Streams of changes: snapshot, live epochs, resumption, and what happens when it is too late for that.

mod common;

use axum::body::{Body, BodyDataStream};
use axum::http::{Request, StatusCode};
use common::{change, drive, encounter, session_id};
use futures::StreamExt;
use lsie_schemas::LogTime;
use lsie_sinks::testing::{TOTALS, catalog, total};
use lsie_sinks::views::{Api, Shutdown};
use lsie_sinks::{Catalog, Sink, Views};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tower::ServiceExt;

/// A server-sent event.
#[derive(Debug, PartialEq)]
struct Event {
    name: String,
    id: Option<String>,
    data: Value,
}

/// A client of one stream.
struct Client {
    body: BodyDataStream,
    text: String,
}

impl Client {
    async fn open(views: &Views, path: &str, last_id: Option<&str>) -> Client {
        let mut request = Request::get(path);
        if let Some(id) = last_id {
            request = request.header("Last-Event-ID", id);
        }
        let request = request.body(Body::empty()).expect("a request");
        let response = Api::new(views).router(Shutdown::never()).oneshot(request).await.expect("infallible");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert!(response.headers().contains_key("x-lsie-epoch"));
        Client { body: response.into_body().into_data_stream(), text: String::new() }
    }

    async fn totals(views: &Views, last_id: Option<&str>) -> Client {
        Client::open(views, "/api/v1/views/totals/changes", last_id).await
    }

    async fn next(&mut self) -> Event {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = parse(event);
                self.text = rest.to_owned();
                return event;
            }
            let chunk = self.body.next().await.expect("the stream goes on").expect("a chunk");
            self.text.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    }

    async fn expect(&mut self, events: &[Event]) {
        for event in events {
            assert_eq!(&self.next().await, event);
        }
    }
}

fn parse(text: &str) -> Event {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(|v| v.trim_start().to_owned()))
    };
    let data = serde_json::from_str(&field("data").expect("data")).expect("JSON");
    Event { name: field("event").expect("a name"), id: field("id"), data }
}

fn reset(epoch: u64, rows: usize) -> Event {
    Event { name: "reset".into(), id: Some(String::new()), data: json!({"epoch": epoch, "rows": rows}) }
}

fn progress(epoch: u64) -> Event {
    Event { name: "progress".into(), id: Some(epoch.to_string()), data: json!({ "epoch": epoch }) }
}

/// A change of a total; `created` and `updated` in seconds.
fn changed(epoch: u64, name: &str, value: i64, diff: i64, created: u64, updated: u64) -> Event {
    let id = TOTALS.id_of(&total(epoch, name, value, diff).row);
    let time = |s: u64| format!("1970-01-01T00:00:0{s}Z");
    let (created, updated) = (time(created), time(updated));
    let row = json!({"id": id, "name": name, "total": value, "created_at": created, "updated_at": updated});
    Event { name: "change".into(), id: None, data: json!({"epoch": epoch, "diff": diff, "row": row}) }
}

/// Epochs 1000 to 3000: `a` set, replaced, and `b` set.
fn views() -> Views {
    let views = Views::new(catalog());
    let epochs = [
        (1000, vec![total(1000, "a", 1, 1)]),
        (2000, vec![total(2000, "a", 2, 1), total(2000, "a", 1, -1)]),
        (3000, vec![total(3000, "b", 7, 1)]),
    ];
    drive(&mut views.sink(), &epochs);
    views
}

fn commit(sink: &mut dyn Sink, epoch: u64, changes: &[lsie_schemas::Change]) {
    sink.write(LogTime(epoch), changes).expect("a correct epoch");
    sink.commit(LogTime(epoch)).expect("a complete epoch");
}

#[tokio::test]
async fn a_new_client_gets_the_rows_and_then_what_changes() {
    let views = views();
    let mut client = Client::totals(&views, None).await;
    let rows =
        [reset(3000, 2), changed(3000, "a", 2, 1, 1, 2), changed(3000, "b", 7, 1, 3, 3), progress(3000)];
    client.expect(&rows).await;
    let mut sink = views.sink();
    commit(&mut sink, 4000, &[total(4000, "a", 2, -1), total(4000, "a", 5, 1)]);
    client.expect(&[changed(4000, "a", 2, -1, 1, 2), changed(4000, "a", 5, 1, 1, 4), progress(4000)]).await;
    // An epoch without changes of this view still moves it forward.
    commit(&mut sink, 5000, &[]);
    client.expect(&[progress(5000)]).await;
}

#[tokio::test]
async fn a_client_resumes_after_the_epoch_it_has() {
    let views = views();
    let mut client = Client::totals(&views, Some("1000")).await;
    let missed = [
        changed(2000, "a", 1, -1, 1, 1),
        changed(2000, "a", 2, 1, 1, 2),
        progress(2000),
        changed(3000, "b", 7, 1, 3, 3),
        progress(3000),
    ];
    client.expect(&missed).await;
    let mut current = Client::totals(&views, Some("3000")).await;
    commit(&mut views.sink(), 4000, &[total(4000, "c", 1, 1)]);
    current.expect(&[changed(4000, "c", 1, 1, 4, 4), progress(4000)]).await;
    client.expect(&[changed(4000, "c", 1, 1, 4, 4), progress(4000)]).await;
}

#[tokio::test]
async fn a_client_that_cannot_resume_starts_anew() {
    let views = views();
    // From another run, or no number at all.
    for id in ["9999", "yesterday", ""] {
        Client::totals(&views, Some(id)).await.expect(&[reset(3000, 2)]).await;
    }
    // Longer ago than is kept: ten minutes of log time.
    let mut sink = views.sink();
    commit(&mut sink, 4000, &[total(4000, "y", 1, 1)]);
    commit(&mut sink, 700_000, &[total(700_000, "z", 1, 1)]);
    Client::totals(&views, Some("3000")).await.expect(&[reset(700_000, 4)]).await;
    let mut resumed = Client::totals(&views, Some("4000")).await;
    assert_eq!(resumed.next().await.data["row"]["name"], json!("z"));
    resumed.expect(&[progress(700_000)]).await;
}

#[tokio::test]
async fn a_stream_may_be_of_one_session() {
    let views = Views::new(Catalog::all());
    let mut sink = views.sink();
    commit(&mut sink, 1000, &[change(1000, &encounter(1, "a", 10, 0.5, true), 1)]);
    let path = format!("/api/v1/views/encounter_log/changes?session_id={}", session_id(2));
    let mut client = Client::open(&views, &path, None).await;
    client.expect(&[reset(1000, 0), progress(1000)]).await;
    let rows = [
        change(2000, &encounter(1, "a", 20, 0.5, true), 1),
        change(2000, &encounter(2, "b", 20, 0.5, true), 1),
    ];
    commit(&mut sink, 2000, &rows);
    let event = client.next().await;
    assert_eq!((event.name.as_str(), &event.data["row"]["arm"]), ("change", &json!("b")));
    client.expect(&[progress(2000)]).await;
}

#[tokio::test]
async fn streams_that_cannot_be_are_refused() {
    let views = views();
    for (path, status) in
        [("nothing/changes", 404), ("totals/changes?session_id=1", 422), ("totals/changes?since=1", 422)]
    {
        let request = Request::get(format!("/api/v1/views/{path}")).body(Body::empty()).expect("a request");
        let response = Api::new(&views).router(Shutdown::never()).oneshot(request).await.expect("infallible");
        assert_eq!(response.status().as_u16(), status, "{path}");
    }
}

/// A client that takes its time: what it has not taken is held nowhere, so that once its place is forgotten it is told to
/// start anew, and still ends with the served rows.
#[tokio::test]
async fn a_slow_client_is_told_to_start_anew() {
    const ROWS: u64 = 3_000;
    let views = Views::new(catalog());
    let mut sink = views.sink();
    let name = |n: u64| format!("{n:05}");
    let rows: Vec<_> = (0..ROWS).map(|n| total(1000, &name(n), 0, 1)).collect();
    commit(&mut sink, 1000, &rows);
    let mut client = Client::totals(&views, None).await;
    client.expect(&[reset(1000, ROWS as usize)]).await;
    assert_eq!(client.next().await.data["row"]["name"], name(0));
    // While its epoch is remembered it gets the rows of that epoch, then what has changed.
    let removed = total(2000, &name(ROWS - 1), 0, -1);
    commit(&mut sink, 2000, &[removed, total(2000, "x", 1, 1)]);
    for n in 1..2_000 {
        assert_eq!(client.next().await.data["row"]["name"], name(n));
    }
    // Later it is not.
    commit(&mut sink, 1_000_000, &[total(1_000_000, "x", 1, -1), total(1_000_000, "x", 2, 1)]);
    let mut event = client.next().await;
    while event.name == "change" {
        assert_eq!(event.data["epoch"], 1000);
        event = client.next().await;
    }
    assert_eq!(event, reset(1_000_000, ROWS as usize));
    let mut held = Vec::new();
    loop {
        match client.next().await {
            event if event.name == "change" => held.push(event.data["row"]["name"].clone()),
            event => break assert_eq!(event, progress(1_000_000)),
        }
    }
    let expected = (0..ROWS - 1).map(name).chain(["x".to_owned()]);
    assert_eq!(held, expected.map(Value::from).collect::<Vec<_>>());
    // The same within the changes of one epoch, which are more than a page.
    let changes: Vec<_> = (0..1_000).map(|n| total(1_000_250, &format!("y{n:04}"), n, 1)).collect();
    commit(&mut sink, 1_000_250, &changes);
    for n in 0..1_000 {
        assert_eq!(client.next().await.data["row"]["total"], n);
    }
    client.expect(&[progress(1_000_250)]).await;
}

/// Clients that lose their connection at random moments still end with exactly the served rows.
#[tokio::test]
async fn a_client_that_is_cut_off_again_and_again_has_the_same_rows() {
    let views = Views::new(catalog());
    let mut sink = views.sink();
    commit(&mut sink, 1, &[]);
    let mut held: BTreeMap<String, i64> = BTreeMap::new();
    let mut last_id: Option<String> = None;
    let mut random = 12345u32;
    for epoch in 2..200u64 {
        let name = format!("n{}", epoch % 7);
        let old = (epoch > 8).then(|| total(epoch, &name, epoch as i64 - 7, -1));
        let changes: Vec<_> = [total(epoch, &name, epoch as i64, 1)].into_iter().chain(old).collect();
        commit(&mut sink, epoch, &changes);
        let mut client = Client::totals(&views, last_id.as_deref().filter(|id| !id.is_empty())).await;
        let mut pending = Vec::new();
        let mut fresh = false;
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let cut_after = if epoch == 199 { usize::MAX } else { (random >> 24) as usize % 12 };
        for _ in 0..cut_after {
            let event = client.next().await;
            match event.name.as_str() {
                "reset" => (fresh, pending) = (true, Vec::new()),
                "change" => pending.push(event.data),
                "progress" => {
                    if std::mem::take(&mut fresh) {
                        held.clear();
                    }
                    pending.sort_by_key(|data| data["diff"].as_i64());
                    for data in pending.drain(..) {
                        let (name, value) = (data["row"]["name"].as_str(), data["row"]["total"].as_i64());
                        let (name, value) = (name.expect("a name").to_owned(), value.expect("a total"));
                        match data["diff"].as_i64() {
                            Some(1) => assert_eq!(held.insert(name, value), None),
                            _ => assert_eq!(held.remove(&name), Some(value)),
                        }
                    }
                    last_id = event.id;
                    if event.data["epoch"] == epoch {
                        break;
                    }
                }
                other => panic!("{other}"),
            }
        }
    }
    let served: BTreeMap<String, i64> = {
        let state = views.read();
        let position = views.catalog().position("totals").expect("totals");
        let rows = state.table(position).expect("totals").entries();
        rows.map(|e| match &e.row[..] {
            [lsie_schemas::Cell::Text(name), lsie_schemas::Cell::Int(value)] => (name.clone(), *value),
            other => panic!("{other:?}"),
        })
        .collect()
    };
    assert_eq!(held, served);
}
