//! `GET /experiments` and `GET /experiments/{experiment_id}`.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::views::params::{Params, RawPath, RawQuery};
use crate::views::reply::{Fault, answer};
use crate::views::router::App;
use crate::views::table::View;

const ARM: [&str; 5] = ["experiment_id", "arm", "alpha_param", "beta_param", "updated_at"];

/// The experiments, sorted.
pub(crate) async fn list(State(app): State<App>, query: RawQuery) -> Response {
    answer(&app.views, |state| {
        Params::new(query).finish()?;
        let arms = View::of(&app.views, state, "experiments")?.rows(None);
        let ids: BTreeSet<&str> = arms.filter_map(|row| row.text("experiment_id")).collect();
        Ok(ids.into_iter().map(|id| json!({ "experiment_id": id })).collect())
    })
}

/// One experiment with its arms, sorted.
pub(crate) async fn one(State(app): State<App>, path: RawPath, query: RawQuery) -> Response {
    answer(&app.views, |state| {
        let mut params = Params::new(query);
        let experiment = params.path("experiment_id", path);
        params.finish()?;
        let arms = View::of(&app.views, state, "experiments")?.rows(None);
        let arms = arms.filter(|row| row.text("experiment_id") == Some(&experiment));
        let arms: Vec<Map<String, Value>> = arms.map(|row| row.pick(&ARM)).collect();
        if arms.is_empty() {
            return Err(Fault::NotFound(format!("no experiment {experiment}")));
        }
        Ok(json!({ "experiment_id": experiment, "arms": arms }))
    })
}
