//! Tables of measurements: `faces`, `au12`, `metrics`, `events`, `context`.

use crate::cell::Real;
use crate::table::{Json, table};
use crate::time::EventTime;
use uuid::Uuid;

table! {
    /// One measured video frame: the inference fact of the face models. No coordinates are kept.
    FaceRow = "faces", key(session_id, seq), {
        /// The session.
        session_id: Uuid,
        /// Sequence number of the frame's access unit.
        seq: i64,
        /// Corrected capture time.
        capture_utc: EventTime,
        /// Raw mouth/eye ratio; null without face or geometry.
        ratio: Option<Real>,
        /// Whether a face was found.
        present: bool,
        /// Why there is no ratio.
        reason: Option<String>,
        /// Fingerprint of models and runtime.
        model: String,
    }
}

table! {
    /// The AU12 series of a session: bounded smile intensity from 5 s before the first stimulus on.
    Au12Row = "au12", key(session_id, seq), {
        /// The session.
        session_id: Uuid,
        /// Sequence number of the frame's access unit.
        seq: i64,
        /// Corrected capture time of the frame.
        timestamp_utc: EventTime,
        /// Bounded AU12 intensity, 0 to 1 (`math.md` §5).
        intensity: Real,
    },
    indexes ["session_id, timestamp_utc"]
}

table! {
    /// Metrics of one segment.
    MetricsRow = "metrics", key(session_id, segment_id), {
        /// The session.
        session_id: Uuid,
        /// The segment.
        segment_id: String,
        /// Window end.
        timestamp_utc: EventTime,
        /// Mean legacy AU12 score of the segment's scored frames, 0 to 5; deprecated.
        au12_intensity: Option<Real>,
        /// Legacy whole-segment pitch, Hz; deprecated.
        pitch_f0: Option<Real>,
        /// Legacy whole-segment jitter; deprecated.
        jitter: Option<Real>,
        /// Legacy whole-segment shimmer; deprecated.
        shimmer: Option<Real>,
        /// Whether the measurement window has a valid pitch.
        f0_valid_measure: Option<bool>,
        /// Whether the baseline window has a valid pitch.
        f0_valid_baseline: Option<bool>,
        /// Whether the measurement window has valid perturbation measures.
        perturbation_valid_measure: Option<bool>,
        /// Whether the baseline window has valid perturbation measures.
        perturbation_valid_baseline: Option<bool>,
        /// Voiced time in the measurement window, s.
        voiced_coverage_measure_s: Option<Real>,
        /// Voiced time in the baseline window, s.
        voiced_coverage_baseline_s: Option<Real>,
        /// Mean pitch in the measurement window, Hz.
        f0_mean_measure_hz: Option<Real>,
        /// Mean pitch in the baseline window, Hz.
        f0_mean_baseline_hz: Option<Real>,
        /// Pitch change, semitones.
        f0_delta_semitones: Option<Real>,
        /// Jitter in the measurement window.
        jitter_mean_measure: Option<Real>,
        /// Jitter in the baseline window.
        jitter_mean_baseline: Option<Real>,
        /// Jitter change.
        jitter_delta: Option<Real>,
        /// Shimmer in the measurement window.
        shimmer_mean_measure: Option<Real>,
        /// Shimmer in the baseline window.
        shimmer_mean_baseline: Option<Real>,
        /// Shimmer change.
        shimmer_delta: Option<Real>,
    },
    indexes ["session_id, timestamp_utc"]
}

table! {
    /// A live platform event, or an Action_Combo of several.
    EventRow = "events", key(session_id, unique_id, event_type, timestamp_utc), {
        /// The session.
        session_id: Uuid,
        /// The platform's user, or the watched account.
        unique_id: String,
        /// The kind of event.
        event_type: String,
        /// When it happened.
        timestamp_utc: EventTime,
        /// Value of a gift.
        gift_value: Option<i64>,
        /// Whether the row is an Action_Combo.
        is_combo: Option<bool>,
    },
    indexes ["session_id, timestamp_utc"]
}

table! {
    /// Web metadata about a creator or a topic.
    ContextRow = "context", key(source_url, scraped_at_utc), {
        /// The session it was asked for, if any.
        session_id: Option<Uuid>,
        /// The page.
        source_url: String,
        /// When it was fetched.
        scraped_at_utc: EventTime,
        /// Title, text, meta tags and status.
        data: Json,
    }
}
