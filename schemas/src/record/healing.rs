//! A healing: at this epoch the tables became what a later version or configuration makes of the log.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::codec::{self, Rejection};
use crate::log::{NewRecord, TopicPartition};
use crate::row::DecisionRow;
use crate::time::LogTime;
use crate::topic::Topic;

/// A record that could not be used, and can be now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HealedRecord {
    /// Where it stands.
    #[serde(flatten)]
    pub at: TopicPartition,
    /// Its offset.
    pub offset: i64,
}

/// A healing, or a part of one: several of one epoch are one healing. It stands in topic `epochs` before its epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Healing {
    /// Log time of its epoch.
    pub at: LogTime,
    /// The records that can be used since.
    pub records: Vec<HealedRecord>,
    /// Selections that had been made and would be others now: they stay, whoever computes the tables again.
    pub selections: Vec<DecisionRow>,
}

impl Healing {
    /// Reads a record of topic `epochs`.
    pub fn decode(value: &Bytes) -> Result<Healing, Rejection> {
        let (kind, body) = codec::envelope(value)?;
        if kind != "healing" {
            return Err(Rejection::new("unknown_type", "not a healing"));
        }
        codec::fields(body)
    }

    /// The record to append. Its creation time is the epoch's log time.
    pub fn encode(&self) -> NewRecord {
        let value = codec::write("healing", self);
        let key = Bytes::from_static(b"epoch");
        NewRecord { topic: Topic::Epochs, key, value, headers: Vec::new(), timestamp: Some(self.at) }
    }
}
