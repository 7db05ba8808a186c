//! One thread that appends for many: what waits goes out together, so that a slow acknowledgement is waited for
//! once. Nobody waits for it long: who would is told to come again, and is known then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lsie_schemas::log::{Appended, Log, LogError, NewRecord};

use crate::clock::now;

/// Appends that may wait; one more is turned away.
const MOST_WAITING: usize = 1_024;
/// Most records and bytes of one batch, unless a single append brings more.
const BATCH_RECORDS: usize = 2_000;
const BATCH_BYTES: usize = 4 << 20;
/// How long an acknowledgement is waited for: longer than a healthy log ever takes, shorter than senders wait for
/// an answer.
const PATIENCE: Duration = Duration::from_secs(5);

type Answer = Result<Vec<Appended>, ()>;

/// An append, and where its answer goes.
struct Job {
    records: Vec<NewRecord>,
    answer: SyncSender<Answer>,
    /// Set by whoever is first: the thread that hands it to the log, or the sender that no longer waits.
    taken: Arc<AtomicBool>,
}

/// Why records are not acknowledged.
pub(crate) enum NotAppended {
    /// They are not in the log, or not all; where the log said so, it is logged.
    Not,
    /// The log has them and does not answer; it may yet take them.
    Open(Open),
}

/// An append whose sender has not waited for the end of it.
pub(crate) struct Open(Receiver<Answer>);

impl Open {
    /// Its end: acknowledged or not; none while that is open.
    pub(super) fn end(&self) -> Option<Answer> {
        match self.0.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(())),
        }
    }
}

/// Hands records to the appending thread. Cheap to clone; the thread ends with the last of them.
#[derive(Clone)]
pub(crate) struct Appender {
    jobs: SyncSender<Job>,
    asked: Asked,
}

/// Since when the log has owed an answer; none while it owes none.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Option<Instant>>>);

impl Asked {
    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Appender {
    /// Starts the thread.
    pub(crate) fn start(log: Arc<dyn Log>) -> Result<Appender, LogError> {
        let (sender, jobs) = sync_channel(MOST_WAITING);
        let asked = Asked::default();
        let thread = std::thread::Builder::new().name("append".into());
        let started = thread.spawn({
            let asked = asked.clone();
            move || run(&*log, &jobs, &asked)
        });
        started.map_err(|why| LogError::Refused(format!("no thread for appending: {why}")))?;
        Ok(Appender { jobs: sender, asked })
    }

    /// Appends records and waits until they are acknowledged, but not for long; not at all while the log owes
    /// another answer for so long.
    pub(crate) fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Appended>, NotAppended> {
        if self.asked.lock().is_some_and(|since| now().saturating_duration_since(since) >= PATIENCE) {
            return Err(NotAppended::Not);
        }
        let (answer, wait) = sync_channel(1);
        let taken = Arc::new(AtomicBool::new(false));
        let job = Job { records, answer, taken: taken.clone() };
        self.jobs.try_send(job).map_err(|_| NotAppended::Not)?;
        match wait.recv_timeout(PATIENCE) {
            Ok(answer) => answer.map_err(|()| NotAppended::Not),
            Err(_) if taken.swap(true, Ordering::SeqCst) => Err(NotAppended::Open(Open(wait))),
            Err(_) => Err(NotAppended::Not),
        }
    }
}

fn run(log: &dyn Log, jobs: &Receiver<Job>, asked: &Asked) {
    while let Ok(first) = jobs.recv() {
        let mut batch = Vec::new();
        let (mut records, mut bytes) = (0, 0);
        let mut next = Some(first);
        while let Some(job) = next {
            if !job.taken.swap(true, Ordering::SeqCst) {
                records += job.records.len();
                bytes += job.records.iter().map(|record| record.value.len()).sum::<usize>();
                batch.push(job);
            }
            let room = records < BATCH_RECORDS && bytes < BATCH_BYTES;
            next = room.then(|| jobs.try_recv().ok()).flatten();
        }
        if batch.is_empty() {
            continue;
        }
        let all = batch.iter().flat_map(|job| job.records.iter().cloned()).collect();
        *asked.lock() = Some(now());
        let result = log.append(all);
        *asked.lock() = None;
        if let Err(error) = &result {
            tracing::warn!(%error, records, "records could not be appended; their senders are told to come again");
        }
        let mut appended = result.unwrap_or_default().into_iter();
        for job in batch {
            let own: Vec<Appended> = appended.by_ref().take(job.records.len()).collect();
            let whole = own.len() == job.records.len();
            // Whoever no longer waits finds it there, or does not want to know.
            let _ = job.answer.send(if whole { Ok(own) } else { Err(()) });
        }
    }
}
