//! Answers of the API: the epoch header, and errors with the body `{"detail": …}`.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use lsie_schemas::LogTime;
use serde_json::{Value, json};

use crate::views::state::{State, Views};

/// The header with the log time, in ms, of the epoch that an answer is as of; 0 before the first.
pub(crate) const EPOCH_HEADER: HeaderName = HeaderName::from_static("x-lsie-epoch");

/// One thing that is wrong with a request.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Problem {
    /// Where: `["query", "limit"]`.
    pub(crate) location: [String; 2],
    pub(crate) message: String,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) enum Fault {
    NotFound(String),
    Invalid(Vec<Problem>),
    Unavailable(&'static str),
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let (status, detail) = match self {
            Fault::NotFound(what) => (StatusCode::NOT_FOUND, Value::from(what)),
            Fault::Invalid(problems) => (StatusCode::UNPROCESSABLE_ENTITY, json!(problems)),
            Fault::Unavailable(why) => (StatusCode::SERVICE_UNAVAILABLE, Value::from(why)),
        };
        (status, Json(json!({ "detail": detail }))).into_response()
    }
}

/// Answers from the state of one epoch, and names that epoch.
pub(crate) fn answer(views: &Views, query: impl FnOnce(&State) -> Result<Value, Fault>) -> Response {
    let state = views.read();
    let epoch = state.epoch;
    let result = if state.serving { query(&state) } else { Err(unavailable()) };
    drop(state);
    let response = result.map(Json).into_response();
    with_epoch(response, epoch)
}

/// What is answered before the views are filled, and after their engine failed.
pub(crate) fn unavailable() -> Fault {
    Fault::Unavailable("the views are not available; the engine is starting or has stopped")
}

/// Adds the epoch header.
pub(crate) fn with_epoch(mut response: Response, epoch: Option<LogTime>) -> Response {
    let value = HeaderValue::from(epoch.unwrap_or_default().0);
    response.headers_mut().insert(EPOCH_HEADER, value);
    response
}
