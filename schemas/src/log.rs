//! The narrow log: what the engine needs of Kafka, and all that a stand-in for it must provide.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::time::LogTime;
use crate::topic::Topic;

/// The largest record value that any log accepts, in bytes.
pub const MAX_RECORD_BYTES: usize = 8 * 1024 * 1024;

/// One partition of one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic, without the set's prefix.
    pub topic: Topic,
    /// The partition number, from 0.
    pub partition: i32,
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// A header: name and raw value.
pub type Header = (String, Bytes);

/// A record as a log hands it out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// Where it stands.
    pub at: TopicPartition,
    /// Its offset in the partition.
    pub offset: i64,
    /// The record's timestamp in the log: append time or creation time, by the topic's kind.
    pub log_time: LogTime,
    /// The key, if any.
    pub key: Option<Bytes>,
    /// The value; empty for a tombstone.
    pub value: Bytes,
    /// The headers in order.
    pub headers: Vec<Header>,
}

impl LogRecord {
    /// The value of the last header of that name.
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        self.headers.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    /// Bytes this record counts against a budget: payload, key, headers and a fixed overhead.
    pub fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(n, v)| n.len() + v.len()).sum();
        self.value.len() + self.key.as_ref().map_or(0, Bytes::len) + headers + 128
    }
}

/// A record to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// The topic, without the set's prefix.
    pub topic: Topic,
    /// The key; it decides the partition ([`crate::topic::partition_of`]).
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The headers in order.
    pub headers: Vec<Header>,
    /// Creation time; only topics of kind [`TimestampType::Create`] keep it. `None`: now.
    pub timestamp: Option<LogTime>,
}

/// What the log answered to an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Where the record went.
    pub at: TopicPartition,
    /// The offset it got.
    pub offset: i64,
    /// The log time it got; for `CreateTime` topics the one it came with.
    pub log_time: LogTime,
}

/// Who decides a record's timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestampType {
    /// The log, when it accepts the record: live topics.
    LogAppend,
    /// The producer: recorded sets.
    Create,
}

/// A topic to create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// The topic.
    pub topic: Topic,
    /// How many partitions.
    pub partitions: i32,
    /// Who decides timestamps.
    pub timestamps: TimestampType,
    /// Time retention in milliseconds; `None`: unbounded.
    pub retention_ms: Option<u64>,
}

/// A topic as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicState {
    /// How many partitions.
    pub partitions: i32,
    /// Who decides timestamps.
    pub timestamps: TimestampType,
    /// Time retention in milliseconds; `None`: unbounded.
    pub retention_ms: Option<u64>,
}

/// What went wrong with a log, by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log is away or slow: try again.
    #[error("the log is not available: {0}")]
    Unavailable(String),
    /// Another holder of the same fence took over: stop.
    #[error("fenced: {0}")]
    Fenced(String),
    /// The topic or partition does not exist: create it.
    #[error("no such topic or partition: {0}")]
    Missing(String),
    /// The record exceeds the size limit: file it.
    #[error("record of {size} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// What is stored cannot be read: stop and mend.
    #[error("the log is damaged: {0}")]
    Corrupt(String),
    /// Configuration or permission: stop and mend.
    #[error("the log refuses: {0}")]
    Refused(String),
}

/// Appends records; what ingress and actions get to see of a log.
pub trait AppendRecord: Send + Sync {
    /// Appends all records, in order per partition, and returns when each is acknowledged.
    fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Appended>, LogError>;
}

/// First retained offset and end offset of partitions.
pub type Bounds = BTreeMap<TopicPartition, (i64, i64)>;

/// A log of topic-partitions: Kafka, or the embedded file log. One conformance suite holds for all.
pub trait Log: AppendRecord {
    /// Creates topics; one that exists in the same shape is left alone.
    fn create_topics(&self, specs: &[TopicSpec]) -> Result<(), LogError>;
    /// The topic as it stands, or `None` if it does not exist.
    fn topic(&self, topic: Topic) -> Result<Option<TopicState>, LogError>;
    /// First retained offset and end offset of a partition.
    fn bounds(&self, at: TopicPartition) -> Result<(i64, i64), LogError> {
        let found = self.bounds_of(&[at])?.remove(&at);
        found.ok_or_else(|| LogError::Unavailable(format!("there is no answer about {at}")))
    }
    /// The same of all these partitions, asked for together: one by one, the way there and back would count for each.
    fn bounds_of(&self, partitions: &[TopicPartition]) -> Result<Bounds, LogError>;
    /// The same for one who would rather have no answer than wait for it longer than `limit`.
    fn bounds_within(
        &self,
        partitions: &[TopicPartition],
        limit: std::time::Duration,
    ) -> Result<Bounds, LogError>;
    /// The first offset whose timestamp is at or after `time`; `None` past the last.
    fn offset_at(&self, at: TopicPartition, time: LogTime) -> Result<Option<i64>, LogError>;
    /// A reader of exactly these partitions from these offsets; no consumer group.
    fn reader(&self, from: &[(TopicPartition, i64)], fetch: Fetch) -> Result<Box<dyn LogReader>, LogError>;
    /// An appender that fences earlier holders of the same `id`: their next append fails.
    fn fenced(&self, id: &str) -> Result<Box<dyn AppendRecord>, LogError>;
}

/// How a reader prefetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Bytes the reader itself may hold ahead of `poll`, over all its partitions.
    pub prefetch_bytes: usize,
    /// Most bytes that one `poll` returns (at least one record is always returned if there is any).
    pub poll_bytes: usize,
}

impl Default for Fetch {
    fn default() -> Self {
        Fetch { prefetch_bytes: 32 << 20, poll_bytes: 4 << 20 }
    }
}

/// Reads assigned partitions and tails them; owned by one thread.
pub trait LogReader: Send {
    /// Records that arrived, in offset order per partition; empty after `timeout` without any.
    /// A jump in offsets means that the log no longer has (or never had) the records between.
    fn poll(&mut self, timeout: std::time::Duration) -> Result<Vec<LogRecord>, LogError>;
    /// Stops or resumes the delivery of a partition; nothing is lost or reordered by it.
    fn pause(&mut self, at: TopicPartition, paused: bool) -> Result<(), LogError>;
    /// How far a partition has been read: the next offset `poll` can return for it. Moves past
    /// offsets that hold no record (transaction markers, compacted or expired records).
    fn position(&self, at: TopicPartition) -> Option<i64>;
}
