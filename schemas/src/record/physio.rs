//! A physiological chunk of topic `physio` (contracts §6.3): one record for each session whose subject it is.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::codec::{self, Rejection, session_field};
use crate::log::NewRecord;
use crate::time::{EventTime, LogTime};
use crate::topic::Topic;

/// The type of the record's envelope.
const TYPE: &str = "physiological_chunk";
/// Heart rates a body can have, beats per minute, both inclusive.
pub const HEART_RATE_BPM: std::ops::RangeInclusive<i64> = 20..=300;

/// Whose body a chunk speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectRole {
    /// Who streams.
    Streamer,
    /// Who operates.
    Operator,
}

impl SubjectRole {
    /// Both, in the order of the tables.
    pub const ALL: [SubjectRole; 2] = [SubjectRole::Streamer, SubjectRole::Operator];

    /// Its name in records and rows.
    pub fn name(self) -> &'static str {
        match self {
            SubjectRole::Streamer => "streamer",
            SubjectRole::Operator => "operator",
        }
    }
}

/// What a chunk's primary series is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// Inter-beat intervals.
    Ibi,
    /// RMSSD values of a session, made by the provider.
    Session,
}

impl SourceKind {
    /// Its name in records and rows.
    pub fn name(self) -> &'static str {
        match self {
            SourceKind::Ibi => "ibi",
            SourceKind::Session => "session",
        }
    }
}

/// Who derived the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DerivationMethod {
    /// The provider.
    Provider,
    /// We, from inter-beat intervals.
    Server,
}

impl DerivationMethod {
    /// Its name in records and rows.
    pub fn name(self) -> &'static str {
        match self {
            DerivationMethod::Provider => "provider",
            DerivationMethod::Server => "server",
        }
    }
}

/// Where a chunk comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// The only provider at present.
    Oura,
}

impl Provider {
    /// Its name in records and rows.
    pub fn name(self) -> &'static str {
        match self {
            Provider::Oura => "oura",
        }
    }
}

/// The measured part of a chunk. At least one of the first three series is present, possibly empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkPayload {
    /// Time between samples, s, above 0.
    #[serde(deserialize_with = "whole")]
    pub sample_interval_s: i64,
    /// Samples that are usable, at least 0; may exceed what was expected.
    #[serde(deserialize_with = "whole")]
    pub valid_sample_count: i64,
    /// Samples that the window should hold, at least 0.
    #[serde(deserialize_with = "whole")]
    pub expected_sample_count: i64,
    /// Who derived the values.
    pub derivation_method: DerivationMethod,
    /// Inter-beat intervals, ms, each above 0.
    #[serde(default)]
    pub ibi_ms_items: Option<Vec<f64>>,
    /// RMSSD values, ms, each at least 0.
    #[serde(default)]
    pub rmssd_items_ms: Option<Vec<f64>>,
    /// Heart rates, beats per minute, each in [`HEART_RATE_BPM`].
    #[serde(default, deserialize_with = "whole_items")]
    pub heart_rate_items_bpm: Option<Vec<i64>>,
    /// Motion, each at least 0, in the provider's unit.
    #[serde(default)]
    pub motion_items: Option<Vec<f64>>,
}

/// A stretch of one subject's wearable data, as the provider gave it out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhysiologicalChunk {
    /// Its identity: a chunk that comes again has the same.
    #[serde(with = "codec::uuid_field")]
    pub unique_id: Uuid,
    /// Where it comes from.
    pub provider: Provider,
    /// Whose body.
    pub subject_role: SubjectRole,
    /// What its primary series is.
    pub source_kind: SourceKind,
    /// Start of what it covers, inclusive, on the provider's UTC.
    #[serde(with = "codec::time_field")]
    pub window_start_utc: EventTime,
    /// End of what it covers, inclusive; may lie before the start, a provider's mistake that is carried.
    #[serde(with = "codec::time_field")]
    pub window_end_utc: EventTime,
    /// When it was taken in; for audits only.
    #[serde(with = "codec::time_field")]
    pub ingest_timestamp_utc: EventTime,
    /// The measured part.
    pub payload: ChunkPayload,
}

/// The event of contracts §6.3, which names its own type.
#[derive(Serialize, Deserialize)]
#[serde(tag = "event_type", rename_all = "snake_case")]
enum Event {
    PhysiologicalChunk(PhysiologicalChunk),
}

impl PhysiologicalChunk {
    /// Reads the event of contracts §6.3 (no envelope, no session): a chunk, or why it is none.
    pub fn read_event(event: &[u8]) -> Result<PhysiologicalChunk, Rejection> {
        let value: serde_json::Value = serde_json::from_slice(event).map_err(|e| {
            Rejection::new("malformed_json", format!("line {} column {}", e.line(), e.column()))
        })?;
        if !value.is_object() {
            return Err(Rejection::new("malformed_json", "not an object"));
        }
        let Event::PhysiologicalChunk(chunk) = codec::fields(value)?;
        chunk.checked()
    }

    /// The event of contracts §6.3, as [`PhysiologicalChunk::read_event`] reads it.
    pub fn write_event(&self) -> serde_json::Value {
        serde_json::to_value(Event::PhysiologicalChunk(self.clone())).unwrap_or_default()
    }

    /// The chunk, if its numbers are in their ranges.
    pub fn checked(self) -> Result<PhysiologicalChunk, Rejection> {
        let bad = |what: &str| Err(Rejection::new("bad_field", what));
        let p = &self.payload;
        let all = |items: &Option<Vec<f64>>, good: fn(f64) -> bool| {
            items.iter().flatten().all(|item| item.is_finite() && good(*item))
        };
        let heart_rates = p.heart_rate_items_bpm.iter().flatten();
        match () {
            _ if p.sample_interval_s < 1 => bad("`sample_interval_s` is not above 0"),
            _ if p.valid_sample_count < 0 => bad("`valid_sample_count` is negative"),
            _ if p.expected_sample_count < 0 => bad("`expected_sample_count` is negative"),
            _ if !all(&p.ibi_ms_items, |ms| ms > 0.0) => bad("an item of `ibi_ms_items` is not above 0"),
            _ if !all(&p.rmssd_items_ms, |ms| ms >= 0.0) => bad("an item of `rmssd_items_ms` is negative"),
            _ if !all(&p.motion_items, |motion| motion >= 0.0) => {
                bad("an item of `motion_items` is negative")
            }
            _ if !heart_rates.into_iter().all(|bpm| HEART_RATE_BPM.contains(bpm)) => {
                bad("an item of `heart_rate_items_bpm` is outside 20 to 300")
            }
            _ if p.ibi_ms_items.is_none()
                && p.rmssd_items_ms.is_none()
                && p.heart_rate_items_bpm.is_none() =>
            {
                bad("the payload has no series")
            }
            _ => Ok(self),
        }
    }
}

/// A chunk for one session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhysioRecord {
    /// The session (also the record's key).
    pub session_id: Uuid,
    /// The chunk.
    pub chunk: PhysiologicalChunk,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(with = "session_field")]
    session_id: Uuid,
    event: Event,
}

impl PhysioRecord {
    pub(crate) fn decode(value: &Bytes) -> Result<PhysioRecord, Rejection> {
        let (kind, body) = codec::envelope(value)?;
        if kind != TYPE {
            return Err(Rejection::new("unknown_type", "not a physiological chunk"));
        }
        let Body { session_id, event: Event::PhysiologicalChunk(chunk) } = codec::fields(body)?;
        Ok(PhysioRecord { session_id, chunk: chunk.checked()? })
    }

    /// The record to append.
    pub fn encode(&self, timestamp: Option<LogTime>) -> NewRecord {
        let event = Event::PhysiologicalChunk(self.chunk.clone());
        let value = codec::write(TYPE, &Body { session_id: self.session_id, event });
        let key = self.session_id.to_string().into();
        NewRecord { topic: Topic::Physio, key, value, headers: Vec::new(), timestamp }
    }
}

/// A JSON number without fraction: `1` and `1.0`, but neither `"1"` nor `true`.
fn whole<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    Whole::deserialize(deserializer).map(|whole| whole.0)
}

fn whole_items<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<i64>>, D::Error> {
    let items = Option::<Vec<Whole>>::deserialize(deserializer)?;
    Ok(items.map(|items| items.into_iter().map(|whole| whole.0).collect()))
}

struct Whole(i64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        // Doubles hold every whole number up to 2^53.
        let exact = |value: &f64| value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0;
        let from_double = || number.as_f64().filter(exact).map(|value| value as i64);
        let whole = number.as_i64().or_else(from_double);
        whole.map(Whole).ok_or_else(|| serde::de::Error::custom("not a whole number in range"))
    }
}
