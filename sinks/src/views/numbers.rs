//! `GET /metrics`: what the engine measures of itself, in Prometheus' text format. Who runs the engine brings the
//! numbers; here nothing is known of them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::views::reply::Fault;
use crate::views::router::App;

/// Writes the numbers down, in Prometheus' text format 0.0.4; may ask the log, and so may take a while.
pub type Numbers = Arc<dyn Fn() -> String + Send + Sync>;

const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(crate) async fn show(State(app): State<App>) -> Response {
    let Some(numbers) = app.numbers else {
        return Fault::NotFound("only an engine that runs live has metrics".into()).into_response();
    };
    match tokio::task::spawn_blocking(move || numbers()).await {
        Ok(text) => ([(CONTENT_TYPE, FORMAT)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
