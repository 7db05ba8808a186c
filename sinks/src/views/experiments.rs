//! `GET /experiments` and `GET /experiments/{experiment_id}`.

use schemars::JsonSchema;
use serde::Serialize;

use crate::views::inputs::Inputs;
use crate::views::reading::Reading;
use crate::views::record::schema;
use crate::views::reply::{Fault, Reply};
use crate::views::route::{EXPERIMENT, Returns, Route};
use crate::views::row::Row;

pub(crate) const ROUTES: &[Route] = &[
    Route::get(
        "/experiments",
        "The experiments, sorted.",
        &[],
        Returns::Rows("experiments", &["experiment_id"]),
        list,
    ),
    Route::get(
        "/experiments/{experiment_id}",
        "One experiment with the posteriors of its arms, sorted.",
        &[EXPERIMENT],
        Returns::One(schema::<Posteriors>),
        one,
    ),
];

/// An experiment with the posteriors of its arms.
#[derive(JsonSchema, Serialize)]
struct Posteriors {
    experiment_id: String,
    arms: Vec<ArmPosterior>,
}

/// The posterior of one arm.
#[derive(JsonSchema, Serialize)]
struct ArmPosterior {
    experiment_id: String,
    arm: String,
    alpha_param: f64,
    beta_param: f64,
    updated_at: String,
}

fn list(at: &Reading<'_>, _: &Inputs) -> Result<Reply, Fault> {
    let arms = at.table("experiments")?.rows(None);
    let mut newest = None;
    // Key order begins with the experiment.
    let first =
        arms.filter(move |row| newest.replace(row.text("experiment_id")) != Some(row.text("experiment_id")));
    Ok(Reply::rows(&["experiment_id"], first))
}

fn one(at: &Reading<'_>, inputs: &Inputs) -> Result<Reply, Fault> {
    let experiment = inputs.word("experiment_id");
    let arms: Vec<ArmPosterior> = at.arms(experiment)?.map(|row| posterior(&row)).collect();
    if arms.is_empty() {
        return Err(Fault::NotFound(format!("no experiment {experiment}")));
    }
    Ok(Reply::record(Posteriors { experiment_id: experiment.to_owned(), arms }))
}

fn posterior(row: &Row<'_>) -> ArmPosterior {
    let text = |column| row.text(column).unwrap_or_default().to_owned();
    ArmPosterior {
        experiment_id: text("experiment_id"),
        arm: text("arm"),
        alpha_param: row.number("alpha_param").unwrap_or(1.0),
        beta_param: row.number("beta_param").unwrap_or(1.0),
        updated_at: row.entry.updated.as_event().canonical(),
    }
}
