//! Frames to measured faces, and sound to measured voices, outside the workers: a bounded pool works, the
//! operator holds the epoch.
//!
//! A session always goes to the same thread, which keeps its decoder and tracker; frames of a session are
//! measured in order. Results leave the operator at the epoch of their frames, sorted by session and
//! sequence number, however long the pool took.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use lsie_operators::align::{Class, Classified, FrameJob, VoiceJob};
use lsie_operators::logic::Keyed;
use lsie_operators::measure::SegmentVoice;
use lsie_schemas::codec::Rejection;
use lsie_schemas::record::DeadLetter;
use lsie_schemas::row::FaceRow;
use serde::{Deserialize, Serialize};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;
use timely::scheduling::SyncActivator;
use uuid::Uuid;

use crate::adapter::Time;
use crate::board::Place;
use crate::checkpoint::{Content, Part, Station, encoded};
use crate::commit::Message;
use crate::crash_book::{CrashBook, Page};
use crate::faces::FaceState;
use crate::fault;
use crate::ingest::Shared;
use crate::metrics::{Meter, instant};

/// One task of a session.
#[derive(Clone, Debug)]
pub enum Task {
    /// Measure this frame.
    Frame(Arc<FrameJob>),
    /// Measure this voice.
    Voice(Arc<VoiceJob>),
    /// The session ended: hand out what is left and forget it.
    End(Uuid),
    /// Say what a checkpoint may hold of the session.
    Snapshot(Uuid),
    /// Take the place of the thread that said this.
    Restore(Uuid, Arc<FaceState>),
    /// Take a frame again that was measured before a restart.
    Again(Arc<FrameJob>),
}

impl Task {
    fn session(&self) -> Uuid {
        match self {
            Task::Frame(job) => job.session,
            Task::Voice(job) => job.session,
            Task::Again(job) => job.session,
            Task::End(session) | Task::Snapshot(session) | Task::Restore(session, _) => *session,
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
    /// What a checkpoint may hold of the session, if it was asked for.
    pub state: Option<FaceState>,
}

/// Measures the frames and voices of the sessions of one pool thread, told the epoch of a task. Made on that thread. An error
/// is no property of the input: the run ends.
pub type Measurer = Box<dyn FnMut(Time, &Task) -> anyhow::Result<Outcome>>;

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
    /// None for what is asked for by the way: states, and frames taken again.
    reply: Option<Sender<Reply>>,
    activator: SyncActivator,
    /// Where the state goes that the task asks for: to the writer of checkpoints, past the operator, which may
    /// have gone by then.
    state: Option<(Sender<Message>, &'static str)>,
}

struct Reply {
    epoch: Time,
    results: Vec<Inferred>,
}

/// The threads, shared by all workers of a process.
#[derive(Clone)]
pub struct Pool {
    threads: Arc<Vec<Sender<Job>>>,
    meter: Meter,
}

impl Pool {
    /// Starts the threads and waits until each has made its measurer.
    pub fn start(
        threads: usize,
        make: MeasurerFactory,
        book: &Arc<CrashBook>,
        shared: &Arc<Shared>,
    ) -> anyhow::Result<Pool> {
        let mut senders = Vec::new();
        let meter = shared.metrics.model("faces");
        for index in 0..threads.max(1) {
            // What waits is bounded by what may be inside the dataflow (`ingest.rs`), and after a restart by what must be
            // seen again.
            let (sender, jobs) = unbounded::<Job>();
            let (ready, started) = bounded(1);
            let (make, shared, page) = (make.clone(), shared.clone(), book.page(true));
            let meter = meter.clone();
            std::thread::Builder::new().name(format!("infer-{index}")).spawn(move || match make(index) {
                Ok(measurer) => {
                    let _ = ready.send(Ok(()));
                    let worked =
                        catch_unwind(AssertUnwindSafe(|| work(measurer, &page, &jobs, &meter, &shared)));
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
        Ok(Pool { threads: Arc::new(senders), meter })
    }

    fn thread_of(&self, session: Uuid) -> usize {
        (session.as_u128() % self.threads.len() as u128) as usize
    }
}

fn work(
    mut measure: Measurer,
    page: &Page,
    jobs: &Receiver<Job>,
    meter: &Meter,
    shared: &Shared,
) -> anyhow::Result<()> {
    for job in jobs {
        let _timer = job.reply.is_some().then(|| meter.begun(job.tasks.len()));
        let mut results = Vec::with_capacity(job.tasks.len() * 2);
        for task in &job.tasks {
            if shared.stopped() {
                // Before its last epoch: nobody takes what would come of it.
                return Ok(());
            }
            let outcome = match task {
                Task::Frame(frame) | Task::Again(frame) => {
                    page.work((frame.raw.at, frame.raw.offset), || {
                        fault::over("measure", frame.raw.at, frame.raw.offset);
                        measure(job.epoch, task)
                    })
                }
                _ => measure(job.epoch, task),
            }?;
            if let (Task::Snapshot(session), Some((to, station))) = (task, &job.state) {
                // The writer is gone only when it failed, and then it has stopped the run.
                let _ = to.send(Message::Part(part(job.epoch, station, *session, outcome.state)));
                continue;
            }
            results.extend(outcome.faces.into_iter().map(Inferred::Face));
            results.extend(outcome.voice.map(|voice| Inferred::Voice(Box::new(voice))));
            let Task::Frame(frame) = task else { continue };
            let class = if outcome.rejected.is_some() { Class::Filed } else { Class::Used };
            let reason = outcome.rejected.as_ref().map_or_else(String::new, |why| why.reason.clone());
            let (session, topic) = (Some(frame.session), frame.raw.at.topic);
            results.push(Inferred::Classified(Classified { session, topic, class, reason }));
            results.extend(outcome.rejected.map(|why| Inferred::Dead(DeadLetter::new(&frame.raw, why))));
        }
        let Some(reply) = job.reply else { continue };
        // Here, not by the worker, which puts the parts of an epoch together: they are in order then.
        results.sort_by_key(order);
        // The operator is gone only when the run is over.
        if reply.send(Reply { epoch: job.epoch, results }).is_ok() {
            let _ = job.activator.activate();
        }
    }
    Ok(())
}

/// The state of one session for a checkpoint; none if nothing of it is remembered.
fn part(epoch: Time, station: &'static str, session: Uuid, state: Option<FaceState>) -> Part {
    let rewind = state.as_ref().and_then(FaceState::rewind).map(|epoch| epoch.0);
    let content = Content::Pieces(Box::new(move || {
        let snapshot = PoolSnapshot { sessions: state.map(|state| (session, state)).into_iter().collect() };
        encoded(snapshot, 0)
    }));
    Part { epoch, station, rewind, further: None, content }
}

/// The sessions of the pool.
#[derive(Debug, Default, Serialize, Deserialize)]
struct PoolSnapshot {
    sessions: BTreeMap<Uuid, FaceState>,
}

impl Keyed for PoolSnapshot {
    type Key = Uuid;

    fn apart(self) -> Vec<(Option<Uuid>, PoolSnapshot)> {
        let piece = |(id, state)| (Some(id), PoolSnapshot { sessions: BTreeMap::from([(id, state)]) });
        self.sessions.into_iter().map(piece).collect()
    }

    fn join(&mut self, piece: PoolSnapshot) {
        self.sessions.extend(piece.sessions);
    }
}

/// Work of one open epoch.
struct Open {
    capability: Capability<Time>,
    outstanding: usize,
    results: Vec<Inferred>,
}

/// What one worker has the pool do.
struct Desk {
    pool: Pool,
    station: Station,
    /// Sessions of which a thread may remember something.
    sessions: BTreeSet<Uuid>,
    /// Offsets of frames that must be taken again, by session.
    wanted: BTreeMap<Uuid, BTreeSet<i64>>,
    reply: Sender<Reply>,
    activator: SyncActivator,
}

impl Desk {
    /// With what the threads are to remember from before a restart.
    fn new(
        pool: Pool,
        mut station: Station,
        owner: impl Fn(&Uuid) -> u64,
        reply: Sender<Reply>,
        activator: SyncActivator,
    ) -> Desk {
        let restored: PoolSnapshot = station.restored(owner).unwrap_or_default();
        let (sessions, wanted) = (BTreeSet::new(), BTreeMap::new());
        let mut desk = Desk { pool, station, sessions, wanted, reply, activator };
        let resumed = desk.station.keep().resumed;
        for (session, state) in restored.sessions {
            desk.sessions.insert(session);
            desk.wanted.insert(session, state.wanted().collect());
            desk.by_the_way(resumed, Task::Restore(session, Arc::new(state)));
        }
        desk
    }

    /// Takes the tasks of an epoch and says how many replies there will be.
    fn take(&mut self, epoch: Time, tasks: Vec<Task>) -> usize {
        let mut by_thread: BTreeMap<usize, Vec<Task>> = BTreeMap::new();
        for task in tasks {
            let session = task.session();
            match task {
                Task::End(session) => drop(self.sessions.remove(&session)),
                _ => drop(self.sessions.insert(session)),
            }
            by_thread.entry(self.pool.thread_of(session)).or_default().push(task);
        }
        let replies = by_thread.len();
        for (thread, tasks) in by_thread {
            self.send(thread, epoch, tasks, Some(self.reply.clone()), None);
        }
        replies
    }

    /// Has a task done that no reply is waited for.
    fn by_the_way(&self, epoch: Time, task: Task) {
        let state = if matches!(task, Task::Snapshot(_)) { self.station.sender() } else { None };
        self.send(self.pool.thread_of(task.session()), epoch, vec![task], None, state);
    }

    fn send(
        &self,
        thread: usize,
        epoch: Time,
        tasks: Vec<Task>,
        reply: Option<Sender<Reply>>,
        state: Option<(Sender<Message>, &'static str)>,
    ) {
        if reply.is_some() {
            self.pool.meter.asked();
        }
        let job = Job { epoch, tasks, reply, activator: self.activator.clone(), state };
        // The thread is gone only when the run is about to end: it has failed, or seen that another has.
        let _ = self.pool.threads[thread].send(job);
    }

    /// Takes the frames of an epoch before a restart again, as far as they are wanted.
    fn take_again(&mut self, epoch: Time, tasks: Vec<Task>) {
        for task in tasks {
            let Task::Frame(job) = task else { continue };
            let wanted = self.wanted.get_mut(&job.session);
            if wanted.is_some_and(|wanted| wanted.remove(&job.raw.offset)) {
                self.by_the_way(epoch, Task::Again(job));
            }
        }
    }

    /// Asks for the state of every session as of the chosen epochs that have passed: behind the tasks of
    /// these epochs and before those of later ones.
    fn hand_over(&mut self, passed: &dyn Fn(Time) -> bool) {
        while let Some(epoch) = self.station.due(passed) {
            let sessions: Vec<Uuid> = self.sessions.iter().copied().collect();
            let none = self.station.pieces(PoolSnapshot::default());
            self.station.hand_over(epoch, None, Some(sessions.len()), none);
            sessions.into_iter().for_each(|session| self.by_the_way(epoch, Task::Snapshot(session)));
        }
    }
}

/// Measures frames and voices. `owner` says to which worker, modulo their
/// number, a session belongs.
pub fn infer<'scope>(
    tasks: StreamVec<'scope, Time, Task>,
    pool: Pool,
    station: Station,
    owner: impl Fn(&Uuid) -> u64,
) -> StreamVec<'scope, Time, Inferred> {
    let scope = tasks.scope();
    let resumed = station.keep().resumed;
    let place = Place::of("infer");
    tasks.unary_frontier(Pipeline, station.name(), move |_capability, info| {
        let activator = scope.worker().sync_activator_for(info.address.to_vec());
        let (reply, replies) = unbounded::<Reply>();
        let mut desk = Desk::new(pool, station, owner, reply, activator);
        let mut open: BTreeMap<Time, Open> = BTreeMap::new();
        move |(input, frontier), output| {
            let began = instant();
            // Not `for_each_stamp`: it may swap the messages of one time, and frames have an order.
            input.for_each(|capability, batch| {
                let tasks = std::mem::take(batch);
                let Some(kept) = capability.retain_least(output.output_index()) else { return };
                let epoch = *kept.time();
                if epoch <= resumed {
                    return desk.take_again(epoch, tasks);
                }
                desk.hand_over(&|chosen| chosen < epoch);
                let entry = open.entry(epoch).or_insert_with(|| Open {
                    capability: kept,
                    outstanding: 0,
                    results: Vec::new(),
                });
                entry.outstanding += desk.take(epoch, tasks);
            });
            desk.hand_over(&|chosen| !frontier.less_equal(&chosen));
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
            place.stands(frontier.frontier().first().copied(), open.len());
            place.worked(began);
        }
    })
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
