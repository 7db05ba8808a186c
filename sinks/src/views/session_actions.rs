//! `POST /sessions` and `POST /sessions/{session_id}/end`: intents, which the pipeline carries out.

use axum::http::{Method, StatusCode};
use lsie_schemas::record::{Control, EndSession, StartSession, Stream, Subjects, session_id_from_action};
use lsie_schemas::{EventTime, Uuid};
use schemars::JsonSchema;
use serde::Serialize;

use crate::views::act::{Asked, DUPLICATE, Decision};
use crate::views::inputs::Inputs;
use crate::views::reading::Reading;
use crate::views::record::schema;
use crate::views::reply::Fault;
use crate::views::route::{Input, Kind, MAX_ID, MAX_TEXT, Returns, Route, SESSION};

pub(crate) const ROUTES: &[Route] = &[
    Route::act(
        Method::POST,
        "/sessions",
        "Asks for a session. Its id follows from the action's, so that a repeated request names the same session.",
        &[
            Input::body("stream_url", Kind::Text { max: MAX_TEXT }, "Where its media come from."),
            Input::body("experiment_id", Kind::Text { max: MAX_ID }, "The experiment it is bound to."),
            ACTION,
        ],
        Returns::One(schema::<SessionLifecycleAccepted>),
        start,
    ),
    Route::act(
        Method::POST,
        "/sessions/{session_id}/end",
        "Asks for the end of the newest session that runs.",
        &[SESSION, ACTION],
        Returns::One(schema::<SessionLifecycleAccepted>),
        end,
    ),
];

/// The identity of an action, in its body.
pub(crate) const ACTION: Input =
    Input::body("client_action_id", Kind::Uuid, "The action's identity: a repeated one does nothing.");

/// The receipt of an intent to start or end a session.
#[derive(Serialize, JsonSchema)]
struct SessionLifecycleAccepted {
    /// `start` or `end`.
    action: &'static str,
    session_id: String,
    client_action_id: String,
    accepted: bool,
    /// When the request came; never the time of the start or end.
    received_at_utc: String,
    message: Option<&'static str>,
}

fn start(at: &Reading<'_>, inputs: &Inputs, asked: &Asked) -> Result<Decision, Fault> {
    let session_id = session_id_from_action(asked.action);
    let receipt = |received, message| accepted("start", session_id, asked.action, received, message);
    if let Some(done) = at.done(asked.action, "start", Some(session_id))? {
        return Ok(Decision::done(StatusCode::OK, receipt(done.at, Some(DUPLICATE))));
    }
    let record = Control::Start(StartSession {
        session_id,
        streams: vec![Stream::Audio, Stream::Video],
        subjects: Subjects::default(),
        watched_account: None,
        source_url: inputs.word("stream_url").to_owned(),
        experiment_id: inputs.word("experiment_id").to_owned(),
        client_action_id: Some(asked.action),
    });
    Ok(Decision::append(record.encode(None), StatusCode::OK, receipt(asked.received, None)))
}

fn end(at: &Reading<'_>, inputs: &Inputs, asked: &Asked) -> Result<Decision, Fault> {
    let session_id = inputs.session();
    let receipt = |received, message| accepted("end", session_id, asked.action, received, message);
    if let Some(done) = at.done(asked.action, "end", Some(session_id))? {
        return Ok(Decision::done(StatusCode::OK, receipt(done.at, Some(DUPLICATE))));
    }
    if at.newest_running()? != Some(session_id) {
        return Err(Fault::Conflict(format!("session {session_id} is not the newest one that runs")));
    }
    let record = Control::End(EndSession { session_id, client_action_id: Some(asked.action) });
    Ok(Decision::append(record.encode(None), StatusCode::OK, receipt(asked.received, None)))
}

fn accepted(
    action: &'static str,
    session: Uuid,
    client_action: Uuid,
    received: EventTime,
    message: Option<&'static str>,
) -> SessionLifecycleAccepted {
    SessionLifecycleAccepted {
        action,
        session_id: session.to_string(),
        client_action_id: client_action.to_string(),
        accepted: true,
        received_at_utc: received.canonical(),
        message,
    }
}
