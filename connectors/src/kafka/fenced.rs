//! Appends that a later holder of the same id puts an end to: one Kafka transaction per append.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lsie_schemas::log::{AppendRecord, Appended, LogError, NewRecord};
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer as _;

use super::client::Connection;
use super::producer::{Placed, Producer};
use super::{Shared, lock};
use crate::clock::now;

/// The broker may still be ending the transaction of an earlier holder: ask again after this.
const AGAIN: Duration = Duration::from_millis(50);

/// Holds a fence until another holder of its id comes.
pub(super) struct FencedProducer {
    shared: Arc<Shared>,
    id: String,
    /// One transaction at a time.
    held: Mutex<Held>,
}

struct Held {
    producer: Producer,
    /// What the last transaction still needs, because the broker did not answer in time.
    open: Open,
}

/// What a transaction that could not be ended still needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    /// Nothing: the next one may begin.
    Nothing,
    /// Its commit is under way and must be asked for again; nothing else is allowed.
    Commit,
    /// It must be aborted, so that what was sent never becomes visible.
    Abort,
    /// Another holder took over, or librdkafka gave the producer up. Taking the fence anew from here could
    /// fence a rightful later holder, so this one ends.
    Over,
}

impl FencedProducer {
    /// Takes the fence over: the broker refuses earlier holders, and ends what they left open.
    pub(super) fn new(shared: Arc<Shared>, id: &str) -> Result<FencedProducer, LogError> {
        let id = format!("{}{id}", shared.connection.config().prefix);
        let producer = Producer::new(&shared.connection, Some(&id))?;
        let deadline = now() + shared.connection.timeout();
        let init = || producer.client().init_transactions(left(deadline));
        retry(deadline, init).map_err(|e| shared.connection.error(&format!("take the fence {id}"), &e))?;
        Ok(FencedProducer { shared, id, held: Mutex::new(Held { producer, open: Open::Nothing }) })
    }
}

impl AppendRecord for FencedProducer {
    fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Appended>, LogError> {
        let mut held = lock(&self.held);
        if held.open == Open::Over {
            return Err(LogError::Fenced(format!(
                "another holder of {} took over, or it was given up",
                self.id
            )));
        }
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let placed = self.shared.place(&records)?;
        let connection = &self.shared.connection;
        let deadline = now() + connection.timeout();
        let settled = held.settle(connection, deadline);
        let appended = settled.and_then(|()| held.transaction(connection, deadline, &placed));
        if matches!(appended, Err(LogError::Fenced(_))) || held.producer.is_broken() {
            tracing::warn!(id = self.id, "the fenced appender ends");
            held.open = Open::Over;
        }
        appended
    }
}

impl Held {
    /// Ends what the transaction before left open.
    fn settle(&mut self, connection: &Connection, deadline: Instant) -> Result<(), LogError> {
        if self.open == Open::Commit {
            self.commit(connection, deadline)?;
        }
        if self.open == Open::Abort {
            self.abort(connection, deadline)?;
        }
        Ok(())
    }

    fn transaction(
        &mut self,
        connection: &Connection,
        deadline: Instant,
        placed: &[Placed],
    ) -> Result<Vec<Appended>, LogError> {
        let begun = self.producer.client().begin_transaction();
        begun.map_err(|e| self.producer.failed(connection, &e))?;
        self.open = Open::Abort;
        let appended = self.producer.append(connection, placed).and_then(|appended| {
            self.commit(connection, deadline)?;
            Ok(appended)
        });
        if appended.is_err() && self.open == Open::Abort && !self.producer.is_broken() {
            // The append's own error is what the caller needs; an abort that fails is tried again later.
            if let Err(error) = self.abort(connection, deadline) {
                tracing::debug!(%error, "the transaction is not aborted yet");
            }
        }
        appended
    }

    fn commit(&mut self, connection: &Connection, deadline: Instant) -> Result<(), LogError> {
        let client = self.producer.client();
        let ended = retry(deadline, || client.commit_transaction(left(deadline)));
        self.open = match &ended {
            Ok(()) => Open::Nothing,
            Err(KafkaError::Transaction(e)) if e.txn_requires_abort() => Open::Abort,
            Err(_) => Open::Commit,
        };
        ended.map_err(|e| self.producer.failed(connection, &e))
    }

    fn abort(&mut self, connection: &Connection, deadline: Instant) -> Result<(), LogError> {
        let client = self.producer.client();
        let ended = retry(deadline, || client.abort_transaction(left(deadline)));
        self.open = if ended.is_ok() { Open::Nothing } else { Open::Abort };
        ended.map_err(|e| self.producer.failed(connection, &e))
    }
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
