//! `GET /comodulation/{session_id}`: how far the two hearts move together.

use lsie_schemas::row::ComodulationRow;
use lsie_schemas::{Cell, TableRow, Uuid};
use schemars::JsonSchema;
use serde::Serialize;

use crate::views::inputs::Inputs;
use crate::views::ranked::{By, Order};
use crate::views::reading::Reading;
use crate::views::reply::{Fault, Reply};
use crate::views::route::{Returns, Route, SESSION, limit};

pub(crate) const ROUTES: &[Route] = &[Route::ranked(
    "/comodulation/{session_id}",
    "Evaluations of co-modulation, newest first, also those without an index.",
    &[SESSION, limit(100, 2_000)],
    Returns::Rows("comodulation_log", COMODULATION),
    &[NEWEST],
    list,
)];

const COMODULATION: &[&str] = &[
    "session_id",
    "window_end_utc",
    "window_minutes",
    "co_modulation_index",
    "n_paired_observations",
    "coverage_ratio",
    "streamer_rmssd_mean",
    "operator_rmssd_mean",
    "created_at",
];

/// The newest evaluation of co-modulation.
#[derive(Serialize, JsonSchema)]
pub(crate) struct CoModulationSummary {
    session_id: String,
    co_modulation_index: Option<f64>,
    n_paired_observations: i64,
    coverage_ratio: f64,
    streamer_rmssd_mean: Option<f64>,
    operator_rmssd_mean: Option<f64>,
    /// Why there is no index: `no_window_yet`, `insufficient_pairs`, `zero_variance` or `undefined`.
    null_reason: Option<String>,
    window_start_utc: Option<String>,
    window_end_utc: Option<String>,
}

const NEWEST: Order =
    Order { table: "comodulation_log", groups: &["session_id"], newest: &[By::Column("window_end_utc")] };

fn list(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    let rows = at.newest(&NEWEST, &[("session_id", Cell::Uuid(inputs.session()))])?;
    Ok(Reply::rows(COMODULATION, rows.take(inputs.limit())))
}

/// The newest evaluation of a session, or why there is none.
pub(crate) fn newest(at: &Reading<'_>, session: Uuid) -> Result<CoModulationSummary, Fault> {
    let newest = at.newest(&NEWEST, &[("session_id", Cell::Uuid(session))])?.next();
    let newest = newest.and_then(|row| ComodulationRow::from_cells(&row.entry.row));
    let row = newest.as_ref();
    Ok(CoModulationSummary {
        session_id: session.to_string(),
        co_modulation_index: row.and_then(|row| row.co_modulation_index).map(|real| real.0),
        n_paired_observations: row.map_or(0, |row| row.n_paired_observations),
        coverage_ratio: row.map_or(0.0, |row| row.coverage_ratio.0),
        streamer_rmssd_mean: row.and_then(|row| row.streamer_rmssd_mean).map(|real| real.0),
        operator_rmssd_mean: row.and_then(|row| row.operator_rmssd_mean).map(|real| real.0),
        null_reason: row.map_or_else(|| Some("no_window_yet".into()), |row| row.null_reason.clone()),
        window_start_utc: row.map(|row| row.window_start_utc.canonical()),
        window_end_utc: row.map(|row| row.window_end_utc.canonical()),
    })
}
