//! Records and reading loops that the checks share.

use std::time::Duration;

use crate::clock::now;
use bytes::Bytes;
use lsie_schemas::log::{
    Fetch, Log, LogReader, LogRecord, NewRecord, TimestampType, TopicPartition, TopicSpec,
};
use lsie_schemas::topic::partition_of;
use lsie_schemas::{LogTime, Topic};

/// How long anything may take before a check fails.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn spec(topic: Topic, partitions: i32, timestamps: TimestampType) -> TopicSpec {
    TopicSpec { topic, partitions, timestamps, retention_ms: None }
}

pub(super) fn live(log: &dyn Log, topic: Topic, partitions: i32) {
    log.create_topics(&[spec(topic, partitions, TimestampType::LogAppend)]).expect("a topic");
}

pub(super) fn record(topic: Topic, key: &str, value: impl Into<Bytes>) -> NewRecord {
    NewRecord {
        topic,
        key: Bytes::from(key.to_owned()),
        value: value.into(),
        headers: vec![],
        timestamp: None,
    }
}

pub(super) fn at_time(mut record: NewRecord, ms: u64) -> NewRecord {
    record.timestamp = Some(LogTime(ms));
    record
}

/// A key that falls into the partition.
pub(super) fn key_for(partition: i32, partitions: i32) -> String {
    let keys = (0..).map(|i| format!("key-{i}"));
    let mut fitting = keys.filter(|key| partition_of(key.as_bytes(), partitions) == partition);
    fitting.next().expect("keys spread over partitions")
}

/// Bytes that do not compress, the same for the same seed.
pub(super) fn noise(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    Bytes::from(bytes)
}

pub(super) fn all_of(log: &dyn Log, topic: Topic) -> Vec<(TopicPartition, i64)> {
    let partitions = log.topic(topic).expect("a topic").expect("exists").partitions;
    (0..partitions)
        .map(|partition| TopicPartition { topic, partition })
        .map(|at| (at, log.bounds(at).expect("bounds").0))
        .collect()
}

/// Polls until `count` records have come.
pub(super) fn read(reader: &mut dyn LogReader, count: usize) -> Vec<LogRecord> {
    let deadline = now() + PATIENCE;
    let mut records = Vec::new();
    while records.len() < count {
        assert!(now() < deadline, "{} of {count} records after {PATIENCE:?}", records.len());
        records.extend(reader.poll(Duration::from_millis(200)).expect("a poll"));
    }
    assert_eq!(records.len(), count, "more records than were appended");
    records
}

/// Everything a topic holds now.
pub(super) fn read_topic(log: &dyn Log, topic: Topic, count: usize) -> Vec<LogRecord> {
    let mut reader = log.reader(&all_of(log, topic), Fetch::default()).expect("a reader");
    read(reader.as_mut(), count)
}

/// Polls until a partition's position reaches `end`, expecting no record.
pub(super) fn reach(reader: &mut dyn LogReader, at: TopicPartition, end: i64) {
    let deadline = now() + PATIENCE;
    while reader.position(at) != Some(end) {
        assert!(now() < deadline, "{at} stays at {:?}, its end is {end}", reader.position(at));
        let records = reader.poll(Duration::from_millis(50)).expect("a poll");
        assert!(records.is_empty(), "no record is left");
    }
}
