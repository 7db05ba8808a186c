//! What several test files share: a record as a log would hand it out.

use lsie_schemas::LogTime;
use lsie_schemas::log::{LogRecord, NewRecord, TopicPartition};

/// The record at offset 7 of its topic's first partition.
pub(crate) fn logged(record: NewRecord) -> LogRecord {
    LogRecord {
        at: TopicPartition { topic: record.topic, partition: 0 },
        offset: 7,
        log_time: LogTime(1),
        key: Some(record.key),
        value: record.value,
        headers: record.headers,
    }
}
