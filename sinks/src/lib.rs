//! Everything that carries rows out: Parquet changelogs, PostgreSQL, the served views, the dead letters, and
//! their verification.
//!
//! A sink sees [`Change`]s: a derived row, the epoch at which it came or went, and how many copies. It does
//! not know timely, Kafka, or how a row was computed. Raw media cannot get here: no [`Cell`] holds bytes.
//!
//! [`Cell`]: lsie_schemas::Cell

pub mod audit;
pub mod catalog;
pub mod console;
pub mod dead_letters;
pub mod difference;
pub mod erase;
pub mod error;
pub mod follower;
pub mod memory;
mod order;
pub mod parquet;
pub mod postgres;
pub mod selected;
mod size;
pub mod testing;
pub mod traces;
pub mod verify;
pub mod views;

pub use catalog::Catalog;
pub use dead_letters::DeadLetters;
pub use error::Error;
pub use follower::Follower;
pub use memory::MemoryStore;
pub use parquet::ParquetSink;
pub use postgres::PostgresSink;
pub use selected::Selected;
pub use traces::Traces;
pub use views::Views;

use lsie_schemas::{Change, LogTime};

/// A place where changelogs go. One thread drives it, with epochs ascending and complete.
///
/// The promise: a reader sees exactly the rows of the epochs up to [`committed`](Sink::committed), however
/// often the writer was killed. After a restart the engine sends everything after some checkpoint again;
/// epochs that are already committed are ignored, since results are a pure function of the log.
///
/// A sink that returned an error is not used again: it is dropped and opened anew.
pub trait Sink: Send {
    /// Hands over changes of one epoch; may be called more than once per epoch. Not visible before `commit`.
    fn write(&mut self, epoch: LogTime, changes: &[Change]) -> Result<(), Error>;

    /// Declares this epoch and all before it complete. They become visible and durable together, at once or
    /// at a later flush. Committing an epoch twice does nothing.
    fn commit(&mut self, epoch: LogTime) -> Result<(), Error>;

    /// Makes all committed epochs durable now; for a checkpoint.
    fn flush(&mut self) -> Result<(), Error>;

    /// Whether it takes the rows of transient tables, too, which only come: of one key the newest counts, and it
    /// is the sink that lets them go. They are no results, and are kept nowhere.
    fn takes_transient(&self) -> bool {
        false
    }

    /// The newest epoch that survives a crash, or `None` before the first.
    fn committed(&self) -> Option<LogTime>;

    /// The epoch after which a run may begin again without this sink missing anything. A checkpoint waits for
    /// it. A sink that makes up for a restart by itself, from another one, does not hold checkpoints up.
    fn resumable_after(&self) -> Option<LogTime> {
        self.committed()
    }

    /// The orderly end of a run: flushes, and releases what only a writer needs.
    fn finish(&mut self) -> Result<(), Error> {
        self.flush()
    }
}
