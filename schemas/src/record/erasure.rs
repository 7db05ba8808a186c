//! An erasure: of this session no row may be there that says anything of a person, whoever computes the tables.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::codec::{self, Rejection, session_field};
use crate::log::NewRecord;
use crate::time::LogTime;
use crate::topic::Topic;

/// An erasure. It stands in topic `epochs` and holds for every run from its first epoch on, wherever it stands there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasure {
    /// The session.
    #[serde(with = "session_field")]
    pub session_id: Uuid,
    /// Its attribution events that were known: what rests on them names them, and not the session.
    pub events: Vec<Uuid>,
}

impl Erasure {
    /// Reads a record of topic `epochs`.
    pub fn decode(value: &Bytes) -> Result<Erasure, Rejection> {
        let (kind, body) = codec::envelope(value)?;
        if kind != "erasure" {
            return Err(Rejection::new("unknown_type", "not an erasure"));
        }
        codec::fields(body)
    }

    /// The record to append, created at this log time.
    pub fn encode(&self, created: LogTime) -> NewRecord {
        let value = codec::write("erasure", self);
        let key = Bytes::from_static(b"erasure");
        NewRecord { topic: Topic::Epochs, key, value, headers: Vec::new(), timestamp: Some(created) }
    }
}
