//! Tables of stimuli and what they led to: `stimuli`, `reactions`, `transcripts`, `judgements`, `evaluations`,
//! `encounter_log`.

use crate::cell::Real;
use crate::table::table;
use crate::time::EventTime;
use uuid::Uuid;

table! {
    /// One accepted stimulus.
    StimulusRow = "stimuli", key(session_id, client_action_id), {
        /// The session.
        session_id: Uuid,
        /// The action that sent it.
        client_action_id: Uuid,
        /// Its control record's log time.
        stimulus_utc: EventTime,
        /// The segment it lies in.
        segment_id: String,
        /// What the operator noted.
        operator_note: Option<String>,
    }
}

table! {
    /// What happened after one stimulus, whatever was said: the fact that encounters and attribution are made of.
    ReactionRow = "reactions", key(session_id, client_action_id), {
        /// The session.
        session_id: Uuid,
        /// The action that sent the stimulus.
        client_action_id: Uuid,
        /// The segment that contains the stimulus.
        segment_id: String,
        /// The stimulus' time.
        stimulus_utc: EventTime,
        /// Window end of the segment.
        timestamp_utc: EventTime,
        /// 90th percentile of bounded AU12 in the measurement window.
        p90_intensity: Real,
        /// Frames in the measurement window.
        n_frames: i64,
        /// Mean bounded AU12 in the baseline window.
        baseline_neutral: Option<Real>,
        /// P90 less the baseline, 0 or more.
        lift_p90: Option<Real>,
        /// The largest intensity less the baseline, 0 or more.
        lift_peak: Option<Real>,
        /// From the stimulus to the first of the largest intensities, ms.
        peak_latency_ms: Option<Real>,
    },
    indexes ["session_id, timestamp_utc"]
}

table! {
    /// What was said in a segment.
    TranscriptRow = "transcripts", key(session_id, segment_id), {
        /// The session.
        session_id: Uuid,
        /// The segment.
        segment_id: String,
        /// Window end.
        timestamp_utc: EventTime,
        /// The words.
        text: String,
    },
    indexes ["session_id, timestamp_utc"]
}

table! {
    /// Whether the greeting was said in answer to one stimulus; `evaluations` has the first of each segment.
    JudgementRow = "judgements", key(session_id, client_action_id), {
        /// The session.
        session_id: Uuid,
        /// The action that sent the stimulus.
        client_action_id: Uuid,
        /// The segment that contains the stimulus.
        segment_id: String,
        /// The stimulus' time.
        stimulus_utc: EventTime,
        /// Window end of the segment.
        timestamp_utc: EventTime,
        /// The experiment's text code.
        experiment_id: String,
        /// The arm in use.
        arm: String,
        /// A bounded reason code.
        reasoning: String,
        /// Whether it matches.
        is_match: bool,
        /// Confidence, 0 to 1.
        confidence: Real,
        /// The scorer.
        semantic_method: String,
        /// The scorer's version.
        semantic_method_version: String,
    },
    indexes ["session_id, timestamp_utc"]
}

table! {
    /// Whether the expected greeting was said.
    EvaluationRow = "evaluations", key(session_id, segment_id), {
        /// The session.
        session_id: Uuid,
        /// The segment.
        segment_id: String,
        /// Window end.
        timestamp_utc: EventTime,
        /// A bounded reason code.
        reasoning: Option<String>,
        /// Whether it matches.
        is_match: Option<bool>,
        /// Confidence, 0 to 1.
        confidence: Option<Real>,
        /// The scorer.
        semantic_method: Option<String>,
        /// The scorer's version.
        semantic_method_version: Option<String>,
    },
    indexes ["session_id, timestamp_utc"]
}

table! {
    /// One encounter: a stimulus measured and rewarded.
    EncounterRow = "encounter_log", key(session_id, segment_id, stimulus_time), {
        /// The session.
        session_id: Uuid,
        /// The segment that contains the stimulus.
        segment_id: String,
        /// The experiment's text code.
        experiment_id: String,
        /// The arm in use.
        arm: String,
        /// Window end of the segment.
        timestamp_utc: EventTime,
        /// P90 times gate, 0 to 1.
        gated_reward: Real,
        /// 90th percentile of bounded AU12 in the measurement window.
        p90_intensity: Real,
        /// 1 if the greeting was said.
        semantic_gate: i64,
        /// Whether the computation completed.
        is_valid: bool,
        /// Frames in the measurement window.
        n_frames: i64,
        /// Mean bounded AU12 in the baseline window.
        baseline_neutral: Option<Real>,
        /// Stimulus time, s since the Unix epoch.
        stimulus_time: Option<Real>,
    },
    constraints ["CHECK (gated_reward BETWEEN 0 AND 1)", "CHECK (semantic_gate IN (0, 1))"],
    indexes ["experiment_id, arm", "session_id, timestamp_utc"]
}
