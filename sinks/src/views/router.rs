//! The routes of the API. Shapes: console specification §1, §2.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::views::reply::{EPOCH_HEADER, Fault, with_epoch};
use crate::views::{Shutdown, Views, changes, encounters, experiments, generic, page, segments, sessions};

/// At most this many streams of changes at a time; one more is answered with 503.
const MAX_STREAMS: usize = 1_024;

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) views: Views,
    /// Ends the streams, which would otherwise keep a server from stopping.
    pub(crate) shutdown: Shutdown,
    pub(crate) streams: Arc<Semaphore>,
}

/// The API over views. Its streams of changes end when `shutdown` does.
pub fn router(views: Views, shutdown: Shutdown) -> Router {
    let app = App { views: views.clone(), shutdown, streams: Arc::new(Semaphore::new(MAX_STREAMS)) };
    let api = Router::new()
        .route("/sessions", get(sessions::list))
        .route("/sessions/{session_id}", get(sessions::one))
        .route("/encounters", get(encounters::list))
        .route("/encounters/{experiment_id}/summary", get(encounters::summary))
        .route("/experiments", get(experiments::list))
        .route("/experiments/{experiment_id}", get(experiments::one))
        .route("/segments", get(segments::list))
        .route("/views", get(generic::list))
        .route("/views/{view}", get(generic::rows))
        .route("/views/{view}/changes", get(changes::stream));
    Router::new()
        .route("/", get(page::index))
        .route("/health", get(health))
        .nest("/api/v1", api)
        .fallback(async || Fault::NotFound("no such route".into()))
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(app)
        .layer(from_fn_with_state(views, name_epoch))
}

/// Whether the process lives; says nothing about the views.
async fn health() -> impl IntoResponse {
    Json(json!({"status": "ok"}))
}

async fn method_not_allowed() -> impl IntoResponse {
    (axum::http::StatusCode::METHOD_NOT_ALLOWED, Json(json!({"detail": "method not allowed"})))
}

/// Adds the newest epoch to answers that are not as of a particular one.
async fn name_epoch(State(views): State<Views>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    match response.headers().contains_key(EPOCH_HEADER) {
        true => response,
        false => with_epoch(response, views.read().epoch()),
    }
}
