//! The attribution ledger: `attribution_event`, `outcome_event`, `event_outcome_link`, `attribution_score`.

use crate::cell::Real;
use crate::table::{Json, table};
use crate::time::EventTime;
use uuid::Uuid;

table! {
    /// A greeting interaction that outcomes may be attributed to.
    AttributionEventRow = "attribution_event", key(event_id), {
        /// UUIDv5 of session, segment, type and reward path version.
        event_id: Uuid,
        /// The session.
        session_id: Uuid,
        /// The segment.
        segment_id: String,
        /// `greeting_interaction`.
        event_type: String,
        /// The stimulus time.
        event_time_utc: EventTime,
        /// The stimulus time, if there was one.
        stimulus_time_utc: Option<EventTime>,
        /// The arm in use.
        selected_arm_id: String,
        /// SHA-256 of the rule text, whitespace collapsed.
        expected_rule_text_hash: String,
        /// The scorer.
        semantic_method: String,
        /// The scorer's version.
        semantic_method_version: String,
        /// Match probability, 0 to 1.
        semantic_p_match: Option<Real>,
        /// A bounded reason code.
        semantic_reason_code: Option<String>,
        /// `7B.v3.4`.
        reward_path_version: String,
        /// The decision snapshot.
        bandit_decision_snapshot: Json,
        /// What the record rests on.
        evidence_flags: Vec<String>,
        /// `online_provisional` or `offline_final`.
        finality: String,
        /// `v3.4`.
        schema_version: String,
    },
    constraints [
        "CHECK (segment_id ~ '^[0-9a-f]{64}$')",
        "CHECK (expected_rule_text_hash ~ '^[0-9a-f]{64}$')",
        "CHECK (event_type IN ('greeting_interaction'))",
        "CHECK (semantic_p_match BETWEEN 0 AND 1)",
        "CHECK (finality IN ('online_provisional', 'offline_final'))",
        "UNIQUE (session_id, segment_id, event_type, reward_path_version)",
    ],
    indexes ["session_id", "segment_id", "event_time_utc", "finality"]
}

table! {
    /// A delayed outcome.
    OutcomeEventRow = "outcome_event", key(outcome_id), {
        /// UUIDv5 of session, type, time, source and reference.
        outcome_id: Uuid,
        /// The session.
        session_id: Uuid,
        /// `creator_follow`.
        outcome_type: String,
        /// Its value.
        outcome_value: Real,
        /// When it happened.
        outcome_time_utc: EventTime,
        /// Who reported it.
        source_system: String,
        /// The reporter's reference.
        source_event_ref: Option<String>,
        /// Confidence, 0 to 1.
        confidence: Real,
        /// `online_provisional` or `offline_final`.
        finality: String,
        /// `v3.4`.
        schema_version: String,
    },
    constraints [
        "CHECK (confidence BETWEEN 0 AND 1)",
        "CHECK (finality IN ('online_provisional', 'offline_final'))",
        "UNIQUE NULLS NOT DISTINCT (session_id, outcome_type, outcome_time_utc, source_system, source_event_ref)",
    ],
    indexes ["session_id", "outcome_time_utc", "finality"]
}

table! {
    /// An event and an outcome within the horizon.
    EventOutcomeLinkRow = "event_outcome_link", key(link_id), {
        /// UUIDv5 of event, outcome and rule version.
        link_id: Uuid,
        /// The event.
        event_id: Uuid,
        /// The outcome.
        outcome_id: Uuid,
        /// Outcome time minus event time, s.
        lag_s: Real,
        /// The horizon, s.
        horizon_s: Real,
        /// `event_outcome_lag_horizon_v1`.
        link_rule_version: String,
        /// Why it is eligible.
        eligibility_flags: Vec<String>,
        /// `online_provisional` or `offline_final`.
        finality: String,
        /// `v3.4`.
        schema_version: String,
    },
    constraints [
        "CHECK (lag_s >= 0)",
        "CHECK (horizon_s > 0)",
        "CHECK (lag_s <= horizon_s)",
        "CHECK (finality IN ('online_provisional', 'offline_final'))",
        "UNIQUE (event_id, outcome_id, link_rule_version)",
    ],
    indexes ["event_id", "outcome_id", "finality"]
}

table! {
    /// One attribution score of an event.
    AttributionScoreRow = "attribution_score", key(score_id), {
        /// UUIDv5 of event, outcome, method and method version.
        score_id: Uuid,
        /// The event.
        event_id: Uuid,
        /// The first eligible outcome.
        outcome_id: Option<Uuid>,
        /// The method.
        attribution_method: String,
        /// `7E.v1`.
        method_version: String,
        /// The score.
        score_raw: Option<Real>,
        /// The score on a common scale.
        score_normalized: Option<Real>,
        /// Confidence, 0 to 1.
        confidence: Option<Real>,
        /// What the score rests on.
        evidence_flags: Vec<String>,
        /// `online_provisional` or `offline_final`.
        finality: String,
        /// `v3.4`.
        schema_version: String,
    },
    constraints [
        "CHECK (finality IN ('online_provisional', 'offline_final'))",
        "UNIQUE NULLS NOT DISTINCT (event_id, outcome_id, attribution_method, method_version)",
    ],
    indexes ["event_id", "outcome_id", "finality"]
}
