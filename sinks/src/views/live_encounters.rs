//! `GET /operator/sessions/{session_id}/encounters`: each stimulus with all that became known of it.

use lsie_schemas::row::EncounterSummaryRow;
use lsie_schemas::table::Json;
use lsie_schemas::{Cell, TableRow, Uuid};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::views::inputs::Inputs;
use crate::views::ranked::{By, Order};
use crate::views::reading::Reading;
use crate::views::record::schema;
use crate::views::reply::{Fault, Reply};
use crate::views::route::{Input, Kind, Returns, Route, SESSION, limit};

pub(crate) const ROUTES: &[Route] = &[Route::ranked(
    "/operator/sessions/{session_id}/encounters",
    "The encounters of a session, newest first.",
    &[
        SESSION,
        limit(100, 1_000),
        Input::query("before_utc", Kind::Time, "Only those of segments before this time."),
    ],
    Returns::Many(schema::<EncounterSummary>),
    &[NEWEST],
    list,
)];

const NEWEST: Order = Order {
    table: "encounter_summaries",
    groups: &["session_id"],
    newest: &[By::Column("stimulus_time_utc")],
};

/// A stimulus and what became of it.
#[derive(Serialize, JsonSchema)]
struct EncounterSummary {
    #[serde(flatten)]
    common: LatestEncounterSummary,
    semantic_confidence: Option<f64>,
    baseline_b_neutral: Option<f64>,
    physiology_attached: bool,
    physiology_stale: Option<bool>,
    notes: Vec<&'static str>,
}

/// The same without confidence, baseline, physiology flags and notes.
#[derive(Serialize, JsonSchema)]
pub(crate) struct LatestEncounterSummary {
    /// The identity of the action that sent the stimulus.
    encounter_id: String,
    session_id: String,
    segment_timestamp_utc: String,
    /// `stimulus_issued`, `measuring`, `completed`, `rejected_no_frames` or `rejected_gate_closed`.
    state: String,
    active_arm: Option<String>,
    expected_greeting: Option<String>,
    stimulus_time_utc: Option<String>,
    semantic_gate: Option<i64>,
    p90_intensity: Option<f64>,
    gated_reward: Option<f64>,
    n_frames_in_window: Option<i64>,
    /// Deprecated: `observational_acoustic` with false and 0.0 where a flag or a coverage is missing.
    acoustic: Option<Map<String, Value>>,
    observational_acoustic: Option<Map<String, Value>>,
    semantic_evaluation: Option<Map<String, Value>>,
    attribution: Option<Map<String, Value>>,
}

fn list(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    let before = inputs.time("before_utc");
    let rows = newest_first(at, inputs.session())?;
    let rows = rows.filter(|row| before.is_none_or(|before| row.segment_timestamp_utc < before));
    Ok(Reply::record(rows.take(inputs.limit()).map(whole).collect::<Vec<_>>()))
}

/// The newest encounter of a session.
pub(crate) fn latest(at: &Reading<'_>, session: Uuid) -> Result<Option<LatestEncounterSummary>, Fault> {
    Ok(newest_first(at, session)?.next().as_ref().map(common))
}

fn newest_first<'a>(
    at: &Reading<'a>,
    session: Uuid,
) -> Result<impl Iterator<Item = EncounterSummaryRow> + use<'a>, Fault> {
    let rows = at.newest(&NEWEST, &[("session_id", Cell::Uuid(session))])?;
    Ok(rows.filter_map(|row| EncounterSummaryRow::from_cells(&row.entry.row)))
}

fn whole(row: EncounterSummaryRow) -> EncounterSummary {
    let mut notes = Vec::new();
    if row.semantic_gate == Some(0) {
        notes.push("the gate is closed: the greeting was not heard, so there is no reward");
    }
    if row.n_frames_in_window == Some(0) {
        notes.push("no frame of a face in the measurement window: there is no reward");
    }
    EncounterSummary {
        common: common(&row),
        semantic_confidence: row.semantic_confidence.map(|real| real.0),
        baseline_b_neutral: row.baseline_b_neutral.map(|real| real.0),
        physiology_attached: row.physiology_attached,
        physiology_stale: row.physiology_stale,
        notes,
    }
}

fn common(row: &EncounterSummaryRow) -> LatestEncounterSummary {
    let observational_acoustic = object(row.observational_acoustic.as_ref());
    LatestEncounterSummary {
        encounter_id: row.client_action_id.to_string(),
        session_id: row.session_id.to_string(),
        segment_timestamp_utc: row.segment_timestamp_utc.canonical(),
        state: row.state.clone(),
        active_arm: Some(row.active_arm.clone()),
        expected_greeting: Some(row.expected_greeting.clone()),
        stimulus_time_utc: Some(row.stimulus_time_utc.canonical()),
        semantic_gate: row.semantic_gate,
        p90_intensity: row.p90_intensity.map(|real| real.0),
        gated_reward: row.gated_reward.map(|real| real.0),
        n_frames_in_window: row.n_frames_in_window,
        acoustic: observational_acoustic.clone().map(with_defaults),
        observational_acoustic,
        semantic_evaluation: object(row.semantic_evaluation.as_ref()),
        attribution: object(row.attribution.as_ref()),
    }
}

fn object(json: Option<&Json>) -> Option<Map<String, Value>> {
    // What the graph wrote is an object.
    json.and_then(|json| serde_json::from_str(json.as_str()).ok())
}

/// Flags that are missing are false, coverages 0.0 (`contracts.md` §7).
fn with_defaults(mut fields: Map<String, Value>) -> Map<String, Value> {
    for (name, value) in &mut fields {
        if value.is_null() && name.contains("_valid_") {
            *value = false.into();
        } else if value.is_null() && name.starts_with("voiced_coverage_") {
            *value = 0.0.into();
        }
    }
    fields
}
