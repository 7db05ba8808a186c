//! The changelogs of all tables side by side, epoch by epoch.

use std::iter::Peekable;

use lsie_schemas::{Change, LogTime};

use crate::parquet::Reader;
use crate::{Catalog, Error};

/// The changes of one epoch.
type Epoch = (LogTime, Vec<Change>);

impl Reader {
    /// Every epoch after `after` in which a table of the catalog changes, ascending.
    pub fn epochs<'a>(
        &'a self,
        catalog: &'a Catalog,
        after: Option<LogTime>,
    ) -> impl Iterator<Item = Result<Epoch, Error>> + 'a {
        let tables = catalog.tables().iter();
        let mut tables: Vec<_> = tables.map(|table| self.changes_after(table, after).peekable()).collect();
        std::iter::from_fn(move || {
            let epoch = tables.iter_mut().filter_map(next_epoch).min()?;
            let of_tables =
                tables.iter_mut().flat_map(|table| std::iter::from_fn(move || take_epoch(table, epoch)));
            let changes = of_tables.collect::<Result<Vec<_>, _>>();
            Some(changes.map(|changes| (epoch, changes)))
        })
    }
}

/// The epoch of the next change; that of an error is the first, so that it is met at once.
fn next_epoch(changes: &mut Peekable<impl Iterator<Item = Result<Change, Error>>>) -> Option<LogTime> {
    changes.peek().map(|change| change.as_ref().map_or(LogTime(0), |change| change.epoch))
}

/// The next change, if it is an error or of this epoch.
fn take_epoch(
    changes: &mut Peekable<impl Iterator<Item = Result<Change, Error>>>,
    epoch: LogTime,
) -> Option<Result<Change, Error>> {
    changes.next_if(|change| change.as_ref().map_or(true, |change| change.epoch == epoch))
}
