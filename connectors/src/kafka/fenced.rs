//! Appends that a later holder of the same id puts an end to: one Kafka transaction per append.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lsie_schemas::log::{AppendRecord, Appended, LogError, NewRecord};
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer as _;

use super::producer::Producer;
use super::{Shared, lock};
use crate::clock::now;

/// The broker may still be ending the transaction of an earlier holder: ask again after this.
const AGAIN: Duration = Duration::from_millis(50);

/// Holds a fence until another holder of its id comes.
pub(super) struct FencedProducer {
    shared: Arc<Shared>,
    id: String,
    /// One transaction at a time.
    producer: Mutex<Producer>,
    fenced: AtomicBool,
}

impl FencedProducer {
    /// Takes the fence over: the broker refuses earlier holders, and ends what they left open.
    pub(super) fn new(shared: Arc<Shared>, id: &str) -> Result<FencedProducer, LogError> {
        let id = format!("{}{id}", shared.connection.config().prefix);
        let producer = Producer::new(&shared.connection, Some(&id))?;
        let deadline = now() + shared.connection.timeout();
        let init = || producer.client().init_transactions(left(deadline));
        retry(deadline, init).map_err(|e| shared.connection.error(&format!("take the fence {id}"), &e))?;
        Ok(FencedProducer { shared, id, producer: Mutex::new(producer), fenced: AtomicBool::new(false) })
    }

    fn transaction(&self, producer: &Producer, records: &[NewRecord]) -> Result<Vec<Appended>, LogError> {
        let connection = &self.shared.connection;
        let placed = self.shared.place(records)?;
        let deadline = now() + connection.timeout();
        let failed = |e: &KafkaError| producer.failed(connection, e);
        producer.client().begin_transaction().map_err(|e| failed(&e))?;
        let appended = producer.append(connection, &placed).and_then(|appended| {
            let commit = || producer.client().commit_transaction(left(deadline));
            retry(deadline, commit).map_err(|e| failed(&e))?;
            Ok(appended)
        });
        if appended.is_err() {
            // What was sent must not become visible. If this fails too, the broker ends the transaction
            // when its time is up, or when the next holder comes.
            let abort = producer.client().abort_transaction(connection.timeout());
            if let Err(error) = abort {
                tracing::debug!(id = self.id, %error, "the transaction could not be aborted");
            }
        }
        appended
    }
}

impl AppendRecord for FencedProducer {
    fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Appended>, LogError> {
        let producer = lock(&self.producer);
        if self.fenced.load(Ordering::Relaxed) {
            return Err(LogError::Fenced(format!("another holder of {} took over", self.id)));
        }
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let appended = self.transaction(&producer, &records);
        match &appended {
            Err(LogError::Fenced(_)) => self.fenced.store(true, Ordering::Relaxed),
            Err(_) if producer.is_broken() => {
                // Taking the fence anew would fence a later holder, so this one ends here.
                self.fenced.store(true, Ordering::Relaxed);
                tracing::warn!(id = self.id, "the fenced appender cannot go on");
            }
            _ => {}
        }
        appended
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
