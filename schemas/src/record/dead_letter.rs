//! A dead letter: a record that could not be used, with its reason and where it stands.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::codec::{self, Rejection};
use crate::log::{LogRecord, NewRecord, TopicPartition};
use crate::row::DeadLetterRow;
use crate::time::LogTime;
use crate::topic::Topic;

/// Header of a letter: log time of the epoch that filed the record, ms.
const HEADER_EPOCH: &str = "lsie-epoch";

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

    /// The letter that a row of table `dead_letters` tells of; `None` for a topic this build does not know.
    pub fn of_row(row: DeadLetterRow) -> Option<DeadLetter> {
        let topic = Topic::by_name(&row.topic)?;
        Some(DeadLetter {
            at: TopicPartition { topic, partition: i32::try_from(row.partition).ok()? },
            offset: row.record_offset,
            log_time: LogTime(u64::try_from(row.log_time.0 / 1_000).ok()?),
            session_id: row.session_id,
            rejection: Rejection { reason: row.reason, detail: row.detail },
            sha256: row.sha256,
            size: row.size,
        })
    }

    /// The epoch in a letter's header.
    pub fn epoch_of(record: &LogRecord) -> Option<LogTime> {
        std::str::from_utf8(record.header(HEADER_EPOCH)?).ok()?.parse().ok().map(LogTime)
    }

    /// The record to append, filed at this epoch.
    pub fn encode(&self, epoch: LogTime) -> NewRecord {
        let value = codec::write("dead_letter", self);
        let key = Bytes::from(self.session_id.map_or_else(|| "unattributed".into(), |id| id.to_string()));
        NewRecord {
            topic: Topic::DeadLetters,
            key,
            value,
            headers: vec![(HEADER_EPOCH.to_string(), epoch.0.to_string().into())],
            timestamp: Some(self.log_time),
        }
    }
}

impl From<DeadLetter> for DeadLetterRow {
    fn from(letter: DeadLetter) -> DeadLetterRow {
        DeadLetterRow {
            topic: letter.at.topic.name().to_string(),
            partition: i64::from(letter.at.partition),
            record_offset: letter.offset,
            log_time: letter.log_time.as_event(),
            session_id: letter.session_id,
            reason: letter.rejection.reason,
            detail: letter.rejection.detail,
            sha256: letter.sha256,
            size: letter.size,
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
