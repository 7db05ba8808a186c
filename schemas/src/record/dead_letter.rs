//! A dead letter: a record that could not be used, with its reason and where it stands.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::codec::{self, Rejection};
use crate::log::{LogRecord, NewRecord, TopicPartition};
use crate::time::LogTime;
use crate::topic::Topic;

/// What is kept of a filed record. Of media only hash and size are kept, never the bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadLetter {
    /// Where the record stands.
    pub at: TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// Its log time.
    pub log_time: LogTime,
    /// The session by its key, or null when the key is no session id.
    pub session_id: Option<uuid::Uuid>,
    /// Why.
    pub rejection: Rejection,
    /// SHA-256 of the value, lowercase hex.
    pub sha256: String,
    /// Size of the value in bytes.
    pub size: i64,
}

impl DeadLetter {
    /// The dead letter of a record.
    pub fn new(record: &LogRecord, rejection: Rejection) -> DeadLetter {
        DeadLetter {
            at: record.at,
            offset: record.offset,
            log_time: record.log_time,
            session_id: codec::session_of_key(record),
            rejection,
            sha256: hex(&Sha256::digest(&record.value)),
            size: record.value.len() as i64,
        }
    }

    /// Reads a record of topic `dead-letters`.
    pub fn decode(value: &Bytes) -> Result<DeadLetter, Rejection> {
        let (kind, body) = codec::envelope(value)?;
        if kind != "dead_letter" {
            return Err(Rejection::new("unknown_type", "not a dead letter"));
        }
        codec::fields(body)
    }

    /// The record to append.
    pub fn encode(&self) -> NewRecord {
        let value = codec::write("dead_letter", self);
        let key = Bytes::from(self.session_id.map_or_else(|| "unattributed".into(), |id| id.to_string()));
        NewRecord {
            topic: Topic::DeadLetters,
            key,
            value,
            headers: Vec::new(),
            timestamp: Some(self.log_time),
        }
    }
}

/// Lowercase hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, b| {
        let _ = write!(text, "{b:02x}");
        text
    })
}
