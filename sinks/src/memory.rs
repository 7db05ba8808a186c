//! A sink that is a list: for tests of what drives sinks.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lsie_schemas::{Change, LogTime};

use crate::order::Order;
use crate::{Catalog, Error, Sink};

/// What memory sinks have committed; outlives them, as a directory outlives its writer.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    catalog: Catalog,
    log: Arc<Mutex<Log>>,
}

#[derive(Debug, Default)]
struct Log {
    committed: Option<LogTime>,
    changes: Vec<Change>,
}

impl MemoryStore {
    /// An empty store of these tables.
    pub fn new(catalog: Catalog) -> MemoryStore {
        MemoryStore { catalog, log: Arc::default() }
    }

    /// A sink that resumes where the last one committed.
    pub fn sink(&self) -> MemorySink {
        MemorySink { store: self.clone(), order: Order::after(self.committed()), pending: Vec::new() }
    }

    /// All committed changes, in the order of their commits.
    pub fn changes(&self) -> Vec<Change> {
        self.lock().changes.clone()
    }

    /// The newest committed epoch.
    pub fn committed(&self) -> Option<LogTime> {
        self.lock().committed
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        // The log is changed by two assignments that cannot panic between them.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sink into a [`MemoryStore`].
#[derive(Debug)]
pub struct MemorySink {
    store: MemoryStore,
    order: Order,
    pending: Vec<Change>,
}

impl Sink for MemorySink {
    fn write(&mut self, epoch: LogTime, changes: &[Change]) -> Result<(), Error> {
        if !self.order.write(epoch)? {
            return Ok(());
        }
        for change in changes {
            self.store.catalog.check(epoch, change)?;
        }
        self.pending.extend_from_slice(changes);
        Ok(())
    }

    fn commit(&mut self, epoch: LogTime) -> Result<(), Error> {
        if self.order.commit(epoch)? {
            let mut log = self.store.lock();
            log.changes.append(&mut self.pending);
            log.committed = Some(epoch);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn committed(&self) -> Option<LogTime> {
        self.order.committed()
    }
}
