//! Table `inferences`: every result of a model asked once about one input, so that a replay can reuse it.

use crate::table::{Json, table};
use crate::time::EventTime;
use uuid::Uuid;

table! {
    /// What a model answered to one request. (What the face models measure stands in `faces`.)
    InferenceRow = "inferences", key(session_id, request_id), {
        /// The session.
        session_id: Uuid,
        /// The request: the hash of what was asked.
        request_id: String,
        /// `speech` (what was said in a segment) or `greeting` (whether it was the greeting).
        what: String,
        /// The segment it was asked about.
        segment_id: String,
        /// Event time that was asked about, from.
        from_utc: EventTime,
        /// Event time that was asked about, to.
        to_utc: EventTime,
        /// SHA-256 of the model's input.
        input_sha256: String,
        /// Model, version, hash and runtime fingerprint.
        model: String,
        /// The answer; null when there is none.
        answer: Option<Json>,
        /// Why there is none.
        reason: Option<String>,
    },
    indexes ["session_id, from_utc", "input_sha256"]
}
