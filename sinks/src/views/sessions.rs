//! `GET /sessions` and `GET /sessions/{session_id}`.

use lsie_schemas::Cell;
use schemars::JsonSchema;
use serde::Serialize;

use crate::views::inputs::Inputs;
use crate::views::metrics::NEWEST_OF_SESSION;
use crate::views::ranked::{By, Order};
use crate::views::reading::{RUNNING, Reading, mean};
use crate::views::record::schema;
use crate::views::reply::{Fault, Reply};
use crate::views::route::{Returns, Route, SESSION};
use crate::views::rows::Rows;

pub(crate) const ROUTES: &[Route] = &[
    Route::ranked(
        "/sessions",
        "All sessions, newest first.",
        &[],
        Returns::Rows("sessions", SESSION_COLUMNS),
        &[NEWEST, RUNNING],
        list,
    ),
    Route::get(
        "/sessions/{session_id}",
        "One session with a summary of its segments and metrics.",
        &[SESSION],
        Returns::One(schema::<SessionWithSummary>),
        one,
    ),
];

const SESSION_COLUMNS: &[&str] = &["session_id", "stream_url", "started_at", "ended_at", "metric_count"];

const NEWEST: Order = Order { table: "sessions", groups: &[], newest: &[By::Column("started_at")] };

/// A session with what its segments and metrics come to.
#[derive(Serialize, JsonSchema)]
struct SessionWithSummary {
    session_id: String,
    stream_url: String,
    started_at: String,
    ended_at: Option<String>,
    summary: Summary,
}

/// Segments are counted where they are closed; means are over the metrics that have the value.
#[derive(Serialize, JsonSchema)]
struct Summary {
    total_segments: u64,
    avg_au12: Option<f64>,
    avg_pitch_f0: Option<f64>,
    avg_jitter: Option<f64>,
    avg_shimmer: Option<f64>,
    first_segment_at: Option<String>,
    last_segment_at: Option<String>,
}

fn list(at: &Reading<'_>, _: &Inputs) -> Result<Reply, Fault> {
    let metrics = at.table("metrics")?;
    let rows = at.newest(&NEWEST, &[])?.map(|row| {
        let count = metrics.count(&NEWEST_OF_SESSION, &[("session_id", row.cell("session_id").clone())]);
        (row, count as u64)
    });
    Ok(Reply::Rows(Rows::counted(SESSION_COLUMNS, rows)))
}

fn one(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    let id = inputs.session();
    let session = at.session(id)?;
    let segments = at.table("segments")?.rows(Some(id)).collect::<Vec<_>>();
    let metrics = at.table("metrics")?.rows(Some(id)).collect::<Vec<_>>();
    let ends = || segments.iter().map(|row| row.cell("window_end_utc"));
    let average = |column| mean(metrics.iter().filter_map(|row| row.number(column)));
    Ok(Reply::record(SessionWithSummary {
        session_id: id.to_string(),
        stream_url: session.text("stream_url").unwrap_or_default().to_owned(),
        started_at: session.time("started_at").unwrap_or_default(),
        ended_at: session.time("ended_at"),
        summary: Summary {
            total_segments: segments.len() as u64,
            avg_au12: average("au12_intensity"),
            avg_pitch_f0: average("pitch_f0"),
            avg_jitter: average("jitter"),
            avg_shimmer: average("shimmer"),
            first_segment_at: ends().min().and_then(instant),
            last_segment_at: ends().max().and_then(instant),
        },
    }))
}

fn instant(cell: &Cell) -> Option<String> {
    match cell {
        Cell::Time(at) => Some(at.canonical()),
        _ => None,
    }
}
