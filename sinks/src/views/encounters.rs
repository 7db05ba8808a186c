//! `GET /encounters` and `GET /encounters/{experiment_id}/summary`.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use lsie_schemas::Cell;
use schemars::JsonSchema;
use serde::Serialize;

use crate::views::inputs::Inputs;
use crate::views::reading::{Reading, mean};
use crate::views::record::schema;
use crate::views::reply::{Fault, Reply};
use crate::views::route::{EXPERIMENT, Input, Kind, Returns, Route, limit};
use crate::views::row::Row;

pub(crate) const ROUTES: &[Route] = &[
    Route::get(
        "/encounters",
        "Encounters, newest created first.",
        &[
            Input::query("experiment_id", Kind::Word, "Only of this experiment."),
            Input::query("arm", Kind::Word, "Only of this arm."),
            Input::query("valid_only", Kind::Flag, "Only those whose computation completed."),
            limit(100, 1_000),
        ],
        Returns::Rows("encounter_log", ENCOUNTER),
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
    encounter_count: u64,
    valid_count: u64,
    avg_reward: Option<f64>,
    avg_valid_reward: Option<f64>,
    avg_p90: Option<f64>,
    gate_rate: Option<f64>,
    avg_frames: Option<f64>,
    first_encounter: Option<String>,
    last_encounter: Option<String>,
}

fn list(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    let (experiment, arm) = (inputs.text("experiment_id"), inputs.text("arm"));
    let valid_only = inputs.flag("valid_only");
    let is_wanted = |row: &Row<'_>| {
        experiment.is_none_or(|wanted| row.text("experiment_id") == Some(wanted))
            && arm.is_none_or(|wanted| row.text("arm") == Some(wanted))
            && (!valid_only || is_valid(row))
    };
    let mut rows: Vec<Row<'_>> = at.table("encounter_log")?.rows(None).filter(is_wanted).collect();
    // Rows of one epoch by their own time; the sort is stable, so key order decides what is left.
    rows.sort_by_key(|row| Reverse((row.entry.created, row.cell("stimulus_time"))));
    Ok(Reply::rows(ENCOUNTER, rows.into_iter().take(inputs.limit())))
}

fn summary(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    let experiment = inputs.word("experiment_id");
    let mut arms: BTreeMap<&str, Vec<Row<'_>>> = BTreeMap::new();
    for row in at.table("encounter_log")?.rows(None) {
        if row.text("experiment_id") == Some(experiment) {
            arms.entry(row.text("arm").unwrap_or_default()).or_default().push(row);
        }
    }
    if arms.is_empty() {
        return Err(Fault::NotFound(format!("no encounters of experiment {experiment}")));
    }
    let mut arms: Vec<ArmCounts> = arms.iter().map(|(arm, rows)| counts(arm, rows)).collect();
    // Means of finite rewards are finite; arms without valid encounters come last, ties by name.
    arms.sort_by(|a, b| {
        let mean = |arm: &ArmCounts| arm.avg_valid_reward.unwrap_or(f64::MIN);
        mean(b).total_cmp(&mean(a))
    });
    Ok(Reply::record(arms))
}

fn counts(arm: &str, rows: &[Row<'_>]) -> ArmCounts {
    let all = |column| mean(rows.iter().filter_map(|row| row.number(column)));
    let valid = |column| mean(rows.iter().filter(|row| is_valid(row)).filter_map(|row| row.number(column)));
    let times = || rows.iter().filter_map(|row| row.instant("timestamp_utc"));
    ArmCounts {
        arm: arm.to_owned(),
        encounter_count: rows.len() as u64,
        valid_count: rows.iter().filter(|row| is_valid(row)).count() as u64,
        avg_reward: all("gated_reward"),
        avg_valid_reward: valid("gated_reward"),
        avg_p90: valid("p90_intensity"),
        gate_rate: all("semantic_gate"),
        avg_frames: valid("n_frames"),
        first_encounter: times().min().map(|at| at.canonical()),
        last_encounter: times().max().map(|at| at.canonical()),
    }
}

fn is_valid(row: &Row<'_>) -> bool {
    *row.cell("is_valid") == Cell::Bool(true)
}
