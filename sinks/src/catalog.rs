//! The tables a sink knows, and the check that a change belongs to one of them.

use std::sync::Arc;

use lsie_schemas::{Cell, Change, Column, ColumnType, LogTime, Table};

use crate::error::Error;

/// A set of tables, sorted by name. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Catalog {
    tables: Arc<[Table]>,
}

impl Catalog {
    /// The catalog of these tables.
    pub fn new(tables: &[Table]) -> Catalog {
        let mut tables = tables.to_vec();
        tables.sort_by_key(|table| table.name);
        tables.dedup_by_key(|table| table.name);
        Catalog { tables: tables.into() }
    }

    /// The catalog of every permanent table of the product.
    pub fn all() -> Catalog {
        Catalog::new(lsie_schemas::row::tables())
    }

    /// The catalog of what goes into a database: the permanent tables but those that grow with every frame.
    pub fn database() -> Catalog {
        Catalog::all().without(&["au12", "faces"])
    }

    /// The catalog of what is served: the permanent tables and the transient ones, but not `faces`, which says
    /// of every frame what `au12` says of the frames that count.
    pub fn served() -> Catalog {
        let (permanent, transient) = (lsie_schemas::row::tables(), lsie_schemas::row::transient());
        Catalog::new(&[permanent, transient].concat()).without(&["faces"])
    }

    /// The catalog without these tables.
    pub fn without(&self, names: &[&str]) -> Catalog {
        Catalog { tables: self.tables.iter().filter(|table| !names.contains(&table.name)).copied().collect() }
    }

    /// The tables, sorted by name.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The position of a table in [`tables`](Self::tables).
    pub fn position(&self, name: &str) -> Option<usize> {
        self.tables.binary_search_by(|table| table.name.cmp(name)).ok()
    }

    /// The table of a name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.position(name).and_then(|at| self.tables.get(at))
    }

    /// The position of the table of a change of `epoch`, if its row fits the table's description.
    pub fn check(&self, epoch: LogTime, change: &Change) -> Result<usize, Error> {
        let name = change.table.as_ref();
        let broken = |what: String| Err(Error::Contract(format!("table {name}: {what}")));
        let Some(at) = self.position(name) else { return broken("not in the catalog".into()) };
        if change.epoch != epoch {
            return broken(format!("a row of epoch {} written in epoch {}", change.epoch.0, epoch.0));
        }
        if change.diff == 0 {
            return broken("a change by 0 copies".into());
        }
        let columns = self.tables[at].columns;
        if change.row.len() != columns.len() {
            return broken(format!("{} cells for {} columns", change.row.len(), columns.len()));
        }
        for (column, cell) in columns.iter().zip(&change.row) {
            if !fits(column, cell) {
                return broken(format!("column {} does not take {cell:?}", column.name));
            }
        }
        Ok(at)
    }
}

/// Whether a cell is a value of a column.
fn fits(column: &Column, cell: &Cell) -> bool {
    match (column.ty, cell) {
        (_, Cell::Null) => column.nullable,
        (ColumnType::Real, Cell::Real(real)) => real.0.is_finite(),
        (ColumnType::Bool, Cell::Bool(_))
        | (ColumnType::Int, Cell::Int(_))
        | (ColumnType::Text, Cell::Text(_))
        | (ColumnType::Uuid, Cell::Uuid(_))
        | (ColumnType::Time, Cell::Time(_))
        | (ColumnType::Json, Cell::Json(_))
        | (ColumnType::Texts, Cell::Texts(_)) => true,
        _ => false,
    }
}
