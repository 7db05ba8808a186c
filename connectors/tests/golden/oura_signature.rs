//! Webhook deliveries: signature, status, answer, and what is handed on.

use std::collections::BTreeSet;

use base64::Engine as _;
use lsie_connectors::oura::{Answer, CLAIM_TTL_S, Intake, Notification, Unavailable, is_signed, receive};
use serde_json::Value;

use crate::read::cases;

#[derive(serde::Deserialize)]
struct Input {
    body_b64: String,
    secret: String,
    signature_header: Option<String>,
    #[serde(default)]
    seen_keys: BTreeSet<String>,
    queue_mode: Option<String>,
}

#[derive(serde::Deserialize)]
struct Expected {
    signature_valid: bool,
    http_status: u16,
    response: Option<Value>,
    enqueued: Option<Notification>,
    idempotency_key_set: BTreeSet<String>,
    idempotency_ttl_s: Option<u64>,
}

/// A store and a queue in memory, either of which may be down.
struct Store {
    seen: BTreeSet<String>,
    claimed: BTreeSet<String>,
    enqueued: Vec<Notification>,
    down: Option<String>,
}

impl Intake for Store {
    fn claim(&mut self, key: &str) -> Result<bool, Unavailable> {
        match self.down.as_deref() {
            Some("set_fails") => Err(Unavailable),
            _ => Ok(!self.seen.contains(key) && self.claimed.insert(key.to_owned())),
        }
    }

    fn release(&mut self, key: &str) {
        self.claimed.remove(key);
    }

    fn enqueue(&mut self, notification: &Notification) -> Result<(), Unavailable> {
        match self.down.as_deref() {
            Some("push_fails") => Err(Unavailable),
            _ => {
                self.enqueued.push(notification.clone());
                Ok(())
            }
        }
    }
}

#[test]
fn golden_oura_signature() {
    for case in cases("oura_signature", 93) {
        let (input, expected): (Input, Expected) = (case.input(), case.expected());
        let name = &case.name;
        let body = base64::prelude::BASE64_STANDARD.decode(&input.body_b64).expect("base64");
        let (secret, signature) = (input.secret.as_bytes(), input.signature_header.as_deref());
        let signature = signature.map(str::as_bytes);
        let mut store = Store {
            seen: input.seen_keys,
            claimed: BTreeSet::new(),
            enqueued: vec![],
            down: input.queue_mode,
        };

        let valid = signature.is_some_and(|signature| is_signed(secret, signature, &body));
        assert_eq!(valid, expected.signature_valid, "{name}");
        let answer = receive(secret, signature, &body, &mut store);
        // Contracts §14: without the header the original's framework answers 422 before anything is looked at;
        // the rule is 401, as for a wrong signature.
        let status = if signature.is_none() { 401 } else { expected.http_status };
        assert_eq!(answer.status(), status, "{name}");
        if signature.is_none() {
            assert_eq!((answer, expected.http_status), (Answer::Unauthorised, 422), "{name}");
        }
        // Errors carry a text of our own.
        let is_error = answer.status() != 200;
        assert_eq!(expected.response.is_none(), is_error, "{name}");
        assert_eq!(Some(answer.body()).filter(|_| !is_error), expected.response, "{name}");
        assert_eq!(store.enqueued, Vec::from_iter(expected.enqueued), "{name}");
        assert_eq!(store.claimed, expected.idempotency_key_set, "{name}");
        assert!(expected.idempotency_ttl_s.is_none_or(|ttl| ttl == CLAIM_TTL_S), "{name}");
    }
}

/// What the sender learns of a refused body is the name of the field.
#[test]
fn golden_oura_signature_names_the_field() {
    for case in cases("oura_signature", 93).into_iter().filter(|case| case.expected["http_status"] == 422) {
        let detail = case.expected["error_detail"].as_str().unwrap_or_default();
        let Some(rest) = detail.strip_prefix("Invalid or missing ") else { continue };
        let input: Input = case.input();
        let body = base64::prelude::BASE64_STANDARD.decode(&input.body_b64).expect("base64");
        let error = lsie_connectors::oura::notification(&body).expect_err("a refusal").to_string();
        let field = rest.split(':').next().unwrap_or_default();
        assert_eq!(error, format!("invalid or missing {field}"), "{}", case.name);
    }
}
