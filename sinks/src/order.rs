//! The order in which epochs may reach a sink, checked the same way for all of them.

use lsie_schemas::LogTime;

use crate::error::Error;

/// How far a sink has been driven.
#[derive(Debug, Default)]
pub(crate) struct Order {
    committed: Option<LogTime>,
    /// The newest epoch written since then.
    written: Option<LogTime>,
}

impl Order {
    /// The order of a sink that resumes after `committed`.
    pub(crate) fn after(committed: Option<LogTime>) -> Order {
        Order { committed, written: None }
    }

    /// Whether rows of this epoch are to be taken; not if the epoch is committed already.
    pub(crate) fn write(&mut self, epoch: LogTime) -> Result<bool, Error> {
        if Some(epoch) <= self.committed {
            return Ok(false);
        }
        if Some(epoch) < self.written {
            return Err(backwards("written", epoch, self.written));
        }
        self.written = Some(epoch);
        Ok(true)
    }

    /// Whether this commit moves anything; not if the epoch is committed already.
    pub(crate) fn commit(&mut self, epoch: LogTime) -> Result<bool, Error> {
        if Some(epoch) <= self.committed {
            return Ok(false);
        }
        if Some(epoch) < self.written {
            return Err(backwards("committed", epoch, self.written));
        }
        *self = Order::after(Some(epoch));
        Ok(true)
    }

    /// The newest committed epoch.
    pub(crate) fn committed(&self) -> Option<LogTime> {
        self.committed
    }
}

fn backwards(verb: &str, epoch: LogTime, written: Option<LogTime>) -> Error {
    let written = written.unwrap_or_default().0;
    Error::Contract(format!("epoch {} {verb} after rows of epoch {written}", epoch.0))
}
