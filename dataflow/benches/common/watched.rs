//! Sinks that tell a benchmark what passes them, before another sink or before none.

use lsie_schemas::{Change, LogTime};
use lsie_sinks::{Error, Sink};

/// Who looks.
pub(crate) trait Eye: Send {
    /// The sink takes these changes.
    fn wrote(&mut self, changes: &[Change]);

    /// The sink has committed an epoch.
    fn committed(&mut self, _epoch: LogTime) {}
}

/// A sink that is looked at.
pub(crate) struct Watched<E> {
    sink: Box<dyn Sink>,
    eye: E,
}

impl<E: Eye> Watched<E> {
    /// The sink, looked at.
    pub(crate) fn over(sink: impl Sink + 'static, eye: E) -> Watched<E> {
        Watched { sink: Box::new(sink), eye }
    }

    /// A sink that keeps nothing, looked at.
    pub(crate) fn alone(eye: E) -> Watched<E> {
        Watched::over(Nothing::default(), eye)
    }
}

impl<E: Eye> Sink for Watched<E> {
    fn write(&mut self, epoch: LogTime, changes: &[Change]) -> Result<(), Error> {
        self.eye.wrote(changes);
        self.sink.write(epoch, changes)
    }

    fn commit(&mut self, epoch: LogTime) -> Result<(), Error> {
        self.sink.commit(epoch)?;
        self.eye.committed(epoch);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.sink.flush()
    }

    fn committed(&self) -> Option<LogTime> {
        self.sink.committed()
    }

    fn resumable_after(&self) -> Option<LogTime> {
        self.sink.resumable_after()
    }

    fn takes_transient(&self) -> bool {
        self.sink.takes_transient()
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.sink.finish()
    }
}

/// Keeps nothing but the newest epoch.
#[derive(Default)]
struct Nothing {
    newest: Option<LogTime>,
}

impl Sink for Nothing {
    fn write(&mut self, _: LogTime, _: &[Change]) -> Result<(), Error> {
        Ok(())
    }

    fn commit(&mut self, epoch: LogTime) -> Result<(), Error> {
        self.newest = Some(epoch);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn committed(&self) -> Option<LogTime> {
        self.newest
    }
}
