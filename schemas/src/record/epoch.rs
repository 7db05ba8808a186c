//! A line of the epoch table: which offsets belong to an epoch, written before they are released.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::codec::{self, Rejection};
use crate::log::{NewRecord, TopicPartition};
use crate::time::LogTime;
use crate::topic::Topic;

/// The offsets `[from, to)` of one partition that belong to an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EpochRange {
    /// The partition.
    #[serde(flatten)]
    pub at: TopicPartition,
    /// First offset of the epoch.
    pub from: i64,
    /// One past its last offset.
    pub to: i64,
}

/// An epoch: its log time, which is the timely timestamp, and the records that belong to it.
/// Partitions that contribute nothing are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// The epoch's log time; strictly larger than that of every earlier epoch.
    pub log_time: LogTime,
    /// Its ranges, by topic and partition.
    pub ranges: Vec<EpochRange>,
}

impl EpochRecord {
    /// Reads a record of topic `epochs`.
    pub fn decode(value: &Bytes) -> Result<EpochRecord, Rejection> {
        let (kind, body) = codec::envelope(value)?;
        if kind != "epoch" {
            return Err(Rejection::new("unknown_type", "not an epoch record"));
        }
        let epoch: EpochRecord = codec::fields(body)?;
        if epoch.ranges.iter().any(|r| r.from >= r.to || r.from < 0) {
            return Err(Rejection::new("bad_field", "an empty or negative range"));
        }
        if !epoch.ranges.is_sorted_by(|a, b| a.at < b.at) {
            return Err(Rejection::new("bad_field", "ranges are not in order of topic and partition"));
        }
        Ok(epoch)
    }

    /// The record to append. Its creation time is the epoch's log time.
    pub fn encode(&self) -> NewRecord {
        let value = codec::write("epoch", self);
        let key = Bytes::from_static(b"epoch");
        NewRecord { topic: Topic::Epochs, key, value, headers: Vec::new(), timestamp: Some(self.log_time) }
    }
}

/// A record over which the engine has died again and again: from now on it is filed wherever it is met, in a
/// replay too. It stands in topic `epochs` between the epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QuarantineRecord {
    /// Where the record is.
    #[serde(flatten)]
    pub at: TopicPartition,
    /// Its offset.
    pub offset: i64,
    /// How many crashes found it being worked on.
    pub crashes: u32,
}

impl QuarantineRecord {
    /// Reads a record of topic `epochs`.
    pub fn decode(value: &Bytes) -> Result<QuarantineRecord, Rejection> {
        let (kind, body) = codec::envelope(value)?;
        if kind != "quarantine" {
            return Err(Rejection::new("unknown_type", "not a quarantine record"));
        }
        codec::fields(body)
    }

    /// The record to append, created at this log time.
    pub fn encode(&self, created: LogTime) -> NewRecord {
        let value = codec::write("quarantine", self);
        let key = Bytes::from_static(b"quarantine");
        NewRecord { topic: Topic::Epochs, key, value, headers: Vec::new(), timestamp: Some(created) }
    }
}
