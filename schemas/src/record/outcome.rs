//! Delayed outcomes: topic `outcomes`, keyed by session.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::cell::Real;
use crate::codec::{self, Rejection, session_field, time_field};
use crate::log::NewRecord;
use crate::record::is_follow;
use crate::time::{EventTime, LogTime};
use crate::topic::Topic;

/// The one outcome type there is.
pub const CREATOR_FOLLOW: &str = "creator_follow";
/// The source of outcomes that names none: the live connector.
pub const TIKTOK_WEBCAST: &str = "tiktok_webcast";

/// An outcome that greetings may be credited with (contracts §10.2). Its identity, finality and versions are
/// the ledger's to add.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The session.
    #[serde(with = "session_field")]
    pub session_id: Uuid,
    /// `creator_follow`; decoding takes the other names of a follow and writes this one.
    pub outcome_type: String,
    /// Its value; 1 when the record has none.
    #[serde(default = "one")]
    pub outcome_value: Real,
    /// When it happened.
    #[serde(with = "time_field")]
    pub outcome_time_utc: EventTime,
    /// Who reported it.
    #[serde(default = "tiktok_webcast")]
    pub source_system: String,
    /// The reporter's reference.
    #[serde(default)]
    pub source_event_ref: Option<String>,
    /// How sure the reporter is, in [0, 1]; 1 when the record does not say.
    #[serde(default = "one")]
    pub confidence: Real,
}

fn one() -> Real {
    Real(1.0)
}

fn tiktok_webcast() -> String {
    TIKTOK_WEBCAST.into()
}

impl Outcome {
    pub(crate) fn decode(value: &Bytes) -> Result<Outcome, Rejection> {
        let (kind, body) = codec::envelope(value)?;
        if kind != "outcome" {
            return Err(Rejection::new("unknown_type", "not an outcome"));
        }
        let outcome: Outcome = codec::fields(body)?;
        match () {
            _ if !is_follow(&outcome.outcome_type) => {
                Err(Rejection::new("bad_field", "`outcome_type` is not a follow"))
            }
            _ if !(0.0..=1.0).contains(&outcome.confidence.0) => {
                Err(Rejection::new("bad_field", "`confidence` is outside [0, 1]"))
            }
            _ if !outcome.outcome_value.0.is_finite() => {
                Err(Rejection::new("bad_field", "`outcome_value` is not finite"))
            }
            _ => Ok(Outcome { outcome_type: CREATOR_FOLLOW.into(), ..outcome }),
        }
    }

    /// The record to append.
    pub fn encode(&self, timestamp: Option<LogTime>) -> NewRecord {
        let value = codec::write("outcome", self);
        let key = self.session_id.to_string().into();
        NewRecord { topic: Topic::Outcomes, key, value, headers: Vec::new(), timestamp }
    }
}
