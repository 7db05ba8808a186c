//! `GET /operator/alerts`: what an operator should know of, raised within the last hour of log time: what the log
//! tells of, and what the database has passed into.

use lsie_schemas::row::AlertRow;
use lsie_schemas::{EventTime, TableRow};
use schemars::JsonSchema;
use serde::Serialize;

use crate::views::inputs::Inputs;
use crate::views::ranked::{By, Order};
use crate::views::reading::Reading;
use crate::views::record::schema;
use crate::views::reply::{Fault, Reply};
use crate::views::route::{Input, Kind, Returns, Route, limit};

pub(crate) const ROUTES: &[Route] = &[Route::ranked(
    "/operator/alerts",
    "Alerts of the last hour, newest first.",
    &[limit(50, 500), Input::query("since_utc", Kind::Time, "Only those raised at this time or later.")],
    Returns::Many(schema::<AlertEvent>),
    &[NEWEST],
    list,
)];

const NEWEST: Order = Order { table: "alerts", groups: &[], newest: &[By::Column("emitted_at_utc")] };

/// How far back alerts are shown, in microseconds (`behaviour.md` §5).
const LOOKBACK_US: i64 = 3_600_000_000;

/// Something an operator should know of.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AlertEvent {
    alert_id: String,
    /// `info`, `warning` or `critical`.
    severity: String,
    kind: String,
    message: String,
    session_id: Option<String>,
    subsystem_key: Option<String>,
    emitted_at_utc: String,
    /// Always false: alerts are not acknowledged yet.
    acknowledged: bool,
}

fn list(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    newest(at, inputs.time("since_utc"), inputs.limit()).map(Reply::record)
}

/// The newest alerts, at most so many.
pub(crate) fn newest(
    at: &Reading<'_>,
    since: Option<EventTime>,
    limit: usize,
) -> Result<Vec<AlertEvent>, Fault> {
    let earliest = at.epoch().as_event().plus_us(-LOOKBACK_US).max(since.unwrap_or(EventTime(i64::MIN)));
    let rows = at.newest(&NEWEST, &[])?.filter_map(|row| AlertRow::from_cells(&row.entry.row));
    let rows = rows.take_while(|row| row.emitted_at_utc >= earliest).take(limit);
    let database = at.database_alerts().filter(|row| row.emitted_at_utc >= earliest).cloned();
    let mut rows: Vec<AlertRow> = rows.chain(database).collect();
    rows.sort_by(|a, b| (b.emitted_at_utc, &a.alert_id).cmp(&(a.emitted_at_utc, &b.alert_id)));
    let event = |row: AlertRow| AlertEvent {
        alert_id: row.alert_id,
        severity: row.severity,
        kind: row.kind,
        message: row.message,
        session_id: row.session_id.map(|id| id.to_string()),
        subsystem_key: row.subsystem_key,
        emitted_at_utc: row.emitted_at_utc.canonical(),
        acknowledged: false,
    };
    Ok(rows.into_iter().take(limit).map(event).collect())
}
