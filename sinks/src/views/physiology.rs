//! `GET /physiology/{session_id}` and `GET /operator/sessions/{session_id}/physiology`.

use lsie_schemas::row::PhysiologyCurrentRow;
use lsie_schemas::{Cell, TableRow, Uuid};
use schemars::JsonSchema;
use serde::Serialize;

use crate::views::comodulation::{CoModulationSummary, newest};
use crate::views::inputs::Inputs;
use crate::views::ranked::{By, Order};
use crate::views::reading::Reading;
use crate::views::record::schema;
use crate::views::reply::{Fault, Reply};
use crate::views::route::{Input, Kind, Returns, Route, SESSION, limit};
use crate::views::row::Row;

pub(crate) const ROUTES: &[Route] = &[
    Route::ranked(
        "/physiology/{session_id}",
        "The newest physiological snapshot of each role, or all of them, oldest first.",
        &[
            SESSION,
            Input::query("series", Kind::Flag, "All snapshots instead of the newest of each role."),
            limit(500, 5_000),
        ],
        Returns::Rows("physiology_log", PHYSIOLOGY),
        &[NEWEST],
        list,
    ),
    Route::get(
        "/operator/sessions/{session_id}/physiology",
        "The physiology of a session at a glance.",
        &[SESSION],
        Returns::One(schema::<SessionPhysiologySnapshot>),
        one,
    ),
];

const PHYSIOLOGY: &[&str] = &[
    "session_id",
    "segment_id",
    "subject_role",
    "rmssd_ms",
    "heart_rate_bpm",
    "freshness_s",
    "is_stale",
    "provider",
    "source_timestamp_utc",
    "source_kind",
    "derivation_method",
    "window_s",
    "validity_ratio",
    "is_valid",
    "created_at",
];

/// Of one epoch the one with the newer source; both roles of a segment have the same.
const NEWEST: Order = Order {
    table: "physiology_log",
    groups: &["session_id", "subject_role"],
    newest: &[By::Created, By::Column("source_timestamp_utc"), By::Column("subject_role")],
};

/// The newest snapshot of one role.
#[derive(Serialize, JsonSchema)]
struct PhysiologyCurrentSnapshot {
    subject_role: String,
    rmssd_ms: Option<f64>,
    heart_rate_bpm: Option<i64>,
    provider: Option<String>,
    source_timestamp_utc: Option<String>,
    freshness_s: Option<f64>,
    is_stale: Option<bool>,
}

/// The physiology of a session.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SessionPhysiologySnapshot {
    session_id: String,
    streamer: Option<PhysiologyCurrentSnapshot>,
    operator: Option<PhysiologyCurrentSnapshot>,
    comodulation: Option<CoModulationSummary>,
    generated_at_utc: String,
}

fn list(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    let of_session = ("session_id", Cell::Uuid(inputs.session()));
    if inputs.flag("series") {
        let mut rows: Vec<Row<'_>> =
            at.newest(&NEWEST, std::slice::from_ref(&of_session))?.take(inputs.limit()).collect();
        rows.reverse();
        return Ok(Reply::rows(PHYSIOLOGY, rows.into_iter()));
    }
    let newest = |role: &str| {
        let filter = [of_session.clone(), ("subject_role", Cell::Text(role.to_owned()))];
        at.newest(&NEWEST, &filter).map(|mut rows| rows.next())
    };
    let newest = [newest("operator")?, newest("streamer")?];
    Ok(Reply::rows(PHYSIOLOGY, newest.into_iter().flatten()))
}

fn one(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    at.session(inputs.session())?;
    snapshot(at, inputs.session()).map(Reply::record)
}

/// The physiology of a session.
pub(crate) fn snapshot(at: &Reading<'_>, session: Uuid) -> Result<SessionPhysiologySnapshot, Fault> {
    let rows = at.table("physiology_current")?.rows(Some(session));
    let rows: Vec<PhysiologyCurrentRow> =
        rows.filter_map(|row| PhysiologyCurrentRow::from_cells(&row.entry.row)).collect();
    let of = |role| rows.iter().find(|row| row.subject_role == role);
    let current = |row: &PhysiologyCurrentRow| PhysiologyCurrentSnapshot {
        subject_role: row.subject_role.clone(),
        rmssd_ms: row.rmssd_ms.map(|real| real.0),
        heart_rate_bpm: row.heart_rate_bpm,
        provider: Some(row.provider.clone()),
        source_timestamp_utc: Some(row.source_timestamp_utc.canonical()),
        freshness_s: Some(row.freshness_s.0),
        is_stale: Some(row.is_stale),
    };
    Ok(SessionPhysiologySnapshot {
        session_id: session.to_string(),
        streamer: of("streamer").map(current),
        operator: of("operator").map(current),
        comodulation: Some(newest(at, session)?),
        generated_at_utc: at.epoch().as_event().canonical(),
    })
}
