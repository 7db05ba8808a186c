//! Tables `segments` and `segment_streams`: when and why each 30-second segment closed, and what went into it.

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

table! {
    /// What of one declared stream went into a closed segment, and how far the stream had come when it closed.
    SegmentStreamRow = "segment_streams", key(session_id, ordinal, stream), {
        /// The session.
        session_id: Uuid,
        /// The segment, 1 for the first.
        ordinal: i64,
        /// `audio` or `video`.
        stream: String,
        /// The topic that carries it.
        topic: String,
        /// The partition of the records; null when there are none.
        partition: Option<i64>,
        /// Records whose samples lie in the window, wholly or in part.
        records: i64,
        /// The first offset of these.
        first_offset: Option<i64>,
        /// The last offset of these.
        last_offset: Option<i64>,
        /// Corrected capture time at which the first of them begins.
        first_event_time: Option<EventTime>,
        /// Corrected capture time at which the last of them ends.
        last_event_time: Option<EventTime>,
        /// The offset of the stream's newest accepted record when the segment closed.
        reached_offset: Option<i64>,
        /// The event time that the stream had reached then.
        reached_event_time: Option<EventTime>,
        /// Log time of the epoch of that record; of the session's start if there was none.
        heard_at: EventTime,
    }
}
