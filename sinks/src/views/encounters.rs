//! `GET /encounters` and `GET /encounters/{experiment_id}/summary`.

use lsie_schemas::row::ArmSummaryRow;
use lsie_schemas::{Cell, TableRow};
use schemars::JsonSchema;
use serde::Serialize;

use crate::views::inputs::Inputs;
use crate::views::ranked::{By, Order};
use crate::views::reading::Reading;
use crate::views::record::schema;
use crate::views::reply::{Fault, Reply};
use crate::views::route::{EXPERIMENT, Input, Kind, Returns, Route, limit};

pub(crate) const ROUTES: &[Route] = &[
    Route::ranked(
        "/encounters",
        "Encounters, newest created first.",
        &[
            Input::query("experiment_id", Kind::Word, "Only of this experiment."),
            Input::query("arm", Kind::Word, "Only of this arm."),
            Input::query("valid_only", Kind::Flag, "Only those whose computation completed."),
            limit(100, 1_000),
        ],
        Returns::Rows("encounter_log", ENCOUNTER),
        &[NEWEST, NEWEST_OF_ARM],
        list,
    ),
    Route::get(
        "/encounters/{experiment_id}/summary",
        "Per arm of an experiment: counts and means, best arm first.",
        &[EXPERIMENT],
        Returns::Many(schema::<ArmCounts>),
        summary,
    ),
];

const ENCOUNTER: &[&str] = &[
    "id",
    "session_id",
    "segment_id",
    "experiment_id",
    "arm",
    "timestamp_utc",
    "gated_reward",
    "p90_intensity",
    "semantic_gate",
    "is_valid",
    "n_frames",
    "baseline_neutral",
    "stimulus_time",
    "created_at",
];

/// All encounters of one arm.
#[derive(Serialize, JsonSchema)]
struct ArmCounts {
    arm: String,
    encounter_count: i64,
    valid_count: i64,
    avg_reward: f64,
    avg_valid_reward: Option<f64>,
    avg_p90: Option<f64>,
    gate_rate: f64,
    avg_frames: Option<f64>,
    first_encounter: String,
    last_encounter: String,
}

/// Of one epoch those with the later stimulus.
const NEWER: &[By] = &[By::Created, By::Column("stimulus_time")];
const NEWEST: Order = Order { table: "encounter_log", groups: &[], newest: NEWER };
/// The same, of some experiments, arms or valid ones.
pub(crate) const NEWEST_OF_ARM: Order =
    Order { table: "encounter_log", groups: &["experiment_id", "arm", "is_valid"], newest: NEWER };

fn list(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    let text = |name| inputs.text(name).map(|text| (name, Cell::Text(text.to_owned())));
    let valid = inputs.flag("valid_only").then_some(("is_valid", Cell::Bool(true)));
    let filter: Vec<_> = [text("experiment_id"), text("arm"), valid].into_iter().flatten().collect();
    let order = if filter.is_empty() { &NEWEST } else { &NEWEST_OF_ARM };
    Ok(Reply::rows(ENCOUNTER, at.newest(order, &filter)?.take(inputs.limit())))
}

fn summary(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    let experiment = inputs.word("experiment_id");
    let arms = at.table("arm_summaries")?.starting_with(Cell::Text(experiment.to_owned()));
    let mut arms: Vec<ArmSummaryRow> =
        arms.filter_map(|row| ArmSummaryRow::from_cells(&row.entry.row)).collect();
    if arms.is_empty() {
        return Err(Fault::NotFound(format!("no encounters of experiment {experiment}")));
    }
    // Arms without valid encounters come last, ties by name.
    arms.sort_by(|a, b| match (a.avg_valid_reward, b.avg_valid_reward) {
        (Some(a), Some(b)) => b.cmp(&a),
        (a, b) => a.is_none().cmp(&b.is_none()),
    });
    Ok(Reply::record(arms.iter().map(counts).collect::<Vec<_>>()))
}

fn counts(arm: &ArmSummaryRow) -> ArmCounts {
    ArmCounts {
        arm: arm.arm.clone(),
        encounter_count: arm.encounter_count,
        valid_count: arm.valid_count,
        avg_reward: arm.avg_reward.0,
        avg_valid_reward: arm.avg_valid_reward.map(|real| real.0),
        avg_p90: arm.avg_p90.map(|real| real.0),
        gate_rate: arm.gate_rate.0,
        avg_frames: arm.avg_frames.map(|real| real.0),
        first_encounter: arm.first_encounter.canonical(),
        last_encounter: arm.last_encounter.canonical(),
    }
}
