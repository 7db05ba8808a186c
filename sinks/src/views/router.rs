//! The API: every route in one list, each with the function that answers it. Shapes: console specification §1 to §6.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{FromRef, FromRequestParts, Query, RawPathParams, Request, State as Extract};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, get, on, post};
use axum::{Json, Router};
use lsie_schemas::log::AppendRecord;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::console;
use crate::views::access::{Access, Caller};
use crate::views::act::Actions;
use crate::views::guard::{self, Guard};
use crate::views::inputs::{Inputs, Raw};
use crate::views::limiter::Limiter;
use crate::views::login;
use crate::views::numbers::{self, Numbers};
use crate::views::probe::{Probe, Probes};
use crate::views::ranked::Order;
use crate::views::reading::Reading;
use crate::views::reply::{EPOCH_HEADER, Fault, Reply, wants_csv, with_epoch};
use crate::views::route::{Answer, Route};
use crate::views::{
    Shutdown, Views, alerts, attribution, changes, comodulation, encounters, experiment_actions,
    experiment_detail, experiments, generic, health, inferences, live_encounters, live_sessions, metrics,
    openapi, overview, physiology, pulse, record_stream, records, segments, session_actions, sessions,
    stimulus, trace,
};

/// At most this many streams of changes at a time; one more is answered with 503.
const MAX_STREAMS: usize = 1_024;
/// Largest body of a request, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// Every route under `/api/v1`.
pub(crate) const ROUTES: &[&[Route]] = &[
    alerts::ROUTES,
    attribution::ROUTES,
    changes::ROUTES,
    comodulation::ROUTES,
    encounters::ROUTES,
    experiment_actions::ROUTES,
    experiment_detail::ROUTES,
    experiments::ROUTES,
    generic::ROUTES,
    health::ROUTES,
    inferences::ROUTES,
    live_encounters::ROUTES,
    live_sessions::ROUTES,
    metrics::ROUTES,
    openapi::ROUTES,
    overview::ROUTES,
    physiology::ROUTES,
    pulse::ROUTES,
    records::ROUTES,
    segments::ROUTES,
    session_actions::ROUTES,
    sessions::ROUTES,
    stimulus::ROUTES,
    trace::ROUTES,
];

/// Every order in which a route shows rows.
pub(crate) fn orders() -> impl Iterator<Item = Order> {
    ROUTES.iter().copied().flatten().flat_map(|route| route.orders).copied()
}

/// What the API is made of.
#[derive(Clone)]
pub struct Api {
    views: Views,
    log: Option<Arc<dyn AppendRecord>>,
    probes: Vec<Probe>,
    guard: Guard,
    console: console::Settings,
    has_console: bool,
    numbers: Option<Numbers>,
    more: Router,
}

impl Api {
    /// An API that reads views, and refuses actions.
    pub fn new(views: &Views) -> Api {
        let guard = Guard { access: Access::default(), limiter: Limiter::new(0), is_secure: false };
        let console = console::Settings::default();
        let has_console = console::is_embedded();
        Api {
            views: views.clone(),
            log: None,
            probes: Vec::new(),
            guard,
            console,
            has_console,
            numbers: None,
            more: Router::new(),
        }
    }

    /// Actions become records in this log.
    pub fn with_log(self, log: Arc<dyn AppendRecord>) -> Api {
        Api { log: Some(log), ..self }
    }

    /// What the console is told.
    pub fn with_console(self, console: console::Settings) -> Api {
        Api { console, ..self }
    }

    /// Serves what a binary serves that was built without Node, whether this one was or not.
    pub fn without_console(self) -> Api {
        Api { has_console: false, ..self }
    }

    /// Health looks at these, too.
    pub fn with_probes(self, probes: Vec<Probe>) -> Api {
        Api { probes, ..self }
    }

    /// `/metrics` serves these.
    pub fn with_numbers(self, numbers: Numbers) -> Api {
        Api { numbers: Some(numbers), ..self }
    }

    /// Serves these routes, too, behind the same guard; their paths are none of the API's own.
    pub fn with_routes(self, more: Router) -> Api {
        Api { more, ..self }
    }

    /// Only who holds a token is let in, an address may ask so often a second (0: any number), and browsers are told
    /// whether TLS is the only way.
    pub fn guarded(self, access: Access, requests_per_s: u32, is_secure: bool) -> Api {
        let guard = Guard { access, limiter: Limiter::new(requests_per_s), is_secure };
        Api { guard, ..self }
    }

    /// The router. Its streams of changes end when `shutdown` does.
    pub fn router(self, shutdown: Shutdown) -> Router {
        let Api { views, log, probes, guard, console, has_console, numbers, more } = self;
        let streams = Arc::new(Semaphore::new(MAX_STREAMS));
        let (actions, probes) = (Actions::new(log), Probes::new(probes));
        let app = App {
            views: views.clone(),
            actions,
            probes,
            guard: guard.clone(),
            console,
            has_console,
            numbers,
            shutdown,
            streams,
        };
        let mut api = Router::new();
        for route in ROUTES.iter().copied().flatten() {
            // The table's methods are those that filters know.
            let Ok(method) = MethodFilter::try_from(route.method.clone()) else { continue };
            let handler =
                async move |Extract(app): Extract<App>, request: Request| answer(app, route, request).await;
            api = api.route(route.path, on(method, handler));
        }
        Router::new()
            .route("/", get(console::index))
            .route("/console.json", get(console::settings))
            .route("/{file}", get(console::file))
            .route("/whoami", get(login::who))
            .route("/health", get(alive))
            .route("/metrics", get(numbers::show))
            .route("/login", get(login::form).post(login::log_in))
            .route("/logout", post(login::log_out))
            .nest("/api/v1", api)
            .fallback(async || Fault::NotFound("no such route".into()))
            .method_not_allowed_fallback(method_not_allowed)
            .with_state(app)
            .merge(more)
            .layer(from_fn_with_state(guard, guard::pass))
            .layer(from_fn_with_state(views, name_epoch))
    }
}

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) views: Views,
    pub(crate) actions: Actions,
    pub(crate) probes: Probes,
    pub(crate) guard: Guard,
    pub(crate) console: console::Settings,
    pub(crate) has_console: bool,
    pub(crate) numbers: Option<Numbers>,
    /// Ends the streams, which would otherwise keep a server from stopping.
    pub(crate) shutdown: Shutdown,
    pub(crate) streams: Arc<Semaphore>,
}

impl FromRef<App> for Guard {
    fn from_ref(app: &App) -> Guard {
        app.guard.clone()
    }
}

/// Reads the request as its route describes it, and answers it.
async fn answer(app: App, route: &'static Route, request: Request) -> Response {
    let epoch = app.views.read().epoch();
    let wants_csv = wants_csv(request.headers());
    let wants_events = record_stream::is_wanted(route, request.headers());
    let caller = request.extensions().get::<Caller>().map(|caller| caller.name.clone()).unwrap_or_default();
    let inputs = match raw(request).await.and_then(|raw| Inputs::read(route, &raw)) {
        Ok(inputs) => inputs,
        Err(fault) => return with_epoch(fault.into_response(), epoch),
    };
    if wants_events {
        return record_stream::open(app, route, inputs).await;
    }
    match route.answer {
        Answer::Read(read) => read_from(&app, &inputs, wants_csv, |reading| read(reading, &inputs)),
        Answer::Probed(read) => {
            let found = app.probes.look().await;
            read_from(&app, &inputs, wants_csv, |reading| read(reading, &inputs, found))
        }
        Answer::Stream(open) => open(&app, &inputs),
        Answer::Act(decide) => app.actions.answer(&app, route, decide, inputs, &caller).await,
    }
}

/// Answers from the state of one epoch, and names it.
fn read_from(
    app: &App,
    inputs: &Inputs,
    wants_csv: bool,
    read: impl FnOnce(&Reading<'_>) -> Result<Reply, Fault>,
) -> Response {
    let state = app.views.read();
    let (reading, newest) = (Reading::new(&app.views, &state, inputs.as_of()), state.epoch());
    let epoch = reading.as_ref().ok().map(Reading::epoch).or(newest);
    let result = reading.and_then(|reading| read(&reading));
    drop(state);
    let response = match result {
        Ok(reply) => reply.into_response(wants_csv),
        Err(fault) => fault.into_response(),
    };
    with_epoch(response, epoch)
}

/// The parts of a request that inputs may stand in.
async fn raw(request: Request) -> Result<Raw, Fault> {
    let (mut parts, body) = request.into_parts();
    let path = RawPathParams::from_request_parts(&mut parts, &()).await;
    let path =
        path.map(|path| path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
    let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
    let body = to_bytes(body, MAX_BODY).await.map_err(|_| Fault::TooLarge)?;
    Ok(Raw {
        path: path.map_err(|error| error.body_text()),
        query: query.map(|Query(pairs)| pairs).map_err(|error| error.body_text()),
        headers: parts.headers,
        body: body.to_vec(),
    })
}

/// Whether the process lives; says nothing about the views.
async fn alive() -> impl IntoResponse {
    Json(json!({"status": "ok"}))
}

async fn method_not_allowed() -> impl IntoResponse {
    (axum::http::StatusCode::METHOD_NOT_ALLOWED, Json(json!({"detail": "method not allowed"})))
}

/// Adds the newest epoch to answers that are not as of a particular one.
async fn name_epoch(Extract(views): Extract<Views>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    match response.headers().contains_key(EPOCH_HEADER) {
        true => response,
        false => {
            let state = views.read();
            with_epoch(response, state.epoch().filter(|_| state.serving))
        }
    }
}
