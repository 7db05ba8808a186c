//! The transient table `pitch`: served from memory for a while, kept nowhere.

use crate::cell::Real;
use crate::table::{Json, table};
use crate::time::EventTime;
use uuid::Uuid;

table! {
    /// The pitch of the voice in a segment with a stimulus, frame by frame.
    PitchRow = "pitch", key(session_id, segment_id), {
        /// The session.
        session_id: Uuid,
        /// The segment.
        segment_id: String,
        /// Centre of the first frame.
        start_utc: EventTime,
        /// Time between frames, s.
        step_s: Real,
        /// Pitch of each frame, Hz; null where there is no voice.
        f0_hz: Json,
    }
}
