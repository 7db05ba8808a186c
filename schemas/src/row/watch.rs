//! Tables `health` (one row a subsystem) and `alerts`; console specification §7.

use crate::table::table;
use crate::time::EventTime;
use uuid::Uuid;

table! {
    /// A subsystem and how it does. Ages are not in it: a reader takes them against the epoch it reads.
    HealthRow = "health", key(subsystem_key), {
        /// The subsystem.
        subsystem_key: String,
        /// What people call it.
        label: String,
        /// `ok`, `recovering`, `degraded`, `error` or `unknown`.
        state: String,
        /// Log time of the epoch at which that state began.
        since_utc: EventTime,
        /// Log time of the epoch of its newest success.
        last_success_utc: Option<EventTime>,
        /// Why, where it is more than the age of the newest success.
        detail: Option<String>,
        /// How it recovers by itself; while it is `recovering` or `degraded`.
        recovery_mode: Option<String>,
        /// What an operator can do; while it is not well.
        operator_action_hint: Option<String>,
    },
    constraints ["CHECK (state IN ('ok', 'recovering', 'degraded', 'error', 'unknown'))"]
}

table! {
    /// Something an operator should know of. Its identity follows from what happened, so it is raised once.
    AlertRow = "alerts", key(alert_id), {
        /// Kind, subject and time.
        alert_id: String,
        /// `info`, `warning` or `critical`.
        severity: String,
        /// A bounded kind.
        kind: String,
        /// What happened.
        message: String,
        /// The session it concerns.
        session_id: Option<Uuid>,
        /// The subsystem it concerns.
        subsystem_key: Option<String>,
        /// Log time of the epoch at which it was raised.
        emitted_at_utc: EventTime,
    },
    constraints [
        "CHECK (severity IN ('info', 'warning', 'critical'))",
        "CHECK (kind IN ('subsystem_degraded', 'subsystem_recovering', 'subsystem_error', 'physiology_stale', 'stimulus_failed', 'session_ended', 'data_gap'))",
    ],
    indexes ["emitted_at_utc"]
}
