//! The log on Apache Kafka.
//!
//! - **Appends** are idempotent, acknowledged by all in-sync replicas, and go to the partition that
//!   [`partition_of`] names; an append returns when every record has its delivery report.
//! - **Readers** are assigned their partitions by hand and join no consumer group, so nothing rebalances
//!   behind the engine's back. They read committed records only and check checksums.
//! - **Fences** are transactional producers: the broker refuses the earlier holder of an id. Their appends
//!   leave transaction marks, which count as offsets but hold no record.
//! - **Nothing waits for ever**: every request has [`KafkaConfig::timeout`].
//! - **No client is for ever**: one that does not reach a broker in time is made anew (`kafka/renewed.rs`).

mod admin;
mod block_on;
mod client;
mod config;
mod consumer;
mod fenced;
mod probe;
mod producer;
mod renewed;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lsie_schemas::log::{
    AppendRecord, Appended, Bounds, Fetch, Log, LogError, LogReader, NewRecord, TopicPartition, TopicSpec,
    TopicState,
};
use lsie_schemas::topic::partition_of;
use lsie_schemas::{LogTime, Topic};
use rdkafka::admin::AdminClient;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::Metadata;
use rdkafka::{Offset, TopicPartitionList};

use client::{Connection, Events};
pub use config::KafkaConfig;
use consumer::KafkaReader;
use fenced::FencedProducer;
use producer::{Placed, Producer};
use renewed::Renewed;

use crate::clock::now;
use crate::limits;

/// How long the first answer of a broker may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A topic set on a Kafka cluster; a handle that is cheap to clone.
#[derive(Clone)]
pub struct KafkaLog {
    shared: Arc<Shared>,
}

/// What all handles, readers and appenders of one connection share.
struct Shared {
    connection: Arc<Connection>,
    /// Asks for metadata and offsets; never consumes.
    asking: Renewed<BaseConsumer<Events>>,
    admin: Renewed<AdminClient<Events>>,
    producer: Renewed<Producer>,
    /// Partition counts; a topic's count never changes (another count is another topic set).
    partitions: Mutex<BTreeMap<Topic, i32>>,
}

impl KafkaLog {
    /// Connects, and makes sure that a broker answers.
    pub fn connect(config: KafkaConfig) -> Result<KafkaLog, LogError> {
        let connection = Arc::new(Connection::new(config)?);
        let asking = |connection: &Connection| {
            connection.create("asking", |client| {
                client.set("isolation.level", "read_committed");
            })
        };
        let shared = Shared {
            asking: connection.renewed("asking", asking),
            admin: connection.renewed("admin", |connection| connection.create("admin", |_| {})),
            producer: connection.renewed("producer", |connection| Producer::new(connection, None)),
            partitions: Mutex::default(),
            connection,
        };
        let topic = shared.connection.topic(Topic::Control);
        let limit = CONNECT_TIMEOUT.min(shared.connection.timeout());
        let answer = shared.asking.get()?.fetch_metadata(Some(&topic), limit);
        answer.map_err(|e| shared.connection.error("reach a broker", &e))?;
        Ok(KafkaLog { shared: Arc::new(shared) })
    }
}

impl AppendRecord for KafkaLog {
    fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Appended>, LogError> {
        let placed = self.shared.place(&records)?;
        let producer = self.shared.producer.get()?;
        let appended = producer.append(&self.shared.connection, &placed);
        // One that did not deliver in time is not trusted either. What it still holds has been reported as failed.
        if matches!(appended, Err(LogError::Unavailable(_))) || producer.is_broken() {
            self.shared.producer.give_up(&producer);
        }
        appended
    }
}

impl Log for KafkaLog {
    fn create_topics(&self, specs: &[TopicSpec]) -> Result<(), LogError> {
        self.shared.create_topics(specs)
    }

    fn topic(&self, topic: Topic) -> Result<Option<TopicState>, LogError> {
        self.shared.state(topic)
    }

    fn bounds_of(&self, partitions: &[TopicPartition]) -> Result<Bounds, LogError> {
        self.shared.bounds(partitions, self.shared.connection.timeout())
    }

    fn bounds_within(&self, partitions: &[TopicPartition], limit: Duration) -> Result<Bounds, LogError> {
        self.shared.bounds(partitions, limit.min(self.shared.connection.timeout()))
    }

    fn offset_at(&self, at: TopicPartition, time: LogTime) -> Result<Option<i64>, LogError> {
        self.shared.offset_at(at, time)
    }

    fn reader(&self, from: &[(TopicPartition, i64)], fetch: Fetch) -> Result<Box<dyn LogReader>, LogError> {
        Ok(Box::new(KafkaReader::new(self.shared.clone(), from, fetch)?))
    }

    fn fenced(&self, id: &str) -> Result<Box<dyn AppendRecord>, LogError> {
        Ok(Box::new(FencedProducer::new(self.shared.clone(), id)?))
    }
}

impl Shared {
    fn metadata(&self, name: &str, limit: Duration) -> Result<Metadata, LogError> {
        let doing = format!("look up topic {name}");
        let ask = |client: &BaseConsumer<Events>, left| client.fetch_metadata(Some(name), left);
        self.connection.patiently(&doing, limit, &self.asking, ask)
    }

    /// How many partitions a topic has, or `None` if it does not exist.
    fn partitions(&self, topic: Topic, limit: Duration) -> Result<Option<i32>, LogError> {
        if let Some(count) = lock(&self.partitions).get(&topic) {
            return Ok(Some(*count));
        }
        let name = self.connection.topic(topic);
        let metadata = self.metadata(&name, limit)?;
        let found = metadata.topics().iter().find(|found| found.name() == name);
        let error = found.and_then(|found| found.error()).map(RDKafkaErrorCode::from);
        let count = match (found, error) {
            (Some(_), Some(RDKafkaErrorCode::UnknownTopicOrPartition)) | (None, _) => return Ok(None),
            (Some(_), Some(code)) => {
                return Err(self.connection.coded(&format!("look up topic {name}"), code, ""));
            }
            (Some(found), None) => found.partitions().len(),
        };
        if count == 0 {
            return Ok(None);
        }
        lock(&self.partitions).insert(topic, count as i32);
        Ok(Some(count as i32))
    }

    /// Refuses a partition that does not exist.
    fn require(&self, at: TopicPartition, limit: Duration) -> Result<(), LogError> {
        let count = self.partitions(at.topic, limit)?.unwrap_or(0);
        if (0..count).contains(&at.partition) {
            return Ok(());
        }
        let name = self.connection.topic(at.topic);
        Err(LogError::Missing(format!("{name}[{}] on {}", at.partition, self.connection.bootstrap())))
    }

    /// Checks records and finds their partitions.
    fn place<'r>(&self, records: &'r [NewRecord]) -> Result<Vec<Placed<'r>>, LogError> {
        let mut placed = Vec::with_capacity(records.len());
        for record in records {
            limits::check(record)?;
            let count = self.partitions(record.topic, self.connection.timeout())?;
            let missing = || {
                let name = self.connection.topic(record.topic);
                LogError::Missing(format!("topic {name} on {}", self.connection.bootstrap()))
            };
            let partition = partition_of(&record.key, count.ok_or_else(missing)?);
            placed.push(Placed { record, at: TopicPartition { topic: record.topic, partition } });
        }
        Ok(placed)
    }

    fn bounds(&self, partitions: &[TopicPartition], limit: Duration) -> Result<Bounds, LogError> {
        let start = now();
        let left = || limit.saturating_sub(start.elapsed());
        partitions.iter().try_for_each(|at| self.require(*at, left()))?;
        let first = self.offsets(partitions, Offset::Beginning, left())?;
        let end = self.offsets(partitions, Offset::End, left())?;
        Ok(first.into_iter().filter_map(|(at, first)| Some((at, (first, *end.get(&at)?)))).collect())
    }

    /// Asks where partitions begin or end; a broker that does not answer for its own leaves all without an answer.
    fn offsets(
        &self,
        partitions: &[TopicPartition],
        which: Offset,
        limit: Duration,
    ) -> Result<BTreeMap<TopicPartition, i64>, LogError> {
        let mut known = BTreeMap::new();
        let doing = match partitions {
            [at] => format!("ask for the offsets of {}[{}]", self.connection.topic(at.topic), at.partition),
            _ => format!("ask for the offsets of {} partitions", partitions.len()),
        };
        let names: BTreeMap<(String, i32), TopicPartition> =
            partitions.iter().map(|at| ((self.connection.topic(at.topic), at.partition), *at)).collect();
        let ask = |client: &BaseConsumer<Events>, left| {
            let mut wanted = TopicPartitionList::new();
            for ((name, partition), _) in names.iter().filter(|(_, at)| !known.contains_key(*at)) {
                wanted.add_partition_offset(name, *partition, which)?;
            }
            if wanted.count() == 0 {
                return Ok(());
            }
            let found = client.offsets_for_times(wanted, left)?;
            let mut failed = Ok(());
            for one in found.elements() {
                let at = names.get(&(one.topic().to_owned(), one.partition()));
                match (at, one.offset(), one.error()) {
                    (Some(at), Offset::Offset(offset), Ok(())) => drop(known.insert(*at, offset)),
                    (_, _, Err(why)) => failed = Err(why),
                    _ => {}
                }
            }
            failed
        };
        self.connection.patiently(&doing, limit, &self.asking, ask)?;
        match names.values().find(|at| !known.contains_key(*at)) {
            Some(at) => Err(LogError::Unavailable(format!("{doing}: there is no answer about {at}"))),
            None => Ok(known),
        }
    }

    /// Where a partition ends.
    fn end(&self, at: TopicPartition) -> Result<i64, LogError> {
        let found = self.offsets(&[at], Offset::End, self.connection.timeout())?;
        Ok(found.get(&at).copied().unwrap_or(0))
    }

    fn offset_at(&self, at: TopicPartition, time: LogTime) -> Result<Option<i64>, LogError> {
        let limit = self.connection.timeout();
        self.require(at, limit)?;
        let name = self.connection.topic(at.topic);
        let time = i64::try_from(time.0).unwrap_or(i64::MAX);
        let doing = format!("ask {name}[{}] for an offset by time", at.partition);
        let ask = |client: &BaseConsumer<Events>, left| {
            let mut wanted = TopicPartitionList::new();
            wanted.add_partition_offset(&name, at.partition, Offset::Offset(time))?;
            let found = client.offsets_for_times(wanted, left)?;
            found.find_partition(&name, at.partition).map_or(Ok(()), |found| found.error())?;
            Ok(found)
        };
        let found = self.connection.patiently(&doing, limit, &self.asking, ask)?;
        let found = found.find_partition(&name, at.partition);
        match found.map(|found| found.offset()) {
            Some(Offset::Offset(offset)) => Ok(Some(offset)),
            _ => Ok(None),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
