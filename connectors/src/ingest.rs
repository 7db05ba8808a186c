//! Ingest over HTTP: telemetry that others push, and the notifications of the wearable's provider. A router for
//! whoever serves; who may use it is the server's to decide.
//!
//! Whatever is answered with an acceptance is in the log. When the log does not acknowledge, or not soon, the answer
//! is 503, and the sender comes again; what the log has taken meanwhile is not appended twice.

mod appender;
mod batch;
mod late;
mod schema;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use lsie_schemas::Topic;
use lsie_schemas::log::{Appended, Log, LogError, NewRecord};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::Health;
use crate::health::State as Condition;
use crate::oura::claims::Requests;
use crate::oura::{Answer, SIGNATURE_HEADER, receive};
pub(crate) use appender::{Appender, NotAppended};
pub(crate) use late::{Again, Late};
pub use schema::schema;

/// The topics that telemetry may be pushed to.
pub const TOPICS: [Topic; 3] = [Topic::Physio, Topic::Events, Topic::Outcomes];
/// The largest body.
const MOST_BODY_BYTES: usize = 8 << 20;
/// Requests that may wait for the log at a time; one more is answered with 503.
const MOST_WAITING: usize = 256;

/// What lets senders in.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The bearer token of whoever pushes telemetry; none: the server around this router decides.
    pub token: Option<String>,
    /// The secret by which the provider signs notifications; empty: none of them is let in.
    pub oura_secret: Vec<u8>,
}

/// What tells a pushed body from others: its topic and its hash.
type Pushed = (Topic, [u8; 32]);

/// What the handlers share.
#[derive(Clone)]
struct App {
    appender: Appender,
    late: Arc<Mutex<Late<Pushed>>>,
    requests: Requests,
    secret: Arc<[u8]>,
    waiting: Arc<Semaphore>,
    health: Health,
}

impl App {
    fn late(&self) -> MutexGuard<'_, Late<Pushed>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The routes `POST /api/v1/ingest/{topic}`, `GET /api/v1/ingest/{topic}/schema` and
/// `POST /api/v1/ingest/oura/webhook`. Reads topic `requests` once, for the notifications of the last hour.
pub fn router(log: Arc<dyn Log>, credentials: &Credentials, health: Health) -> Result<Router, LogError> {
    let appender = Appender::start(log.clone())?;
    let requests = Requests::rebuilt(&*log, appender.clone())?;
    let waiting = Arc::new(Semaphore::new(MOST_WAITING));
    let secret = credentials.oura_secret.as_slice().into();
    let app = App { appender, late: Arc::default(), requests, secret, waiting, health };
    let mut telemetry = Router::new()
        .route("/api/v1/ingest/{topic}", post(take))
        .route("/api/v1/ingest/{topic}/schema", get(published));
    if let Some(token) = &credentials.token {
        let expected = Sha256::digest(format!("Bearer {token}"));
        telemetry = telemetry.layer(from_fn_with_state(expected.to_vec(), with_token));
    }
    Ok(telemetry
        .route("/api/v1/ingest/oura/webhook", post(notify))
        .layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
        .with_state(app))
}

/// Lets a request through whose token is the expected one. Hashes are compared: how long it takes tells nothing.
async fn with_token(State(expected): State<Vec<u8>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).map(|given| Sha256::digest(given.as_bytes()));
    match given {
        Some(given) if given.as_slice() == expected => next.run(request).await,
        _ => fault(StatusCode::UNAUTHORIZED, "a bearer token is wanted"),
    }
}

/// The topic of a path, if it is one that may be pushed to.
fn topic(name: &str) -> Option<Topic> {
    Topic::by_name(name).filter(|topic| TOPICS.contains(topic))
}

fn no_topic() -> Response {
    let names: Vec<&str> = TOPICS.iter().map(|topic| topic.name()).collect();
    fault(
        StatusCode::NOT_FOUND,
        &format!("no topic of that name takes records; those that do: {}", names.join(", ")),
    )
}

fn fault(status: StatusCode, detail: &str) -> Response {
    (status, Json(json!({ "detail": detail }))).into_response()
}

/// Nothing was taken, or not for sure; to be sent again.
fn unavailable(body: Value) -> Response {
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

async fn published(Path(name): Path<String>) -> Response {
    match topic(&name) {
        Some(topic) => Json(schema(topic)).into_response(),
        None => no_topic(),
    }
}

/// Takes one record or a list of them: the good ones are appended, each of the others gets its reason.
async fn take(State(app): State<App>, Path(name): Path<String>, body: Bytes) -> Response {
    let Some(topic) = topic(&name) else { return no_topic() };
    let batch = match batch::read(topic, &body) {
        Ok(batch) => batch,
        Err(rejection) => return fault(StatusCode::UNPROCESSABLE_ENTITY, &rejection.detail),
    };
    let (accepted, rejected) = batch.counts();
    let pushed = (topic, Sha256::digest(&body).into());
    let appended = match append(&app, pushed, batch.records()).await {
        Ok(appended) => appended,
        Err(()) => {
            app.health.count("records_unavailable", accepted as u64);
            return unavailable(json!({ "detail": "temporarily unavailable" }));
        }
    };
    app.health.count("records_accepted", accepted as u64);
    app.health.count("records_rejected", rejected as u64);
    let status = match (accepted, rejected) {
        (0, 1..) => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::OK,
    };
    (status, Json(batch.answer(&appended))).into_response()
}

/// Appends in the appender's thread, while this one serves others; unless the same body came before and the log
/// has taken it since.
async fn append(app: &App, pushed: Pushed, records: Vec<NewRecord>) -> Result<Vec<Appended>, ()> {
    if records.is_empty() {
        return Ok(Vec::new());
    }
    match app.late().again(&pushed) {
        Again::New => {}
        Again::Open => return Err(()),
        Again::Stored(appended) => return Ok(appended),
    }
    let permit = app.waiting.clone().try_acquire_owned().map_err(|_| ())?;
    let own = app.clone();
    let result = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        own.appender.append(records).map_err(|error| match error {
            NotAppended::Not => (),
            NotAppended::Open(open) => own.late().insert(pushed, open),
        })
    });
    let result = result.await.map_err(|_| ())?;
    app.health.set("log", if result.is_ok() { Condition::Ok } else { Condition::Recovering }, "");
    result
}

/// Takes a notification of the provider.
async fn notify(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Response {
    let Ok(permit) = app.waiting.clone().try_acquire_owned() else {
        app.health.count("notifications_unavailable", 1);
        return unavailable(Answer::Unavailable.body());
    };
    let (secret, mut requests) = (app.secret.clone(), app.requests.clone());
    let answer = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let signature = headers.get(SIGNATURE_HEADER).map(HeaderValue::as_bytes);
        receive(&secret, signature, &body, &mut requests)
    });
    let answer = answer.await.unwrap_or(Answer::Unavailable);
    app.health.count(
        match answer {
            Answer::Accepted(_) => "notifications_accepted",
            Answer::Duplicate(_) => "notifications_duplicate",
            Answer::Unauthorised => "notifications_unauthorised",
            Answer::Refused(_) => "notifications_refused",
            Answer::Unavailable => "notifications_unavailable",
        },
        1,
    );
    if answer == Answer::Unavailable {
        return unavailable(answer.body());
    }
    let status = StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(answer.body())).into_response()
}
