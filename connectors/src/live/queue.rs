//! Events on their way to the log: a bounded queue that holds up the connection rather than drop one.

use std::sync::Mutex;
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use lsie_schemas::log::{Log, LogError, NewRecord};
use lsie_schemas::record::LiveEvent;
use tokio::sync::mpsc;

use crate::clock::now;
use crate::health::State;
use crate::retry::{log_is_lost, retry};
use crate::{Backoff, Health, Stop};

/// Events that may wait (behaviour §6).
const MOST_WAITING: usize = 10_000;
/// Most events of one batch.
const BATCH: usize = 1_000;
/// How long what is left is still offered to the log after the wish to stop.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Where events come in.
pub(super) type Events = mpsc::Sender<LiveEvent>;

/// Where they come out.
pub(super) struct Queue(Mutex<mpsc::Receiver<LiveEvent>>);

pub(super) fn new() -> (Events, Queue) {
    let (sender, receiver) = mpsc::channel(MOST_WAITING);
    (sender, Queue(Mutex::new(receiver)))
}

impl Queue {
    /// Appends everything until the last sender has gone, the log is lost, or `abandon` is said.
    pub(super) fn append_all(&self, log: &dyn Log, health: &Health, abandon: &Stop) -> Result<(), LogError> {
        let mut events = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut batch = Vec::new();
        while events.blocking_recv_many(&mut batch, BATCH) > 0 {
            let records: Vec<NewRecord> = batch.drain(..).map(|event| event.encode(None)).collect();
            let away = |error: &LogError| health.set("log", State::Recovering, error.to_string());
            retry(Backoff::LOG, abandon, log_is_lost, away, || log.append(records.clone()))?;
            health.set("log", State::Ok, "");
            health.count("events_appended", records.len() as u64);
        }
        Ok(())
    }
}

/// Waits a bounded time for what is left, then gives it up.
pub(super) fn last_words(appender: &ScopedJoinHandle<'_, Result<(), LogError>>, abandon: &Stop) {
    let since = now();
    while !appender.is_finished() && since.elapsed() < LAST_WORDS {
        std::thread::sleep(Duration::from_millis(10));
    }
    abandon.stop();
}
