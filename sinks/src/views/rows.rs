//! Rows of a table as text: JSON or CSV, written straight from their cells.

use lsie_schemas::{Cell, Table, shape};

use crate::views::row::Row;
use crate::views::state::Entry;

/// Some columns of some rows, in order.
#[derive(Debug)]
pub(crate) struct Rows {
    shown: Shown,
    rows: Vec<(Entry, u64)>,
}

/// The columns that are shown of a row.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    columns: Vec<&'static str>,
    fields: Vec<Field>,
}

/// Where the value of a column comes from.
#[derive(Clone, Copy, Debug)]
enum Field {
    Cell(usize),
    Id,
    Created,
    Updated,
    /// A column that the table does not have is a count.
    Count,
}

impl Shown {
    /// These columns of a table, `id`, `created_at` or `updated_at`; a declared column wins over a derived one.
    pub(crate) fn of(table: Option<&Table>, columns: Vec<&'static str>) -> Shown {
        let field = |name: &&str| match table.and_then(|table| table.position(name)) {
            Some(at) => Field::Cell(at),
            None if *name == "id" => Field::Id,
            None if *name == "created_at" => Field::Created,
            None if *name == "updated_at" => Field::Updated,
            None => Field::Count,
        };
        Shown { fields: columns.iter().map(field).collect(), columns }
    }

    /// Every column, `id` and the derived times: the object that [`shape::json_schema`] describes.
    pub(crate) fn all(table: &Table) -> Shown {
        let derived = shape::derived_times(table).map(|(name, _)| name);
        let columns = std::iter::once("id").chain(table.columns.iter().map(|column| column.name));
        Shown::of(Some(table), columns.chain(derived).collect())
    }

    /// Their names.
    pub(crate) fn columns(&self) -> &[&'static str] {
        &self.columns
    }

    /// A row as a JSON object.
    pub(crate) fn object(&self, out: &mut Vec<u8>, entry: &Entry, count: u64) {
        out.push(b'{');
        for (at, (name, field)) in self.columns.iter().zip(&self.fields).enumerate() {
            if at > 0 {
                out.push(b',');
            }
            // Names of columns are plain words.
            out.push(b'"');
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            json(out, &field.cell(entry, count));
        }
        out.push(b'}');
    }

    /// A row as a line of CSV: texts as they are, everything else as JSON (`contracts.md` §13).
    fn line(&self, out: &mut Vec<u8>, entry: &Entry, count: u64) {
        for (at, field) in self.fields.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            match &*field.cell(entry, count) {
                Cell::Text(text) => quoted(out, text),
                Cell::Uuid(id) => quoted(out, &id.to_string()),
                Cell::Time(time) => quoted(out, &time.canonical()),
                Cell::Json(text) => match cell_of_json(text) {
                    serde_json::Value::String(text) => quoted(out, &text),
                    value => quoted(out, &value.to_string()),
                },
                other => quoted(out, &other.to_json().to_string()),
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

impl Field {
    fn cell(self, entry: &Entry, count: u64) -> std::borrow::Cow<'_, Cell> {
        use std::borrow::Cow;
        match self {
            Field::Cell(at) => entry.row.get(at).map_or(Cow::Owned(Cell::Null), Cow::Borrowed),
            Field::Id => Cow::Owned(Cell::Int(entry.id)),
            Field::Created => Cow::Owned(Cell::Time(entry.created.as_event())),
            Field::Updated => Cow::Owned(Cell::Time(entry.updated.as_event())),
            Field::Count => Cow::Owned(Cell::Int(i64::try_from(count).unwrap_or(i64::MAX))),
        }
    }
}

impl Rows {
    /// These columns of rows.
    pub(crate) fn new<'a>(columns: &[&'static str], rows: impl Iterator<Item = Row<'a>>) -> Rows {
        Rows::counted(columns, rows.map(|row| (row, 0)))
    }

    /// The same, with the count that the column which the table does not have shows.
    pub(crate) fn counted<'a>(columns: &[&'static str], rows: impl Iterator<Item = (Row<'a>, u64)>) -> Rows {
        let mut rows = rows.peekable();
        let shown = Shown::of(rows.peek().map(|(row, _)| row.table), columns.to_vec());
        Rows { shown, rows: rows.map(|(row, count)| (row.entry.clone(), count)).collect() }
    }

    /// A list of objects.
    pub(crate) fn json(&self) -> Vec<u8> {
        let mut out = vec![b'['];
        for (at, (entry, count)) in self.rows.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            self.shown.object(&mut out, entry, *count);
        }
        out.push(b']');
        out
    }

    /// RFC 4180: a header line, then a line for each row.
    pub(crate) fn csv(&self) -> Vec<u8> {
        let mut out = self.shown.columns.join(",").into_bytes();
        out.extend_from_slice(b"\r\n");
        for (entry, count) in &self.rows {
            self.shown.line(&mut out, entry, *count);
        }
        out
    }
}

/// Writes a cell as [`Cell::to_json`] gives it.
fn json(out: &mut Vec<u8>, cell: &Cell) {
    // Writing into a vector cannot fail.
    let _ = match cell {
        Cell::Null => serde_json::to_writer(out, &()),
        Cell::Bool(truth) => serde_json::to_writer(out, truth),
        Cell::Int(number) => serde_json::to_writer(out, number),
        Cell::Real(real) => serde_json::to_writer(out, &real.0),
        Cell::Text(text) => serde_json::to_writer(out, text),
        Cell::Uuid(id) => serde_json::to_writer(out, id.hyphenated().encode_lower(&mut [0; 36])),
        Cell::Time(time) => serde_json::to_writer(out, &time.canonical()),
        Cell::Json(text) => serde_json::to_writer(out, &cell_of_json(text)),
        Cell::Texts(texts) => serde_json::to_writer(out, texts),
    };
}

fn cell_of_json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// Writes a field, in quotes where it needs them.
fn quoted(out: &mut Vec<u8>, field: &str) {
    match field.contains(['"', ',', '\r', '\n']) {
        true => out.extend_from_slice(format!("\"{}\"", field.replace('"', "\"\"")).as_bytes()),
        false => out.extend_from_slice(field.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::testing::{SAMPLES, sample};
    use lsie_schemas::LogTime;

    fn rows(change: &lsie_schemas::Change) -> Rows {
        let (created, updated) = (LogTime(1_000), LogTime(2_500));
        let entry = Entry { id: 7, row: change.row.clone().into(), created, updated };
        let columns = ["id", "words", "at_utc", "data", "flags", "flag", "created_at", "updated_at", "n"];
        Rows::counted(&columns, std::iter::once((Row { table: &SAMPLES, entry: &entry }, 3)))
    }

    /// The text that is written is that of the values which the cells stand for.
    #[test]
    fn what_is_written_is_what_the_cells_say() {
        for seed in 0..64 {
            let change = sample(1, 9, 1, seed, 1);
            let written: serde_json::Value = serde_json::from_slice(&rows(&change).json()).expect("JSON");
            let cell = |name: &str| SAMPLES.position(name).map(|at| change.row[at].to_json());
            for name in ["words", "at_utc", "data", "flags", "flag"] {
                assert_eq!(Some(&written[0][name]), cell(name).as_ref(), "{seed} {name}");
            }
            assert_eq!((&written[0]["id"], &written[0]["n"]), (&7.into(), &3.into()));
            assert_eq!(written[0]["updated_at"], "1970-01-01T00:00:02.500000Z");
        }
        assert_eq!(Rows::new(&["a"], std::iter::empty()).json(), b"[]");
    }

    #[test]
    fn only_what_needs_quotes_has_them() {
        let mut change = sample(1, 9, 1, 63, 1);
        change.row[4] = Cell::Text("x, \"y\"\nz".into());
        change.row[6] = Cell::Null;
        change.table = Cow::Borrowed(SAMPLES.name);
        let text = String::from_utf8(rows(&change).csv()).expect("text");
        let (head, line) = text.split_once("\r\n").expect("two lines");
        assert_eq!(head, "id,words,at_utc,data,flags,flag,created_at,updated_at,n");
        let expected = "7,\"x, \"\"y\"\"\nz\",2026-02-02T02:40:00.000063Z,null,\
                        \"[\"\"flag 0 ✓\"\",\"\"flag 1 ✓\"\",\"\"flag 2 ✓\"\"]\",true,\
                        1970-01-01T00:00:01Z,1970-01-01T00:00:02.500000Z,3\r\n";
        assert_eq!(line, expected);
        let none = Rows::new(&["a", "b"], std::iter::empty()).csv();
        assert_eq!(none, b"a,b\r\n");
    }
}
