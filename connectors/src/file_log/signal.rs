//! Wakes the tailing readers of this process when something was appended.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A counter that can be waited on.
#[derive(Default)]
pub(super) struct Signal {
    version: Mutex<u64>,
    changed: Condvar,
}

impl Signal {
    /// The number of notifications so far; take it before looking, then wait with it.
    pub(super) fn version(&self) -> u64 {
        *self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes everybody who waits.
    pub(super) fn notify(&self) {
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    /// Waits until there was a notification after `seen`, or until the time is over.
    pub(super) fn wait(&self, seen: u64, timeout: Duration) {
        let version = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_timeout_while(version, timeout, |version| *version == seen));
    }
}
