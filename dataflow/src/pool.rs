//! Frames to measured faces, and sound to measured voices, outside the workers: a bounded pool works, the
//! operator holds the epoch.
//!
//! A session always goes to the same thread, which keeps its decoder and tracker; frames of a session are
//! measured in order. Results leave the operator at the epoch of their frames, sorted by session and
//! sequence number, however long the pool took.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};
use lsie_operators::align::{Aligned, Class, Classified, FrameJob, VoiceJob, classified};
use lsie_operators::measure::SegmentVoice;
use lsie_schemas::codec::Rejection;
use lsie_schemas::record::DeadLetter;
use lsie_schemas::row::FaceRow;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;
use timely::scheduling::SyncActivator;
use uuid::Uuid;

use crate::adapter::Time;
use crate::ingest::Shared;

/// Jobs that may wait for one thread; what exceeds it waits in the operator.
const QUEUE: usize = 64;
/// When to look again whether a full queue has room.
const RETRY: Duration = Duration::from_millis(2);

/// One task of a session.
#[derive(Clone, Debug)]
pub enum Task {
    /// Measure this frame.
    Frame(Arc<FrameJob>),
    /// Measure this voice.
    Voice(Arc<VoiceJob>),
    /// The session ended: hand out what is left and forget it.
    End(Uuid),
}

impl Task {
    fn session(&self) -> Uuid {
        match self {
            Task::Frame(job) => job.session,
            Task::Voice(job) => job.session,
            Task::End(session) => *session,
        }
    }
}

/// What a task led to: faces of this and of earlier frames, or the rejection of its access unit, or a voice.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Measured frames, in order.
    pub faces: Vec<FaceRow>,
    /// Why the access unit could not be decoded.
    pub rejected: Option<Rejection>,
    /// The measured voice.
    pub voice: Option<SegmentVoice>,
}

/// Measures the frames and voices of the sessions of one pool thread. Made on that thread. An error means that a model
/// failed, which is no property of the input: the run ends.
pub type Measurer = Box<dyn FnMut(&Task) -> anyhow::Result<Outcome>>;

/// Makes the measurer of a thread, given its number; a failure ends the start.
pub type MeasurerFactory = Arc<dyn Fn(usize) -> anyhow::Result<Measurer> + Send + Sync>;

/// What the operator emits.
#[derive(Clone, Debug)]
pub enum Inferred {
    /// A measured frame.
    Face(FaceRow),
    /// A measured voice.
    Voice(Box<SegmentVoice>),
    /// What became of its record.
    Classified(Classified),
    /// A record that could not be decoded.
    Dead(DeadLetter),
}

struct Job {
    epoch: Time,
    tasks: Vec<Task>,
    reply: Sender<Reply>,
    activator: SyncActivator,
}

struct Reply {
    epoch: Time,
    results: Vec<Inferred>,
}

/// The threads, shared by all workers of a process.
#[derive(Clone)]
pub struct Pool {
    threads: Arc<Vec<Sender<Job>>>,
}

impl Pool {
    /// Starts the threads and waits until each has made its measurer.
    pub fn start(threads: usize, make: MeasurerFactory, shared: &Arc<Shared>) -> anyhow::Result<Pool> {
        let mut senders = Vec::new();
        for index in 0..threads.max(1) {
            let (sender, jobs) = bounded::<Job>(QUEUE);
            let (ready, started) = bounded(1);
            let (make, shared) = (make.clone(), shared.clone());
            std::thread::Builder::new().name(format!("infer-{index}")).spawn(move || match make(index) {
                Ok(measurer) => {
                    let _ = ready.send(Ok(()));
                    let worked = catch_unwind(AssertUnwindSafe(|| work(measurer, &jobs)));
                    let failed = worked.unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked")));
                    if let Err(why) = failed {
                        shared.fail(format!("inference thread {index}: {why:#}"));
                    }
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            })?;
            started.recv().map_err(|_| anyhow::anyhow!("an inference thread died at its start"))??;
            senders.push(sender);
        }
        Ok(Pool { threads: Arc::new(senders) })
    }

    fn thread_of(&self, session: Uuid) -> usize {
        (session.as_u128() % self.threads.len() as u128) as usize
    }
}

fn work(mut measure: Measurer, jobs: &Receiver<Job>) -> anyhow::Result<()> {
    for job in jobs {
        let mut results = Vec::with_capacity(job.tasks.len() * 2);
        for task in &job.tasks {
            let outcome = measure(task)?;
            results.extend(outcome.faces.into_iter().map(Inferred::Face));
            results.extend(outcome.voice.map(|voice| Inferred::Voice(Box::new(voice))));
            let Task::Frame(frame) = task else { continue };
            match outcome.rejected {
                None => results.push(Inferred::Classified(classified(&frame.raw, Class::Used, ""))),
                Some(why) => {
                    results.push(Inferred::Classified(classified(&frame.raw, Class::Filed, &why.reason)));
                    results.push(Inferred::Dead(DeadLetter::new(&frame.raw, why)));
                }
            }
        }
        // The operator is gone only when the run is over.
        if job.reply.send(Reply { epoch: job.epoch, results }).is_ok() {
            let _ = job.activator.activate();
        }
    }
    Ok(())
}

/// Work of one open epoch.
struct Open {
    capability: Capability<Time>,
    outstanding: usize,
    results: Vec<Inferred>,
}

/// Measures the frames and voices among the words of alignment.
pub fn infer<'scope>(
    aligned: StreamVec<'scope, Time, Aligned>,
    pool: Pool,
) -> StreamVec<'scope, Time, Inferred> {
    let scope = aligned.scope();
    aligned.unary_frontier(Pipeline, "infer", move |_capability, info| {
        let activator = scope.worker().sync_activator_for(info.address.to_vec());
        let again = scope.activator_for(info.address);
        let (reply, replies) = unbounded::<Reply>();
        let mut open: BTreeMap<Time, Open> = BTreeMap::new();
        let mut backlogs: Vec<VecDeque<(Time, Vec<Task>)>> = vec![VecDeque::new(); pool.threads.len()];
        move |(input, frontier), output| {
            // Not `for_each_stamp`: it may swap the messages of one time, and frames have an order.
            input.for_each(|capability, batch| {
                let tasks: Vec<Task> = batch.drain(..).filter_map(task).collect();
                if tasks.is_empty() {
                    return;
                }
                let Some(kept) = capability.retain_least(output.output_index()) else { return };
                let epoch = *kept.time();
                let entry = open.entry(epoch).or_insert_with(|| Open {
                    capability: kept,
                    outstanding: 0,
                    results: Vec::new(),
                });
                let mut by_session: BTreeMap<Uuid, Vec<Task>> = BTreeMap::new();
                for task in tasks {
                    by_session.entry(task.session()).or_default().push(task);
                }
                entry.outstanding += by_session.len();
                for (session, tasks) in by_session {
                    backlogs[pool.thread_of(session)].push_back((epoch, tasks));
                }
            });
            for (thread, backlog) in pool.threads.iter().zip(&mut backlogs) {
                submit(thread, backlog, &reply, &activator);
            }
            if backlogs.iter().any(|backlog| !backlog.is_empty()) {
                // The queue may be full of other workers' jobs, whose replies do not wake this operator.
                again.activate_after(RETRY);
            }
            for Reply { epoch, results } in replies.try_iter() {
                if let Some(entry) = open.get_mut(&epoch) {
                    entry.outstanding -= 1;
                    entry.results.extend(results);
                }
            }
            while let Some(entry) = open.first_entry() {
                if entry.get().outstanding > 0 || frontier.less_equal(entry.key()) {
                    break;
                }
                let Open { capability, mut results, .. } = entry.remove();
                results.sort_by_key(order);
                output.session(&capability).give_iterator(results.into_iter());
            }
        }
    })
}

/// Hands over what fits, in order; never blocks the worker.
fn submit(
    thread: &Sender<Job>,
    backlog: &mut VecDeque<(Time, Vec<Task>)>,
    reply: &Sender<Reply>,
    activator: &SyncActivator,
) {
    while let Some((epoch, tasks)) = backlog.pop_front() {
        let job = Job { epoch, tasks, reply: reply.clone(), activator: activator.clone() };
        match thread.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => return backlog.push_front((epoch, job.tasks)),
            // The thread has failed and said so: the run is about to end.
            Err(TrySendError::Disconnected(_)) => return,
        }
    }
}

fn task(word: Aligned) -> Option<Task> {
    match word {
        Aligned::Frame(job) => Some(Task::Frame(job)),
        Aligned::Voice(job) => Some(Task::Voice(job)),
        Aligned::Ended { session, .. } => Some(Task::End(session)),
        _ => None,
    }
}

/// Faces by session and sequence number, voices, then the rest in the order of its records.
fn order(result: &Inferred) -> (u8, Uuid, i64) {
    match result {
        Inferred::Face(face) => (0, face.session_id, face.seq),
        Inferred::Voice(voice) => (1, voice.session, voice.ordinal),
        Inferred::Classified(c) => (2, c.session.unwrap_or_default(), 0),
        Inferred::Dead(letter) => (3, letter.session_id.unwrap_or_default(), letter.offset),
    }
}
