//! Reads assigned partitions: no group, bounded prefetch, positions that pass transaction marks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use lsie_schemas::log::{Bounds, Fetch, LogError, LogReader, LogRecord, MAX_RECORD_BYTES, TopicPartition};
use lsie_schemas::{LogTime, Topic};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::Shared;
use super::client::{Connection, Events};
use super::renewed::Trust;
use crate::clock::now;

/// How long brokers may be away before a poll says so.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often they are looked for meanwhile, and how long that may take.
const LOOK: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(2));
/// How long a broker holds a fetch that finds nothing: bounds how soon a resumed partition is asked for.
const FETCH_WAIT_MS: &str = "100";
/// A fetch brings as much of every partition, for an epoch waits for all of them, but not less than this.
const AT_LEAST_BYTES: usize = 1 << 20;
/// How soon a partition is asked for again after the prefetch budget was full.
const FULL_BACKOFF_MS: &str = "5";

/// A consumer of its own partitions.
pub(super) struct KafkaReader {
    shared: Arc<Shared>,
    consumer: BaseConsumer<Events>,
    trust: Trust,
    fetch: Fetch,
    parts: BTreeMap<TopicPartition, Part>,
    topics: Vec<(String, Topic)>,
    /// Records that librdkafka handed out before they could be returned: one that did not fit the last
    /// poll, or those of a partition that was paused meanwhile.
    held: VecDeque<LogRecord>,
    away: Option<Away>,
}

/// Brokers are away.
struct Away {
    since: Instant,
    /// When they were last looked for.
    looked: Instant,
}

struct Part {
    /// The next offset to return.
    position: i64,
    paused: bool,
}

impl KafkaReader {
    pub(super) fn new(
        shared: Arc<Shared>,
        from: &[(TopicPartition, i64)],
        fetch: Fetch,
    ) -> Result<Self, LogError> {
        let mut parts = BTreeMap::new();
        let all: Vec<TopicPartition> = from.iter().map(|(at, _)| *at).collect();
        let bounds = shared.bounds(&all, shared.connection.timeout())?;
        for (at, offset) in from {
            let position = checked_position(&bounds, *at, (*offset).max(0))?;
            if parts.insert(*at, Part { position, paused: false }).is_some() {
                return Err(LogError::Refused(format!("{at} is assigned twice")));
            }
        }
        let consumer = consumer(&shared.connection, fetch, parts.len())?;
        let topics = parts.keys().map(|at| at.topic).collect::<std::collections::BTreeSet<_>>();
        let topics = topics.into_iter().map(|topic| (shared.connection.topic(topic), topic)).collect();
        let (trust, held, away) = (Trust::new(), VecDeque::new(), None);
        let reader = KafkaReader { shared, consumer, trust, fetch, parts, topics, held, away };
        reader.assign(&reader.consumer)?;
        Ok(reader)
    }

    /// Has a consumer begin to fetch every partition at its position.
    fn assign(&self, consumer: &BaseConsumer<Events>) -> Result<(), LogError> {
        let connection = &self.shared.connection;
        let failed = |e| connection.error("assign partitions", &e);
        let mut list = TopicPartitionList::new();
        let mut paused = TopicPartitionList::new();
        for (at, part) in &self.parts {
            let name = connection.topic(at.topic);
            list.add_partition_offset(&name, at.partition, Offset::Offset(part.position)).map_err(failed)?;
            if part.paused {
                paused.add_partition(&name, at.partition);
            }
        }
        consumer.assign(&list).map_err(failed)?;
        if paused.count() > 0 {
            consumer.pause(&paused).map_err(failed)?;
        }
        Ok(())
    }

    /// Returns held records that may be returned now; false if the next does not fit.
    fn take_held(&mut self, out: &mut Vec<LogRecord>, bytes: &mut usize) -> bool {
        let mut kept = VecDeque::new();
        let mut fits = true;
        while let Some(record) = self.held.pop_front() {
            let paused = self.parts.get(&record.at).is_some_and(|part| part.paused);
            fits &= paused || out.is_empty() || *bytes + record.size() <= self.fetch.poll_bytes;
            if paused || !fits {
                kept.push_back(record);
            } else {
                self.take(record, out, bytes);
            }
        }
        self.held = kept;
        fits
    }

    fn take(&mut self, record: LogRecord, out: &mut Vec<LogRecord>, bytes: &mut usize) {
        if let Some(part) = self.parts.get_mut(&record.at) {
            part.position = record.offset + 1;
        }
        *bytes += record.size();
        out.push(record);
    }

    /// One step of a poll: takes what librdkafka has next. False: there is nothing, or it does not fit.
    fn step(
        &mut self,
        wait: Duration,
        out: &mut Vec<LogRecord>,
        bytes: &mut usize,
    ) -> Result<bool, LogError> {
        let record = match self.consumer.poll(wait) {
            None => return Ok(false),
            Some(Ok(message)) => record_of(&message, &self.topics),
            Some(Err(error)) => return self.failed(&error).map(|()| true),
        };
        self.away = None;
        let Some(record) = record else { return Ok(true) };
        let Some(part) = self.parts.get(&record.at) else { return Ok(true) };
        if part.paused {
            self.held.push_back(record);
            return Ok(true);
        }
        if !out.is_empty() && *bytes + record.size() > self.fetch.poll_bytes {
            self.held.push_back(record);
            return Ok(false);
        }
        self.take(record, out, bytes);
        Ok(*bytes < self.fetch.poll_bytes)
    }

    /// Moves positions over what librdkafka passed without handing out a record: transaction marks.
    fn pass_marks(&mut self) -> Result<(), LogError> {
        let connection = &self.shared.connection;
        let positions = self.consumer.position().map_err(|e| connection.error("tell its position", &e))?;
        for element in positions.elements() {
            let Offset::Offset(passed) = element.offset() else { continue };
            let topic = self.topics.iter().find(|(name, _)| name == element.topic());
            let Some((_, topic)) = topic else { continue };
            let at = TopicPartition { topic: *topic, partition: element.partition() };
            if self.held.iter().any(|record| record.at == at) {
                continue;
            }
            if let Some(part) = self.parts.get_mut(&at) {
                part.position = part.position.max(passed);
            }
        }
        Ok(())
    }

    fn failed(&mut self, error: &KafkaError) -> Result<(), LogError> {
        use RDKafkaErrorCode as Code;
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => self.revise(),
            Some(
                Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve | Code::OperationTimedOut,
            ) => {
                tracing::debug!(%error, "a broker is away");
                self.away.get_or_insert_with(|| Away { since: now(), looked: now() });
                Ok(())
            }
            _ => Err(self.shared.connection.error("be read", error)),
        }
    }

    /// Compares positions with what the partitions still have, and begins again there.
    fn revise(&mut self) -> Result<(), LogError> {
        let all: Vec<TopicPartition> = self.parts.keys().copied().collect();
        let bounds = self.shared.bounds(&all, self.shared.connection.timeout())?;
        for (at, part) in &mut self.parts {
            part.position = checked_position(&bounds, *at, part.position)?;
        }
        self.held.clear();
        self.assign(&self.consumer)
    }

    /// Goes on with another consumer. What was handed out and not returned comes again.
    fn begin_anew(&mut self) -> Result<(), LogError> {
        let another = consumer(&self.shared.connection, self.fetch, self.parts.len())?;
        self.assign(&another)?;
        self.held.clear();
        self.consumer = another;
        self.trust.renew("reader");
        Ok(())
    }

    /// Looks for brokers that are away, by a consumer made anew if need be; says so once they have been for long, and only
    /// if they still are.
    fn check_away(&mut self) -> Result<(), LogError> {
        let Some(away) = self.away.as_mut().filter(|away| away.looked.elapsed() >= LOOK.0) else {
            return Ok(());
        };
        let is_long = away.since.elapsed() >= PATIENCE;
        let name = self.topics.first().map(|(name, _)| name.as_str());
        let answer = self.consumer.fetch_metadata(name, LOOK.1);
        away.looked = now();
        if self.trust.is_lost(&answer, away.looked) {
            self.begin_anew()?;
        }
        match answer {
            Ok(_) => self.away = None,
            Err(e) if is_long => return Err(self.shared.connection.error("reach a broker", &e)),
            Err(_) => {}
        }
        Ok(())
    }
}

impl LogReader for KafkaReader {
    fn poll(&mut self, timeout: Duration) -> Result<Vec<LogRecord>, LogError> {
        let deadline = now() + timeout;
        let mut out = Vec::new();
        let mut bytes = 0;
        if !self.take_held(&mut out, &mut bytes) {
            return Ok(out);
        }
        loop {
            let left = deadline.saturating_duration_since(now());
            let wait = if out.is_empty() { left } else { Duration::ZERO };
            let more = self.step(wait, &mut out, &mut bytes)?;
            if !more && (!out.is_empty() || now() >= deadline) {
                break;
            }
        }
        if bytes < self.fetch.poll_bytes {
            self.pass_marks()?;
        }
        if out.is_empty() {
            self.check_away()?;
        }
        Ok(out)
    }

    fn pause(&mut self, at: TopicPartition, paused: bool) -> Result<(), LogError> {
        let part = self.parts.get_mut(&at);
        let part = part.ok_or_else(|| LogError::Missing(format!("{at} is not assigned to this reader")))?;
        if std::mem::replace(&mut part.paused, paused) == paused {
            return Ok(());
        }
        let connection = &self.shared.connection;
        let mut list = TopicPartitionList::new();
        list.add_partition(&connection.topic(at.topic), at.partition);
        let done = if paused { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
        done.map_err(|e| connection.error(&format!("pause or resume {at}"), &e))
    }

    fn position(&self, at: TopicPartition) -> Option<i64> {
        self.parts.get(&at).map(|part| part.position)
    }
}

/// A consumer whose prefetch stays within the budget.
///
/// All its partitions feed one queue, and `queued.max.messages.kbytes` bounds that queue, so the bound
/// holds for their sum. A fetch that is under way when the bound is reached still arrives: per broker at
/// most `fetch.max.bytes`. So half of the budget is given to each. A single batch may be larger than
/// that and still comes, alone, or nothing would ever get past it.
fn consumer(
    connection: &Connection,
    fetch: Fetch,
    partitions: usize,
) -> Result<BaseConsumer<Events>, LogError> {
    let half = (fetch.prefetch_bytes / 2).max(1 << 10);
    let each = (half / partitions.max(1)).max(AT_LEAST_BYTES);
    connection.create("reader", |client| {
        // Required by the library; the group is never joined and nothing is committed.
        client.set("group.id", "lsie-reader");
        client.set("enable.auto.commit", "false");
        client.set("enable.auto.offset.store", "false");
        client.set("auto.offset.reset", "error");
        client.set("isolation.level", "read_committed");
        client.set("check.crcs", "true");
        client.set("fetch.wait.max.ms", FETCH_WAIT_MS);
        client.set("fetch.queue.backoff.ms", FULL_BACKOFF_MS);
        client.set("fetch.error.backoff.ms", "100");
        client.set("queued.min.messages", "1000000");
        client.set("queued.max.messages.kbytes", (half >> 10).to_string());
        // The smallest message limit there is, so that `fetch.max.bytes` may be small.
        client.set("message.max.bytes", "1000");
        client.set("fetch.max.bytes", half.min(512 << 20).to_string());
        client.set("fetch.message.max.bytes", each.min(half).min(MAX_RECORD_BYTES).to_string());
        // A broker sends a whole batch however large it is.
        client.set("receive.message.max.bytes", ((half.min(512 << 20)) + 4 * MAX_RECORD_BYTES).to_string());
    })
}

/// The position, or the first offset that is left; an error if what was read before is gone.
fn checked_position(bounds: &Bounds, at: TopicPartition, position: i64) -> Result<i64, LogError> {
    let Some((first, end)) = bounds.get(&at).copied() else {
        return Err(LogError::Unavailable(format!("there is no answer about {at}")));
    };
    if position > end {
        return Err(LogError::Corrupt(format!("{at} ends at {end}, but offset {position} was there before")));
    }
    if position < first {
        tracing::warn!(partition = %at, from = position, to = first, "records have expired");
    }
    Ok(position.max(first))
}

/// A message as a record; `None` if it is of a topic that was not asked for. Key, value and header
/// values are copied once, into one allocation: librdkafka's buffers are whole fetch responses, which a
/// record that is kept for long would keep too.
fn record_of(message: &BorrowedMessage, topics: &[(String, Topic)]) -> Option<LogRecord> {
    let (_, topic) = topics.iter().find(|(name, _)| name == message.topic())?;
    let key = message.key();
    let value = message.payload().unwrap_or_default();
    let headers = message.headers();
    let headers_len: usize =
        headers.map_or(0, |all| all.iter().map(|h| h.value.map_or(0, <[u8]>::len)).sum());
    let mut bytes = BytesMut::with_capacity(value.len() + key.map_or(0, <[u8]>::len) + headers_len);
    let mut copy = |part: &[u8]| -> Bytes {
        bytes.extend_from_slice(part);
        bytes.split().freeze()
    };
    let value = copy(value);
    let key = key.map(&mut copy);
    let header =
        |h: rdkafka::message::Header<'_, &[u8]>| (h.key.to_owned(), copy(h.value.unwrap_or_default()));
    let headers = headers.map_or_else(Vec::new, |all| all.iter().map(header).collect());
    let log_time =
        LogTime(message.timestamp().to_millis().and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0));
    let at = TopicPartition { topic: *topic, partition: message.partition() };
    Some(LogRecord { at, offset: message.offset(), log_time, key, value, headers })
}
