//! Who may ask for what: bearer tokens with roles, of which only hashes are known here, and the cookie sessions of
//! browsers, which cannot send a token with an event stream.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, Method, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use crate::Error;

/// The cookie of a browser that has logged in.
pub(crate) const COOKIE: &str = "lsie_session";
/// How long a browser stays logged in.
pub(crate) const SESSION: Duration = Duration::from_secs(12 * 3600);
/// Most browsers that are logged in at a time; the one that ends soonest makes room.
const MAX_SESSIONS: usize = 1_024;
/// The webhook says by its signature who it is.
const WEBHOOK: &str = "/api/v1/ingest/oura/webhook";

/// What someone may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Read.
    Viewer,
    /// Read, and act.
    Operator,
    /// Hand in records, and nothing else.
    Ingest,
}

/// A bearer token, of which only the hash is kept.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Who holds it; stands in the audit trail.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// SHA-256 of the token, lowercase hex. A token has 256 random bits, so a slow hash would add nothing.
    pub sha256: String,
}

impl Token {
    /// A fresh token, and what is kept of it.
    pub fn fresh(name: &str, role: Role) -> Result<(String, Token), Error> {
        let token = format!("lsie_{}", hex(&random().map_err(Error::Serve)?));
        let sha256 = hex(&Sha256::digest(&token));
        Ok((token, Token { name: name.to_owned(), role, sha256 }))
    }

    /// What is wrong with it, if anything.
    pub fn problem(&self) -> Option<&'static str> {
        let is_hash = self.sha256.len() == 64
            && self.sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match () {
            _ if self.name.is_empty() || !self.name.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Some("the name is empty, or not printable ASCII without blanks")
            }
            _ if !is_hash => Some("sha256 is not 64 lowercase hexadecimal digits; `lsie token` makes one"),
            _ => None,
        }
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Caller {
    pub(crate) name: String,
    /// None where no token is asked for.
    role: Option<Role>,
}

/// Why someone may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nobody known.
    Unknown,
    /// Known, but not for this.
    Forbidden,
}

/// The tokens, and the browsers that have logged in. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Access {
    tokens: Arc<[Token]>,
    sessions: Arc<Mutex<BTreeMap<[u8; 32], (Caller, Instant)>>>,
}

impl Access {
    /// Whoever holds one of these tokens; without any, everyone who reaches the server.
    pub fn new(tokens: Vec<Token>) -> Access {
        Access { tokens: tokens.into(), sessions: Arc::default() }
    }

    /// Whether everyone is let in.
    pub(crate) fn is_open(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Who sends this request, if they may.
    pub(crate) fn admit(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let Some(needed) = needed(method, path) else {
            return Ok(Caller { name: "anyone".into(), role: None });
        };
        if self.is_open() {
            return Ok(Caller { name: "local".into(), role: None });
        }
        let caller = self.caller(headers).ok_or(Refusal::Unknown)?;
        let may = match (caller.role, needed) {
            (Some(Role::Operator), Role::Viewer) => true,
            (role, needed) => role == Some(needed),
        };
        if may { Ok(caller) } else { Err(Refusal::Forbidden) }
    }

    fn caller(&self, headers: &HeaderMap) -> Option<Caller> {
        if let Some(given) = headers.get(header::AUTHORIZATION) {
            let (scheme, token) = given.to_str().ok()?.split_once(' ')?;
            return self.holder(token.trim()).filter(|_| scheme.eq_ignore_ascii_case("bearer"));
        }
        let id = cookie(headers)?;
        let (caller, until) = self.sessions().get(&digest(id))?.clone();
        (Instant::now() < until).then_some(caller)
    }

    /// The holder of a token. Hashes are compared, all of them, in constant time.
    fn holder(&self, token: &str) -> Option<Caller> {
        let hash = hex(&Sha256::digest(token));
        let mut found = None;
        for known in self.tokens.iter() {
            if bool::from(known.sha256.as_bytes().ct_eq(hash.as_bytes())) {
                found = Some(Caller { name: known.name.clone(), role: Some(known.role) });
            }
        }
        found
    }

    /// Logs a browser in: the value of its cookie.
    pub(crate) fn log_in(&self, token: &str) -> Option<String> {
        let caller = self.holder(token)?;
        let id = hex(&random().ok()?);
        let now = Instant::now();
        let mut sessions = self.sessions();
        sessions.retain(|_, (_, until)| now < *until);
        if sessions.len() >= MAX_SESSIONS {
            let soonest = sessions.iter().min_by_key(|(_, (_, until))| *until).map(|(id, _)| *id);
            soonest.and_then(|id| sessions.remove(&id));
        }
        sessions.insert(digest(&id), (caller, now + SESSION));
        Some(id)
    }

    /// Logs a browser out.
    pub(crate) fn log_out(&self, headers: &HeaderMap) {
        if let Some(id) = cookie(headers) {
            self.sessions().remove(&digest(id));
        }
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], (Caller, Instant)>> {
        // Nothing under the lock can panic.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The role that a request needs; none for what is everyone's.
fn needed(method: &Method, path: &str) -> Option<Role> {
    match path {
        "/health" | "/login" | "/logout" | WEBHOOK => None,
        _ if path.starts_with("/api/v1/ingest/") => Some(Role::Ingest),
        _ if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) => Some(Role::Viewer),
        _ => Some(Role::Operator),
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, id)| id)
}

fn digest(id: &str) -> [u8; 32] {
    Sha256::digest(id).into()
}

fn random() -> std::io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
