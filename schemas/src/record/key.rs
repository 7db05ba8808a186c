//! Wrapped data keys: topic `keys`, keyed by session.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::codec::{self, Rejection, session_field, uuid_field};
use crate::log::{LogRecord, NewRecord};
use crate::time::LogTime;
use crate::topic::Topic;

/// A key that media of a session are sealed with, itself sealed with the master key. When this record is gone,
/// nobody can open them any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataKey {
    /// The session.
    #[serde(with = "session_field")]
    pub session_id: Uuid,
    /// How media name it.
    #[serde(with = "uuid_field")]
    pub key_id: Uuid,
    /// Nonce, ciphertext and tag, lowercase hex.
    pub wrapped: String,
}

impl DataKey {
    /// Reads a record of the topic.
    pub fn decode(record: &LogRecord) -> Result<DataKey, Rejection> {
        let (kind, body) = codec::envelope(&record.value)?;
        if kind != "data_key" {
            return Err(Rejection::new("unknown_type", "not a data key"));
        }
        codec::fields(body)
    }

    /// The record to append.
    pub fn encode(&self, timestamp: Option<LogTime>) -> NewRecord {
        let value = codec::write("data_key", self);
        let key = self.session_id.to_string().into();
        NewRecord { topic: Topic::Keys, key, value, headers: Vec::new(), timestamp }
    }
}
