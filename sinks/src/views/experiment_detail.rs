//! `GET /operator/experiments/{experiment_id}`: an experiment with what its arms have come to.

use lsie_schemas::row::{ArmSummaryRow, PosteriorUpdateRow};
use lsie_schemas::{Cell, TableRow};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::views::inputs::Inputs;
use crate::views::ranked::{By, Order};
use crate::views::reading::Reading;
use crate::views::record::schema;
use crate::views::reply::{Fault, Reply};
use crate::views::route::{EXPERIMENT, Returns, Route, limit};
use crate::views::row::Row;

pub(crate) const ROUTES: &[Route] = &[
    Route::ranked(
        "/operator/experiments/{experiment_id}",
        "An experiment with what its arms have come to.",
        &[EXPERIMENT],
        Returns::One(schema::<ExperimentDetail>),
        &[NEWEST],
        one,
    ),
    Route::ranked(
        "/experiments/{experiment_id}/history",
        "The newest steps of the posteriors of an experiment's arms, oldest of them first, each with the encounters \
         that moved it.",
        &[EXPERIMENT, limit(1_000, 10_000)],
        Returns::Rows("posterior_history", HISTORY),
        &[NEWEST],
        history,
    ),
];

const HISTORY: &[&str] = &["experiment_id", "arm", "at", "alpha_param", "beta_param", "moved_by"];

const NEWEST: Order =
    Order { table: "posterior_history", groups: &["experiment_id"], newest: &[By::Column("at")] };

/// An experiment at a glance.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ExperimentSummary {
    experiment_id: String,
    label: Option<String>,
    active_arm_id: Option<String>,
    arm_count: usize,
    last_updated_utc: Option<String>,
    latest_reward: Option<f64>,
}

/// An experiment with its arms.
#[derive(Serialize, JsonSchema)]
struct ExperimentDetail {
    experiment_id: String,
    label: Option<String>,
    active_arm_id: Option<String>,
    arms: Vec<ArmSummary>,
    last_update_summary: Option<String>,
    last_updated_utc: Option<String>,
}

/// An arm and what it has come to.
#[derive(Serialize, JsonSchema)]
struct ArmSummary {
    arm_id: String,
    greeting_text: String,
    posterior_alpha: f64,
    posterior_beta: f64,
    evaluation_variance: Option<f64>,
    selection_count: i64,
    recent_reward_mean: Option<f64>,
    recent_semantic_pass_rate: Option<f64>,
    enabled: bool,
    end_dated_at: Option<String>,
}

fn one(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    let id = inputs.word("experiment_id");
    let summary = summary(at, id)?.ok_or_else(|| Fault::NotFound(format!("no experiment {id}")))?;
    let sums = sums(at, id)?;
    let arms = at.arms(id)?.map(|row| arm(&row, sums.iter().find(|sum| row.text("arm") == Some(&sum.arm))));
    Ok(Reply::record(ExperimentDetail {
        arms: arms.collect(),
        last_update_summary: newest_step(at, id)?.map(|step| told(&step)),
        experiment_id: summary.experiment_id,
        label: summary.label,
        active_arm_id: summary.active_arm_id,
        last_updated_utc: summary.last_updated_utc,
    }))
}

fn history(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    let experiment = ("experiment_id", Cell::Text(inputs.word("experiment_id").to_owned()));
    let mut rows: Vec<Row<'_>> = at.newest(&NEWEST, &[experiment])?.take(inputs.limit()).collect();
    rows.reverse();
    Ok(Reply::rows(HISTORY, rows.into_iter()))
}

/// An experiment at a glance, if there is one of this id.
pub(crate) fn summary(at: &Reading<'_>, experiment: &str) -> Result<Option<ExperimentSummary>, Fault> {
    let rows: Vec<Row<'_>> = at.arms(experiment)?.collect();
    let Some(first) = rows.first() else { return Ok(None) };
    let sums = sums(at, experiment)?;
    let newest = sums.iter().max_by_key(|sum| sum.latest_stimulus_utc);
    Ok(Some(ExperimentSummary {
        experiment_id: experiment.to_owned(),
        label: first.text("label").map(str::to_owned),
        active_arm_id: newest.map(|sum| sum.arm.clone()),
        arm_count: rows.len(),
        last_updated_utc: rows.iter().map(|row| row.entry.updated).max().map(|at| at.as_event().canonical()),
        latest_reward: newest.map(|sum| sum.latest_reward.0),
    }))
}

fn sums(at: &Reading<'_>, experiment: &str) -> Result<Vec<ArmSummaryRow>, Fault> {
    let rows = at.table("arm_summaries")?.starting_with(Cell::Text(experiment.to_owned()));
    Ok(rows.filter_map(|row| ArmSummaryRow::from_cells(&row.entry.row)).collect())
}

fn arm(row: &Row<'_>, sum: Option<&ArmSummaryRow>) -> ArmSummary {
    let (alpha, beta) = (row.number("alpha_param").unwrap_or(1.0), row.number("beta_param").unwrap_or(1.0));
    let variance = alpha * beta / ((alpha + beta).powi(2) * (alpha + beta + 1.0));
    ArmSummary {
        arm_id: row.text("arm").unwrap_or_default().to_owned(),
        greeting_text: row.text("greeting_text").unwrap_or_default().to_owned(),
        posterior_alpha: alpha,
        posterior_beta: beta,
        evaluation_variance: Some(variance).filter(|variance| variance.is_finite()),
        selection_count: sum.map_or(0, |sum| sum.encounter_count),
        recent_reward_mean: sum.map(|sum| sum.avg_reward.0),
        recent_semantic_pass_rate: sum.map(|sum| sum.gate_rate.0),
        enabled: row.flag("enabled").unwrap_or(true),
        end_dated_at: row.time("end_dated_at"),
    }
}

fn newest_step(at: &Reading<'_>, experiment: &str) -> Result<Option<PosteriorUpdateRow>, Fault> {
    let newest = at.newest(&NEWEST, &[("experiment_id", Cell::Text(experiment.to_owned()))])?.next();
    Ok(newest.and_then(|row| PosteriorUpdateRow::from_cells(&row.entry.row)))
}

/// A step of a posterior in words.
fn told(step: &PosteriorUpdateRow) -> String {
    let moved: Value = serde_json::from_str(step.moved_by.as_str()).unwrap_or_default();
    let encounters = moved.as_array().map_or(0, Vec::len);
    let (alpha, beta) = (step.alpha_param.0, step.beta_param.0);
    format!("{}: alpha {alpha:.3}, beta {beta:.3} after {encounters} more", step.arm)
}
