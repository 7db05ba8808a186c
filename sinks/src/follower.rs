//! A sink that may be away: a thread of its own drives it, behind the Parquet changelog.
//!
//! Whoever commits here never waits for the other side. Epochs go through a bounded queue. Past its bound the
//! queue is emptied, for everything in it comes into the Parquet changelog too, and from then on epochs are
//! read there, from the target's own marker on, until the queue's oldest epoch joins on. So an hour of
//! absence costs no memory, stops nothing and loses nothing.
//!
//! The one rule of when to read what: the queue holds every epoch after its *floor*. A target whose marker has
//! reached the floor is fed from the queue, another one from the changelog.

mod backoff;
mod queue;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use lsie_schemas::{Change, LogTime};

pub use queue::{Behind, Status};

use crate::order::Order;
use crate::parquet::Reader;
use crate::{Catalog, Error, Sink};
use backoff::Backoff;
use queue::{Next, Queue};

/// How long to wait for the changelog when it does not yet hold what the queue has let go.
const CHANGELOG_WAIT: Duration = Duration::from_millis(500);

/// Opens the target; called again after each failure.
pub type Connect = Box<dyn FnMut() -> Result<Box<dyn Sink>, Error> + Send>;

/// The bounds of a follower.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// About how many bytes the queue holds.
    pub queue_bytes: usize,
    /// How long the orderly end of a run waits for the target.
    pub patience: Duration,
    /// Whether the target takes the rows of transient tables, too; those that the queue lets go it never gets.
    pub takes_transient: bool,
    /// How long the target waits at most for the run's first epoch before it gets what the changelog holds: until then
    /// the processors are the run's.
    pub yields: Duration,
}

/// The sink in front of a target that may be away.
pub struct Follower {
    catalog: Catalog,
    order: Order,
    /// Changes of the epoch that is being written.
    open: Vec<Change>,
    queue: Arc<Queue>,
    options: Options,
    thread: Option<JoinHandle<()>>,
}

/// Tells how far a follower's target is; outlives the follower.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Queue>);

impl Watch {
    /// How far the target is now.
    pub fn status(&self) -> Status {
        self.0.status()
    }
}

impl Follower {
    /// Starts to follow. `changelog` is the Parquet directory that gets every epoch before this sink does; the
    /// target takes the tables of the catalog.
    pub fn start(
        name: &str,
        catalog: Catalog,
        changelog: &Path,
        options: Options,
        connect: Connect,
    ) -> Result<Follower, Error> {
        // What is durable there may not be sent again by this run.
        let durable = match Reader::open(changelog) {
            Ok(reader) => reader.committed(),
            Err(Error::Refused { .. }) => None,
            Err(error) => return Err(error),
        };
        let queue = Arc::new(Queue::new(options.queue_bytes, durable));
        let feeding = Feeding {
            name: name.to_owned(),
            catalog: catalog.clone(),
            changelog: changelog.to_owned(),
            queue: queue.clone(),
            yields: options.yields,
            connect,
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            let queue = feeding.queue.clone();
            if catch_unwind(AssertUnwindSafe(|| feeding.run())).is_err() {
                queue.fail(Error::Contract("a sink's thread panicked".into()));
            }
        });
        Ok(Follower {
            catalog,
            order: Order::default(),
            open: Vec::new(),
            queue,
            options,
            thread: Some(thread.map_err(Error::Serve)?),
        })
    }

    /// A handle that tells how far the target is.
    pub fn watch(&self) -> Watch {
        Watch(self.queue.clone())
    }

    /// Waits until the target is there and holds every committed epoch; false if it does not in time.
    pub fn caught_up(&self, within: Duration) -> bool {
        self.queue.wait_caught_up(within)
    }
}

impl Sink for Follower {
    fn write(&mut self, epoch: LogTime, changes: &[Change]) -> Result<(), Error> {
        self.queue.failure()?;
        if !self.order.write(epoch)? {
            return Ok(());
        }
        for change in changes {
            self.catalog.check(epoch, change)?;
        }
        self.open.extend_from_slice(changes);
        Ok(())
    }

    fn commit(&mut self, epoch: LogTime) -> Result<(), Error> {
        self.queue.failure()?;
        if self.order.commit(epoch)? {
            self.queue.push(epoch, std::mem::take(&mut self.open));
        }
        Ok(())
    }

    /// Does not wait: what the target lacks is in the changelog, which a checkpoint makes durable.
    fn flush(&mut self) -> Result<(), Error> {
        self.queue.failure()
    }

    fn takes_transient(&self) -> bool {
        self.options.takes_transient
    }

    fn committed(&self) -> Option<LogTime> {
        self.queue.status().reached
    }

    /// Whatever the target lacks, it gets from the changelog.
    fn resumable_after(&self) -> Option<LogTime> {
        Some(LogTime(u64::MAX))
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.queue.end();
        if self.caught_up(self.options.patience) {
            if let Some(thread) = self.thread.take() {
                let _ = thread.join();
            }
        } else {
            // It may hang in a call: it is left to the end of the process, or to its own time limits.
            self.queue.stop();
            self.thread = None;
        }
        self.queue.failure()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.queue.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("status", &self.queue.status()).finish_non_exhaustive()
    }
}

/// What the thread works with.
struct Feeding {
    name: String,
    catalog: Catalog,
    changelog: PathBuf,
    queue: Arc<Queue>,
    yields: Duration,
    connect: Connect,
}

impl Feeding {
    /// Feeds the target until the end, opening it again and again; the only place that retries.
    fn run(mut self) {
        let mut backoff = Backoff::default();
        self.queue.wait_begun(self.yields);
        loop {
            let before = self.queue.status().reached;
            let ended = (self.connect)().and_then(|mut target| self.feed(&mut *target));
            let error = match ended {
                Ok(()) => return,
                // A file that was merged away while it was to be read is named anew by the next manifest.
                Err(error @ (Error::Unavailable(_) | Error::Io { .. })) => error,
                Err(error) => return self.queue.fail(error),
            };
            if self.queue.status().reached > before {
                backoff = Backoff::default();
            }
            self.queue.away(error.to_string());
            if backoff.is_worth_a_line() {
                let behind_s = self.queue.status().lag_ms() / 1_000;
                tracing::warn!(sink = self.name, %error, behind_s, "a sink is away; it will catch up");
            }
            if self.queue.wait_stopped(backoff.next()) {
                return;
            }
        }
    }

    fn feed(&self, target: &mut dyn Sink) -> Result<(), Error> {
        if self.queue.arrived(target.committed()) {
            tracing::warn!(
                sink = self.name,
                behind_s = self.queue.status().lag_ms() / 1_000,
                "a sink is back"
            );
        }
        let mut handed = target.committed();
        loop {
            match self.queue.next(target.committed(), handed) {
                Next::Epochs(epochs) => {
                    for epoch in epochs {
                        target.write(epoch.epoch, &epoch.changes)?;
                        target.commit(epoch.epoch)?;
                        handed = Some(epoch.epoch);
                    }
                }
                Next::Flush => target.flush()?,
                Next::CatchUp => {
                    target.flush()?;
                    self.catch_up(target)?;
                    handed = target.committed();
                }
                Next::End => return target.finish(),
                Next::Stop => return Ok(()),
            }
        }
    }

    /// Reads what the changelog holds beyond the target's marker.
    fn catch_up(&self, target: &mut dyn Sink) -> Result<(), Error> {
        let (reader, from) = (Reader::open(&self.changelog)?, target.committed());
        if reader.committed() <= from {
            self.queue.wait_stopped(CHANGELOG_WAIT);
            return Ok(());
        }
        for epoch in reader.epochs(&self.catalog, from) {
            let (epoch, changes) = epoch?;
            target.write(epoch, &changes)?;
            target.commit(epoch)?;
            if self.queue.reached(target.committed()) {
                return Ok(());
            }
        }
        if let Some(last) = reader.committed() {
            target.commit(last)?;
        }
        target.flush()
    }
}
