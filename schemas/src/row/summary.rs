//! Tables that sum up what others hold: `session_summaries`, `encounter_summaries`, `arm_summaries`,
//! `physiology_current`, `posterior_history` (console specification §6).

use crate::cell::Real;
use crate::table::{Json, table};
use crate::time::EventTime;
use uuid::Uuid;

table! {
    /// What is known of a session at a glance: how far it is, its newest reward, its calibration.
    SessionSummaryRow = "session_summaries", key(session_id), {
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
        /// The arm selected for it.
        active_arm: Option<String>,
        /// The greeting of that arm.
        expected_greeting: Option<String>,
        /// Closed segments.
        total_segments: i64,
        /// Log time of the epoch at which its newest segment closed.
        last_segment_completed_at: Option<EventTime>,
        /// Gated reward of its newest encounter.
        latest_reward: Option<Real>,
        /// Semantic gate of its newest encounter.
        latest_semantic_gate: Option<i64>,
        /// Where its newest stimulus stands: `awaiting_stimulus` before the first, then that stimulus' state in
        /// `encounter_summaries`.
        encounter_state: String,
        /// Time of its newest stimulus.
        latest_stimulus_utc: Option<EventTime>,
        /// Whether neutral frames are still collected: until the first stimulus.
        is_calibrating: bool,
        /// Neutral frames collected; counted up to what is required.
        calibration_frames_accumulated: i64,
        /// Neutral frames after which the operator may send a stimulus (`math.md` §5).
        calibration_frames_required: i64,
    },
    indexes ["started_at"]
}

table! {
    /// An accepted stimulus with all that became known of it, from its record to the outcomes credited to it.
    EncounterSummaryRow = "encounter_summaries", key(session_id, stimulus_time_utc, client_action_id), {
        /// The session.
        session_id: Uuid,
        /// The stimulus.
        stimulus_time_utc: EventTime,
        /// The action that sent it.
        client_action_id: Uuid,
        /// The segment that contains it.
        segment_id: String,
        /// Window end of that segment.
        segment_timestamp_utc: EventTime,
        /// `stimulus_issued` until the reaction is measured, `measuring` until it is judged what was said; then
        /// `rejected_no_frames`, `rejected_gate_closed` or `completed`.
        state: String,
        /// The experiment.
        experiment_id: String,
        /// The arm in use.
        active_arm: String,
        /// What the operator should say.
        expected_greeting: String,
        /// 1 if the greeting was said.
        semantic_gate: Option<i64>,
        /// Confidence of that judgement, 0 to 1.
        semantic_confidence: Option<Real>,
        /// 90th percentile of bounded AU12 in the measurement window.
        p90_intensity: Option<Real>,
        /// P90 times gate, 0 to 1.
        gated_reward: Option<Real>,
        /// Frames in the measurement window.
        n_frames_in_window: Option<i64>,
        /// Mean bounded AU12 in the baseline window.
        baseline_b_neutral: Option<Real>,
        /// Whether its segment has a physiological snapshot.
        physiology_attached: bool,
        /// Whether a snapshot of its segment is stale; null without one.
        physiology_stale: Option<bool>,
        /// The 15 acoustic fields of its segment; null when all of them are, before the segment closes, and for a
        /// stimulus that is not the first of its segment.
        observational_acoustic: Option<Json>,
        /// What the judgement rests on.
        semantic_evaluation: Option<Json>,
        /// What attribution says of it.
        attribution: Option<Json>,
    }
}

table! {
    /// All encounters of one arm, counted and averaged.
    ArmSummaryRow = "arm_summaries", key(experiment_id, arm), {
        /// The experiment.
        experiment_id: String,
        /// The arm.
        arm: String,
        /// Encounters.
        encounter_count: i64,
        /// Encounters whose computation completed.
        valid_count: i64,
        /// Mean gated reward.
        avg_reward: Real,
        /// Mean gated reward of the valid ones.
        avg_valid_reward: Option<Real>,
        /// Mean P90 of the valid ones.
        avg_p90: Option<Real>,
        /// Share with an open gate.
        gate_rate: Real,
        /// Mean number of frames of the valid ones.
        avg_frames: Option<Real>,
        /// Window end of the earliest encounter's segment.
        first_encounter: EventTime,
        /// Window end of the latest encounter's segment.
        last_encounter: EventTime,
        /// Time of the newest stimulus among them.
        latest_stimulus_utc: Option<EventTime>,
        /// Gated reward of that encounter.
        latest_reward: Real,
    }
}

table! {
    /// The newest physiological snapshot of one role of a session.
    PhysiologyCurrentRow = "physiology_current", key(session_id, subject_role), {
        /// The session.
        session_id: Uuid,
        /// `streamer` or `operator`.
        subject_role: String,
        /// The segment at whose closing it was taken.
        segment_id: String,
        /// Window end of that segment: the instant the snapshot is as of.
        segment_timestamp_utc: EventTime,
        /// RMSSD, ms.
        rmssd_ms: Option<Real>,
        /// Heart rate, beats per minute.
        heart_rate_bpm: Option<i64>,
        /// Age of the source at that instant, s.
        freshness_s: Real,
        /// Older than 600 s at that instant.
        is_stale: bool,
        /// The provider.
        provider: String,
        /// Newest source window end.
        source_timestamp_utc: EventTime,
    }
}

table! {
    /// A step of an arm's posterior: where it came to at an epoch, and the encounters that moved it.
    PosteriorUpdateRow = "posterior_history", key(experiment_id, arm, at), {
        /// The experiment.
        experiment_id: String,
        /// The arm.
        arm: String,
        /// Log time of the epoch.
        at: EventTime,
        /// Alpha from then on.
        alpha_param: Real,
        /// Beta from then on.
        beta_param: Real,
        /// The encounters that came (`diff` 1) or went (`diff` -1): session, segment, stimulus time, reward.
        moved_by: Json,
    },
    constraints ["CHECK (alpha_param > 0)", "CHECK (beta_param > 0)"]
}
