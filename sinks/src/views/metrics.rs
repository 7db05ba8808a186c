//! `GET /metrics`, and of one session its AU12 and its acoustics.

use lsie_schemas::Cell;

use crate::views::inputs::Inputs;
use crate::views::ranked::{By, Order};
use crate::views::reading::Reading;
use crate::views::reply::{Fault, Reply};
use crate::views::route::{Input, Kind, Returns, Route, SESSION, limit};
use crate::views::row::Row;

pub(crate) const ROUTES: &[Route] = &[
    Route::ranked(
        "/metrics",
        "Metrics of segments, newest first.",
        &[Input::query("session_id", Kind::Uuid, "Only of this session."), limit(100, 1_000)],
        Returns::Rows("metrics", METRICS),
        &[NEWEST, NEWEST_OF_SESSION],
        list,
    ),
    Route::get(
        "/metrics/{session_id}/au12",
        "The mean smile intensity of each segment that has one, oldest first.",
        &[SESSION],
        Returns::Rows("metrics", AU12),
        au12,
    ),
    Route::get(
        "/metrics/{session_id}/acoustic",
        "The acoustics of each segment that has any, oldest first.",
        &[SESSION],
        Returns::Rows("metrics", ACOUSTIC),
        acoustic,
    ),
];

const METRICS: &[&str] = &[
    "id",
    "session_id",
    "segment_id",
    "timestamp_utc",
    "au12_intensity",
    "pitch_f0",
    "jitter",
    "shimmer",
    "f0_valid_measure",
    "f0_valid_baseline",
    "perturbation_valid_measure",
    "perturbation_valid_baseline",
    "voiced_coverage_measure_s",
    "voiced_coverage_baseline_s",
    "f0_mean_measure_hz",
    "f0_mean_baseline_hz",
    "f0_delta_semitones",
    "jitter_mean_measure",
    "jitter_mean_baseline",
    "jitter_delta",
    "shimmer_mean_measure",
    "shimmer_mean_baseline",
    "shimmer_delta",
    "created_at",
];
const AU12: &[&str] = &["segment_id", "timestamp_utc", "au12_intensity"];
const ACOUSTIC: &[&str] = &[
    "segment_id",
    "timestamp_utc",
    "pitch_f0",
    "jitter",
    "shimmer",
    "f0_valid_measure",
    "f0_valid_baseline",
    "perturbation_valid_measure",
    "perturbation_valid_baseline",
    "voiced_coverage_measure_s",
    "voiced_coverage_baseline_s",
    "f0_mean_measure_hz",
    "f0_mean_baseline_hz",
    "f0_delta_semitones",
    "jitter_mean_measure",
    "jitter_mean_baseline",
    "jitter_delta",
    "shimmer_mean_measure",
    "shimmer_mean_baseline",
    "shimmer_delta",
];

const NEWER: &[By] = &[By::Column("timestamp_utc")];
const NEWEST: Order = Order { table: "metrics", groups: &[], newest: NEWER };
pub(crate) const NEWEST_OF_SESSION: Order =
    Order { table: "metrics", groups: &["session_id"], newest: NEWER };

fn list(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    let rows = match inputs.uuid("session_id") {
        Some(session) => at.newest(&NEWEST_OF_SESSION, &[("session_id", Cell::Uuid(session))])?,
        None => at.newest(&NEWEST, &[])?,
    };
    Ok(Reply::rows(METRICS, rows.take(inputs.limit())))
}

fn au12(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    with_any(at, inputs, AU12)
}

fn acoustic(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    with_any(at, inputs, ACOUSTIC)
}

/// The segments of a session in which any of the columns beyond segment and time has a value, oldest first.
fn with_any(at: &Reading<'_>, inputs: &Inputs, columns: &'static [&'static str]) -> Result<Reply, Fault> {
    let has_any = |row: &Row<'_>| columns[2..].iter().any(|column| *row.cell(column) != Cell::Null);
    let mut rows: Vec<Row<'_>> = at.table("metrics")?.rows(Some(inputs.session())).filter(has_any).collect();
    rows.sort_by_key(|row| row.cell("timestamp_utc"));
    Ok(Reply::rows(columns, rows.into_iter()))
}
