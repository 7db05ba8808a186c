//! One thread that appends for many: what waits goes out together, so that a slow acknowledgement is waited for
//! once.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use lsie_schemas::log::{Appended, Log, LogError, NewRecord};

/// Appends that may wait; one more is turned away.
const MOST_WAITING: usize = 1_024;
/// Most records and bytes of one batch, unless a single append brings more.
const BATCH_RECORDS: usize = 2_000;
const BATCH_BYTES: usize = 4 << 20;

/// An append, and where its answer goes.
struct Job {
    records: Vec<NewRecord>,
    answer: SyncSender<Result<Vec<Appended>, ()>>,
}

/// Hands records to the appending thread. Cheap to clone; the thread ends with the last of them.
#[derive(Clone)]
pub(crate) struct Appender(SyncSender<Job>);

impl Appender {
    /// Starts the thread.
    pub(crate) fn start(log: Arc<dyn Log>) -> Result<Appender, LogError> {
        let (sender, jobs) = sync_channel(MOST_WAITING);
        let thread = std::thread::Builder::new().name("append".into());
        let started = thread.spawn(move || run(&*log, &jobs));
        started.map_err(|why| LogError::Refused(format!("no thread for appending: {why}")))?;
        Ok(Appender(sender))
    }

    /// Appends records and waits until they are acknowledged. An error says that they are not, or not all; it is
    /// logged where it came about.
    pub(crate) fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Appended>, ()> {
        let (answer, wait) = sync_channel(1);
        self.0.try_send(Job { records, answer }).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => (),
        })?;
        wait.recv().map_err(|_| ())?
    }
}

fn run(log: &dyn Log, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let mut batch = vec![first];
        let size = |job: &Job| job.records.iter().map(|record| record.value.len()).sum::<usize>();
        let (mut records, mut bytes) = (batch[0].records.len(), size(&batch[0]));
        while records < BATCH_RECORDS && bytes < BATCH_BYTES {
            let Ok(job) = jobs.try_recv() else { break };
            (records, bytes) = (records + job.records.len(), bytes + size(&job));
            batch.push(job);
        }
        let all = batch.iter().flat_map(|job| job.records.iter().cloned()).collect();
        let result = log.append(all);
        if let Err(error) = &result {
            tracing::warn!(%error, records, "records could not be appended; their senders are told to come again");
        }
        let mut appended = result.unwrap_or_default().into_iter();
        for job in batch {
            let own: Vec<Appended> = appended.by_ref().take(job.records.len()).collect();
            let whole = own.len() == job.records.len();
            // Whoever no longer waits does not want to know.
            let _ = job.answer.send(if whole { Ok(own) } else { Err(()) });
        }
    }
}
