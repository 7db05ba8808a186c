//! Rows of one table of a state, by the table's name.

use lsie_schemas::{Table, Uuid};

use crate::views::reply::Fault;
use crate::views::row::Row;
use crate::views::state::{State, TableState, Views};

/// A table with its current rows.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) table: &'a Table,
    state: &'a TableState,
}

impl<'a> View<'a> {
    /// The view of a name; 404 if there is none.
    pub(crate) fn of(views: &'a Views, state: &'a State, name: &str) -> Result<View<'a>, Fault> {
        let catalog = views.catalog();
        let found = catalog.position(name).and_then(|at| Some((catalog.tables().get(at)?, state.table(at)?)));
        let (table, state) = found.ok_or_else(|| Fault::NotFound(format!("no view {name}")))?;
        Ok(View { table, state })
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.state.len()
    }

    /// The rows, of one session or of all, in key order.
    pub(crate) fn rows(self, session: Option<Uuid>) -> Box<dyn DoubleEndedIterator<Item = Row<'a>> + 'a> {
        let row = move |entry| Row { table: self.table, entry };
        match session {
            Some(session) => Box::new(self.state.of_session(self.table, session).map(row)),
            None => Box::new(self.state.entries().map(row)),
        }
    }
}

/// The mean of the values that are there, summed in their order.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u64), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}
