//! The transient table `sources`: how the partitions of the log and the live sessions in them do.

use crate::table::table;
use crate::time::EventTime;

table! {
    /// A source and how it does.
    SourceRow = "sources", key(kind, source), {
        /// `partition` or `session`.
        kind: String,
        /// Topic and partition, or the session's id.
        source: String,
        /// `healthy`, `idle` or `stalled`.
        state: String,
        /// Why it is not healthy.
        reason: Option<String>,
        /// Log time at which that began.
        since_utc: EventTime,
    }
}
