//! Live events of the platform: topic `events`, keyed by session.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::cell::Real;
use crate::codec::{self, Rejection, session_field, time_field};
use crate::log::NewRecord;
use crate::record::Outcome;
use crate::record::outcome::{CREATOR_FOLLOW, TIKTOK_WEBCAST};
use crate::table::Json;
use crate::time::{EventTime, LogTime};
use crate::topic::Topic;

/// The event type of a group of events. The engine composes those itself, so no record may carry it.
pub const ACTION_COMBO: &str = "Action_Combo";

/// The event type of a gift, the one that has a value.
const GIFT: &str = "gift";

/// What the live connector saw (contracts §4). Platform times carry their own UTC and are never corrected
/// for drift.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LiveEvent {
    /// The session.
    pub session_id: Uuid,
    /// The platform's user; none stands for the watched account.
    pub unique_id: Option<String>,
    /// The kind of event; `unknown` when the platform named none.
    pub event_type: String,
    /// When it happened, by the platform.
    pub timestamp_utc: EventTime,
    /// What else came with it: one JSON object.
    pub payload: Json,
    /// Value of a gift, 0 or more; null for anything but a gift.
    pub gift_value: Option<i64>,
    /// The platform's id of the event, when it stands outside the payload.
    pub event_id: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(with = "session_field")]
    session_id: Uuid,
    #[serde(rename = "uniqueId", default, skip_serializing_if = "Option::is_none")]
    unique_id: Option<String>,
    #[serde(default = "unknown")]
    event_type: String,
    #[serde(with = "time_field")]
    timestamp_utc: EventTime,
    #[serde(default)]
    payload: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gift_value: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
}

fn unknown() -> String {
    "unknown".into()
}

impl LiveEvent {
    pub(crate) fn decode(value: &Bytes) -> Result<LiveEvent, Rejection> {
        let (kind, body) = codec::envelope(value)?;
        if kind != "live_event" {
            return Err(Rejection::new("unknown_type", "not a live event"));
        }
        let wire: Wire = codec::fields(body)?;
        if wire.event_type == ACTION_COMBO {
            return Err(Rejection::new("bad_field", "`event_type` is one that only the engine composes"));
        }
        if wire.gift_value.is_some_and(|value| value < 0) {
            return Err(Rejection::new("bad_field", "`gift_value` is negative"));
        }
        let gift_value = (wire.event_type == GIFT).then(|| wire.gift_value.unwrap_or(0));
        Ok(LiveEvent {
            session_id: wire.session_id,
            unique_id: wire.unique_id,
            event_type: wire.event_type,
            timestamp_utc: wire.timestamp_utc,
            payload: Json::new(&Value::Object(wire.payload)),
            gift_value,
            event_id: wire.event_id,
        })
    }

    /// The record to append.
    pub fn encode(&self, timestamp: Option<LogTime>) -> NewRecord {
        let wire = Wire {
            session_id: self.session_id,
            unique_id: self.unique_id.clone(),
            event_type: self.event_type.clone(),
            timestamp_utc: self.timestamp_utc,
            payload: self.payload(),
            gift_value: self.gift_value,
            event_id: self.event_id.clone(),
        };
        let value = codec::write("live_event", &wire);
        let key = self.session_id.to_string().into();
        NewRecord { topic: Topic::Events, key, value, headers: Vec::new(), timestamp }
    }

    /// The platform's reference of the event: the first of payload `event_id`, `message_id`, `msg_id` and the
    /// event's own `event_id` that is a whole number or a text that is not empty.
    pub fn source_event_ref(&self) -> Option<String> {
        let payload = self.payload();
        ["event_id", "message_id", "msg_id"]
            .into_iter()
            .find_map(|name| payload.get(name).and_then(reference))
            .or_else(|| self.event_id.clone().filter(|id| !id.is_empty()))
    }

    /// The outcome that a follow of the creator is; any other event is none (contracts §4).
    pub fn outcome(&self) -> Option<Outcome> {
        is_follow(&self.event_type).then(|| Outcome {
            session_id: self.session_id,
            outcome_type: CREATOR_FOLLOW.into(),
            outcome_value: Real(1.0),
            outcome_time_utc: self.timestamp_utc,
            source_system: TIKTOK_WEBCAST.into(),
            source_event_ref: self.source_event_ref(),
            confidence: Real(1.0),
        })
    }

    fn payload(&self) -> Map<String, Value> {
        serde_json::from_str(self.payload.as_str()).unwrap_or_default()
    }
}

fn reference(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

/// Whether an event or outcome type is one of the names of a follow: `creator_follow`, `follow`,
/// `user_follow`, `followevent`, in any case, with or without underscores, blanks around it allowed.
///
/// ```
/// use lsie_schemas::record::is_follow;
/// assert!(is_follow("FollowEvent") && is_follow(" creatorFollow"));
/// assert!(!is_follow("un_follow") && !is_follow("creator-follow"));
/// ```
pub fn is_follow(event_type: &str) -> bool {
    let plain = event_type.trim().to_lowercase().replace('_', "");
    matches!(plain.as_str(), "creatorfollow" | "follow" | "userfollow" | "followevent")
}
