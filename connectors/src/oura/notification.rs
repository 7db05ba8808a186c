//! Change notifications of the wearable's provider: who may send one, what it must say, and what becomes of it
//! (contracts §6.1, §14).
//!
//! A notification is no sample: it only asks for a fetch. Of its body five fields and an identity are kept.

use hmac::{Hmac, Mac};
use lsie_schemas::canonical;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Header that carries the signature.
pub const SIGNATURE_HEADER: &str = "x-oura-signature";
/// How long a claimed key is kept, in s.
pub const CLAIM_TTL_S: u64 = 3600;

const ROLES: [&str; 2] = ["streamer", "operator"];

/// What asks for a fetch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Identity of the event: its own when it has one, else made of what it says (contracts §6.1).
    pub unique_id: Uuid,
    /// `streamer` or `operator`.
    pub subject_role: String,
    /// What happened to the data, in the provider's words.
    pub event_type: String,
    /// Which data, in the provider's words.
    pub data_type: String,
    /// Start of the time range, as sent.
    pub start_datetime: String,
    /// End of the time range, as sent.
    pub end_datetime: String,
}

/// Why a body was refused: the sender's fault, worth a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not JSON, or JSON that is no object.
    #[error("the body is no JSON object")]
    NotAnObject,
    /// A field is missing, blank, not a text, or (the role) not one of two.
    #[error("invalid or missing {0}")]
    Field(&'static str),
}

/// The broker or the store of claims did not answer: the provider shall send again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unavailable")]
pub struct Unavailable;

/// Where notifications go, and what remembers them.
pub trait Intake {
    /// Sets a key that is not set yet, for [`CLAIM_TTL_S`]. Whether it was not.
    fn claim(&mut self, key: &str) -> Result<bool, Unavailable>;
    /// Takes a claim back, so that the provider's next attempt is no duplicate.
    fn release(&mut self, key: &str);
    /// Hands a notification on.
    fn enqueue(&mut self, notification: &Notification) -> Result<(), Unavailable>;
}

/// What a delivery is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Handed on under this identity.
    Accepted(Uuid),
    /// Seen within [`CLAIM_TTL_S`]; nothing happened.
    Duplicate(Uuid),
    /// No secret, no signature, or another one.
    Unauthorised,
    /// Signed, but of no use.
    Refused(BodyError),
    /// Nothing was taken; to be sent again.
    Unavailable,
}

impl Answer {
    /// HTTP status code.
    pub fn status(&self) -> u16 {
        match self {
            Answer::Accepted(_) | Answer::Duplicate(_) => 200,
            Answer::Unauthorised => 401,
            Answer::Refused(_) => 422,
            Answer::Unavailable => 503,
        }
    }

    /// HTTP body. It quotes nothing of what was sent.
    pub fn body(&self) -> Value {
        match self {
            Answer::Accepted(id) => json!({"status": "accepted", "event_id": id}),
            Answer::Duplicate(id) => json!({"status": "duplicate", "event_id": id}),
            Answer::Unauthorised => json!({"detail": "invalid signature"}),
            Answer::Refused(error) => json!({"detail": error.to_string()}),
            Answer::Unavailable => json!({"detail": "temporarily unavailable"}),
        }
    }
}

/// Takes one delivery: signature, body, claim, hand on. A claim is released when handing on fails.
///
/// `signature` is the value of [`SIGNATURE_HEADER`] if there is one; an empty `secret` is none, and lets nobody
/// in.
pub fn receive(secret: &[u8], signature: Option<&[u8]>, body: &[u8], intake: &mut impl Intake) -> Answer {
    if !signature.is_some_and(|signature| is_signed(secret, signature, body)) {
        return Answer::Unauthorised;
    }
    let notification = match notification(body) {
        Ok(notification) => notification,
        Err(error) => return Answer::Refused(error),
    };
    let (id, key) = (notification.unique_id, claim_key(notification.unique_id));
    match intake.claim(&key) {
        Err(Unavailable) => Answer::Unavailable,
        Ok(false) => Answer::Duplicate(id),
        Ok(true) => match intake.enqueue(&notification) {
            Ok(()) => Answer::Accepted(id),
            Err(Unavailable) => {
                intake.release(&key);
                Answer::Unavailable
            }
        },
    }
}

/// Whether `signature` is the lowercase hex HMAC-SHA256 of the body under a secret that is not empty. The codes
/// are compared in constant time.
pub fn is_signed(secret: &[u8], signature: &[u8], body: &[u8]) -> bool {
    let Some(code) = unhex(signature) else { return false };
    // A key of any length will do for an HMAC; the error cannot occur.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return false };
    mac.update(body);
    !secret.is_empty() && mac.verify_slice(&code).is_ok()
}

/// The notification in a body. Other keys are tolerated and dropped.
pub fn notification(body: &[u8]) -> Result<Notification, BodyError> {
    let fields: Map<String, Value> = serde_json::from_slice(body).map_err(|_| BodyError::NotAnObject)?;
    let text = |name: &'static str| {
        let text = fields.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        text.map(str::to_owned).ok_or(BodyError::Field(name))
    };
    let subject_role = text("subject_role")?;
    if !ROLES.contains(&subject_role.as_str()) {
        return Err(BodyError::Field("subject_role"));
    }
    Ok(Notification {
        subject_role,
        event_type: text("event_type")?,
        data_type: text("data_type")?,
        start_datetime: text("start_datetime")?,
        end_datetime: text("end_datetime")?,
        unique_id: event_id(&fields, body),
    })
}

/// Identity of an event: the provider's id if it is a UUID; else UUIDv5 in the URL namespace of `oura:` and that
/// id; without an id, of `oura:` and the lowercase hex SHA-256 of the body.
///
/// The id is the first of `event_id`, `id`, and both under `data`, that is a text which is not blank, or a number.
fn event_id(fields: &Map<String, Value>, body: &[u8]) -> Uuid {
    let nested = fields.get("data").and_then(Value::as_object);
    let places = [Some(fields), nested].into_iter().flatten();
    let mut ids = places.flat_map(|place| ["event_id", "id"].map(|name| place.get(name).and_then(id_text)));
    let id = ids.find_map(|id| id).unwrap_or_else(|| hex(&Sha256::digest(body)));
    Uuid::parse_str(&id)
        .unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("oura:{id}").as_bytes()))
}

/// The key under which an event is claimed.
pub fn claim_key(event: Uuid) -> String {
    format!("physio:seen:{event}")
}

fn id_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned),
        Value::Number(number) if number.is_f64() => number.as_f64().map(canonical::float_text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Bytes as lowercase hex.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of a lowercase hex text; `None` for anything else.
fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let nibble = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pairs = text.chunks(2);
    pairs.map(|pair| Some(nibble(*pair.first()?)? << 4 | nibble(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BODY: &str = r#"{"event_id":"evt-1","event_type":"update","data_type":"ibi","subject_role":"operator",
        "start_datetime":"2026-04-24T10:00:00Z","end_datetime":"2026-04-24T10:05:00Z","user":"dropped"}"#;

    fn sign(secret: &[u8], body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key");
        mac.update(body);
        hex(&mac.finalize().into_bytes())
    }

    fn with(name: &str, value: Value) -> Vec<u8> {
        let mut body: Value = serde_json::from_str(BODY).expect("JSON");
        body[name] = value;
        body.to_string().into_bytes()
    }

    /// Test case 2 of RFC 4231.
    #[test]
    fn signature_of_the_standard() {
        let code = b"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert!(is_signed(b"Jefe", code, b"what do ya want for nothing?"));
        assert!(!is_signed(b"Jefe", &code.to_ascii_uppercase(), b"what do ya want for nothing?"));
        assert!(!is_signed(b"Jefe", &code[..62], b"what do ya want for nothing?"));
        assert!(!is_signed(b"", sign(b"", b"body").as_bytes(), b"body"), "no secret lets nobody in");
    }

    #[test]
    fn identity_of_the_contract() {
        let id = |body: &[u8]| notification(body).expect("a notification").unique_id.to_string();
        assert_eq!(id(BODY.as_bytes()), "08f78f85-9761-527e-8c9f-a7657d22a20f");
        let without = with("event_id", Value::Null);
        assert_eq!(id(&without), id(&without));
        assert_ne!(id(&without), id(&with("event_id", json!("  "))), "another body");
    }

    #[test]
    fn the_first_field_at_fault_is_named() {
        for name in ["subject_role", "event_type", "data_type", "start_datetime", "end_datetime"] {
            for value in [Value::Null, json!(""), json!(" \t"), json!(7), json!(["ibi"])] {
                assert_eq!(notification(&with(name, value)), Err(BodyError::Field(name)));
            }
        }
        assert_eq!(notification(b"[1]"), Err(BodyError::NotAnObject));
    }

    proptest! {
        #[test]
        fn only_the_signed_bytes_pass(body in any::<Vec<u8>>(), secret in prop::collection::vec(any::<u8>(), 1..80),
            at in any::<prop::sample::Index>(), flip in 1u8..=255)
        {
            let code = sign(&secret, &body);
            prop_assert!(is_signed(&secret, code.as_bytes(), &body));
            let mut other = code.into_bytes();
            let index = at.index(other.len());
            other[index] ^= flip;
            prop_assert!(!is_signed(&secret, &other, &body));
        }

        #[test]
        fn no_body_panics(body in any::<Vec<u8>>(), id in "\\PC{0,40}", number in any::<f64>()) {
            let _ = notification(&body);
            prop_assert!(notification(&with("event_id", json!(id))).is_ok());
            prop_assert!(notification(&with("event_id", json!(number))).is_ok());
        }
    }
}
