//! A served row by column name, and as the JSON object that the API shows.

use lsie_schemas::{Cell, EventTime, LogTime, Table, Uuid, shape};
use serde_json::{Map, Value};

use crate::views::state::Entry;

/// A row with its table.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) table: &'a Table,
    pub(crate) entry: &'a Entry,
}

const NULL: Cell = Cell::Null;

impl<'a> Row<'a> {
    /// The cell of a column; null if the table has no such column.
    pub(crate) fn cell(&self, column: &str) -> &'a Cell {
        self.table.position(column).and_then(|at| self.entry.row.get(at)).unwrap_or(&NULL)
    }

    /// The text of a column.
    pub(crate) fn text(&self, column: &str) -> Option<&'a str> {
        match self.cell(column) {
            Cell::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number of a column, integer or not.
    pub(crate) fn number(&self, column: &str) -> Option<f64> {
        match self.cell(column) {
            Cell::Real(real) => Some(real.0),
            Cell::Int(int) => Some(*int as f64),
            _ => None,
        }
    }

    /// The instant of a column in canonical form.
    pub(crate) fn time(&self, column: &str) -> Option<String> {
        self.instant(column).map(EventTime::canonical)
    }

    /// The instant of a column.
    pub(crate) fn instant(&self, column: &str) -> Option<EventTime> {
        match self.cell(column) {
            Cell::Time(at) => Some(*at),
            _ => None,
        }
    }

    /// The truth value of a column.
    pub(crate) fn flag(&self, column: &str) -> Option<bool> {
        match self.cell(column) {
            Cell::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// The identifier of a column.
    pub(crate) fn uuid(&self, column: &str) -> Option<Uuid> {
        match self.cell(column) {
            Cell::Uuid(uuid) => Some(*uuid),
            _ => None,
        }
    }

    /// A column, `id`, `created_at` or `updated_at` as JSON; a declared column wins over a derived one.
    pub(crate) fn value(&self, name: &str) -> Value {
        match name {
            _ if self.table.position(name).is_some() => self.cell(name).to_json(),
            "id" => Value::from(self.entry.id),
            "created_at" => time(self.entry.created),
            "updated_at" => time(self.entry.updated),
            _ => Value::Null,
        }
    }

    /// Every column, `id` and the derived times: the object that [`shape::json_schema`] describes.
    pub(crate) fn object(&self) -> Map<String, Value> {
        let derived = shape::derived_times(self.table).map(|(name, _)| name);
        let names = std::iter::once("id").chain(self.table.columns.iter().map(|c| c.name)).chain(derived);
        names.map(|name| (name.to_owned(), self.value(name))).collect()
    }
}

/// An epoch's log time in canonical form.
pub(crate) fn time(epoch: LogTime) -> Value {
    Value::from(epoch.as_event().canonical())
}
