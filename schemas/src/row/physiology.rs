//! Tables `physiology_log`, `comodulation_log` and `lag_scans`.

use crate::cell::Real;
use crate::table::table;
use crate::time::EventTime;
use uuid::Uuid;

table! {
    /// The physiological snapshot of one role at one segment.
    PhysiologyRow = "physiology_log", key(session_id, segment_id, subject_role), {
        /// The session.
        session_id: Uuid,
        /// The segment.
        segment_id: String,
        /// `streamer` or `operator`.
        subject_role: String,
        /// RMSSD, ms.
        rmssd_ms: Option<Real>,
        /// Heart rate, beats per minute.
        heart_rate_bpm: Option<i64>,
        /// Age of the source, s.
        freshness_s: Real,
        /// Older than 600 s.
        is_stale: bool,
        /// The provider.
        provider: String,
        /// `ibi` or `session`.
        source_kind: String,
        /// `provider` or `server`.
        derivation_method: String,
        /// Derivation window, s.
        window_s: i64,
        /// Valid over expected samples, 0 to 1.
        validity_ratio: Real,
        /// Ratio of at least 0.80.
        is_valid: bool,
        /// Newest source window end.
        source_timestamp_utc: EventTime,
    },
    constraints [
        "CHECK (subject_role IN ('streamer', 'operator'))",
        "CHECK (source_kind IN ('ibi', 'session'))",
        "CHECK (window_s > 0)",
        "CHECK (validity_ratio BETWEEN 0 AND 1)",
    ],
    indexes ["session_id, subject_role", "session_id, segment_id"]
}

table! {
    /// One evaluation of physiological co-modulation.
    ComodulationRow = "comodulation_log", key(session_id, window_end_utc), {
        /// The session.
        session_id: Uuid,
        /// Window start, exclusive.
        window_start_utc: EventTime,
        /// Window end, inclusive.
        window_end_utc: EventTime,
        /// Window length, minutes.
        window_minutes: i64,
        /// Pearson r, or null.
        co_modulation_index: Option<Real>,
        /// Paired minute bins.
        n_paired_observations: i64,
        /// Paired over most bins, 0 to 1.
        coverage_ratio: Real,
        /// Mean of the streamer's bins, ms.
        streamer_rmssd_mean: Option<Real>,
        /// Mean of the operator's bins, ms.
        operator_rmssd_mean: Option<Real>,
        /// Why there is no index: `insufficient_pairs`, `zero_variance` or `undefined`.
        null_reason: Option<String>,
    },
    indexes ["session_id, window_end_utc"]
}

table! {
    /// What the lag scan over the physiology of both roles found at one segment, both or neither: the fact that the
    /// attribution scores of synchrony are made of.
    LagScanRow = "lag_scans", key(session_id, segment_id), {
        /// The session.
        session_id: Uuid,
        /// The segment.
        segment_id: String,
        /// Pearson's r at the best lag.
        peak_corr: Option<Real>,
        /// That lag, minutes.
        peak_lag_min: Option<i64>,
    }
}
