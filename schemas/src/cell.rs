//! One value of one column, as every sink sees it: ordered, hashable, and free of NaN surprises.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::time::EventTime;

/// An IEEE double with a total order, so that rows can be keys of collections.
///
/// Computed non-finite values never get here: see [`Real::finite`].
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Real(pub f64);

impl Real {
    /// The value, or `None` when it is not finite (`contracts.md` §1: such a value becomes null).
    pub fn finite(value: f64) -> Option<Real> {
        value.is_finite().then_some(Real(value))
    }
}

impl PartialEq for Real {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Real {}
impl PartialOrd for Real {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Real {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
impl std::hash::Hash for Real {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

/// One value of one column.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Cell {
    /// No value.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A finite double.
    Real(Real),
    /// Text.
    Text(String),
    /// An identifier.
    Uuid(Uuid),
    /// An instant, UTC.
    Time(EventTime),
    /// Compact JSON with sorted keys.
    Json(String),
    /// A list of texts.
    Texts(Vec<String>),
}

impl Cell {
    /// The value as the JSON API and the change stream show it.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match self {
            Cell::Null => Value::Null,
            Cell::Bool(b) => Value::from(*b),
            Cell::Int(i) => Value::from(*i),
            Cell::Real(r) => Value::from(r.0),
            Cell::Text(t) => Value::from(t.as_str()),
            Cell::Uuid(u) => Value::from(u.to_string()),
            Cell::Time(t) => Value::from(t.canonical()),
            Cell::Json(j) => serde_json::from_str(j).unwrap_or_else(|_| Value::from(j.as_str())),
            Cell::Texts(v) => Value::from(v.clone()),
        }
    }

    /// An unambiguous byte form, for content hashes: a type byte, then length-prefixed or fixed bytes.
    pub fn hash_into(&self, out: &mut Vec<u8>) {
        match self {
            Cell::Null => out.push(0),
            Cell::Bool(b) => out.extend([1, u8::from(*b)]),
            Cell::Int(i) => tagged(out, 2, &i.to_le_bytes()),
            Cell::Real(r) => tagged(out, 3, &r.0.to_bits().to_le_bytes()),
            Cell::Text(t) => sized(out, 4, t.as_bytes()),
            Cell::Uuid(u) => tagged(out, 5, u.as_bytes()),
            Cell::Time(t) => tagged(out, 6, &t.0.to_le_bytes()),
            Cell::Json(j) => sized(out, 7, j.as_bytes()),
            Cell::Texts(v) => {
                tagged(out, 8, &(v.len() as u64).to_le_bytes());
                for text in v {
                    sized(out, 4, text.as_bytes());
                }
            }
        }
    }
}

fn tagged(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend_from_slice(bytes);
}

fn sized(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    tagged(out, tag, &(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}
