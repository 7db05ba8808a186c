//! Tables of law 4: `dead_letters` and `record_classes`.

use crate::table::table;
use crate::time::EventTime;
use uuid::Uuid;

table! {
    /// A record that could not be used. Of media only hash and size are kept.
    DeadLetterRow = "dead_letters", key(topic, partition, record_offset), {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i64,
        /// The offset.
        record_offset: i64,
        /// Log time of the record.
        log_time: EventTime,
        /// The session, when the key names one.
        session_id: Option<Uuid>,
        /// A bounded reason code.
        reason: String,
        /// What exactly.
        detail: String,
        /// SHA-256 of the value.
        sha256: String,
        /// Size of the value, bytes.
        size: i64,
    },
    indexes ["session_id, reason"]
}

table! {
    /// How many records of a session and topic have each class; they add up to what was read.
    RecordClassRow = "record_classes", key(session, topic, class, reason), {
        /// The session id, or `unattributed`.
        session: String,
        /// The topic.
        topic: String,
        /// `used`, `duplicate`, `late` or `filed`.
        class: String,
        /// The reason of a filed or late record; empty otherwise.
        reason: String,
        /// How many.
        records: i64,
    }
}
