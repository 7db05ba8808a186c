//! Table `segments`: when and why each 30-second segment closed.

use crate::table::table;
use crate::time::EventTime;
use uuid::Uuid;

table! {
    /// One closed 30-second window of a session, with the reason and the evidence of its closing.
    SegmentRow = "segments", key(session_id, ordinal), {
        /// The session.
        session_id: Uuid,
        /// 1 for the first window.
        ordinal: i64,
        /// SHA-256 identity of the window (`math.md` §2).
        segment_id: String,
        /// Window start, inclusive.
        window_start_utc: EventTime,
        /// Window end, exclusive: start + 30 s, also for the last, partial segment of an ended session.
        window_end_utc: EventTime,
        /// `complete`, `ended`, `stalled` or `max_wait`.
        closed_by: String,
        /// Log time of the epoch at which it closed.
        closed_at: EventTime,
        /// The stream whose record (or silence) decided; null when log time alone did.
        evidence_stream: Option<String>,
        /// The offset of that stream's newest record at closing.
        evidence_offset: Option<i64>,
        /// The event time that stream had reached.
        evidence_event_time: Option<EventTime>,
        /// Samples of 16 kHz audio in the window.
        audio_samples: i64,
        /// SHA-256 of these samples (s16le), the input hash of what is computed from them.
        audio_sha256: String,
        /// Video frames whose capture time lies in the window.
        video_frames: i64,
        /// Frames of these in which a face was measured.
        face_frames: i64,
    },
    indexes ["session_id, window_start_utc"]
}
