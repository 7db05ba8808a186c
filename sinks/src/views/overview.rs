//! `GET /operator/overview`: everything at a glance, composed of the other records.

use schemars::JsonSchema;
use serde::Serialize;

use crate::views::alerts::{self, AlertEvent};
use crate::views::experiment_detail::{self, ExperimentSummary};
use crate::views::health::{self, HealthSnapshot};
use crate::views::inputs::Inputs;
use crate::views::live_encounters::{self, LatestEncounterSummary};
use crate::views::live_sessions::{self, SessionSummary};
use crate::views::physiology::{self, SessionPhysiologySnapshot};
use crate::views::probe::Found;
use crate::views::reading::Reading;
use crate::views::record::schema;
use crate::views::reply::{Fault, Reply};
use crate::views::route::{Returns, Route};

pub(crate) const ROUTES: &[Route] = &[Route::get(
    "/operator/overview",
    "Everything at a glance: the active session with its newest encounter, experiment and physiology; health; alerts.",
    &[],
    Returns::One(schema::<OverviewSnapshot>),
    one,
)];

/// Most alerts of an overview.
const MAX_ALERTS: usize = 20;

/// Everything at a glance.
#[derive(Serialize, JsonSchema)]
struct OverviewSnapshot {
    generated_at_utc: String,
    active_session: Option<SessionSummary>,
    latest_encounter: Option<LatestEncounterSummary>,
    experiment_summary: Option<ExperimentSummary>,
    physiology: Option<SessionPhysiologySnapshot>,
    health: Option<HealthSnapshot>,
    alerts: Vec<AlertEvent>,
}

fn one(at: &Reading<'_>, _: &Inputs) -> Result<Reply, Fault> {
    let mut overview = OverviewSnapshot {
        generated_at_utc: at.epoch().as_event().canonical(),
        active_session: None,
        latest_encounter: None,
        experiment_summary: None,
        physiology: None,
        health: Some(health::snapshot(at, Found::new())?),
        alerts: alerts::newest(at, None, MAX_ALERTS)?,
    };
    if let Some(session) = at.newest_running()? {
        let experiment = at.session(session)?.text("experiment_id");
        overview.active_session = live_sessions::summary(at, session).ok();
        overview.latest_encounter = live_encounters::latest(at, session)?;
        overview.experiment_summary =
            experiment.map_or(Ok(None), |experiment| experiment_detail::summary(at, experiment))?;
        overview.physiology = Some(physiology::snapshot(at, session)?);
    }
    Ok(Reply::record(overview))
}
