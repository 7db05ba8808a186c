//! What all handles, readers and appenders of one open file log share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lsie_schemas::Topic;
use lsie_schemas::log::{
    Appended, LogError, LogRecord, NewRecord, TimestampType, TopicPartition, TopicSpec, TopicState,
};
use lsie_schemas::topic::partition_of;

use super::frame::compressor;
use super::lock::WriterLock;
use super::lookup::TailCursor;
use super::meta;
use super::options::{FileLogOptions, Sync};
use super::retention::{Expiry, Sweep};
use super::signal::Signal;
use super::writer::PartitionWriter;
use crate::clock::wall_ms;
use crate::limits;

/// The state of one open file log.
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) signal: Signal,
    options: FileLogOptions,
    topics: Mutex<BTreeMap<Topic, TopicState>>,
    lock: Mutex<Option<WriterLock>>,
    writing: AtomicBool,
    partitions: Mutex<BTreeMap<TopicPartition, Arc<Partition>>>,
    fences: Mutex<BTreeMap<String, Arc<Mutex<u64>>>>,
    /// The last append time that was given.
    clock: AtomicU64,
    sweep: Sweep,
    zstd: Mutex<zstd::bulk::Compressor<'static>>,
}

/// One partition as this process knows it.
#[derive(Default)]
struct Partition {
    /// Open while this process writes; taken away after a failed append.
    writer: Mutex<Option<PartitionWriter>>,
    /// The end that the writer published.
    end: Arc<AtomicI64>,
    tail: Mutex<TailCursor>,
}

impl Shared {
    pub(super) fn new(dir: PathBuf, options: FileLogOptions) -> Result<Shared, LogError> {
        let zstd = compressor().map_err(|e| LogError::Unavailable(format!("zstd: {e}")))?;
        Ok(Shared {
            dir,
            signal: Signal::default(),
            options,
            topics: Mutex::default(),
            lock: Mutex::default(),
            writing: AtomicBool::new(false),
            partitions: Mutex::default(),
            fences: Mutex::default(),
            clock: AtomicU64::new(0),
            sweep: Sweep::default(),
            zstd: Mutex::new(zstd),
        })
    }

    /// Whether this log holds the writer's lock, so that no other process appends.
    pub(super) fn is_writer(&self) -> bool {
        self.writing.load(Ordering::Acquire)
    }

    pub(super) fn partition_dir(&self, at: TopicPartition) -> PathBuf {
        self.dir.join(at.topic.name()).join(at.partition.to_string())
    }

    pub(super) fn topic(&self, topic: Topic) -> Result<Option<TopicState>, LogError> {
        let mut topics = lock(&self.topics);
        if let Some(state) = topics.get(&topic) {
            return Ok(Some(*state));
        }
        let state = meta::read(&self.dir.join(topic.name()))?;
        if let Some(state) = state {
            topics.insert(topic, state);
        }
        Ok(state)
    }

    /// Refuses a partition that does not exist.
    pub(super) fn require(&self, at: TopicPartition) -> Result<TopicState, LogError> {
        let state = self.topic(at.topic)?;
        let state = state.filter(|state| (0..state.partitions).contains(&at.partition));
        state.ok_or_else(|| LogError::Missing(format!("{at} in {}", self.dir.display())))
    }

    pub(super) fn create_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        if spec.partitions < 1 {
            return Err(LogError::Refused(format!("topic {}: at least one partition", spec.topic)));
        }
        let TopicSpec { topic, partitions, timestamps, retention_ms } = *spec;
        let wanted = TopicState { partitions, timestamps, retention_ms };
        if let Some(found) = self.topic(topic)? {
            if found == wanted {
                return Ok(());
            }
            return Err(LogError::Refused(format!(
                "topic {topic} exists with {found:?}, wanted {wanted:?}: use another directory"
            )));
        }
        self.write_lock()?;
        meta::write(&self.dir.join(topic.name()), wanted)?;
        meta::sync_dir(&self.dir)
    }

    /// The end that this process's writer publishes for a partition.
    pub(super) fn end(&self, at: TopicPartition) -> Arc<AtomicI64> {
        self.partition(at).end.clone()
    }

    /// The offset after the last complete record.
    pub(super) fn end_offset(&self, at: TopicPartition) -> Result<i64, LogError> {
        let partition = self.partition(at);
        if let Some(writer) = lock(&partition.writer).as_ref() {
            return Ok(writer.next());
        }
        lock(&partition.tail).end(&self.partition_dir(at))
    }

    /// Appends all records in order, and returns where each went.
    pub(super) fn append(&self, records: &[NewRecord]) -> Result<Vec<Appended>, LogError> {
        let mut by_partition: BTreeMap<TopicPartition, Vec<usize>> = BTreeMap::new();
        for (i, record) in records.iter().enumerate() {
            limits::check(record)?;
            let state = self.topic(record.topic)?;
            let missing = || LogError::Missing(format!("topic {} in {}", record.topic, self.dir.display()));
            let partition = partition_of(&record.key, state.ok_or_else(missing)?.partitions);
            by_partition.entry(TopicPartition { topic: record.topic, partition }).or_default().push(i);
        }
        self.write_lock()?;
        let now = wall_ms();
        if self.sweep.is_due(now) {
            self.expire(now)?;
        }
        let mut appended = vec![None; records.len()];
        for (at, indices) in &by_partition {
            self.append_to(*at, records, indices, &mut appended)?;
        }
        self.signal.notify();
        Ok(appended.into_iter().flatten().collect())
    }

    fn append_to(
        &self,
        at: TopicPartition,
        records: &[NewRecord],
        indices: &[usize],
        appended: &mut [Option<Appended>],
    ) -> Result<(), LogError> {
        let by_log = self.require(at)?.timestamps == TimestampType::LogAppend;
        let durable = at.topic == Topic::Epochs && self.options.sync == Sync::Epochs;
        if durable {
            self.sync_all()?;
        }
        let partition = self.partition(at);
        let mut slot = lock(&partition.writer);
        // Taken out for the time of the append: after an error the next append recovers from the file.
        let mut writer = match slot.take() {
            Some(writer) => writer,
            None => self.open_writer(at, by_log, 0)?,
        };
        let append_time = self.append_time();
        let timed = indices.iter().map(|i| {
            let record = &records[*i];
            let created = record.timestamp.map_or(append_time, |time| time.0);
            (if by_log { append_time } else { created }, record)
        });
        let compress = self.options.compress && !at.topic.is_media();
        let mut zstd = compress.then(|| lock(&self.zstd));
        let mut places = indices.iter();
        writer.append(timed, self.options.segment_bytes, zstd.as_deref_mut(), |place| {
            if let Some(i) = places.next() {
                appended[*i] = Some(place);
            }
        })?;
        drop(zstd);
        if durable {
            writer.sync()?;
        }
        partition.end.store(writer.next(), Ordering::Release);
        *slot = Some(writer);
        Ok(())
    }

    /// Takes records of another log as they are, with their places and times; those of a partition ascend.
    pub(super) fn copy(&self, records: &[LogRecord]) -> Result<(), LogError> {
        self.write_lock()?;
        let mut by_partition: BTreeMap<TopicPartition, Vec<&LogRecord>> = BTreeMap::new();
        for record in records {
            by_partition.entry(record.at).or_default().push(record);
        }
        for (at, records) in by_partition {
            self.copy_to(at, &records)?;
        }
        self.signal.notify();
        Ok(())
    }

    fn copy_to(&self, at: TopicPartition, records: &[&LogRecord]) -> Result<(), LogError> {
        let by_log = self.require(at)?.timestamps == TimestampType::LogAppend;
        let partition = self.partition(at);
        let mut slot = lock(&partition.writer);
        let first = records.first().map_or(0, |record| record.offset);
        let mut writer = match slot.take() {
            Some(writer) => writer,
            None => self.open_writer(at, by_log, first)?,
        };
        let compress = self.options.compress && !at.topic.is_media();
        let mut zstd = compress.then(|| lock(&self.zstd));
        for run in records.chunk_by(|a, b| a.offset + 1 == b.offset) {
            let copies: Vec<(u64, NewRecord)> = run.iter().map(|record| copied(record)).collect();
            copies.iter().try_for_each(|(_, record)| limits::check(record))?;
            writer.skip_to(run.first().map_or(0, |record| record.offset))?;
            let copies = copies.iter().map(|(time, record)| (*time, record));
            writer.append(copies, self.options.segment_bytes, zstd.as_deref_mut(), |_| {})?;
        }
        drop(zstd);
        partition.end.store(writer.next(), Ordering::Release);
        *slot = Some(writer);
        Ok(())
    }

    fn open_writer(&self, at: TopicPartition, by_log: bool, first: i64) -> Result<PartitionWriter, LogError> {
        let writer = PartitionWriter::open(at, self.partition_dir(at), first)?;
        if by_log {
            self.clock.fetch_max(writer.running_max(), Ordering::Relaxed);
        }
        Ok(writer)
    }

    /// The wall clock in milliseconds, never less than any append time before.
    fn append_time(&self) -> u64 {
        let now = wall_ms();
        self.clock.fetch_max(now, Ordering::Relaxed).max(now)
    }

    /// Makes every partition durable that was written since the last time.
    pub(super) fn sync_all(&self) -> Result<(), LogError> {
        let partitions: Vec<_> = lock(&self.partitions).values().cloned().collect();
        for partition in partitions {
            if let Some(writer) = lock(&partition.writer).as_mut() {
                writer.sync()?;
            }
        }
        Ok(())
    }

    fn expire(&self, now: u64) -> Result<(), LogError> {
        for topic in Topic::ALL {
            let Some(state) = self.topic(topic)? else { continue };
            let Some(retention) = state.retention_ms else { continue };
            let expiry = Expiry::at(now, retention);
            for number in 0..state.partitions {
                let at = TopicPartition { topic, partition: number };
                let partition = self.partition(at);
                let mut slot = lock(&partition.writer);
                let mut writer = match slot.take() {
                    Some(writer) => writer,
                    None => self.open_writer(at, state.timestamps == TimestampType::LogAppend, 0)?,
                };
                writer.expire(expiry.oldest, expiry.close_before)?;
                *slot = Some(writer);
            }
        }
        Ok(())
    }

    /// Takes the directory's writer lock, once.
    fn write_lock(&self) -> Result<(), LogError> {
        if self.is_writer() {
            return Ok(());
        }
        let mut held = lock(&self.lock);
        if held.is_none() {
            *held = Some(WriterLock::take(&self.dir)?);
            meta::sync_dir(&self.dir)?;
            self.writing.store(true, Ordering::Release);
            self.signal.notify();
        }
        Ok(())
    }

    /// Takes over the fence of an id.
    pub(super) fn fence(&self, id: &str) -> Result<Fence, LogError> {
        self.write_lock()?;
        let current = lock(&self.fences).entry(id.to_owned()).or_default().clone();
        let mut holder = lock(&current);
        *holder += 1;
        let own = *holder;
        drop(holder);
        Ok(Fence { id: id.to_owned(), own, current })
    }

    fn partition(&self, at: TopicPartition) -> Arc<Partition> {
        lock(&self.partitions).entry(at).or_default().clone()
    }
}

/// One holder's claim to a fence. The writer's lock keeps other processes out, so that it is enough to
/// count holders in this one.
pub(super) struct Fence {
    id: String,
    own: u64,
    current: Arc<Mutex<u64>>,
}

impl Fence {
    /// Runs `act` if no later holder took over; nobody can take over while it runs.
    pub(super) fn hold<T>(&self, act: impl FnOnce() -> Result<T, LogError>) -> Result<T, LogError> {
        let current = lock(&self.current);
        if *current != self.own {
            return Err(LogError::Fenced(format!("another holder of {} took over", self.id)));
        }
        act()
    }
}

/// A record as it is appended, with its time.
fn copied(record: &LogRecord) -> (u64, NewRecord) {
    let LogRecord { at, log_time, key, value, headers, .. } = record.clone();
    let key = key.unwrap_or_default();
    (log_time.0, NewRecord { topic: at.topic, key, value, headers, timestamp: Some(log_time) })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
