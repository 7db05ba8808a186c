//! The embedded log: a directory with an append-only, checksummed file sequence per topic-partition.
//!
//! It is a single-node log for development, archives and small installations; whoever outgrows one
//! machine uses Kafka. What it promises:
//!
//! - **Layout**: `<dir>/<topic>/topic.json` and `<dir>/<topic>/<partition>/<base offset>.log`. A
//!   directory is one topic set; topics have no prefix in it, so an archive can be read under any.
//! - **One writer**: the first append or topic creation takes `<dir>/lock` for the life of the log
//!   value; a second writer, in this process or another, is refused. Any process may read and tail.
//!   Share one `FileLog` (it is cheap to clone) within a process.
//! - **Durability**: an acknowledged append has reached the operating system, so it survives the death
//!   of the process (`kill -9`) but not of the machine. Every append to `epochs` first makes durable
//!   whatever was appended before it in any topic, then itself, so that after a power failure the epoch
//!   table never names a record that is gone ([`Sync::Epochs`], the default). Closing a segment syncs it.
//! - **Damage**: a tail that was never completely written is cut, with a warning, when the partition is
//!   next opened for writing; readers stop in front of it. Anything else that fails a checksum is
//!   [`LogError::Corrupt`], naming file and byte.
//! - **Time**: append times are wall-clock milliseconds that never fall within a partition or, in one
//!   process, within the log.
//! - **Retention**: whole segments older than the topic's retention are removed by the writing process,
//!   at most a minute late plus an eighth of the retention; nothing expires while no process writes.

mod frame;
mod lock;
mod lookup;
mod meta;
mod options;
mod reader;
mod retention;
mod segment;
mod shared;
mod signal;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lsie_schemas::log::{
    AppendRecord, Appended, Bounds, Fetch, Log, LogError, LogReader, LogRecord, NewRecord, TopicPartition,
    TopicSpec, TopicState,
};
use lsie_schemas::{LogTime, Topic};

pub use options::{FileLogOptions, Sync};
use reader::FileReader;
use shared::{Fence, Shared};

/// The embedded file log; a handle that is cheap to clone.
#[derive(Clone)]
pub struct FileLog {
    shared: Arc<Shared>,
}

impl FileLog {
    /// The log in a directory. Nothing is created or locked before the first write.
    pub fn open(dir: impl AsRef<Path>, options: FileLogOptions) -> Result<FileLog, LogError> {
        let dir = dir.as_ref();
        if dir.exists() && !dir.is_dir() {
            return Err(LogError::Refused(format!("{} is not a directory", dir.display())));
        }
        Ok(FileLog { shared: Arc::new(Shared::new(dir.to_owned(), options)?) })
    }

    /// The log's directory.
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// Takes records of another log as they are: partitions, offsets, times, keys and headers. Those of a
    /// partition ascend; offsets that are left out hold no record here either.
    pub fn copy(&self, records: &[LogRecord]) -> Result<(), LogError> {
        self.shared.copy(records)
    }

    /// Makes durable what was appended or copied so far.
    pub fn sync(&self) -> Result<(), LogError> {
        self.shared.sync_all()
    }
}

impl AppendRecord for FileLog {
    fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Appended>, LogError> {
        self.shared.append(&records)
    }
}

impl Log for FileLog {
    fn create_topics(&self, specs: &[TopicSpec]) -> Result<(), LogError> {
        specs.iter().try_for_each(|spec| self.shared.create_topic(spec))
    }

    fn topic(&self, topic: Topic) -> Result<Option<TopicState>, LogError> {
        self.shared.topic(topic)
    }

    fn bounds_of(&self, partitions: &[TopicPartition]) -> Result<Bounds, LogError> {
        let bounds = |at: &TopicPartition| {
            self.shared.require(*at)?;
            let first = lookup::first(&self.shared.partition_dir(*at))?;
            Ok((*at, (first, self.shared.end_offset(*at)?)))
        };
        partitions.iter().map(bounds).collect()
    }

    fn bounds_within(&self, partitions: &[TopicPartition], _limit: Duration) -> Result<Bounds, LogError> {
        self.bounds_of(partitions)
    }

    fn offset_at(&self, at: TopicPartition, time: LogTime) -> Result<Option<i64>, LogError> {
        self.shared.require(at)?;
        lookup::offset_at(&self.shared.partition_dir(at), at, time)
    }

    fn reader(&self, from: &[(TopicPartition, i64)], fetch: Fetch) -> Result<Box<dyn LogReader>, LogError> {
        Ok(Box::new(FileReader::new(self.shared.clone(), from, fetch)?))
    }

    fn fenced(&self, id: &str) -> Result<Box<dyn AppendRecord>, LogError> {
        Ok(Box::new(FencedAppender { fence: self.shared.fence(id)?, shared: self.shared.clone() }))
    }
}

/// Appends as long as nobody took the fence over.
struct FencedAppender {
    shared: Arc<Shared>,
    fence: Fence,
}

impl AppendRecord for FencedAppender {
    fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Appended>, LogError> {
        self.fence.hold(|| self.shared.append(&records))
    }
}
