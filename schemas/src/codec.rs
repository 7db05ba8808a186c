//! Bytes to record or rejection; record to bytes. Decoding never fails and never panics.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::log::LogRecord;
use crate::record::{
    Answered, AudioChunk, Control, ExperimentRecord, Inference, LiveEvent, Outcome, PhysioRecord, Record,
    VideoUnit,
};
use crate::topic::Topic;

/// The schema version this build writes and reads.
pub const VERSION: u64 = 1;

/// Why a record was not used: a bounded code for counting, and a text for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Rejection {
    /// A short snake_case code.
    pub reason: String,
    /// What exactly, without payload content.
    pub detail: String,
}

impl Rejection {
    /// A rejection with its code and detail.
    pub fn new(reason: &str, detail: impl Into<String>) -> Rejection {
        Rejection { reason: reason.to_string(), detail: detail.into() }
    }
}

/// Decodes a record of a topic that the engine reads.
pub fn decode(record: &LogRecord) -> Result<Record, Rejection> {
    if record.value.len() > crate::log::MAX_RECORD_BYTES {
        let detail = format!("{} bytes", record.value.len());
        return Err(Rejection::new("oversized", detail));
    }
    match record.at.topic {
        Topic::AvAudio => AudioChunk::decode(record).map(Record::Audio),
        Topic::AvVideo => VideoUnit::decode(record).map(Record::Video),
        Topic::Control => Control::decode(&record.value).map(Record::Control),
        Topic::Experiments => ExperimentRecord::decode(&record.value).map(Record::Experiment),
        Topic::Physio => PhysioRecord::decode(&record.value).map(Record::Physio),
        Topic::Events => LiveEvent::decode(&record.value).map(Record::Event),
        Topic::Outcomes => Outcome::decode(&record.value).map(Record::Outcome),
        Topic::Inference => Inference::decode(&record.value).map(Record::Inference),
        Topic::Answers => Answered::decode(record).map(Record::Answered),
        other => Err(Rejection::new("unexpected_topic", format!("{other} is not an input of the engine"))),
    }
    .and_then(|decoded| key_agrees(record, decoded))
}

/// The session a record says it belongs to by its key, if the key is a session id. Answers have the ids of requests.
pub fn session_of_key(record: &LogRecord) -> Option<Uuid> {
    if record.at.topic == Topic::Answers {
        return None;
    }
    let key = std::str::from_utf8(record.key.as_deref()?).ok()?;
    session_id(key)
}

/// A UUID in lowercase hyphenated form, its one spelling; nothing else.
pub fn uuid(text: &str) -> Option<Uuid> {
    let mut spelled = [0; Hyphenated::LENGTH];
    Uuid::parse_str(text).ok().filter(|id| id.hyphenated().encode_lower(&mut spelled) == text)
}

/// A session id: UUID version 4 in lowercase hyphenated form, nothing else.
pub fn session_id(text: &str) -> Option<Uuid> {
    let is_v4 = |id: &Uuid| matches!(id.get_variant(), uuid::Variant::RFC4122) && id.get_version_num() == 4;
    uuid(text).filter(is_v4)
}

fn key_agrees(record: &LogRecord, decoded: Record) -> Result<Record, Rejection> {
    if let Record::Answered(answered) = &decoded {
        let request = answered.request().hyphenated().to_string();
        return match record.key.as_deref() == Some(request.as_bytes()) {
            true => Ok(decoded),
            false => {
                Err(Rejection::new("key_mismatch", "the record's key is not the request's id in its body"))
            }
        };
    }
    if matches!(decoded, Record::Audio(_) | Record::Video(_)) {
        // Their session is in the key only.
        return Ok(decoded);
    }
    let Some(session) = decoded.session() else { return Ok(decoded) };
    match session_of_key(record) {
        Some(key) if key == session => Ok(decoded),
        _ => Err(Rejection::new("key_mismatch", "the record's key is not the session id in its body")),
    }
}

/// Reads the session id that is the key of a media record.
pub(crate) fn session_key(record: &LogRecord) -> Result<Uuid, Rejection> {
    session_of_key(record).ok_or_else(|| Rejection::new("bad_session_id", "the key is no UUID v4"))
}

/// Reads a text header.
pub(crate) fn header<'r>(record: &'r LogRecord, name: &str) -> Result<&'r str, Rejection> {
    let raw = record.header(name).ok_or_else(|| Rejection::new("missing_header", name))?;
    std::str::from_utf8(raw).map_err(|_| Rejection::new("bad_header", format!("{name} is not UTF-8")))
}

/// Reads a number header.
pub(crate) fn number<T: std::str::FromStr>(record: &LogRecord, name: &str) -> Result<T, Rejection> {
    let text = header(record, name)?;
    text.parse().map_err(|_| Rejection::new("bad_header", format!("{name} is not a number in range")))
}

/// Reads the sequence number of a media record.
pub(crate) fn sequence(record: &LogRecord) -> Result<u64, Rejection> {
    let seq: i64 = number(record, crate::record::HEADER_SEQ)?;
    u64::try_from(seq).map_err(|_| Rejection::new("bad_header", "seq is negative"))
}

/// Checks the schema version header of a media record, and that it is not sealed: whoever had its key has opened it
/// before.
pub(crate) fn version(record: &LogRecord) -> Result<(), Rejection> {
    let found: u64 = number(record, crate::record::HEADER_VERSION)?;
    known_version(found)?;
    match record.header(crate::record::HEADER_KEY_ID) {
        None => Ok(()),
        Some(_) => {
            Err(Rejection::new("sealed", "its key is not there, or it was changed since it was sealed"))
        }
    }
}

fn known_version(found: u64) -> Result<(), Rejection> {
    if found == VERSION {
        return Ok(());
    }
    Err(Rejection::new("unknown_version", format!("version {found}, this build reads {VERSION}")))
}

/// Splits a JSON record into its `type` and the remaining fields, with `v` checked.
pub(crate) fn envelope(value: &Bytes) -> Result<(String, Value), Rejection> {
    let parsed: Value = serde_json::from_slice(value)
        .map_err(|e| Rejection::new("malformed_json", format!("line {} column {}", e.line(), e.column())))?;
    let Value::Object(mut fields) = parsed else {
        return Err(Rejection::new("malformed_json", "not an object"));
    };
    match fields.remove("v") {
        None => return Err(Rejection::new("missing_field", "missing field `v`")),
        Some(v) => known_version(
            v.as_u64().ok_or_else(|| Rejection::new("bad_field", "`v` is not a whole number"))?,
        )?,
    }
    match fields.remove("type") {
        Some(Value::String(kind)) => Ok((kind, Value::Object(fields))),
        Some(_) => Err(Rejection::new("bad_field", "`type` is not a text")),
        None => Err(Rejection::new("missing_field", "missing field `type`")),
    }
}

/// Reads the fields of a JSON record into its type.
pub(crate) fn fields<T: DeserializeOwned>(fields: Value) -> Result<T, Rejection> {
    serde_json::from_value(fields).map_err(|e| {
        let text = e.to_string();
        let reason = match () {
            _ if text.starts_with("missing field") => "missing_field",
            _ if text.starts_with("unknown field") => "unknown_field",
            _ if text.contains("session id") => "bad_session_id",
            _ if text.contains("timestamp") => "bad_timestamp",
            _ => "bad_field",
        };
        // The message names fields and types. A value it quotes is cut off after the first backtick.
        let detail = if reason == "bad_field" { "a field has the wrong type or range".into() } else { text };
        Rejection { reason: reason.into(), detail }
    })
}

/// Writes a JSON record with its envelope.
pub(crate) fn write(kind: &str, body: &impl serde::Serialize) -> Bytes {
    let mut value = serde_json::to_value(body).unwrap_or(Value::Null);
    if let Value::Object(map) = &mut value {
        map.insert("v".into(), VERSION.into());
        map.insert("type".into(), kind.into());
    }
    Bytes::from(value.to_string())
}

/// A session id as a serde field: refuses anything but a lowercase UUID v4.
pub(crate) mod session_field {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use uuid::Uuid;

    pub(crate) fn serialize<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&id.hyphenated().to_string())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::session_id(&text).ok_or_else(|| D::Error::custom("session id is no UUID v4"))
    }
}

/// A session id that may be left out, as a serde field.
pub(crate) mod optional_session_field {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use uuid::Uuid;

    pub(crate) fn serialize<S: Serializer>(id: &Option<Uuid>, serializer: S) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => super::session_field::serialize(id, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Uuid>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let id = |text: String| {
            super::session_id(&text).ok_or_else(|| D::Error::custom("session id is no UUID v4"))
        };
        text.map(id).transpose()
    }
}

/// A UUID of any version as a serde field: refuses any other spelling than its own.
pub(crate) mod uuid_field {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use uuid::Uuid;

    pub(crate) fn serialize<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&id.hyphenated().to_string())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::uuid(&text).ok_or_else(|| D::Error::custom("not a UUID in lowercase hyphenated form"))
    }
}

/// An instant as a serde field: canonical text out; RFC 3339 with a zone in, and nothing else.
pub(crate) mod time_field {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::canonical;
    use crate::time::EventTime;

    pub(crate) fn serialize<S: Serializer>(at: &EventTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&at.canonical())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EventTime, D::Error> {
        let text = String::deserialize(deserializer)?;
        canonical::parse(&text).map(EventTime).map_err(D::Error::custom)
    }
}
