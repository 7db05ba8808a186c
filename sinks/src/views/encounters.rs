//! `GET /encounters` and `GET /encounters/{experiment_id}/summary`.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use lsie_schemas::Cell;
use serde_json::{Value, json};

use crate::views::params::{Params, RawPath, RawQuery};
use crate::views::reply::{Fault, answer};
use crate::views::router::App;
use crate::views::row::Row;
use crate::views::table::{View, mean};

const ENCOUNTER: [&str; 14] = [
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

/// Encounters, newest created first.
pub(crate) async fn list(State(app): State<App>, query: RawQuery) -> Response {
    answer(&app.views, |state| {
        let mut params = Params::new(query);
        let (experiment, arm) = (params.text("experiment_id"), params.text("arm"));
        let valid_only = params.flag("valid_only");
        let limit = params.limit(100, 1_000);
        params.finish()?;
        let is_wanted = |row: &Row<'_>| {
            experiment.as_deref().is_none_or(|wanted| row.text("experiment_id") == Some(wanted))
                && arm.as_deref().is_none_or(|wanted| row.text("arm") == Some(wanted))
                && (!valid_only || is_valid(row))
        };
        let all = View::of(&app.views, state, "encounter_log")?.rows(None);
        let mut rows: Vec<Row<'_>> = all.filter(is_wanted).collect();
        // Rows of one epoch by their own time; the sort is stable, so key order decides what is left.
        rows.sort_by_key(|row| Reverse((row.entry.created, row.cell("stimulus_time"))));
        Ok(rows.iter().take(limit).map(|row| row.pick(&ENCOUNTER)).collect())
    })
}

/// Per arm of an experiment: counts and means, best arm first.
pub(crate) async fn summary(State(app): State<App>, path: RawPath, query: RawQuery) -> Response {
    answer(&app.views, |state| {
        let mut params = Params::new(query);
        let experiment = params.path("experiment_id", path);
        params.finish()?;
        let mut arms: BTreeMap<&str, Vec<Row<'_>>> = BTreeMap::new();
        for row in View::of(&app.views, state, "encounter_log")?.rows(None) {
            if row.text("experiment_id") == Some(&experiment) {
                arms.entry(row.text("arm").unwrap_or_default()).or_default().push(row);
            }
        }
        if arms.is_empty() {
            return Err(Fault::NotFound(format!("no encounters of experiment {experiment}")));
        }
        let mut arms: Vec<(Option<f64>, Value)> =
            arms.iter().map(|(arm, rows)| arm_summary(arm, rows)).collect();
        // Means of finite rewards are finite; arms without valid encounters come last, ties by name.
        arms.sort_by(|(a, _), (b, _)| b.unwrap_or(f64::MIN).total_cmp(&a.unwrap_or(f64::MIN)));
        Ok(arms.into_iter().map(|(_, arm)| arm).collect())
    })
}

/// The mean reward of the valid encounters, by which arms are ordered, and the arm's line.
fn arm_summary(arm: &str, rows: &[Row<'_>]) -> (Option<f64>, Value) {
    let all = |column| mean(rows.iter().filter_map(|row| row.number(column)));
    let valid = |column| mean(rows.iter().filter(|row| is_valid(row)).filter_map(|row| row.number(column)));
    let times = || rows.iter().map(|row| row.cell("timestamp_utc"));
    let avg_valid_reward = valid("gated_reward");
    let line = json!({
        "arm": arm,
        "encounter_count": rows.len(),
        "valid_count": rows.iter().filter(|row| is_valid(row)).count(),
        "avg_reward": all("gated_reward"),
        "avg_valid_reward": avg_valid_reward,
        "avg_p90": valid("p90_intensity"),
        "gate_rate": all("semantic_gate"),
        "avg_frames": valid("n_frames"),
        "first_encounter": times().min().map(Cell::to_json),
        "last_encounter": times().max().map(Cell::to_json),
    });
    (avg_valid_reward, line)
}

fn is_valid(row: &Row<'_>) -> bool {
    *row.cell("is_valid") == Cell::Bool(true)
}
