//! What became of requests to the outside world: topic `answers`, keyed by the request's id. Kept for good, so that
//! nothing of a provider's body is in it; of a page there are its title, meta tags, and the beginning of its text.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::codec::{self, Rejection, optional_session_field, time_field, uuid_field};
use crate::log::{LogRecord, NewRecord};
use crate::time::{EventTime, LogTime};
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

/// A meta tag of a page; what it does not say is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetaTag {
    /// Attribute `name`.
    pub name: Option<String>,
    /// Attribute `property`.
    pub property: Option<String>,
    /// Attribute `content`.
    pub content: Option<String>,
}

/// What is kept of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageData {
    /// Its title.
    pub title: String,
    /// The first 10000 characters of what its body shows.
    pub text_content: String,
    /// Its meta tags, in their order.
    pub meta_tags: Vec<MetaTag>,
    /// The status of the answer that it came with.
    pub status_code: u16,
}

/// The end of a request for a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrichAnswer {
    /// The request.
    #[serde(with = "uuid_field")]
    pub unique_id: Uuid,
    /// The session it is for, if any.
    #[serde(default, with = "optional_session_field", skip_serializing_if = "Option::is_none")]
    pub session_id: Option<Uuid>,
    /// The page that was asked for.
    pub source_url: String,
    /// When the visit ended.
    #[serde(with = "time_field")]
    pub scraped_at_utc: EventTime,
    /// As in the request.
    pub scrape_type: String,
    /// What is kept of the page; an empty object where there is none.
    #[serde(with = "page_field")]
    pub data: Option<PageData>,
    /// Whether there is a page.
    pub success: bool,
    /// A bounded reason, where there is none.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A page as a serde field; none is an empty object.
mod page_field {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::{Map, Value};

    use super::PageData;

    pub(super) fn serialize<S: Serializer>(
        page: &Option<PageData>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match page {
            Some(page) => page.serialize(serializer),
            None => Map::new().serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<PageData>, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Object(empty) if empty.is_empty() => Ok(None),
            page => serde_json::from_value(page).map(Some).map_err(D::Error::custom),
        }
    }
}

/// A record of topic `answers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answered {
    /// Type `hydrated`.
    Hydrated(HydrateAnswer),
    /// Type `enriched`.
    Enriched(EnrichAnswer),
}

impl Answered {
    /// Reads a record of the topic.
    pub fn decode(record: &LogRecord) -> Result<Answered, Rejection> {
        let (kind, body) = codec::envelope(&record.value)?;
        match kind.as_str() {
            "hydrated" => codec::fields(body).map(Answered::Hydrated),
            "enriched" => codec::fields(body).map(Answered::Enriched),
            _ => Err(Rejection::new("unknown_type", "not an answer")),
        }
    }

    /// The request.
    pub fn request(&self) -> Uuid {
        match self {
            Answered::Hydrated(answer) => answer.unique_id,
            Answered::Enriched(answer) => answer.unique_id,
        }
    }

    /// The record to append.
    pub fn encode(&self, timestamp: Option<LogTime>) -> NewRecord {
        let value = match self {
            Answered::Hydrated(answer) => codec::write("hydrated", answer),
            Answered::Enriched(answer) => codec::write("enriched", answer),
        };
        let key = self.request().hyphenated().to_string().into();
        NewRecord { topic: Topic::Answers, key, value, headers: Vec::new(), timestamp }
    }
}
