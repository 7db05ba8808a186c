//! `GET /sessions` and `GET /sessions/{session_id}`.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use lsie_schemas::{Cell, Uuid};
use serde_json::{Map, Value, json};

use crate::views::params::{Params, RawPath, RawQuery};
use crate::views::reply::{Fault, answer};
use crate::views::router::App;
use crate::views::row::Row;
use crate::views::table::{View, mean};

const SESSION: [&str; 4] = ["session_id", "stream_url", "started_at", "ended_at"];

/// All sessions, newest first.
pub(crate) async fn list(State(app): State<App>, query: RawQuery) -> Response {
    answer(&app.views, |state| {
        Params::new(query).finish()?;
        let mut counts: BTreeMap<Uuid, u64> = BTreeMap::new();
        for metrics in View::of(&app.views, state, "metrics")?.rows(None) {
            if let Some(session) = metrics.uuid("session_id") {
                *counts.entry(session).or_default() += 1;
            }
        }
        let mut sessions: Vec<Row<'_>> = View::of(&app.views, state, "sessions")?.rows(None).collect();
        sessions.sort_by_key(|row| (Reverse(row.cell("started_at")), row.cell("session_id")));
        let objects = sessions.iter().map(|row| {
            let mut object = row.pick(&SESSION);
            let count = row.uuid("session_id").and_then(|id| counts.get(&id)).copied().unwrap_or(0);
            object.insert("metric_count".into(), count.into());
            object
        });
        Ok(objects.collect())
    })
}

/// One session with a summary of its segments and metrics.
pub(crate) async fn one(State(app): State<App>, path: RawPath, query: RawQuery) -> Response {
    answer(&app.views, |state| {
        let mut params = Params::new(query);
        let id = params.path_uuid("session_id", path);
        params.finish()?;
        let session = View::of(&app.views, state, "sessions")?.rows(Some(id)).next();
        let session = session.ok_or_else(|| Fault::NotFound(format!("no session {id}")))?;
        let segments = View::of(&app.views, state, "segments")?.rows(Some(id)).collect::<Vec<_>>();
        let metrics = View::of(&app.views, state, "metrics")?.rows(Some(id)).collect::<Vec<_>>();
        let mut object = session.pick(&SESSION);
        object.insert("summary".into(), summary(&segments, &metrics).into());
        Ok(Value::Object(object))
    })
}

/// Segments are counted where they are closed; means are over the metrics that have the value.
fn summary(segments: &[Row<'_>], metrics: &[Row<'_>]) -> Map<String, Value> {
    let ends = || segments.iter().map(|row| row.cell("window_end_utc"));
    let at = |cell: Option<&Cell>| cell.map_or(Value::Null, Cell::to_json);
    let mut object = Map::new();
    object.insert("total_segments".into(), segments.len().into());
    for (name, column) in [
        ("avg_au12", "au12_intensity"),
        ("avg_pitch_f0", "pitch_f0"),
        ("avg_jitter", "jitter"),
        ("avg_shimmer", "shimmer"),
    ] {
        object.insert(name.into(), json!(mean(metrics.iter().filter_map(|row| row.number(column)))));
    }
    object.insert("first_segment_at".into(), at(ends().min()));
    object.insert("last_segment_at".into(), at(ends().max()));
    object
}
