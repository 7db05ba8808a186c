//! What a single value of a payload may be.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Fault, Model, Reason, uri};
use crate::{canonical, codec};

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A number without a fraction (`3.0` is one).
    Int(Bounds),
    /// A finite number.
    Number(Bounds),
    /// A text.
    Text,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// 64 lowercase hex digits.
    Hash,
    /// A UUID in lowercase hyphenated form.
    Uuid,
    /// The same, of version 4.
    UuidV4,
    /// An RFC 3339 instant with its zone.
    Time,
    /// An absolute URI.
    Uri,
    /// A list of `min` to `max` items.
    List {
        /// Of these.
        item: &'static Kind,
        /// At least so many.
        min: usize,
        /// At most so many.
        max: usize,
    },
    /// A list of texts, none twice, and at least so many.
    UniqueTexts(usize),
    /// An object from any key to these, with at least so many keys.
    Map(&'static Kind, usize),
    /// Any object.
    Object,
    /// An object of this model.
    Record(&'static Model),
}

/// Bounds of a number, both inclusive unless said.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    min: f64,
    max: f64,
    /// `min` itself is out.
    is_open: bool,
}

impl Bounds {
    /// Every finite number.
    pub const ANY: Bounds = Bounds::between(f64::NEG_INFINITY, f64::INFINITY);
    /// 0 and more.
    pub const NOT_NEGATIVE: Bounds = Bounds::between(0.0, f64::INFINITY);
    /// More than 0.
    pub const POSITIVE: Bounds = Bounds { is_open: true, ..Bounds::NOT_NEGATIVE };
    /// 0 to 1.
    pub const UNIT: Bounds = Bounds::between(0.0, 1.0);

    /// `min` to `max`.
    pub const fn between(min: f64, max: f64) -> Bounds {
        Bounds { min, max, is_open: false }
    }

    fn hold(&self, value: f64) -> bool {
        (self.min..=self.max).contains(&value) && !(self.is_open && value == self.min)
    }
}

impl Kind {
    /// The normal form of a value.
    pub(super) fn check(&self, value: Value) -> Result<Value, Fault> {
        match self {
            Kind::Bool => value.is_boolean().then_some(value).ok_or(Reason::NotA("a boolean")),
            Kind::Int(bounds) => whole(&value).ok_or(Reason::NotA("a whole number")).and_then(|whole| {
                let in_bounds = whole.as_f64().is_some_and(|value| bounds.hold(value));
                in_bounds.then_some(whole).ok_or(Reason::Range)
            }),
            Kind::Number(bounds) => double(&value)
                .ok_or(Reason::NotA("a number"))
                .and_then(|number| bounds.hold(number).then(|| Value::from(number)).ok_or(Reason::Range)),
            Kind::Text => text(value, "a text", Some),
            Kind::OneOf(words) => {
                text(value, "one of its words", |text| words.contains(&text.as_str()).then_some(text))
            }
            Kind::Hash => text(value, "64 hex digits", |text| is_hash(&text).then_some(text)),
            Kind::Uuid => text(value, "a UUID", |text| codec::uuid(&text).is_some().then_some(text)),
            Kind::UuidV4 => {
                text(value, "a UUID v4", |text| codec::session_id(&text).is_some().then_some(text))
            }
            Kind::Time => text(value, "an RFC 3339 instant with its zone", |text| {
                canonical::parse(&text).ok().map(canonical::to_text)
            }),
            Kind::Uri => text(value, "an absolute URI", |text| uri::is_absolute(&text).then_some(text)),
            Kind::List { item, min, max } => return list(item, *min, *max, value),
            Kind::UniqueTexts(min) => return unique_texts(*min, value),
            Kind::Map(item, min) => return map(item, *min, value),
            Kind::Object => value.is_object().then_some(value).ok_or(Reason::NotA("an object")),
            Kind::Record(model) => return model.object(value),
        }
        .map_err(Fault::from)
    }
}

fn text(value: Value, name: &'static str, read: impl Fn(String) -> Option<String>) -> Result<Value, Reason> {
    match value {
        Value::String(text) => read(text).map(Value::from).ok_or(Reason::NotA(name)),
        _ => Err(Reason::NotA(name)),
    }
}

fn list(item: &Kind, min: usize, max: usize, value: Value) -> Result<Value, Fault> {
    let Value::Array(items) = value else { return Err(Reason::NotA("a list").into()) };
    if !(min..=max).contains(&items.len()) {
        return Err(Reason::Size.into());
    }
    let checked = items.into_iter().enumerate();
    checked.map(|(index, value)| item.check(value).map_err(|fault| fault.under(index))).collect()
}

fn unique_texts(min: usize, value: Value) -> Result<Value, Fault> {
    let texts = list(&Kind::Text, min, usize::MAX, value)?;
    let mut seen = BTreeSet::new();
    let items = texts.as_array().into_iter().flatten().filter_map(Value::as_str);
    match items.enumerate().find(|(_, text)| !seen.insert(*text)) {
        Some((index, _)) => Err(Fault::from(Reason::Repeated).under(index)),
        None => Ok(texts),
    }
}

fn map(item: &Kind, min: usize, value: Value) -> Result<Value, Fault> {
    let Value::Object(entries) = value else { return Err(Reason::NotA("an object").into()) };
    if entries.len() < min {
        return Err(Reason::Size.into());
    }
    let checked = entries.into_iter().map(|(key, value)| match item.check(value) {
        Ok(value) => Ok((key, value)),
        Err(fault) => Err(fault.under(key)),
    });
    checked.collect::<Result<Map<_, _>, _>>().map(Value::Object)
}

/// A number without fraction; where it fits, without a point.
fn whole(value: &Value) -> Option<Value> {
    if value.is_i64() || value.is_u64() {
        return Some(value.clone());
    }
    let number = double(value).filter(|number| number.fract() == 0.0)?;
    // Beyond 2^53 a double with a point is as good a text as any.
    Some(if number.abs() < 9e15 { Value::from(number as i64) } else { Value::from(number) })
}

fn double(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.is_finite())
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
