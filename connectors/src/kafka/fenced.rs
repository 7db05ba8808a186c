//! Appends that a later holder of the same id puts an end to: one Kafka transaction per append.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lsie_schemas::log::{
    AppendRecord, Appended, Fetch, LogError, LogReader, LogRecord, NewRecord, TopicPartition,
};
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer as _;

use super::client::Connection;
use super::consumer::KafkaReader;
use super::producer::{Placed, Producer};
use super::{Shared, lock};
use crate::clock::now;

/// The broker may still be ending the transaction of an earlier holder: ask again after this.
const AGAIN: Duration = Duration::from_millis(50);
/// How long a connection may take before it is not waited for.
const CONNECTS: Duration = Duration::from_secs(2);
/// How long one poll for what was stored waits.
const POLL: Duration = Duration::from_millis(100);

/// Holds a fence until another holder of its id comes.
pub(super) struct FencedProducer {
    shared: Arc<Shared>,
    id: String,
    /// One transaction at a time.
    held: Mutex<Held>,
}

struct Held {
    state: State,
    /// Of each partition appended to, the offset behind the last record that is known: whatever comes after it is ours.
    ends: BTreeMap<TopicPartition, i64>,
    /// What an append that failed may have stored.
    pending: Vec<(TopicPartition, Bytes)>,
}

/// What a holder may do.
enum State {
    /// Append.
    Holds(Producer),
    /// Append, with a producer made anew: the broker did not answer in time, and librdkafka's producer may never deliver
    /// again after that, without a fatal error. What it left open is ended when the new one takes the fence.
    Anew,
    /// Nothing: another holder took over, or librdkafka gave the producer up.
    Over,
}

impl FencedProducer {
    /// Takes the fence over: the broker refuses earlier holders, and ends what they left open.
    pub(super) fn new(shared: Arc<Shared>, id: &str) -> Result<FencedProducer, LogError> {
        let id = format!("{}{id}", shared.connection.config().prefix);
        let state = State::Holds(take(&shared, &id)?);
        let held = Held { state, ends: BTreeMap::new(), pending: Vec::new() };
        Ok(FencedProducer { shared, id, held: Mutex::new(held) })
    }
}

/// A producer that holds the fence of an id.
fn take(shared: &Shared, id: &str) -> Result<Producer, LogError> {
    let producer = Producer::new(&shared.connection, Some(id))?;
    let deadline = now() + shared.connection.timeout();
    // Connected first: what librdkafka asks for before there is a connection, it asks for again half a second later. Of all
    // topics, for a broker may create one that is asked for.
    let _ = producer.client().client().fetch_metadata(None, left(deadline).min(CONNECTS));
    let init = || producer.client().init_transactions(left(deadline));
    retry(deadline, init).map_err(|e| shared.connection.error(&format!("take the fence {id}"), &e))?;
    Ok(producer)
}

impl AppendRecord for FencedProducer {
    fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Appended>, LogError> {
        let mut held = lock(&self.held);
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let placed = self.shared.place(&records)?;
        let appended = held.append(&self.shared, &self.id, &placed);
        if matches!(appended, Err(LogError::Fenced(_))) && !matches!(held.state, State::Over) {
            tracing::warn!(id = self.id, "the fenced appender ends");
            held.state = State::Over;
        }
        appended
    }
}

impl Held {
    fn append(
        &mut self,
        shared: &Arc<Shared>,
        id: &str,
        placed: &[Placed],
    ) -> Result<Vec<Appended>, LogError> {
        for Placed { at, .. } in placed {
            if !self.ends.contains_key(at) {
                self.ends.insert(*at, shared.end(*at)?);
            }
        }
        if let State::Anew = self.state {
            let found = self.take_anew(shared, id)?;
            if let Some(appended) = stored(&found, placed) {
                return Ok(appended);
            }
        }
        let State::Holds(producer) = &self.state else {
            return Err(LogError::Fenced(format!("another holder of {id} took over, or it was given up")));
        };
        let deadline = now() + shared.connection.timeout();
        let appended = transaction(producer, &shared.connection, deadline, placed);
        match &appended {
            Ok(appended) => {
                self.ends.extend(appended.iter().map(|appended| (appended.at, appended.offset + 1)));
            }
            Err(_) if producer.is_broken() => self.state = State::Over,
            Err(LogError::Fenced(_)) => {}
            Err(_) => {
                self.pending = placed.iter().map(|placed| (placed.at, placed.record.value.clone())).collect();
                self.state = State::Anew;
            }
        }
        appended
    }

    /// Takes the fence with a new producer, unless another holder has appended anything since. What an append that
    /// failed has stored after all.
    fn take_anew(&mut self, shared: &Arc<Shared>, id: &str) -> Result<Vec<LogRecord>, LogError> {
        // Looked at before, so that a rightful later holder is not put an end to; and after, for what the broker has
        // completed meanwhile is known only then.
        self.refuse_others(shared, id)?;
        let producer = take(shared, id)?;
        let found = self.refuse_others(shared, id)?;
        self.ends.extend(found.iter().map(|record| (record.at, record.offset + 1)));
        self.pending.clear();
        self.state = State::Holds(producer);
        tracing::warn!(
            id,
            "the fence was taken again, with a new producer: the broker had not answered in time"
        );
        Ok(found)
    }

    /// The records behind the last known ones; an error if one of them is of somebody else.
    fn refuse_others(&self, shared: &Arc<Shared>, id: &str) -> Result<Vec<LogRecord>, LogError> {
        let mut ends = BTreeMap::new();
        for at in self.ends.keys() {
            ends.insert(*at, shared.end(*at)?);
        }
        let from: Vec<_> =
            self.ends.iter().filter(|(at, from)| **from < ends[at]).map(|(at, from)| (*at, *from)).collect();
        let mut found = Vec::new();
        if from.is_empty() {
            return Ok(found);
        }
        let mut reader = KafkaReader::new(shared.clone(), &from, Fetch::default())?;
        let deadline = now() + shared.connection.timeout();
        while from.iter().any(|(at, _)| reader.position(*at).is_none_or(|position| position < ends[at])) {
            if now() > deadline {
                return Err(LogError::Unavailable(format!(
                    "the records behind those of {id} cannot be read"
                )));
            }
            found.extend(reader.poll(POLL)?);
        }
        let is_ours = |record: &LogRecord| {
            self.pending.iter().any(|(at, value)| (*at, value) == (record.at, &record.value))
        };
        match found.iter().find(|record| !is_ours(record)) {
            Some(other) => Err(LogError::Fenced(format!(
                "another holder of {id} has appended {} {}",
                other.at, other.offset
            ))),
            None => Ok(found),
        }
    }
}

/// Where these records were stored, if they are what was found.
fn stored(found: &[LogRecord], placed: &[Placed]) -> Option<Vec<Appended>> {
    let is_it =
        |placed: &Placed, record: &LogRecord| (placed.at, &placed.record.value) == (record.at, &record.value);
    let is_same =
        found.len() == placed.len() && found.iter().zip(placed).all(|(record, placed)| is_it(placed, record));
    let appended =
        |record: &LogRecord| Appended { at: record.at, offset: record.offset, log_time: record.log_time };
    is_same.then(|| found.iter().map(appended).collect())
}

/// One transaction. After an error other than of the fence it is not known whether it is stored.
fn transaction(
    producer: &Producer,
    connection: &Connection,
    deadline: Instant,
    placed: &[Placed],
) -> Result<Vec<Appended>, LogError> {
    let client = producer.client();
    client.begin_transaction().map_err(|e| producer.failed(connection, &e))?;
    let appended = producer.append(connection, placed)?;
    let ended = retry(deadline, || client.commit_transaction(left(deadline)));
    ended.map_err(|e| producer.failed(connection, &e))?;
    Ok(appended)
}

/// Repeats a request as long as librdkafka says that it may succeed.
fn retry(deadline: Instant, mut request: impl FnMut() -> Result<(), KafkaError>) -> Result<(), KafkaError> {
    loop {
        match request() {
            Err(KafkaError::Transaction(e)) if e.is_retriable() && now() < deadline => {
                std::thread::sleep(AGAIN);
            }
            done => return done,
        }
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(now()).max(Duration::from_millis(100))
}
