//! The threads of a process: its timely workers, and those beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::bail;
use crossbeam_channel::{Sender, bounded};
use lsie_operators::align::Limits;
use lsie_schemas::Topic;
use timely::communication::WorkerGuards;
use timely::worker::Worker;

use crate::checkpoint::Keep;
use crate::cluster::Cluster;
use crate::cluster::wire::{self, Plug, Wire};
use crate::commit::Message;
use crate::crash_book::{CrashBook, Place};
use crate::fault;
use crate::graph::{self, Parts};
use crate::healing::Selections;
use crate::ingest::{Inbox, Shared};
use crate::judge::Bench;
use crate::language_model::Asking;
use crate::pool::Pool;
use crate::transcribe::Hearing;

/// How long a parked worker sleeps at most; activations wake it earlier.
const PARK: Duration = Duration::from_millis(100);
/// The same before the graph is there, whose parts nothing wakes it for.
const WAIT: Duration = Duration::from_millis(10);

/// What the workers of a process make their graph of.
#[derive(Clone)]
pub(crate) struct Local {
    /// One for each worker.
    pub(crate) inboxes: Vec<Arc<Inbox>>,
    /// What infers.
    pub(crate) models: (Pool, Hearing, Bench, Asking),
    /// The limits of alignment, and the partitions of each input topic.
    pub(crate) limits: (Limits, BTreeMap<Topic, i32>),
    /// Notes for crashes, records in quarantine, selections that stand.
    pub(crate) told: (Arc<CrashBook>, Arc<BTreeSet<Place>>, Arc<Selections>),
    /// Where complete epochs and state go.
    pub(crate) epochs: Sender<Message>,
    /// State across restarts.
    pub(crate) keep: Keep,
}

/// Hands [`Local`] to the workers, which may be there before it is known.
#[derive(Default)]
pub(crate) struct Begun {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
enum Waiting {
    /// It is not known yet.
    #[default]
    Unknown,
    /// So many workers are still to be handed this.
    For(usize, Box<Local>),
    /// No worker takes any more.
    Over,
}

impl Begun {
    /// So many workers are handed this, one each.
    pub(crate) fn begin(&self, local: Local, workers: usize) {
        let mut waiting = lock(&self.waiting);
        if !matches!(*waiting, Waiting::Over) {
            *waiting = Waiting::For(workers, Box::new(local));
        }
    }

    fn take(&self) -> Option<Local> {
        let mut waiting = lock(&self.waiting);
        match &mut *waiting {
            Waiting::For(left @ 2.., local) => {
                *left -= 1;
                Some(Local::clone(local))
            }
            Waiting::For(..) => match std::mem::replace(&mut *waiting, Waiting::Over) {
                Waiting::For(_, local) => Some(*local),
                _ => None,
            },
            _ => None,
        }
    }

    /// No worker takes any more; what it holds goes, and with it what others wait for the end of.
    fn over(&self) {
        *lock(&self.waiting) = Waiting::Over;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain values.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// This process among others.
pub(crate) struct Among {
    pub(crate) cluster: Cluster,
    pub(crate) plug: Plug,
    /// The wire, if it ends with the graph; elsewhere somebody else ends it.
    pub(crate) closes: Option<Arc<Wire>>,
}

/// Starts workers that all do this.
pub(crate) fn start(
    config: timely::Config,
    body: impl Fn(&mut Worker) + Send + Sync + 'static,
) -> anyhow::Result<WorkerGuards<()>> {
    timely::execute(config, body).map_err(|why| anyhow::anyhow!("the workers did not start: {why}"))
}

/// What a worker does: if it fails or panics, the run ends with the reason, and its dataflows go.
pub(crate) fn guarded(
    worker: &mut Worker,
    shared: &Shared,
    body: impl FnOnce(&mut Worker) -> anyhow::Result<()>,
) {
    match catch_unwind(AssertUnwindSafe(|| body(worker))) {
        Ok(Ok(())) => {}
        Ok(Err(why)) => shared.fail(format!("{why:#}")),
        Err(_) => shared.fail(format!("worker {} panicked", worker.index())),
    }
    // After a failure epochs stay open for ever: nothing of them may be waited for.
    for dataflow in worker.installed_dataflows() {
        worker.drop_dataflow(dataflow);
    }
}

/// Waits until all workers have ended.
pub(crate) fn ended(guards: WorkerGuards<()>) -> anyhow::Result<()> {
    for result in guards.join() {
        result.map_err(|why| anyhow::anyhow!("a worker died: {why}"))?;
    }
    Ok(())
}

/// Runs the workers of this process until their inputs end.
pub(crate) fn work(
    workers: usize,
    begun: Arc<Begun>,
    among: Option<Among>,
    shared: &Arc<Shared>,
) -> anyhow::Result<()> {
    let is_clustered = among.is_some();
    let (mut config, mut first, mut closes) = (timely::Config::process(workers), 0, None);
    let mut plug = None;
    if let Some(among) = among {
        config.communication = among.cluster.connections(workers);
        first = among.cluster.process * workers;
        (plug, closes) = (Some(among.plug), among.closes);
    }
    let (built, plug) = (AtomicUsize::new(0), Mutex::new(plug));
    let (over, overs) = bounded::<()>(workers);
    let (running, handing) = (shared.clone(), begun.clone());
    let guards = start(config, move |worker| {
        let shared = &running;
        let local_index = worker.index() - first;
        guarded(worker, shared, |worker| {
            if is_clustered {
                let plug = if local_index == 0 { lock(&plug).take() } else { None };
                wire::build(worker, plug);
            }
            let Some(local) = wait(worker, &handing, shared) else { return Ok(()) };
            let keep = local.keep.clone();
            let graph = worker.next_dataflow_index();
            let (board, parts) = (shared.board.clone(), parts(local, local_index, worker.index()));
            board.building(worker.index(), || worker.dataflow(|scope| graph::build(scope, parts)));
            if built.fetch_add(1, Ordering::SeqCst) + 1 == workers {
                fault::point("recovery.restored");
                keep.forget_restored();
            }
            drop(keep);
            while worker.installed_dataflows().contains(&graph) && !shared.stopped() {
                worker.step_or_park(Some(PARK));
            }
            if let Some(wire) = closes.as_ref().filter(|_| local_index == 0) {
                wire.close();
            }
            while worker.has_dataflows() && !shared.stopped() {
                worker.step_or_park(Some(PARK));
            }
            Ok(())
        });
        // Nobody waits any more only if a worker before this one has gone.
        let _ = over.send(());
        while is_clustered && shared.failure().is_some() {
            // Timely would panic over connections that are gone; the process ends now.
            std::thread::park();
        }
    })?;
    if is_clustered {
        overs.iter().take(workers).for_each(drop);
        begun.over();
        if shared.failure().is_some() {
            // Timely would wait for the other processes, which may never end.
            std::mem::forget(guards);
            return Ok(());
        }
    }
    ended(guards)
}

/// Steps until the worker is handed what it needs; `None` if the run ends before.
fn wait(worker: &mut Worker, begun: &Begun, shared: &Shared) -> Option<Local> {
    while !shared.stopped() {
        if let Some(local) = begun.take() {
            return Some(local);
        }
        worker.step_or_park(Some(WAIT));
    }
    None
}

fn parts(local: Local, local_index: usize, worker: usize) -> Parts {
    let Local {
        inboxes,
        models: (pool, hearing, bench, asking),
        limits: (limits, partitions),
        told,
        epochs,
        keep,
    } = local;
    let (book, quarantined, selections) = told;
    let inbox = inboxes[local_index].clone();
    let (shared, keep) = (keep.shared.clone(), Keep { worker, ..keep });
    Parts {
        inbox,
        shared,
        pool,
        hearing,
        bench,
        asking,
        limits,
        partitions,
        selections,
        book,
        quarantined,
        epochs,
        keep,
    }
}

/// The threads of a run beside the workers; the first that fails ends the run.
pub(crate) struct Threads {
    pub(crate) shared: Arc<Shared>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    pub(crate) fn of(shared: &Arc<Shared>) -> Threads {
        Threads { shared: shared.clone(), handles: Vec::new() }
    }

    pub(crate) fn spawn(
        &mut self,
        name: &str,
        body: impl FnOnce(&Shared) -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let shared = self.shared.clone();
        let label = name.to_string();
        let handle = std::thread::Builder::new().name(name.to_string()).spawn(move || {
            let ended = catch_unwind(AssertUnwindSafe(|| body(&shared)));
            match ended.unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked"))) {
                Ok(()) => {}
                Err(error) => shared.fail(format!("{label}: {error:#}")),
            }
        })?;
        self.handles.push(handle);
        Ok(())
    }

    pub(crate) fn join(self) -> anyhow::Result<()> {
        for handle in self.handles {
            if handle.join().is_err() {
                bail!("a thread of the run panicked");
            }
        }
        match self.shared.failure() {
            Some(why) => bail!(why),
            None => Ok(()),
        }
    }
}
