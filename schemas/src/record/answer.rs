//! What became of requests to the outside world: topic `answers`, keyed by the request's id. Kept for good, so that
//! nothing of a provider's body is in it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::codec::{self, Rejection, uuid_field};
use crate::log::{LogRecord, NewRecord};
use crate::time::LogTime;
use crate::topic::Topic;

/// How a hydration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hydrated {
    /// Its chunks are in topic `physio`.
    Done,
    /// No session ran that they could have been for.
    NoSession,
    /// The request is none, or the provider's answer.
    Refused,
    /// Tried too often.
    GivenUp,
}

/// The end of a hydration request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HydrateAnswer {
    /// The request.
    #[serde(with = "uuid_field")]
    pub unique_id: Uuid,
    /// How it ended.
    pub outcome: Hydrated,
    /// Chunks written, one for each session.
    pub chunks: u64,
    /// Items of the provider's answer that were of no use.
    pub refused: u64,
    /// A bounded reason, where it was not done.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A record of topic `answers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Type `hydrated`.
    Hydrated(HydrateAnswer),
}

impl Answered {
    /// Reads a record of the topic.
    pub fn decode(record: &LogRecord) -> Result<Answered, Rejection> {
        let (kind, body) = codec::envelope(&record.value)?;
        match kind.as_str() {
            "hydrated" => codec::fields(body).map(Answered::Hydrated),
            _ => Err(Rejection::new("unknown_type", "not an answer")),
        }
    }

    /// The record to append.
    pub fn encode(&self, timestamp: Option<LogTime>) -> NewRecord {
        let (id, value) = match self {
            Answered::Hydrated(answer) => (answer.unique_id, codec::write("hydrated", answer)),
        };
        let key = id.hyphenated().to_string().into();
        NewRecord { topic: Topic::Answers, key, value, headers: Vec::new(), timestamp }
    }
}
