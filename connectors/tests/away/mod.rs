//! The file log, that can be away or hang.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lsie_connectors::file_log::FileLog;
use lsie_schemas::log::{
    AppendRecord, Appended, Bounds, Fetch, Log, LogError, LogReader, NewRecord, TopicPartition, TopicSpec,
    TopicState,
};
use lsie_schemas::{LogTime, Topic};

pub(crate) struct Away {
    pub(crate) log: FileLog,
    /// Whether nothing can be appended.
    pub(crate) away: AtomicBool,
    /// Whether appends wait, to be taken when it is over.
    pub(crate) hung: AtomicBool,
}

impl Away {
    /// A log that is there.
    pub(crate) fn new(log: FileLog) -> Away {
        Away { log, away: AtomicBool::new(false), hung: AtomicBool::new(false) }
    }
}

impl AppendRecord for Away {
    fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Appended>, LogError> {
        while self.hung.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        match self.away.load(Ordering::SeqCst) {
            true => Err(LogError::Unavailable("switched off".into())),
            false => self.log.append(records),
        }
    }
}

impl Log for Away {
    fn create_topics(&self, specs: &[TopicSpec]) -> Result<(), LogError> {
        self.log.create_topics(specs)
    }
    fn topic(&self, topic: Topic) -> Result<Option<TopicState>, LogError> {
        self.log.topic(topic)
    }
    fn bounds_of(&self, partitions: &[TopicPartition]) -> Result<Bounds, LogError> {
        self.log.bounds_of(partitions)
    }
    fn bounds_within(&self, partitions: &[TopicPartition], limit: Duration) -> Result<Bounds, LogError> {
        self.log.bounds_within(partitions, limit)
    }
    fn offset_at(&self, at: TopicPartition, time: LogTime) -> Result<Option<i64>, LogError> {
        self.log.offset_at(at, time)
    }
    fn reader(&self, from: &[(TopicPartition, i64)], fetch: Fetch) -> Result<Box<dyn LogReader>, LogError> {
        self.log.reader(from, fetch)
    }
    fn fenced(&self, id: &str) -> Result<Box<dyn AppendRecord>, LogError> {
        self.log.fenced(id)
    }
}
