//! Table `sessions`.

use crate::table::table;
use crate::time::EventTime;
use uuid::Uuid;

table! {
    /// One continuous live stream.
    SessionRow = "sessions", key(session_id), {
        /// The session.
        session_id: Uuid,
        /// Where its media come from.
        stream_url: String,
        /// The start record's log time.
        started_at: EventTime,
        /// The end record's log time; null while it runs.
        ended_at: Option<EventTime>,
        /// The experiment it is bound to.
        experiment_id: String,
        /// Corrected capture time of its first media sample; null until known.
        anchor_utc: Option<EventTime>,
        /// The arm selected for it; null until selected.
        active_arm: Option<String>,
        /// The greeting of that arm.
        expected_greeting: Option<String>,
    },
    indexes ["started_at"]
}
