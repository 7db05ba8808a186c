//! A sink that takes some tables only, so that every sink can be given every change.
//!
//! The served views, for example, leave out the tables that grow with every frame: those are for Parquet.

use lsie_schemas::{Change, LogTime};

use crate::{Catalog, Error, Sink};

/// A sink with the tables it takes.
#[derive(Debug)]
pub struct Selected<S> {
    sink: S,
    catalog: Catalog,
}

impl<S: Sink> Selected<S> {
    /// A sink that passes on the changes of a catalog's tables, and leaves out all others.
    pub fn new(sink: S, catalog: Catalog) -> Selected<S> {
        Selected { sink, catalog }
    }
}

impl<S: Sink> Sink for Selected<S> {
    fn write(&mut self, epoch: LogTime, changes: &[Change]) -> Result<(), Error> {
        let is_taken = |change: &&Change| self.catalog.position(&change.table).is_some();
        let taken: Vec<Change> = changes.iter().filter(is_taken).cloned().collect();
        self.sink.write(epoch, &taken)
    }

    fn commit(&mut self, epoch: LogTime) -> Result<(), Error> {
        self.sink.commit(epoch)
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.sink.flush()
    }

    fn takes_transient(&self) -> bool {
        self.sink.takes_transient()
    }

    fn committed(&self) -> Option<LogTime> {
        self.sink.committed()
    }

    fn resumable_after(&self) -> Option<LogTime> {
        self.sink.resumable_after()
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.sink.finish()
    }
}
