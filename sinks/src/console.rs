//! The operator console: the files that `npm run build` makes of `console/`, embedded in the binary and served
//! at `/`. A binary that was built without them serves a page that says how to get them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, VARY,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};
use serde::{Deserialize, Serialize};

use crate::views::page;
use crate::views::reply::Fault;
use crate::views::router::App;

#[derive(RustEmbed)]
#[folder = "console/dist/"]
struct Files;

/// What the console is told by its engine. Intervals are the greatest age of what it shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "each key is described in the commented defaults")]
pub struct Settings {
    pub environment_label: String,
    pub default_experiment: String,
    pub api_timeout_seconds: u64,
    pub overview_poll_ms: u64,
    pub session_header_poll_ms: u64,
    pub live_encounters_poll_ms: u64,
    pub experiments_poll_ms: u64,
    pub physiology_poll_ms: u64,
    pub comodulation_poll_ms: u64,
    pub health_poll_ms: u64,
    pub sessions_poll_ms: u64,
    pub alerts_poll_ms: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            environment_label: "local".into(),
            default_experiment: "greeting_line_v1".into(),
            api_timeout_seconds: 5,
            overview_poll_ms: 3_000,
            session_header_poll_ms: 3_000,
            live_encounters_poll_ms: 2_000,
            experiments_poll_ms: 10_000,
            physiology_poll_ms: 5_000,
            comodulation_poll_ms: 15_000,
            health_poll_ms: 5_000,
            sessions_poll_ms: 5_000,
            alerts_poll_ms: 5_000,
        }
    }
}

impl Settings {
    /// The intervals and the time limit with their names: none of them may be 0.
    pub fn durations(&self) -> [(&'static str, u64); 10] {
        [
            ("api_timeout_seconds", self.api_timeout_seconds),
            ("overview_poll_ms", self.overview_poll_ms),
            ("session_header_poll_ms", self.session_header_poll_ms),
            ("live_encounters_poll_ms", self.live_encounters_poll_ms),
            ("experiments_poll_ms", self.experiments_poll_ms),
            ("physiology_poll_ms", self.physiology_poll_ms),
            ("comodulation_poll_ms", self.comodulation_poll_ms),
            ("health_poll_ms", self.health_poll_ms),
            ("sessions_poll_ms", self.sessions_poll_ms),
            ("alerts_poll_ms", self.alerts_poll_ms),
        ]
    }
}

/// `GET /console.json`: the settings.
pub(crate) async fn settings(State(app): State<App>) -> Json<Settings> {
    Json(app.console)
}

/// Nothing but what the engine itself serves: no script, style or picture from elsewhere, no frame around it.
const POLICY: &str = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Whether the console is in this binary.
pub fn is_embedded() -> bool {
    Files::get("index.html").is_some()
}

/// `GET /`: the console, or what there is instead.
pub(crate) async fn index(app: State<App>, headers: HeaderMap) -> Response {
    match app.has_console {
        true => serve("index.html", &headers),
        false => page::index(app).await.into_response(),
    }
}

/// `GET /{file}`: a file of the console.
pub(crate) async fn file(State(app): State<App>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    match app.has_console {
        true => serve(&name, &headers),
        false => Fault::NotFound("no such route".into()).into_response(),
    }
}

fn serve(name: &str, headers: &HeaderMap) -> Response {
    let Some(file) = Files::get(name).filter(|_| !name.ends_with(".gz") && !name.starts_with('.')) else {
        return Fault::NotFound("no such route".into()).into_response();
    };
    let tag = tag(&file);
    if headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response();
    }
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let takes_gzip = accepted.split(',').any(|coding| coding.trim() == "gzip");
    let packed = takes_gzip.then(|| Files::get(&format!("{name}.gz"))).flatten();
    let common = [
        (CONTENT_TYPE, content_type(name).to_owned()),
        (CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        // Names do not change from build to build, so a browser asks each time whether it has the newest.
        (CACHE_CONTROL, "no-cache".to_owned()),
        (VARY, "accept-encoding".to_owned()),
        (ETAG, tag),
    ];
    match packed {
        Some(packed) => (common, [(CONTENT_ENCODING, "gzip")], packed.data.into_owned()).into_response(),
        None => (common, file.data.into_owned()).into_response(),
    }
}

/// A tag that is another one when the file is.
fn tag(file: &EmbeddedFile) -> String {
    let hash = file.metadata.sha256_hash();
    let hex: String = hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
