//! Requests to the outside world: topic `requests`, keyed by the request's id.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::codec::{self, Rejection, optional_session_field, uuid_field};
use crate::log::{LogRecord, NewRecord};
use crate::time::LogTime;
use crate::topic::Topic;

/// The provider of wearables has news: to be fetched (contracts §6.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HydrateRequest {
    /// Identity of the notification it follows from.
    #[serde(with = "uuid_field")]
    pub unique_id: Uuid,
    /// `streamer` or `operator`.
    pub subject_role: String,
    /// What happened to the data, in the provider's words.
    pub event_type: String,
    /// Which data, in the provider's words.
    pub data_type: String,
    /// Start of the time range, as sent.
    pub start_datetime: String,
    /// End of the time range, as sent.
    pub end_datetime: String,
    /// How often it has been tried before.
    #[serde(default)]
    pub attempt: u32,
}

/// A page whose metadata is wanted: to be visited by a browser (module F).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrichRequest {
    /// Identity of the request.
    #[serde(with = "uuid_field")]
    pub unique_id: Uuid,
    /// The session it is for, if any.
    #[serde(default, with = "optional_session_field", skip_serializing_if = "Option::is_none")]
    pub session_id: Option<Uuid>,
    /// The page: an address of http or https.
    pub target_url: String,
    /// What the page is about, in the requester's words.
    pub scrape_type: String,
    /// What a visit may take, s.
    #[serde(default = "thirty")]
    pub timeout_seconds: u32,
}

fn thirty() -> u32 {
    30
}

/// A record of topic `requests`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Type `hydrate`.
    Hydrate(HydrateRequest),
    /// Type `enrich`.
    Enrich(EnrichRequest),
}

impl Request {
    /// Reads a record of the topic.
    pub fn decode(record: &LogRecord) -> Result<Request, Rejection> {
        let (kind, body) = codec::envelope(&record.value)?;
        match kind.as_str() {
            "hydrate" => codec::fields(body).map(Request::Hydrate),
            "enrich" => codec::fields(body).map(Request::Enrich),
            _ => Err(Rejection::new("unknown_type", "not a request")),
        }
    }

    /// The record to append.
    pub fn encode(&self, timestamp: Option<LogTime>) -> NewRecord {
        let (id, value) = match self {
            Request::Hydrate(request) => (request.unique_id, codec::write("hydrate", request)),
            Request::Enrich(request) => (request.unique_id, codec::write("enrich", request)),
        };
        let key = id.hyphenated().to_string().into();
        NewRecord { topic: Topic::Requests, key, value, headers: Vec::new(), timestamp }
    }
}
