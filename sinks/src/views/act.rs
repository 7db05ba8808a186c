//! Actions: what a request asks for becomes one record, which the log acknowledges before the answer. Nothing else
//! is written; the graph gives the record its effect, and knows a repeated one by the action's identity.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use lsie_schemas::log::{AppendRecord, NewRecord};
use lsie_schemas::record::{HEADER_ACTION, HEADER_ACTOR};
use lsie_schemas::{EventTime, LogTime, Uuid};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::views::inputs::Inputs;
use crate::views::reading::Reading;
use crate::views::reply::{Fault, with_epoch};
use crate::views::route::Route;
use crate::views::router::App;

/// How long the log may take to acknowledge a record.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(5);
/// Answers that are remembered until the views know of their actions.
const MAX_REMEMBERED: usize = 1_024;

/// Who asks, when, and under which identity.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The action's identity: the caller's, or a fresh one.
    pub(crate) action: Uuid,
    /// When the request came; for audits and for the judgement of what is open, never the time of the action.
    pub(crate) received: EventTime,
}

/// What is to be done about an action.
pub(crate) enum Decision {
    /// This record, and then this answer, given the record's log time.
    Append(NewRecord, StatusCode, Box<dyn FnOnce(LogTime) -> Value + Send>),
    /// Nothing, for it was done before; the same answer.
    Done(StatusCode, Value),
}

impl Decision {
    /// A record, and an answer that does not depend on its log time.
    pub(crate) fn append(record: NewRecord, status: StatusCode, answer: impl Serialize) -> Decision {
        let answer = value(answer);
        Decision::Append(record, status, Box::new(|_| answer))
    }

    /// A record, and an answer that names its log time.
    pub(crate) fn append_then<T: Serialize>(
        record: NewRecord,
        status: StatusCode,
        answer: impl FnOnce(LogTime) -> T + Send + 'static,
    ) -> Decision {
        Decision::Append(record, status, Box::new(|at| value(answer(at))))
    }

    /// The answer to what was done before.
    pub(crate) fn done(status: StatusCode, answer: impl Serialize) -> Decision {
        Decision::Done(status, value(answer))
    }
}

/// The answers are plain structures with text keys: nothing that could fail.
fn value(answer: impl Serialize) -> Value {
    serde_json::to_value(answer).unwrap_or_default()
}

/// The log, and the newest answers. One action at a time: people act, and none must overtake another.
#[derive(Clone)]
pub(crate) struct Actions {
    log: Option<Arc<dyn AppendRecord>>,
    remembered: Arc<Mutex<VecDeque<Remembered>>>,
}

struct Remembered {
    action: Uuid,
    path: &'static str,
    inputs: Inputs,
    status: StatusCode,
    answer: Value,
}

impl Actions {
    /// Actions into a log; without one they are refused with 503.
    pub(crate) fn new(log: Option<Arc<dyn AppendRecord>>) -> Actions {
        Actions { log, remembered: Arc::default() }
    }

    /// Answers an action.
    pub(crate) async fn answer(
        &self,
        app: &App,
        route: &'static Route,
        decide: fn(&Reading<'_>, &Inputs, &Asked) -> Result<Decision, Fault>,
        inputs: Inputs,
        actor: &str,
    ) -> Response {
        let result = self.act(app, route, decide, inputs, actor).await;
        let epoch = app.views.read().epoch();
        let response = match result {
            Ok((status, answer)) => (status, Json(answer)).into_response(),
            Err(fault) => fault.into_response(),
        };
        with_epoch(response, epoch)
    }

    async fn act(
        &self,
        app: &App,
        route: &'static Route,
        decide: fn(&Reading<'_>, &Inputs, &Asked) -> Result<Decision, Fault>,
        inputs: Inputs,
        actor: &str,
    ) -> Result<(StatusCode, Value), Fault> {
        let log = self.log.clone().ok_or(Fault::Unavailable("no engine takes actions here"))?;
        let asked = asked(&inputs)?;
        let mut remembered = self.remembered.lock().await;
        if let Some(known) = remembered.iter().find(|known| known.action == asked.action) {
            return match known.path == route.path && known.inputs == inputs {
                true => Ok((known.status, repeated(known.answer.clone()))),
                false => Err(Fault::Conflict("this identity belongs to another action".into())),
            };
        }
        let decision = {
            let state = app.views.read();
            decide(&Reading::new(&app.views, &state, None)?, &inputs, &asked)?
        };
        let (status, answer) = match decision {
            Decision::Done(status, answer) => return Ok((status, repeated(answer))),
            Decision::Append(record, status, answer) => {
                let at = append(log, signed(record, actor, asked.action)).await?;
                (status, answer(at))
            }
        };
        if remembered.len() == MAX_REMEMBERED {
            remembered.pop_front();
        }
        let (action, path) = (asked.action, route.path);
        remembered.push_back(Remembered { action, path, inputs, status, answer: answer.clone() });
        Ok((status, answer))
    }
}

fn asked(inputs: &Inputs) -> Result<Asked, Fault> {
    let given = inputs.uuid("client_action_id").or_else(|| inputs.uuid("idempotency-key"));
    let action = match given {
        Some(action) => action,
        None => fresh_action()?,
    };
    Ok(Asked { action, received: received() })
}

/// The identity of an action whose caller gave it none.
fn fresh_action() -> Result<Uuid, Fault> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| Fault::Unavailable("no randomness from the system"))?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

/// The wall clock, when a request comes in.
#[allow(clippy::disallowed_methods, reason = "a request has no log time before the log has its record")]
pub(crate) fn received() -> EventTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    LogTime(since.as_millis() as u64).as_event()
}

/// The record with who asked and under which identity: the audit trail is made of these.
fn signed(mut record: NewRecord, actor: &str, action: Uuid) -> NewRecord {
    record.headers.push((HEADER_ACTOR.into(), actor.to_owned().into()));
    record.headers.push((HEADER_ACTION.into(), action.to_string().into()));
    record
}

/// Appends a record and waits for its acknowledgement. One that comes too late is not waited for: the caller
/// tries again under the same identity, and the graph knows the second record for a duplicate.
async fn append(log: Arc<dyn AppendRecord>, record: NewRecord) -> Result<LogTime, Fault> {
    let appending = tokio::task::spawn_blocking(move || log.append(vec![record]));
    let appended = match tokio::time::timeout(ACKNOWLEDGED_WITHIN, appending).await {
        Ok(Ok(Ok(appended))) => appended.first().map(|appended| appended.log_time),
        Ok(Ok(Err(error))) => {
            tracing::warn!(%error, "an action was not acknowledged");
            None
        }
        Ok(Err(_)) | Err(_) => {
            tracing::warn!("an action was not acknowledged in time");
            None
        }
    };
    appended.ok_or(Fault::Unavailable("the log did not acknowledge; try again under the same identity"))
}

/// The answer to a repeated action: the first one's, with a note where it has a place for one.
fn repeated(mut answer: Value) -> Value {
    if let Some(message) = answer.get_mut("message") {
        *message = Value::from(DUPLICATE);
    }
    answer
}

/// What the answer to a repeated action says.
pub(crate) const DUPLICATE: &str = "duplicate: this action was accepted before and did nothing now";
