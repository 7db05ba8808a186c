//! `GET /operator/sessions`, `/operator/sessions/live` and `/operator/sessions/{session_id}`: sessions at a glance.

use lsie_schemas::row::SessionSummaryRow;
use lsie_schemas::{Cell, LogTime, TableRow, Uuid};
use schemars::JsonSchema;
use serde::Serialize;

use crate::views::inputs::Inputs;
use crate::views::ranked::{By, Order};
use crate::views::reading::Reading;
use crate::views::record::schema;
use crate::views::reply::{Fault, Reply};
use crate::views::route::{Returns, Route, SESSION, limit};

pub(crate) const ROUTES: &[Route] = &[
    Route::ranked(
        "/operator/sessions",
        "Sessions at a glance, newest first.",
        &[limit(50, 500)],
        Returns::Many(schema::<SessionSummary>),
        &[NEWEST],
        list,
    ),
    Route::get(
        "/operator/sessions/live",
        "The active session: the newest that has not ended.",
        &[],
        Returns::One(schema::<SessionSummary>),
        live,
    ),
    Route::get(
        "/operator/sessions/{session_id}",
        "One session at a glance.",
        &[SESSION],
        Returns::One(schema::<SessionSummary>),
        one,
    ),
];

const NEWEST: Order = Order { table: "session_summaries", groups: &[], newest: &[By::Column("started_at")] };

/// A session at a glance.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SessionSummary {
    session_id: String,
    /// `active` while it has not ended, then `ended`.
    status: &'static str,
    started_at_utc: String,
    ended_at_utc: Option<String>,
    /// From its start to its end, or to the epoch of this answer.
    duration_s: Option<f64>,
    experiment_id: Option<String>,
    active_arm: Option<String>,
    expected_greeting: Option<String>,
    last_segment_completed_at_utc: Option<String>,
    latest_reward: Option<f64>,
    latest_semantic_gate: Option<i64>,
    is_calibrating: Option<bool>,
    calibration_frames_accumulated: Option<i64>,
    calibration_frames_required: Option<i64>,
}

fn list(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    let rows = at.newest(&NEWEST, &[])?.take(inputs.limit());
    let newest = rows.filter_map(|row| SessionSummaryRow::from_cells(&row.entry.row));
    Ok(Reply::record(newest.map(|row| summed_up(row, at.epoch())).collect::<Vec<_>>()))
}

fn live(at: &Reading<'_>, _: &Inputs) -> Result<Reply, Fault> {
    let newest = at.newest_running()?.ok_or_else(|| Fault::NotFound("no session runs".into()))?;
    summary(at, newest).map(Reply::record)
}

fn one(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    summary(at, inputs.session()).map(Reply::record)
}

/// One session at a glance; 404 without it.
pub(crate) fn summary(at: &Reading<'_>, session: Uuid) -> Result<SessionSummary, Fault> {
    let row = at.table("session_summaries")?.get(&[Cell::Uuid(session)]);
    let row = row.and_then(|row| SessionSummaryRow::from_cells(&row.entry.row));
    let row = row.ok_or_else(|| Fault::NotFound(format!("no session {session}")))?;
    Ok(summed_up(row, at.epoch()))
}

fn summed_up(row: SessionSummaryRow, epoch: LogTime) -> SessionSummary {
    let until = row.ended_at.unwrap_or(epoch.as_event());
    SessionSummary {
        session_id: row.session_id.to_string(),
        status: if row.ended_at.is_some() { "ended" } else { "active" },
        started_at_utc: row.started_at.canonical(),
        ended_at_utc: row.ended_at.map(|at| at.canonical()),
        duration_s: Some(until.0.saturating_sub(row.started_at.0).max(0) as f64 / 1e6),
        experiment_id: Some(row.experiment_id),
        active_arm: row.active_arm,
        expected_greeting: row.expected_greeting,
        last_segment_completed_at_utc: row.last_segment_completed_at.map(|at| at.canonical()),
        latest_reward: row.latest_reward.map(|real| real.0),
        latest_semantic_gate: row.latest_semantic_gate,
        is_calibrating: Some(row.is_calibrating),
        calibration_frames_accumulated: Some(row.calibration_frames_accumulated),
        calibration_frames_required: Some(row.calibration_frames_required),
    }
}
