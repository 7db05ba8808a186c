//! The administration of experiments: create one, add, edit, disable and delete arms. Each is one record; posteriors
//! are the graph's, and in no request.

use axum::http::{Method, StatusCode};
use lsie_schemas::record::ExperimentRecord;
use lsie_schemas::{Cell, LogTime};
use schemars::JsonSchema;
use serde::Serialize;

use crate::views::act::{Asked, Decision};
use crate::views::encounters::NEWEST_OF_ARM;
use crate::views::inputs::Inputs;
use crate::views::reading::Reading;
use crate::views::record::schema;
use crate::views::reply::{Fault, Problem};
use crate::views::route::{EXPERIMENT, Input, Kind, MAX_ID, MAX_TEXT, Returns, Route};
use crate::views::row::Row;

pub(crate) const ROUTES: &[Route] = &[
    Route::act(
        Method::POST,
        "/experiments",
        "Creates an experiment with its arms.",
        &[
            Input::body("experiment_id", Kind::Text { max: MAX_ID }, "Its id."),
            Input::body("label", Kind::Text { max: MAX_TEXT }, "What people call it."),
            Input::body("arms", Kind::Arms, "Its arms, with ids of their own."),
        ],
        Returns::Created(schema::<Experiment>),
        create,
    ),
    Route::act(
        Method::POST,
        "/experiments/{experiment_id}/arms",
        "Adds an arm.",
        &[
            EXPERIMENT,
            Input::body("arm", Kind::Text { max: MAX_ID }, "Its id."),
            Input::body("greeting_text", Kind::Text { max: MAX_TEXT }, "What the operator says."),
        ],
        Returns::Created(schema::<Arm>),
        add,
    ),
    Route::act(
        Method::PATCH,
        "/experiments/{experiment_id}/arms/{arm_id}",
        "Changes an arm's greeting, or disables it for good, or both.",
        &[
            EXPERIMENT,
            ARM,
            Input::body("greeting_text", Kind::Text { max: MAX_TEXT }, "What the operator says.").optional(),
            Input::body("enabled", Kind::Off, "False: it is not selected any more.").optional(),
        ],
        Returns::One(schema::<Arm>),
        edit,
    ),
    Route::act(
        Method::DELETE,
        "/experiments/{experiment_id}/arms/{arm_id}",
        "Deletes an arm that was never used; one that was used is disabled, and its posterior kept.",
        &[EXPERIMENT, ARM],
        Returns::One(schema::<Deleted>),
        delete,
    ),
];

const ARM: Input = Input::path("arm_id", Kind::Word, "The arm.");

/// An experiment with its arms.
#[derive(Serialize, JsonSchema)]
struct Experiment {
    experiment_id: String,
    label: Option<String>,
    arms: Vec<Arm>,
}

/// An arm with its posterior.
#[derive(Clone, Serialize, JsonSchema)]
struct Arm {
    experiment_id: String,
    label: Option<String>,
    arm: String,
    greeting_text: Option<String>,
    alpha_param: f64,
    beta_param: f64,
    enabled: bool,
    end_dated_at: Option<String>,
    updated_at: String,
}

/// What came of a deletion.
#[derive(Serialize, JsonSchema)]
struct Deleted {
    experiment_id: String,
    arm: String,
    /// Whether the arm is gone.
    deleted: bool,
    /// Whether it was disabled instead.
    posterior_preserved: bool,
    reason: &'static str,
    /// The disabled arm.
    arm_state: Option<Arm>,
}

impl Arm {
    fn of(row: &Row<'_>) -> Arm {
        let text = |column| row.text(column).map(str::to_owned);
        Arm {
            experiment_id: text("experiment_id").unwrap_or_default(),
            label: text("label"),
            arm: text("arm").unwrap_or_default(),
            greeting_text: text("greeting_text"),
            alpha_param: row.number("alpha_param").unwrap_or(1.0),
            beta_param: row.number("beta_param").unwrap_or(1.0),
            enabled: row.flag("enabled").unwrap_or(true),
            end_dated_at: row.time("end_dated_at"),
            updated_at: row.entry.updated.as_event().canonical(),
        }
    }

    fn new(experiment: &str, label: Option<String>, arm: &str, greeting: &str) -> Arm {
        Arm {
            experiment_id: experiment.to_owned(),
            label,
            arm: arm.to_owned(),
            greeting_text: Some(greeting.to_owned()),
            alpha_param: 1.0,
            beta_param: 1.0,
            enabled: true,
            end_dated_at: None,
            updated_at: String::new(),
        }
    }

    fn updated(self, at: LogTime) -> Arm {
        Arm { updated_at: at.as_event().canonical(), ..self }
    }

    fn disabled(self, at: LogTime) -> Arm {
        let end_dated_at = self.end_dated_at.clone().or_else(|| Some(at.as_event().canonical()));
        Arm { enabled: false, end_dated_at, ..self.updated(at) }
    }
}

fn create(at: &Reading<'_>, inputs: &Inputs, asked: &Asked) -> Result<Decision, Fault> {
    let (id, label) = (inputs.word("experiment_id").to_owned(), inputs.word("label").to_owned());
    let there: Vec<Arm> = at.arms(&id)?.map(|row| Arm::of(&row)).collect();
    if at.done(asked.action, "create", None)?.is_some() {
        let label = there.first().and_then(|arm| arm.label.clone());
        let experiment = Experiment { experiment_id: id, label, arms: there };
        return Ok(Decision::done(StatusCode::CREATED, experiment));
    }
    if !there.is_empty() {
        return Err(Fault::Conflict(format!("experiment {id} exists")));
    }
    let texts = inputs.arms();
    let new = |text: &lsie_schemas::record::ArmText| {
        Arm::new(&id, Some(label.clone()), &text.arm, &text.greeting_text)
    };
    let mut arms: Vec<Arm> = texts.iter().map(new).collect();
    arms.sort_by(|a, b| a.arm.cmp(&b.arm));
    let record = ExperimentRecord::Create { experiment_id: id.clone(), label: label.clone(), arms: texts }
        .encode(None);
    Ok(Decision::append_then(record, StatusCode::CREATED, move |at| Experiment {
        experiment_id: id,
        label: Some(label),
        arms: arms.into_iter().map(|arm| arm.updated(at)).collect(),
    }))
}

fn add(at: &Reading<'_>, inputs: &Inputs, asked: &Asked) -> Result<Decision, Fault> {
    let (experiment, arm) = (inputs.word("experiment_id"), inputs.word("arm"));
    let arms: Vec<Arm> = at.arms(experiment)?.map(|row| Arm::of(&row)).collect();
    let known = arms.iter().find(|known| known.arm == arm);
    match (at.done(asked.action, "set_arm", None)?, known) {
        (Some(_), Some(known)) => return Ok(Decision::done(StatusCode::CREATED, known)),
        (None, Some(_)) => return Err(Fault::Conflict(format!("arm {arm} of {experiment} exists"))),
        (_, None) => {}
    }
    let first = arms.first().ok_or_else(|| Fault::NotFound(format!("no experiment {experiment}")))?;
    let new = Arm::new(experiment, first.label.clone(), arm, inputs.word("greeting_text"));
    let record = set_arm(&new);
    Ok(Decision::append_then(record.encode(None), StatusCode::CREATED, |at| new.updated(at)))
}

fn edit(at: &Reading<'_>, inputs: &Inputs, _: &Asked) -> Result<Decision, Fault> {
    let (greeting, disables) = (inputs.text("greeting_text").map(str::to_owned), inputs.has("enabled"));
    let known = arm(at, inputs)?;
    if greeting.is_none() && !disables {
        let location = ["body".into(), String::new()];
        return Err(Fault::Invalid(vec![Problem {
            location,
            message: "nothing to change".into(),
            kind: "empty",
        }]));
    }
    let changed = Arm { greeting_text: greeting.clone().or(known.greeting_text.clone()), ..known };
    // A greeting alone never enables an arm again, nor brings one back.
    if disables || !changed.enabled {
        let record = ExperimentRecord::DisableArm {
            experiment_id: changed.experiment_id.clone(),
            arm: changed.arm.clone(),
            greeting_text: greeting,
        };
        return Ok(Decision::append_then(record.encode(None), StatusCode::OK, |at| changed.disabled(at)));
    }
    let record = set_arm(&changed);
    Ok(Decision::append_then(record.encode(None), StatusCode::OK, |at| changed.updated(at)))
}

fn delete(at: &Reading<'_>, inputs: &Inputs, asked: &Asked) -> Result<Decision, Fault> {
    let gone = |experiment_id: String, arm: String| Deleted {
        experiment_id,
        arm,
        deleted: true,
        posterior_preserved: false,
        reason: "it had no encounter and the prior's posterior",
        arm_state: None,
    };
    let named = (inputs.word("experiment_id").to_owned(), inputs.word("arm_id").to_owned());
    let known = match (arm(at, inputs), at.done(asked.action, "delete_arm", None)?) {
        (Err(Fault::NotFound(_)), Some(_)) => {
            return Ok(Decision::done(StatusCode::OK, gone(named.0, named.1)));
        }
        (known, _) => known?,
    };
    let mine = ["experiment_id", "arm"].into_iter().zip([&known.experiment_id, &known.arm]);
    let mine: Vec<_> = mine.map(|(name, text)| (name, Cell::Text(text.clone()))).collect();
    let has_encounters = at.newest(&NEWEST_OF_ARM, &mine)?.next().is_some();
    let used = has_encounters || (known.alpha_param, known.beta_param) != (1.0, 1.0);
    let record =
        ExperimentRecord::DeleteArm { experiment_id: known.experiment_id.clone(), arm: known.arm.clone() };
    Ok(Decision::append_then(record.encode(None), StatusCode::OK, move |at| match used {
        false => gone(named.0, named.1),
        true => Deleted {
            experiment_id: known.experiment_id.clone(),
            arm: known.arm.clone(),
            deleted: false,
            posterior_preserved: true,
            reason: "it has encounters: it is disabled, and its posterior kept",
            arm_state: Some(known.disabled(at)),
        },
    }))
}

/// The arm that the path names; 404 without it, or without its experiment.
fn arm(at: &Reading<'_>, inputs: &Inputs) -> Result<Arm, Fault> {
    let (experiment, arm) = (inputs.word("experiment_id"), inputs.word("arm_id"));
    let found = at.arms(experiment)?.find(|row| row.text("arm") == Some(arm));
    found
        .map(|row| Arm::of(&row))
        .ok_or_else(|| Fault::NotFound(format!("no arm {arm} of experiment {experiment}")))
}

fn set_arm(arm: &Arm) -> ExperimentRecord {
    ExperimentRecord::SetArm {
        experiment_id: arm.experiment_id.clone(),
        arm: arm.arm.clone(),
        greeting_text: arm.greeting_text.clone().unwrap_or_default(),
    }
}
