//! A run: threads, workers and sinks around one graph, from the first epoch to the last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail};
use lsie_operators::align::Limits;
use lsie_schemas::LogTime;
use lsie_schemas::log::{Fetch, Log, TopicPartition};
use lsie_schemas::record::EpochRecord;
use lsie_sinks::Sink;

use crate::commit;
use crate::coordinator;
use crate::epochs::{self, Cut, Positions};
use crate::graph::{self, Parts};
use crate::ingest::{Inbox, Shared, owns};
use crate::pool::{MeasurerFactory, Pool};

/// Name under which coordinators fence each other.
const COORDINATOR: &str = "lsie-coordinator";
/// How long a parked worker sleeps at most; activations wake it earlier.
const PARK: Duration = Duration::from_millis(100);

/// What a run is made of.
pub struct Engine {
    /// The log.
    pub log: Arc<dyn Log>,
    /// Timely workers in this process.
    pub workers: usize,
    /// Inference threads in this process.
    pub pool_threads: usize,
    /// Makes what measures faces.
    pub measurer: MeasurerFactory,
    /// The limits of alignment.
    pub limits: Limits,
    /// How readers prefetch.
    pub fetch: Fetch,
    /// Bytes per worker ahead of the dataflow, and as many inside it.
    pub budget_bytes: usize,
    /// How epochs are cut.
    pub cut: Cut,
}

/// Which epochs a run takes.
#[derive(Clone)]
pub enum Run {
    /// Those of the table, or, if the log has none, those made by rule. Ends after the last, or after the
    /// last that is not later than the given log time.
    Bounded(Option<LogTime>),
    /// Those of the table, then new ones until the flag is set.
    Live(Arc<AtomicBool>),
}

impl Engine {
    /// Runs to the end. The sinks hold every epoch when this returns without an error.
    pub fn run(self, run: Run, sinks: Vec<Box<dyn Sink>>, shared: Arc<Shared>) -> anyhow::Result<()> {
        let from = epochs::input_partitions(&*self.log)?;
        let (mut table, at) = self.table(&run, &from)?;
        if let Run::Bounded(Some(until)) = run {
            table.retain(|epoch| epoch.log_time <= until);
        }
        let budget = self.budget_bytes;
        let inboxes: Vec<Arc<Inbox>> = (0..self.workers)
            .map(|worker| {
                let owned = from.iter().filter(|(at, _)| owns(worker, self.workers, *at)).copied().collect();
                Arc::new(Inbox::new(owned, budget))
            })
            .collect();
        let pool = Pool::start(self.pool_threads, self.measurer.clone())?;

        let mut threads = Threads { shared: shared.clone(), handles: Vec::new() };
        let (epochs, complete) = crossbeam_channel::unbounded();
        let (committing, mut sinks) = (inboxes.clone(), sinks);
        threads.spawn("commit", move |shared| Ok(commit::write(&complete, &mut sinks, &committing, shared)?))?;
        for (worker, inbox) in inboxes.iter().enumerate() {
            let (inbox, log, fetch) = (inbox.clone(), self.log.clone(), self.fetch);
            threads.spawn(&format!("fetch-{worker}"), move |shared| Ok(inbox.fetch(&*log, fetch, shared)?))?;
        }
        let last = table.last().map_or(LogTime(0), |epoch| epoch.log_time);
        shared.span.0.store(table.first().map_or(0, |epoch| epoch.log_time.0), Ordering::SeqCst);
        shared.span.1.store(last.0, Ordering::SeqCst);
        for epoch in table {
            inboxes.iter().for_each(|inbox| inbox.release(epoch.clone()));
        }
        match run {
            Run::Bounded(_) => inboxes.iter().for_each(|inbox| inbox.finish()),
            Run::Live(ending) => {
                let (log, inboxes, epoch_ms) = (self.log.clone(), inboxes.clone(), self.cut.epoch_ms);
                threads.spawn("coordinator", move |shared| {
                    let table = log.fenced(COORDINATOR)?;
                    coordinator::run(&*table, &inboxes, at, last, epoch_ms, &ending, shared)?;
                    Ok(())
                })?;
            }
        }

        work(self.workers, inboxes, shared.clone(), pool, self.limits, epochs)?;
        threads.join()
    }

    /// The accepted epochs and where they end; makes them by rule for a bounded run without a table.
    fn table(&self, run: &Run, from: &[(TopicPartition, i64)]) -> anyhow::Result<(Vec<EpochRecord>, Positions)> {
        let start: Positions = from.iter().copied().collect();
        let entries = epochs::read_table(&*self.log)?
            .context("topic epochs does not exist; `lsie topics create` makes the set")?;
        let (table, at) = epochs::accept(entries, start.clone());
        if !table.is_empty() || matches!(run, Run::Live(_)) {
            return Ok((table, at));
        }
        let made = epochs::by_rule(&*self.log, from, self.cut)?;
        let appender = self.log.fenced(COORDINATOR)?;
        for part in made.chunks(1_000) {
            appender.append(part.iter().map(EpochRecord::encode).collect())?;
        }
        Ok(epochs::accept(made, start))
    }
}

/// Runs the workers until their inputs end.
fn work(
    workers: usize,
    inboxes: Vec<Arc<Inbox>>,
    shared: Arc<Shared>,
    pool: Pool,
    limits: Limits,
    epochs: crossbeam_channel::Sender<commit::Epoch>,
) -> anyhow::Result<()> {
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let parts = Parts {
            inbox: inboxes[worker.index()].clone(),
            shared: shared.clone(),
            pool: pool.clone(),
            limits,
            epochs: epochs.clone(),
        };
        worker.dataflow(|scope| graph::build(scope, parts));
        while worker.has_dataflows() {
            worker.step_or_park(Some(PARK));
        }
    });
    let guards = guards.map_err(|why| anyhow::anyhow!("the workers did not start: {why}"))?;
    for result in guards.join() {
        result.map_err(|why| anyhow::anyhow!("a worker died: {why}"))?;
    }
    Ok(())
}

/// The threads of a run beside the workers; the first that fails ends the run.
struct Threads {
    shared: Arc<Shared>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    fn spawn(
        &mut self,
        name: &str,
        body: impl FnOnce(&Shared) -> anyhow::Result<()> + Send + 'static,
    ) -> anyhow::Result<()> {
        let shared = self.shared.clone();
        let label = name.to_string();
        let handle = std::thread::Builder::new().name(name.to_string()).spawn(move || {
            if let Err(error) = body(&shared) {
                shared.fail(format!("{label}: {error:#}"));
            }
        })?;
        self.handles.push(handle);
        Ok(())
    }

    fn join(self) -> anyhow::Result<()> {
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
