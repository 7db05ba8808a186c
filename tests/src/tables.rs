//! The tables of a run, from the changes that its memory sink got.

use std::collections::BTreeMap;

use lsie_schemas::{Cell, Change, LogTime, TableRow};
use lsie_sinks::Catalog;
use lsie_sinks::parquet::Reader;

/// The rows of one table with their number of copies.
pub type State = BTreeMap<Vec<Cell>, i64>;

/// All changes of a run.
#[derive(Clone, Debug)]
pub struct Tables {
    changes: Vec<Change>,
}

impl Tables {
    /// The tables that these changes make.
    pub fn new(changes: Vec<Change>) -> Tables {
        Tables { changes }
    }

    /// The tables that lie in a directory.
    pub fn of(reader: &Reader) -> Tables {
        let catalog = Catalog::all();
        let changes = catalog.tables().iter().flat_map(|table| reader.changes(table));
        Tables::new(changes.map(|change| change.expect("a readable file")).collect())
    }

    /// The final rows of every table that ever had one.
    pub fn state(&self) -> BTreeMap<String, State> {
        let mut tables: BTreeMap<String, State> = BTreeMap::new();
        for change in &self.changes {
            let table = tables.entry(change.table.to_string()).or_default();
            *table.entry(change.row.clone()).or_default() += change.diff;
        }
        for table in tables.values_mut() {
            table.retain(|_, copies| *copies != 0);
        }
        tables.retain(|_, rows| !rows.is_empty());
        tables
    }

    /// The final rows of a table, in order of their columns; each must be there exactly once.
    pub fn rows<R: TableRow>(&self) -> Vec<R> {
        let mut rows = State::new();
        for change in self.changes.iter().filter(|change| change.table == R::TABLE.name) {
            *rows.entry(change.row.clone()).or_default() += change.diff;
        }
        rows.retain(|_, copies| *copies != 0);
        assert!(rows.values().all(|copies| *copies == 1), "{}: a row is there twice", R::TABLE.name);
        rows.keys().map(|cells| R::from_cells(cells).expect("a row of its table")).collect()
    }

    /// The changes of a table: epoch, row, copies.
    pub fn changes<R: TableRow>(&self) -> Vec<(LogTime, R, i64)> {
        let of_table = self.changes.iter().filter(|change| change.table == R::TABLE.name);
        let read = |change: &Change| {
            let row = R::from_cells(&change.row).expect("a row of its table");
            (change.epoch, row, change.diff)
        };
        of_table.map(read).collect()
    }
}
