//! `GET /operator/health`: how the subsystems do, by the log, and what the probes find now. How far the database is no
//! log tells: it is looked at when health is asked for.

use lsie_schemas::row::HealthRow;
use lsie_schemas::{EventTime, TableRow};
use schemars::JsonSchema;
use serde::Serialize;

use crate::views::database;
use crate::views::inputs::Inputs;
use crate::views::probe::Found;
use crate::views::reading::Reading;
use crate::views::record::schema;
use crate::views::reply::{Fault, Reply};
use crate::views::route::{Answer, Returns, Route};

pub(crate) const ROUTES: &[Route] = &[Route {
    method: axum::http::Method::GET,
    path: "/operator/health",
    doc: "How the subsystems do, by the log as of an epoch, and what the probes find now.",
    inputs: &[],
    answer: Answer::Probed(one),
    returns: Returns::One(schema::<HealthSnapshot>),
    orders: &[],
}];

/// How a subsystem does.
#[derive(Serialize, JsonSchema)]
struct HealthSubsystemStatus {
    subsystem_key: String,
    label: String,
    /// `ok`, `degraded`, `recovering`, `error` or `unknown`.
    state: String,
    last_success_utc: Option<String>,
    /// The age of the newest success, and why where it is more than that.
    detail: Option<String>,
    recovery_mode: Option<String>,
    operator_action_hint: Option<String>,
}

/// How all of them do.
#[derive(Serialize, JsonSchema)]
pub(crate) struct HealthSnapshot {
    generated_at_utc: String,
    overall_state: &'static str,
    subsystems: Vec<HealthSubsystemStatus>,
    degraded_count: usize,
    recovering_count: usize,
    error_count: usize,
    subsystem_probes: Found,
}

fn one(at: &Reading<'_>, _: &Inputs, probes: Found) -> Result<Reply, Fault> {
    snapshot(at, probes).map(Reply::record)
}

/// How all of them do. Ages are taken against the epoch.
pub(crate) fn snapshot(at: &Reading<'_>, subsystem_probes: Found) -> Result<HealthSnapshot, Fault> {
    let now = at.epoch().as_event();
    let rows = at.table("health")?.rows(None);
    let mut rows: Vec<HealthRow> = rows.filter_map(|row| HealthRow::from_cells(&row.entry.row)).collect();
    rows.extend([database::row(at.follower().as_ref()), vault()]);
    let count = |state: &str| rows.iter().filter(|row| row.state == state).count();
    let (degraded_count, recovering_count, error_count) =
        (count("degraded"), count("recovering"), count("error"));
    let overall_state = match (error_count, degraded_count, recovering_count) {
        (1.., _, _) => "error",
        (0, 1.., _) => "degraded",
        (0, 0, 1..) => "recovering",
        _ if count("unknown") == rows.len() => "unknown",
        _ => "ok",
    };
    Ok(HealthSnapshot {
        generated_at_utc: now.canonical(),
        overall_state,
        degraded_count,
        recovering_count,
        error_count,
        subsystems: rows.into_iter().map(|row| status(row, now)).collect(),
        subsystem_probes,
    })
}

/// Subsystem `vault`: the process that captures has it, and reports how it does.
fn vault() -> HealthRow {
    HealthRow {
        subsystem_key: "vault".into(),
        label: "Vault".into(),
        state: "unknown".into(),
        // Not shown.
        since_utc: EventTime::default(),
        last_success_utc: None,
        detail: Some("it is with the capture, whose own health tells of it".into()),
        recovery_mode: None,
        operator_action_hint: None,
    }
}

fn status(row: HealthRow, now: EventTime) -> HealthSubsystemStatus {
    let age = match row.last_success_utc {
        Some(at) => format!("newest success {} s ago", now.0.saturating_sub(at.0).max(0) / 1_000_000),
        None => "no signal yet".to_owned(),
    };
    HealthSubsystemStatus {
        subsystem_key: row.subsystem_key,
        label: row.label,
        state: row.state,
        last_success_utc: row.last_success_utc.map(|at| at.canonical()),
        detail: Some(row.detail.map_or(age.clone(), |why| format!("{age}; {why}"))),
        recovery_mode: row.recovery_mode,
        operator_action_hint: row.operator_action_hint,
    }
}
