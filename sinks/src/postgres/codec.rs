//! Cells as PostgreSQL takes and gives them, in its binary form.
//!
//! PostgreSQL cannot hold everything a cell can: text has no NUL there, JSON numbers are decimal, and years
//! before 4713 BC do not exist. [`stored`] says what becomes of a cell, so that an audit can expect just that.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use lsie_schemas::{Cell, ColumnType, EventTime, Real, Uuid};
use serde_json::Value as Json;
use tokio_postgres::types::{FromSql, ToSql, Type};

/// Microseconds between the Unix epoch and that of PostgreSQL, 2000-01-01.
const EPOCH_US: i64 = 946_684_800_000_000;
/// The earliest instant it holds, counted from its own epoch.
const FIRST_US: i64 = -211_813_488_000_000_000;
/// What stands for NUL in texts.
const FOR_NUL: &str = "\u{2400}";
/// The version byte of binary JSONB.
const JSONB: u8 = 1;

/// What can go wrong in a conversion; never with a row that fits its table.
pub(super) type Unfit = Box<dyn std::error::Error + Sync + Send>;

/// A cell as it comes back from PostgreSQL, in one normal form of JSON.
pub fn stored(cell: &Cell) -> Cell {
    match cell {
        Cell::Text(text) => Cell::Text(without_nul(text).into_owned()),
        Cell::Texts(texts) => Cell::Texts(texts.iter().map(|t| without_nul(t).into_owned()).collect()),
        Cell::Time(time) => Cell::Time(EventTime(sql_time(*time) + EPOCH_US)),
        Cell::Json(text) => Cell::Json(match serde_json::from_str(text) {
            Ok(value) => normal(value).to_string(),
            Err(_) => text.clone(),
        }),
        other => other.clone(),
    }
}

/// Puts the value of a cell at the end of `out`; false, and nothing put, if it is null.
pub(super) fn put(cell: &Cell, out: &mut BytesMut) -> Result<bool, Unfit> {
    match cell {
        Cell::Null => return Ok(false),
        Cell::Bool(truth) => out.put_u8(u8::from(*truth)),
        Cell::Int(number) => out.put_i64(*number),
        Cell::Real(real) => out.put_f64(real.0),
        Cell::Text(text) => out.put_slice(without_nul(text).as_bytes()),
        Cell::Uuid(id) => out.put_slice(id.as_bytes()),
        Cell::Time(time) => out.put_i64(sql_time(*time)),
        Cell::Json(text) => {
            out.put_u8(JSONB);
            // Only what might hold an escaped NUL is worth the look.
            match text.contains("\\u0000") {
                true => out.put_slice(normal(serde_json::from_str(text)?).to_string().as_bytes()),
                false => out.put_slice(text.as_bytes()),
            }
        }
        Cell::Texts(texts) => {
            let texts: Vec<Cow<'_, str>> = texts.iter().map(|text| without_nul(text)).collect();
            texts.to_sql(&Type::TEXT_ARRAY, out)?;
        }
    }
    Ok(true)
}

/// A value as it arrived.
#[derive(Debug)]
pub(super) struct Received<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Received<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Received<'a>, Unfit> {
        Ok(Received(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl Received<'_> {
    /// The cell, or `None` if these are not the bytes of the type.
    pub(super) fn cell(&self, ty: ColumnType) -> Option<Cell> {
        let eight = || <[u8; 8]>::try_from(self.0).ok();
        let text = |bytes| std::str::from_utf8(bytes).ok().map(str::to_owned);
        Some(match ty {
            ColumnType::Bool => Cell::Bool(*self.0.first()? != 0),
            ColumnType::Int => Cell::Int(i64::from_be_bytes(eight()?)),
            ColumnType::Real => Cell::Real(Real(f64::from_be_bytes(eight()?))),
            ColumnType::Text => Cell::Text(text(self.0)?),
            ColumnType::Uuid => Cell::Uuid(Uuid::from_slice(self.0).ok()?),
            ColumnType::Time => Cell::Time(EventTime(i64::from_be_bytes(eight()?).saturating_add(EPOCH_US))),
            ColumnType::Json => stored(&Cell::Json(text(self.0.split_first()?.1)?)),
            ColumnType::Texts => Cell::Texts(Vec::from_sql(&Type::TEXT_ARRAY, self.0).ok()?),
        })
    }
}

fn without_nul(text: &str) -> Cow<'_, str> {
    match text.contains('\0') {
        true => Cow::Owned(text.replace('\0', FOR_NUL)),
        false => Cow::Borrowed(text),
    }
}

fn sql_time(time: EventTime) -> i64 {
    time.0.saturating_sub(EPOCH_US).max(FIRST_US)
}

/// JSON without NUL, and with each number as the shortest one of its value.
fn normal(value: Json) -> Json {
    match value {
        Json::String(text) => Json::String(without_nul(&text).into_owned()),
        Json::Array(items) => Json::Array(items.into_iter().map(normal).collect()),
        Json::Object(fields) => {
            let field = |(name, value): (String, Json)| (without_nul(&name).into_owned(), normal(value));
            Json::Object(fields.into_iter().map(field).collect())
        }
        Json::Number(number) if number.is_f64() => match number.as_f64() {
            // Decimal numbers know neither a negative zero nor the difference of 1e16 to its digits.
            Some(real) if real.fract() == 0.0 && real.abs() < 1e18 => Json::from(real as i64),
            _ => Json::Number(number),
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comes_back(cell: &Cell, ty: ColumnType) {
        let mut bytes = BytesMut::new();
        assert!(put(cell, &mut bytes).expect("a cell of the type"));
        assert_eq!(Received(&bytes).cell(ty), Some(stored(cell)), "{cell:?}");
    }

    #[test]
    fn what_is_sent_comes_back_as_it_is_stored() {
        comes_back(&Cell::Bool(true), ColumnType::Bool);
        comes_back(&Cell::Int(i64::MIN), ColumnType::Int);
        comes_back(&Cell::Real(Real(-0.0)), ColumnType::Real);
        comes_back(&Cell::Text("a\0b ✓".into()), ColumnType::Text);
        comes_back(&Cell::Uuid(Uuid::from_u128(7)), ColumnType::Uuid);
        comes_back(&Cell::Time(EventTime(i64::MIN)), ColumnType::Time);
        comes_back(&Cell::Time(EventTime(1_770_000_000_123_456)), ColumnType::Time);
        comes_back(&Cell::Json(r#"{"a":"\u0000","b":[1.0,-0.0,1e-7]}"#.into()), ColumnType::Json);
        comes_back(&Cell::Texts(vec!["a\0".into(), String::new()]), ColumnType::Texts);
    }

    #[test]
    fn json_has_one_normal_form() {
        let form = |text: &str| stored(&Cell::Json(text.into()));
        assert_eq!(form(r#"{"b":1.0,"a":1e16}"#), form(r#"{"a": 10000000000000000, "b": 1}"#));
        assert_ne!(form("0.1"), form("0.10000000000000002"));
        assert_eq!(form(r#""\\u0000""#), Cell::Json(r#""\\u0000""#.into()), "a backslash, not a NUL");
    }
}
