//! `POST /stimulus` and `POST /operator/sessions/{session_id}/stimulus`: the greeting goes out. Its time is that of
//! its record in the log, never that of the request.

use axum::http::{Method, StatusCode};
use lsie_schemas::Uuid;
use lsie_schemas::log::NewRecord;
use lsie_schemas::record::{Control, Stimulus};
use schemars::JsonSchema;
use serde::Serialize;

use crate::views::act::{Asked, DUPLICATE, Decision};
use crate::views::inputs::Inputs;
use crate::views::reading::Reading;
use crate::views::record::schema;
use crate::views::reply::Fault;
use crate::views::route::{Input, Kind, MAX_TEXT, Returns, Route, SESSION};
use crate::views::session_actions::ACTION;

pub(crate) const ROUTES: &[Route] = &[
    Route::act(
        Method::POST,
        "/stimulus",
        "Sends a stimulus to the one session that runs.",
        &[],
        Returns::One(schema::<Triggered>),
        untargeted,
    ),
    Route::act(
        Method::POST,
        "/operator/sessions/{session_id}/stimulus",
        "Sends a stimulus to a session.",
        &[
            SESSION,
            ACTION,
            Input::body("operator_note", Kind::Note { max: MAX_TEXT }, "What the operator notes.").optional(),
        ],
        Returns::One(schema::<StimulusAccepted>),
        targeted,
    ),
];

/// How long a stimulus' reaction is measured, in microseconds (`math.md` §6); no other is accepted meanwhile.
const MEASURED_US: i64 = 5_000_000;

/// That a stimulus went out to one session.
#[derive(Serialize, JsonSchema)]
struct Triggered {
    /// `triggered`.
    status: &'static str,
    /// Sessions that it reached: 1.
    receivers: u32,
}

/// The receipt of a stimulus.
#[derive(Serialize, JsonSchema)]
struct StimulusAccepted {
    session_id: String,
    client_action_id: String,
    accepted: bool,
    /// When the request came; for audits, never the time of the stimulus.
    received_at_utc: String,
    message: Option<&'static str>,
}

fn untargeted(at: &Reading<'_>, _: &Inputs, asked: &Asked) -> Result<Decision, Fault> {
    let triggered = Triggered { status: "triggered", receivers: 1 };
    if at.done(asked.action, "stimulus", None)?.is_some() {
        return Ok(Decision::done(StatusCode::OK, triggered));
    }
    let session = match at.running()?.as_slice() {
        [session] => *session,
        [] => return Err(Fault::Conflict("no session runs".into())),
        several => return Err(Fault::Conflict(format!("{} sessions run; name one", several.len()))),
    };
    none_open(at, session, asked)?;
    Ok(Decision::append(record(session, None, asked), StatusCode::OK, triggered))
}

fn targeted(at: &Reading<'_>, inputs: &Inputs, asked: &Asked) -> Result<Decision, Fault> {
    let session = inputs.session();
    let receipt = |received: lsie_schemas::EventTime, message| StimulusAccepted {
        session_id: session.to_string(),
        client_action_id: asked.action.to_string(),
        accepted: true,
        received_at_utc: received.canonical(),
        message,
    };
    if let Some(done) = at.done(asked.action, "stimulus", Some(session))? {
        return Ok(Decision::done(StatusCode::OK, receipt(done.at, Some(DUPLICATE))));
    }
    if at.session(session)?.instant("ended_at").is_some() {
        return Err(Fault::Conflict(format!("session {session} has ended")));
    }
    none_open(at, session, asked)?;
    let note = inputs.text("operator_note").map(str::to_owned);
    Ok(Decision::append(record(session, note, asked), StatusCode::OK, receipt(asked.received, None)))
}

/// Refuses a stimulus while the reaction to another one is measured. The graph judges it again, by log time.
fn none_open(at: &Reading<'_>, session: Uuid, asked: &Asked) -> Result<(), Fault> {
    let now = asked.received.max(at.epoch().as_event());
    let sent = at.table("stimuli")?.rows(Some(session)).filter_map(|row| row.instant("stimulus_utc"));
    match sent.max().is_some_and(|newest| now < newest.plus_us(MEASURED_US)) {
        true => Err(Fault::Conflict("the reaction to another stimulus is being measured".into())),
        false => Ok(()),
    }
}

fn record(session_id: Uuid, operator_note: Option<String>, asked: &Asked) -> NewRecord {
    let received_at_utc = Some(asked.received.canonical());
    let stimulus = Stimulus { session_id, client_action_id: asked.action, operator_note, received_at_utc };
    Control::Stimulus(stimulus).encode(None)
}
