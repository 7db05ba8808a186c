//! Where to connect: an address that is signed anew for each connection.

use std::time::Duration;

use serde_json::{Map, Value};

/// How long a signature service may take (behaviour §7).
const LIMIT: Duration = Duration::from_secs(10);
/// More of an answer is not read.
const MOST_ANSWER_BYTES: u64 = 64 << 10;

/// An address to connect to once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The WebSocket's URL.
    pub url: String,
    /// Headers of the request that opens it, cookies for example.
    pub headers: Vec<(String, String)>,
}

/// Why there is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no signature: {0}")]
pub struct SignError(pub String);

/// Makes addresses. It may take its time: it is called on a thread of its own.
pub trait Sign: Send + Sync {
    /// An address for an account, for one connection.
    fn sign(&self, account: &str) -> Result<Signed, SignError>;
}

/// An address that needs no signature; `{account}` in it stands for the account.
#[derive(Clone, Debug)]
pub struct Fixed(pub String);

impl Sign for Fixed {
    fn sign(&self, account: &str) -> Result<Signed, SignError> {
        Ok(Signed { url: self.0.replace("{account}", &encoded(account)), headers: Vec::new() })
    }
}

/// A signature service over HTTP: its URL, with `{account}` for the account, is asked by GET and answers with an
/// object of `url` and, if need be, `headers`.
pub struct Service {
    url: String,
    agent: ureq::Agent,
}

impl Service {
    /// The service at a URL.
    pub fn new(url: impl Into<String>) -> Service {
        Service::with_limit(url, LIMIT)
    }

    /// The same with another limit to what an answer may take.
    pub fn with_limit(url: impl Into<String>, limit: Duration) -> Service {
        let config = ureq::Agent::config_builder().timeout_global(Some(limit)).build();
        Service { url: url.into(), agent: config.into() }
    }
}

impl Sign for Service {
    fn sign(&self, account: &str) -> Result<Signed, SignError> {
        let url = self.url.replace("{account}", &encoded(account));
        // An error of the client quotes the address, which may hold a key.
        let fault = |error: ureq::Error| match error {
            ureq::Error::StatusCode(code) => SignError(format!("the service answers {code}")),
            ureq::Error::Timeout(_) => SignError("the service does not answer in time".into()),
            _ => SignError("the service cannot be reached".into()),
        };
        let mut response = self.agent.get(&url).call().map_err(fault)?;
        let body = response.body_mut().with_config().limit(MOST_ANSWER_BYTES).read_to_vec().map_err(fault)?;
        answer(&body).ok_or_else(|| SignError("the service answers with something else".into()))
    }
}

/// The address in an answer.
fn answer(body: &[u8]) -> Option<Signed> {
    let fields: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let url = fields.get("url")?.as_str()?.to_owned();
    let none = Map::new();
    let headers = match fields.get("headers") {
        None | Some(Value::Null) => &none,
        Some(headers) => headers.as_object()?,
    };
    let header = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    Some(Signed { url, headers: headers.iter().map(header).collect::<Option<_>>()? })
}

/// Percent-encoded, but for what may stand anywhere in a URL.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_an_object_with_an_address() {
        let signed = answer(br#"{"url":"wss://x/","headers":{"Cookie":"a=b"}}"#).expect("an address");
        assert_eq!(signed.headers, [("Cookie".to_owned(), "a=b".to_owned())]);
        assert!(answer(br#"{"url":"wss://x/"}"#).is_some());
        for other in ["", "[]", "{}", r#"{"url":1}"#, r#"{"url":"wss://x","headers":{"a":1}}"#] {
            assert_eq!(answer(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn an_account_is_encoded() {
        let signed = Fixed("ws://x/{account}?u={account}".into()).sign("an ä/1").expect("an address");
        assert_eq!(signed.url, "ws://x/an%20%C3%A4%2F1?u=an%20%C3%A4%2F1");
    }
}
