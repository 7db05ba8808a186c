//! Lists as routes show them, against a list that is sorted from scratch: after random inserts, corrections and
//! retractions, at every epoch, now and as of earlier ones, with every filter.

mod common;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use common::{Made, alert, change, encounter, metrics, session_id};
use lsie_schemas::LogTime;
use lsie_sinks::views::{Api, Shutdown};
use lsie_sinks::{Catalog, Sink, Views};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use tower::ServiceExt;

const ARMS: [&str; 3] = ["a", "b", "c"];

/// An encounter as the model has it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Known {
    session: u128,
    second: i64,
    arm: usize,
    is_valid: bool,
    reward: f64,
    created: u64,
}

impl Known {
    fn row(&self) -> Made {
        encounter(self.session, ARMS[self.arm], self.second, self.reward, self.is_valid)
    }
}

type Model = BTreeMap<(u128, i64), Known>;

/// A key, and what it is to have: nothing, or arm, validity and reward.
type Step = (u128, i64, Option<(usize, bool, u8)>);

fn epochs() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let set = (0..ARMS.len(), any::<bool>(), 0..3u8);
    let step = (1..4u128, 0..12i64, proptest::option::weighted(0.75, set));
    vec(vec(step, 0..8), 1..12)
}

/// Applies an epoch to model and views: the last step of a key counts.
fn apply(sink: &mut dyn Sink, model: &mut Model, epoch: u64, steps: &[Step]) {
    let wanted: BTreeMap<(u128, i64), _> =
        steps.iter().map(|(n, second, set)| ((*n, *second), *set)).collect();
    let mut changes = Vec::new();
    for ((session, second), set) in wanted {
        let old = model.get(&(session, second)).copied();
        let created = old.map_or(epoch, |old| old.created);
        let new = set.map(|(arm, is_valid, tenths)| {
            let reward = f64::from(tenths) / 10.0;
            Known { session, second, arm, is_valid, reward, created }
        });
        if old == new {
            continue;
        }
        changes.extend(old.map(|old| change(epoch, &old.row(), -1)));
        changes.extend(new.map(|new| change(epoch, &new.row(), 1)));
        match new {
            Some(new) => model.insert((session, second), new),
            None => model.remove(&(session, second)),
        };
    }
    sink.write(LogTime(epoch), &changes).expect("a correct epoch");
    sink.commit(LogTime(epoch)).expect("a complete epoch");
}

/// Session, time, arm and reward of what a route shows.
async fn shown(api: &axum::Router, path: &str) -> Vec<(String, String, String, f64)> {
    let request = Request::get(path).body(Body::empty()).expect("a request");
    let response = api.clone().oneshot(request).await.expect("infallible");
    assert!(response.status().is_success(), "{path}: {}", response.status());
    let bytes = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    let rows: Vec<Value> = serde_json::from_slice(&bytes).expect("a list");
    let text = |row: &Value, name: &str| row[name].as_str().expect("text").to_owned();
    let line = |row: &Value| {
        let reward = row["gated_reward"].as_f64().expect("a number");
        (text(row, "session_id"), text(row, "timestamp_utc"), text(row, "arm"), reward)
    };
    rows.iter().map(line).collect()
}

/// The same from the model, sorted from scratch: by epoch and stimulus, the newest first; then by key.
fn sorted(model: &Model, filter: impl Fn(&Known) -> bool) -> Vec<(String, String, String, f64)> {
    let mut rows: Vec<&Known> = model.values().filter(|known| filter(known)).collect();
    rows.sort_by_key(|known| (Reverse((known.created, known.second)), known.session));
    let line = |known: &&Known| {
        let id = session_id(known.session).to_string();
        (id, common::at(known.second).canonical(), ARMS[known.arm].to_owned(), known.reward)
    };
    rows.iter().map(line).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn encounters_as_sorted_from_scratch(epochs in epochs()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let views = Views::new(Catalog::served());
        let api = Api::new(&views).router(Shutdown::never());
        let (mut sink, mut model, mut history) = (views.sink(), Model::new(), Vec::new());
        for (at, steps) in epochs.iter().enumerate() {
            let epoch = 250 * (at as u64 + 1);
            apply(&mut sink, &mut model, epoch, steps);
            history.push((epoch, model.clone()));
            for (as_of, model) in &history {
                let asked = |query: &str| {
                    let path = format!("/api/v1/encounters?as_of={as_of}&{query}");
                    runtime.block_on(shown(&api, &path))
                };
                prop_assert_eq!(asked("limit=1000"), sorted(model, |_| true));
                let page: Vec<_> = sorted(model, |_| true).into_iter().take(3).collect();
                prop_assert_eq!(asked("limit=3"), page);
                prop_assert_eq!(asked("arm=b"), sorted(model, |known| known.arm == 1));
                prop_assert_eq!(asked("valid_only=true"), sorted(model, |known| known.is_valid));
                let of_all = asked("experiment_id=greeting_line_v1&arm=c&valid_only=true");
                prop_assert_eq!(of_all, sorted(model, |known| known.arm == 2 && known.is_valid));
                prop_assert_eq!(asked("experiment_id=other"), vec![]);
            }
        }
    }
}

async fn json(api: &axum::Router, path: &str) -> Value {
    let request = Request::get(path).body(Body::empty()).expect("a request");
    let response = api.clone().oneshot(request).await.expect("infallible");
    let bytes = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// Counts and rows by session, in tables whose key begins with the session and in others, now and then.
#[tokio::test]
async fn rows_by_session_and_their_counts() {
    let views = Views::new(Catalog::served());
    let api = Api::new(&views).router(Shutdown::never());
    let mut sink = views.sink();
    let first = [
        change(1000, &common::session(1, 0, None), 1),
        change(1000, &common::session(2, 5, None), 1),
        change(1000, &metrics(1, 1, Some(0.5)), 1),
        change(1000, &alert("a", 1, 10), 1),
        change(1000, &alert("b", 2, 20), 1),
    ];
    let second = [
        change(2000, &metrics(1, 2, None), 1),
        change(2000, &metrics(2, 1, None), 1),
        change(2000, &metrics(1, 1, Some(0.5)), -1),
        change(2000, &alert("c", 1, 5), 1),
        change(2000, &alert("b", 2, 20), -1),
    ];
    for (epoch, changes) in [(1000, &first), (2000, &second)] {
        sink.write(LogTime(epoch), changes).expect("a correct epoch");
        sink.commit(LogTime(epoch)).expect("a complete epoch");
    }
    for (as_of, counts, of_session) in [(1000, [0, 1], vec!["a"]), (2000, [1, 1], vec!["a", "c"])] {
        let sessions = json(&api, &format!("/api/v1/sessions?as_of={as_of}")).await;
        let counted = sessions.as_array().expect("a list").iter().map(|row| row["metric_count"].clone());
        assert_eq!(counted.collect::<Vec<_>>(), counts, "{as_of}");
        let path = format!("/api/v1/views/alerts?session_id={}&as_of={as_of}", session_id(1));
        let ids: Vec<Value> = json(&api, &path)
            .await
            .as_array()
            .expect("a list")
            .iter()
            .map(|row| row["alert_id"].clone())
            .collect();
        assert_eq!(ids, of_session, "{as_of}");
        let views = json(&api, &format!("/api/v1/views?as_of={as_of}")).await;
        let alerts = views.as_array().expect("a list").iter().find(|view| view["view"] == "alerts");
        assert_eq!(alerts.expect("alerts")["rows"], 2, "{as_of}");
    }
}
