//! Answers of the API: the epoch header, lists as JSON or CSV, and errors with the body `{"detail": …}`.

use axum::Json;
use axum::http::header::{ACCEPT, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use lsie_schemas::LogTime;
use serde_json::{Value, json};

use crate::views::row::Row;
use crate::views::rows::Rows;

/// The header with the log time, in ms, of the epoch that an answer is as of; 0 before the first.
pub(crate) const EPOCH_HEADER: HeaderName = HeaderName::from_static("x-lsie-epoch");

/// What a route that reads answers.
#[derive(Debug)]
pub(crate) enum Reply {
    /// One document, or a list of records.
    Document(Value),
    /// Rows of a table.
    Rows(Rows),
}

impl Reply {
    /// A record.
    pub(crate) fn record(record: impl serde::Serialize) -> Reply {
        // The records are plain structures with text keys: nothing that could fail.
        Reply::Document(serde_json::to_value(record).unwrap_or_default())
    }

    /// These columns of rows.
    pub(crate) fn rows<'a>(columns: &[&'static str], rows: impl Iterator<Item = Row<'a>>) -> Reply {
        Reply::Rows(Rows::new(columns, rows))
    }
}

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
    Conflict(String),
    Invalid(Vec<Problem>),
    Unauthorized,
    Forbidden(&'static str),
    TooLarge,
    TooMany,
    Unavailable(&'static str),
}

impl Fault {
    /// What is answered before the views are filled, and after their engine failed.
    pub(crate) fn unavailable() -> Fault {
        Fault::Unavailable("the views are not available; the engine is starting or has stopped")
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let (status, detail) = match self {
            Fault::NotFound(what) => (StatusCode::NOT_FOUND, Value::from(what)),
            Fault::Conflict(why) => (StatusCode::CONFLICT, Value::from(why)),
            Fault::Invalid(problems) => (StatusCode::UNPROCESSABLE_ENTITY, json!(problems)),
            Fault::Unauthorized => {
                (StatusCode::UNAUTHORIZED, Value::from("a bearer token or a log-in is wanted"))
            }
            Fault::Forbidden(why) => (StatusCode::FORBIDDEN, Value::from(why)),
            Fault::TooMany => (StatusCode::TOO_MANY_REQUESTS, Value::from("too many requests")),
            Fault::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, Value::from("the body is too large")),
            Fault::Unavailable(why) => (StatusCode::SERVICE_UNAVAILABLE, Value::from(why)),
        };
        let mut response = (status, Json(json!({ "detail": detail }))).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl Reply {
    /// As JSON.
    pub(crate) fn json(&self) -> Vec<u8> {
        match self {
            Reply::Document(value) => value.to_string().into_bytes(),
            Reply::Rows(rows) => rows.json(),
        }
    }

    /// JSON, or CSV if it is rows and the request accepts that first.
    pub(crate) fn into_response(self, wants_csv: bool) -> Response {
        match self {
            Reply::Document(value) => Json(value).into_response(),
            Reply::Rows(rows) => {
                let (kind, text) = match wants_csv {
                    true => ("text/csv; charset=utf-8; header=present", rows.csv()),
                    false => ("application/json", rows.json()),
                };
                ([(CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response()
            }
        }
    }
}

/// Whether the first kind of answer that a request accepts, and that there is, is CSV.
pub(crate) fn wants_csv(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut kinds = accepted.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
    let known = kinds.find(|kind| matches!(*kind, "text/csv" | "application/json" | "*/*"));
    known == Some("text/csv")
}

/// Adds the epoch header.
pub(crate) fn with_epoch(mut response: Response, epoch: Option<LogTime>) -> Response {
    let value = HeaderValue::from(epoch.unwrap_or_default().0);
    response.headers_mut().insert(EPOCH_HEADER, value);
    response
}
