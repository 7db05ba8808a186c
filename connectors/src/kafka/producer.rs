//! Appends records and waits for the delivery report of each.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lsie_schemas::LogTime;
use lsie_schemas::log::{Appended, LogError, MAX_RECORD_BYTES, NewRecord, TopicPartition};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

use super::client::{Connection, Events};
use crate::clock::now;

/// Above the largest record with its envelope and Kafka's own framing.
const REQUEST_BYTES: usize = MAX_RECORD_BYTES + (1 << 20);
/// What may wait in librdkafka; an append that brings more waits for room.
const BUFFER_KIB: usize = 64 << 10;
/// Reports come at the latest when the record's time is up, plus this.
const REPORT_GRACE: Duration = Duration::from_secs(5);

/// A record and the partition it belongs to.
pub(super) struct Placed<'r> {
    pub(super) record: &'r NewRecord,
    pub(super) at: TopicPartition,
}

/// An idempotent producer, transactional if it has an id.
pub(super) struct Producer {
    client: ThreadedProducer<Reports>,
    broken: AtomicBool,
}

impl Producer {
    pub(super) fn new(connection: &Connection, transactional_id: Option<&str>) -> Result<Producer, LogError> {
        let mut settings = connection.settings("producer");
        settings.set("acks", "all");
        settings.set("enable.idempotence", "true");
        settings.set("message.max.bytes", REQUEST_BYTES.to_string());
        settings.set("message.timeout.ms", connection.timeout_ms());
        settings.set("linger.ms", "1");
        settings.set("queue.buffering.max.kbytes", BUFFER_KIB.to_string());
        if let Some(id) = transactional_id {
            settings.set("transactional.id", id);
            settings.set("transaction.timeout.ms", connection.timeout_ms());
        }
        let client = settings.create_with_context(Reports);
        let client = client.map_err(|e| connection.error("be set up for appending", &e))?;
        Ok(Producer { client, broken: AtomicBool::new(false) })
    }

    /// The client, for transactions.
    pub(super) fn client(&self) -> &ThreadedProducer<Reports> {
        &self.client
    }

    /// Whether it can no longer append and must be made anew.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Appends all records and waits for their reports. After an error some may be stored.
    pub(super) fn append(
        &self,
        connection: &Connection,
        placed: &[Placed],
    ) -> Result<Vec<Appended>, LogError> {
        let deadline = now() + connection.timeout();
        let batch = Arc::new(Batch::new(placed.len()));
        for (index, placed) in placed.iter().enumerate() {
            if let Err(e) = self.send(connection, placed, Ticket::new(&batch, index), deadline) {
                batch.fail_rest(index);
                batch.wait(deadline + REPORT_GRACE);
                return Err(self.failed(connection, &e));
            }
        }
        if !batch.wait(deadline + REPORT_GRACE) {
            return Err(LogError::Unavailable(format!(
                "no delivery report from kafka at {}",
                connection.bootstrap()
            )));
        }
        let mut appended = Vec::with_capacity(placed.len());
        for (placed, report) in placed.iter().zip(batch.take()) {
            let (offset, timestamp) = report.map_err(|e| self.failed(connection, &e))?;
            if offset < 0 {
                let at = placed.at;
                return Err(LogError::Unavailable(format!(
                    "{at}: a record is stored, but its offset is not told"
                )));
            }
            let log_time = LogTime(u64::try_from(timestamp).unwrap_or(0));
            appended.push(Appended { at: placed.at, offset, log_time });
        }
        Ok(appended)
    }

    fn send(
        &self,
        connection: &Connection,
        placed: &Placed,
        ticket: Box<Ticket>,
        deadline: Instant,
    ) -> Result<(), KafkaError> {
        let NewRecord { key, value, headers, timestamp, .. } = placed.record;
        let topic = connection.topic(placed.at.topic);
        let mut record = BaseRecord::with_opaque_to(&topic, ticket)
            .partition(placed.at.partition)
            .key(key.as_ref())
            .payload(value.as_ref());
        if let Some(time) = timestamp.and_then(|time| i64::try_from(time.0).ok()) {
            record = record.timestamp(time);
        }
        if !headers.is_empty() {
            let with = |all: OwnedHeaders, (name, value): &(String, bytes::Bytes)| {
                all.insert(Header { key: name, value: Some(value.as_ref()) })
            };
            record =
                record.headers(headers.iter().fold(OwnedHeaders::new_with_capacity(headers.len()), with));
        }
        loop {
            match self.client.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if now() < deadline =>
                {
                    std::thread::sleep(Duration::from_millis(2));
                    record = back;
                }
                Err((e, _)) => return Err(e),
            }
        }
    }

    /// The error of an append; a fatal one is what librdkafka holds against the whole producer.
    pub(super) fn failed(&self, connection: &Connection, error: &KafkaError) -> LogError {
        match self.client.client().fatal_error() {
            Some((code, reason)) => {
                self.broken.store(true, Ordering::Relaxed);
                connection.coded("append", code, &reason)
            }
            None => connection.error("append", error),
        }
    }
}

/// Receives delivery reports on the producer's thread.
pub(super) struct Reports;

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        Events.log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Events.error(error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let report = match result {
            Ok(message) => Ok((message.offset(), message.timestamp().to_millis().unwrap_or(0))),
            Err((e, _)) => Err(e.clone()),
        };
        ticket.batch.report(ticket.index, report);
    }
}

type Report = Result<(i64, i64), KafkaError>;

/// One record's place in its batch.
pub(super) struct Ticket {
    batch: Arc<Batch>,
    index: usize,
}

impl Ticket {
    fn new(batch: &Arc<Batch>, index: usize) -> Box<Ticket> {
        Box::new(Ticket { batch: batch.clone(), index })
    }
}

/// The records of one append: offset and timestamp of each, as reports come in.
struct Batch {
    reports: Mutex<Reported>,
    all: Condvar,
}

struct Reported {
    missing: usize,
    reports: Vec<Option<Report>>,
}

impl Batch {
    fn new(len: usize) -> Batch {
        let reports = Reported { missing: len, reports: vec![None; len] };
        Batch { reports: Mutex::new(reports), all: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Reported> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, index: usize, report: Report) {
        let mut reported = self.lock();
        if let Some(slot @ None) = reported.reports.get_mut(index) {
            *slot = Some(report);
            reported.missing -= 1;
            if reported.missing == 0 {
                self.all.notify_all();
            }
        }
    }

    /// Those from `index` on were never sent, so that no report will come.
    fn fail_rest(&self, index: usize) {
        let len = self.lock().reports.len();
        for i in index..len {
            self.report(i, Err(KafkaError::Canceled));
        }
    }

    /// Waits for the last report; false if time is up.
    fn wait(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(now());
        let waited = self.all.wait_timeout_while(self.lock(), left, |reported| reported.missing > 0);
        waited.map_or_else(|e| e.into_inner().0.missing, |(reported, _)| reported.missing) == 0
    }

    fn take(&self) -> Vec<Report> {
        self.lock().reports.drain(..).flatten().collect()
    }
}
