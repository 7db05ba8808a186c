//! The provider over HTTP: tokens that are refreshed, pages, rate limits, and tries.

use std::time::Duration;

use lsie_schemas::EventTime;
use serde_json::Value;

use super::HydrationRequest;
use super::tokens::{TokenFile, Tokens};
use crate::clock::wall_us;
use crate::{Backoff, Stop};

/// What a request may take (contracts §6.2).
const LIMIT: Duration = Duration::from_secs(15);
/// Waits between tries: 0.5 s, 1 s; three tries.
const TRIES: Backoff =
    Backoff { first: Duration::from_millis(500), longest: Duration::from_secs(1), give_up_after: Some(3) };
/// Longer waits that the provider asks for are left to a later try.
const MOST_WAIT: Duration = Duration::from_secs(60);
/// Statuses after which the same may succeed.
const AGAIN: [u16; 5] = [429, 500, 502, 503, 504];
/// More of an answer is not read.
const MOST_ANSWER_BYTES: u64 = 16 << 20;
/// Answers in more pages are not read to their end.
const MOST_PAGES: usize = 100;

/// Where the provider is, and who asks.
#[derive(Clone, Debug)]
pub struct Access {
    /// Base URL of its resources.
    pub base_url: String,
    /// Where tokens are refreshed.
    pub token_url: String,
    /// The client's id.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: String,
    /// What a request may take.
    pub limit: Duration,
    /// Waits between tries.
    pub tries: Backoff,
}

impl Access {
    /// With the times of the contract.
    pub fn new(base_url: &str, token_url: &str, client_id: &str, client_secret: &str) -> Access {
        Access {
            base_url: base_url.into(),
            token_url: token_url.into(),
            client_id: client_id.into(),
            client_secret: client_secret.into(),
            limit: LIMIT,
            tries: TRIES,
        }
    }
}

/// Why nothing was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FetchError {
    /// May succeed later.
    Later(String),
    /// Will not.
    Refused(String),
}

/// A client of the provider.
pub(super) struct Provider<'a> {
    access: &'a Access,
    agent: ureq::Agent,
    stop: &'a Stop,
}

/// A response, as far as it matters.
struct Response {
    status: u16,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

impl<'a> Provider<'a> {
    pub(super) fn new(access: &'a Access, stop: &'a Stop) -> Provider<'a> {
        // A redirect would carry our tokens elsewhere; to us it is an answer like others.
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(access.limit))
            .http_status_as_error(false)
            .max_redirects(0);
        Provider { access, agent: config.build().into(), stop }
    }

    /// All pages of what the provider has for a request.
    pub(super) fn fetch(
        &self,
        file: &TokenFile,
        request: &HydrationRequest,
    ) -> Result<Vec<Value>, FetchError> {
        let mut tokens = file.load().map_err(FetchError::Later)?;
        if tokens.end_soon(EventTime(wall_us())) {
            tokens = self.refresh(file, &tokens)?;
        }
        let (mut pages, mut next, mut refreshed) = (Vec::new(), None::<String>, false);
        while pages.len() < MOST_PAGES {
            let response = self.page(&tokens, request, next.as_deref())?;
            match response.status {
                200 => {}
                401 if !refreshed => {
                    refreshed = true;
                    tokens = self.refresh(file, &tokens)?;
                    continue;
                }
                401 => return Err(FetchError::Later("the provider refuses our tokens".into())),
                status => return Err(FetchError::Refused(format!("the provider answers {status}"))),
            }
            let page: Value = serde_json::from_slice(&response.body)
                .map_err(|_| FetchError::Refused("the provider answers with something else".into()))?;
            next = page.get("next_token").and_then(Value::as_str).map(str::to_owned);
            pages.push(page);
            if next.is_none() {
                return Ok(pages);
            }
        }
        Err(FetchError::Refused(format!("more than {MOST_PAGES} pages")))
    }

    fn page(
        &self,
        tokens: &Tokens,
        request: &HydrationRequest,
        next: Option<&str>,
    ) -> Result<Response, FetchError> {
        let url = format!("{}{}", self.access.base_url, request.resource());
        self.tried(|| {
            let get = self.agent.get(&url).query("start_datetime", &request.start_datetime);
            let get = get.query("end_datetime", &request.end_datetime);
            let get = match next {
                Some(next) => get.query("next_token", next),
                None => get,
            };
            get.header("authorization", format!("{} {}", tokens.token_type, tokens.access_token)).call()
        })
    }

    /// New tokens for old ones; the file has them before they are used.
    fn refresh(&self, file: &TokenFile, old: &Tokens) -> Result<Tokens, FetchError> {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", old.refresh_token.as_str()),
            ("client_id", self.access.client_id.as_str()),
            ("client_secret", self.access.client_secret.as_str()),
        ];
        let response = self.tried(|| self.agent.post(&self.access.token_url).send_form(form))?;
        if response.status != 200 {
            return Err(FetchError::Later(format!("tokens are not refreshed: {}", response.status)));
        }
        let fields: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
        let lasts_s = fields.get("expires_in").and_then(Value::as_i64).unwrap_or(0).clamp(0, 10_000_000);
        let fresh = Tokens {
            access_token: text("access_token")
                .ok_or_else(|| FetchError::Later("a refreshed token is missing".into()))?,
            refresh_token: text("refresh_token").unwrap_or_else(|| old.refresh_token.clone()),
            expires_at_utc: EventTime(wall_us()).plus_us(lasts_s * 1_000_000).canonical(),
            token_type: text("token_type").unwrap_or_else(|| old.token_type.clone()),
            scope: text("scope").or_else(|| old.scope.clone()),
        };
        file.save(&fresh).map_err(FetchError::Later)?;
        Ok(fresh)
    }

    /// Tries a call as often as it may succeed, and waits as the provider asks.
    fn tried(
        &self,
        call: impl Fn() -> Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Response, FetchError> {
        let mut failures = 0;
        loop {
            // What the client says of an error may quote an address; its kind will do.
            let (why, asked) = match call().and_then(read) {
                Ok(response) if AGAIN.contains(&response.status) => {
                    (format!("the provider answers {}", response.status), response.retry_after)
                }
                Ok(response) => return Ok(response),
                Err(ureq::Error::Timeout(_)) => ("the provider does not answer in time".into(), None),
                Err(_) => ("the provider cannot be reached".into(), None),
            };
            failures += 1;
            let Some(wait) = self.access.tries.wait(failures) else { return Err(FetchError::Later(why)) };
            let wait = wait.max(asked.unwrap_or_default());
            if wait > MOST_WAIT || self.stop.wait(wait) {
                return Err(FetchError::Later(why));
            }
        }
    }
}

fn read(mut response: ureq::http::Response<ureq::Body>) -> Result<Response, ureq::Error> {
    let status = response.status().as_u16();
    let header = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
    let retry_after = header.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    let body = response.body_mut().with_config().limit(MOST_ANSWER_BYTES).read_to_vec()?;
    Ok(Response { status, retry_after, body })
}
