//! The description of a table, written once beside its row type; every schema follows from it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::cell::{Cell, Real};
use crate::time::{EventTime, LogTime};

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// Truth value.
    Bool,
    /// 64-bit integer.
    Int,
    /// IEEE double.
    Real,
    /// UTF-8 text.
    Text,
    /// UUID.
    Uuid,
    /// Instant in UTC, microseconds.
    Time,
    /// JSON document.
    Json,
    /// List of texts.
    Texts,
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub ty: ColumnType,
    /// Whether it may be null.
    pub nullable: bool,
    /// What it holds, with unit.
    pub doc: &'static str,
}

/// One table.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its name, the same in every sink.
    pub name: &'static str,
    /// What a row is.
    pub doc: &'static str,
    /// The columns in order. `id`, `created_at` and `updated_at` are not among them: sinks derive
    /// them from the natural key and the epochs (DESIGN §5).
    pub columns: &'static [Column],
    /// The natural key: at most one row per key exists at any epoch.
    pub key: &'static [&'static str],
    /// SQL constraints beyond the key and NOT NULL.
    pub constraints: &'static [&'static str],
    /// SQL index column lists beyond the key.
    pub indexes: &'static [&'static str],
}

impl Table {
    /// The position of a column.
    pub fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == column)
    }

    /// The positions of the key columns.
    pub fn key_positions(&self) -> Vec<usize> {
        self.key.iter().filter_map(|k| self.position(k)).collect()
    }

    /// The natural key of a row.
    pub fn key_of(&self, row: &[Cell]) -> Vec<Cell> {
        self.key_positions().into_iter().filter_map(|i| row.get(i).cloned()).collect()
    }

    /// The `id` of a row: 63 bits of the SHA-256 of its table name and natural key.
    pub fn id_of(&self, row: &[Cell]) -> i64 {
        let mut bytes = self.name.as_bytes().to_vec();
        bytes.push(0);
        for cell in self.key_of(row) {
            cell.hash_into(&mut bytes);
        }
        let digest = Sha256::digest(&bytes);
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        (u64::from_be_bytes(first) >> 1) as i64
    }
}

/// A type that can be a column.
pub trait Field: Sized {
    /// The column type.
    const TYPE: ColumnType;
    /// Whether null is a value of it.
    const NULLABLE: bool = false;
    /// The value as a cell.
    fn to_cell(&self) -> Cell;
    /// The value of a cell, or `None` if the cell is of another type.
    fn from_cell(cell: &Cell) -> Option<Self>;
}

macro_rules! field {
    ($ty:ty, $variant:ident, $to:expr, $from:expr) => {
        impl Field for $ty {
            const TYPE: ColumnType = ColumnType::$variant;
            fn to_cell(&self) -> Cell {
                let to: fn(&$ty) -> _ = $to;
                Cell::$variant(to(self))
            }
            fn from_cell(cell: &Cell) -> Option<Self> {
                match cell {
                    Cell::$variant(v) => {
                        let from: fn(_) -> Option<$ty> = $from;
                        from(v.clone())
                    }
                    _ => None,
                }
            }
        }
    };
}

field!(bool, Bool, |v| *v, Some);
field!(i64, Int, |v| *v, Some);
field!(Real, Real, |v| *v, Some);
field!(String, Text, Clone::clone, Some);
field!(Uuid, Uuid, |v| *v, Some);
field!(EventTime, Time, |v| *v, Some);
field!(Json, Json, |v| v.0.clone(), |v| Some(Json(v)));
field!(Vec<String>, Texts, Clone::clone, Some);

impl<T: Field> Field for Option<T> {
    const TYPE: ColumnType = T::TYPE;
    const NULLABLE: bool = true;
    fn to_cell(&self) -> Cell {
        self.as_ref().map_or(Cell::Null, Field::to_cell)
    }
    fn from_cell(cell: &Cell) -> Option<Self> {
        match cell {
            Cell::Null => Some(None),
            other => T::from_cell(other).map(Some),
        }
    }
}

/// A JSON document as compact text with sorted keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(String);

impl Json {
    /// The compact, key-sorted text of a value.
    pub fn new(value: &serde_json::Value) -> Json {
        // `serde_json::Map` is an ordered map (feature `preserve_order` is off), so keys are sorted.
        // Straight into a text; `Display` goes by way of a formatter, piece by piece.
        Json(serde_json::to_string(value).unwrap_or_else(|_| value.to_string()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A row type with its table.
pub trait TableRow: Sized {
    /// The table.
    const TABLE: Table;
    /// The row as cells, in column order.
    fn cells(&self) -> Vec<Cell>;
    /// The row of these cells, or `None` if they are not of this table.
    fn from_cells(cells: &[Cell]) -> Option<Self>;
}

/// One line of a changelog: a row that came (`diff` > 0) or went (`diff` < 0) at an epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Change {
    /// The table's name.
    pub table: std::borrow::Cow<'static, str>,
    /// The row.
    pub row: Vec<Cell>,
    /// The epoch, by its log time.
    pub epoch: LogTime,
    /// How many copies came or went.
    pub diff: i64,
}

/// Declares a row type and its table in one place.
macro_rules! table {
    (
        $(#[doc = $doc:literal])*
        $name:ident = $table:literal, key($($key:ident),+),
        { $($(#[doc = $fdoc:literal])* $field:ident : $ty:ty),+ $(,)? }
        $(, constraints [$($constraint:literal),* $(,)?])?
        $(, indexes [$($index:literal),* $(,)?])?
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub struct $name { $($(#[doc = $fdoc])* pub $field: $ty),+ }

        impl $crate::table::TableRow for $name {
            const TABLE: $crate::table::Table = $crate::table::Table {
                name: $table,
                doc: concat!($($doc,)* ""),
                columns: &[$($crate::table::Column {
                    name: stringify!($field),
                    ty: <$ty as $crate::table::Field>::TYPE,
                    nullable: <$ty as $crate::table::Field>::NULLABLE,
                    doc: concat!($($fdoc,)* ""),
                }),+],
                key: &[$(stringify!($key)),+],
                constraints: &[$($($constraint),*)?],
                indexes: &[$($($index),*)?],
            };
            fn cells(&self) -> Vec<$crate::cell::Cell> {
                vec![$($crate::table::Field::to_cell(&self.$field)),+]
            }
            fn from_cells(cells: &[$crate::cell::Cell]) -> Option<Self> {
                let mut cells = cells.iter();
                let row = $name { $($field: $crate::table::Field::from_cell(cells.next()?)?),+ };
                cells.next().is_none().then_some(row)
            }
        }
    };
}
pub(crate) use table;
