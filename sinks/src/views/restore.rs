//! Filling the served views from the changelogs of a Parquet directory, after a restart.

use std::iter::Peekable;

use lsie_schemas::{Change, LogTime};

use crate::parquet::Reader;
use crate::views::Views;
use crate::{Error, Sink};

impl Views {
    /// Applies every epoch of a directory, so that `created_at` and `updated_at` are as they were, and the
    /// newest changes can be resumed from.
    pub fn restore(&self, reader: &Reader) -> Result<(), Error> {
        let catalog = self.catalog().clone();
        let mut tables: Vec<_> =
            catalog.tables().iter().map(|table| reader.changes(table).peekable()).collect();
        let mut sink = self.sink();
        while let Some(epoch) = tables.iter_mut().filter_map(next_epoch).min() {
            for table in &mut tables {
                let changes =
                    std::iter::from_fn(|| take_epoch(table, epoch)).collect::<Result<Vec<_>, _>>()?;
                sink.write(epoch, &changes)?;
            }
            sink.commit(epoch)?;
        }
        // Epochs without rows may follow the last one with any.
        reader.committed().map_or(Ok(()), |epoch| sink.commit(epoch))
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
