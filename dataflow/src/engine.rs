//! A run: threads, workers and sinks around one graph, from the first epoch to the last.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail};
use lsie_operators::align::Limits;
use lsie_schemas::log::{AppendRecord, Fetch, Log, TopicPartition};
use lsie_schemas::record::{EpochRecord, Healing, QuarantineRecord};
use lsie_schemas::{LogTime, Topic};
use lsie_sinks::Sink;

use crate::answers::Answers;
use crate::checkpoint::gate::{Gate, Rule};
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::store::Store;
use crate::checkpoint::writer::{Identity, Writer};
use crate::checkpoint::{Keep, Restored};
use crate::commit::{Committer, Message};
use crate::coordinator::{self, Drain};
use crate::crash_book::{CrashBook, Place};
use crate::epochs::{self, Cut, Positions, Table};
use crate::fault;
use crate::graph::{self, Parts};
use crate::gray_band::{Asker, Asking, GrayBand};
use crate::healing::{Heal, Selections};
use crate::ingest::{Inbox, Shared, owns};
use crate::judge::{Bench, JudgeFactory};
use crate::pool::{MeasurerFactory, Pool};
use crate::recovery::{self, Facts, Plan};
use crate::speech::{Scribe, SpeechPool, SpeechSettings, TranscriberFactory};
use crate::transcribe::{Answering, Hearing};

/// Name under which coordinators fence each other.
pub(crate) const COORDINATOR: &str = "lsie-coordinator";
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
    /// Makes what transcribes speech.
    pub transcriber: TranscriberFactory,
    /// How speech is transcribed.
    pub speech: SpeechSettings,
    /// Makes what judges what was said.
    pub judge: JudgeFactory,
    /// Makes what judges beside it, without effect.
    pub shadow: Option<JudgeFactory>,
    /// The language model that is asked about what the judge leaves open.
    pub gray_band: Option<GrayBand>,
    /// The limits of alignment.
    pub limits: Limits,
    /// How readers prefetch.
    pub fetch: Fetch,
    /// Bytes per worker ahead of the dataflow, and as many inside it.
    pub budget_bytes: usize,
    /// How epochs are cut.
    pub cut: Cut,
    /// Where checkpoints go, and when; without them a restart replays the log.
    pub checkpoints: Option<Checkpoints>,
    /// Topics whose records are left out although the table names them: an archive may be without them.
    pub without: BTreeSet<Topic>,
    /// A run that heals: it ends with an epoch more than the table has, and selections stay as they were made.
    pub heal: Option<Heal>,
}

/// How a run keeps its state.
pub struct Checkpoints {
    /// Where checkpoints lie.
    pub store: Store,
    /// Which epochs are checkpoints.
    pub rule: Rule,
    /// How many are kept.
    pub keep: usize,
    /// The hash of every setting that a result depends on.
    pub config: String,
    /// The folder in which a crash leaves its notes.
    pub crashes: PathBuf,
}

/// Which epochs a run takes.
#[derive(Clone)]
pub enum Run {
    /// Those of the table in a range of log time, or, if the log has no table, those made by rule.
    Bounded(Range),
    /// Those of the table, then new ones until the flag is set.
    Live(Arc<AtomicBool>),
}

/// A range of log time, both ends included. Sessions that began before it are left out; experiments and
/// their arms are taken from their beginning, rewards are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first epoch's log time at the earliest.
    pub from: LogTime,
    /// The last epoch's log time at the latest.
    pub until: LogTime,
}

impl Range {
    /// All there is.
    pub const ALL: Range = Range { from: LogTime(0), until: LogTime(u64::MAX) };
}

/// The epochs that a run takes, and the checkpoint that it resumes from, if it does.
type Beginning = (Vec<EpochRecord>, Option<(Manifest, Restored)>);

/// What topic `epochs` says besides the epochs.
struct Told {
    healings: Vec<Healing>,
    quarantined: BTreeSet<Place>,
}

impl Engine {
    /// Runs to the end. The sinks hold every epoch when this returns without an error.
    pub fn run(mut self, run: Run, sinks: Vec<Box<dyn Sink>>, shared: Arc<Shared>) -> anyhow::Result<()> {
        let mut from = epochs::input_partitions(&*self.log)?;
        // Earlier coordinators are fenced before the table is read: it cannot grow behind our back.
        let coordinating = match &run {
            Run::Live(_) => Some(self.log.fenced(COORDINATOR)?),
            Run::Bounded(_) => None,
        };
        let (mut table, at, Told { healings, mut quarantined }) = self.table(&run, &from)?;
        let healed = healings.last().map(|healing| healing.at);
        let selections = match &self.heal {
            Some(heal) => heal.selections.clone(),
            None => Arc::new(Selections::new(healings.into_iter().flat_map(|healing| healing.selections))),
        };
        let book = Arc::new(match (&self.checkpoints, &coordinating) {
            (Some(checkpoints), Some(_)) => CrashBook::open(&checkpoints.crashes)?,
            _ => CrashBook::blank(),
        });
        if let Some(coordinator) = &coordinating {
            let held = sinks.iter().filter_map(|sink| sink.committed()).max();
            quarantine(&book, &table, held, &**coordinator, &mut quarantined)?;
            book.watch()?;
        }
        let last = table.last().map_or(LogTime(0), |epoch| epoch.log_time);
        let answers = Answers::read(&*self.log, &table, coordinating.is_some())?;
        let mut left_out = BTreeSet::new();
        let mut resumed = None;
        match run {
            Run::Bounded(range) if range.from > LogTime(0) => {
                self.checkpoints = None;
                table.retain(|epoch| epoch.log_time <= range.until);
                let skipped = epochs::skip(&mut table, range.from);
                from.iter_mut().for_each(|(at, from)| *from = skipped.get(at).copied().unwrap_or(*from));
                left_out = epochs::begun_before(&*self.log, &skipped)?;
                for session in &left_out {
                    tracing::warn!(%session, "left out: it began before the range");
                }
                recovery::refuse_gaps(&table, &from)?;
            }
            _ => {
                (table, resumed) = self.resume(table, healed, &mut from, &sinks)?;
                if let Run::Bounded(range) = run {
                    table.retain(|epoch| epoch.log_time <= range.until);
                }
            }
        }
        if matches!(run, Run::Bounded(_)) {
            recovery::refuse_ends(&table, &*self.log)?;
        }
        let partitions = self.partition_counts()?;
        let gate =
            Arc::new(Gate::new(self.checkpoints.as_ref().map(|c| c.rule), from.iter().copied().collect()));
        let stations = Arc::new(AtomicUsize::new(0));
        let identity = |checkpoints: &Checkpoints| Identity {
            engine: format!("lsie {}", env!("CARGO_PKG_VERSION")),
            config: checkpoints.config.clone(),
            partitions: partitions.clone(),
            workers: self.workers,
        };
        let mut writer = self.checkpoints.take().map(|checkpoints| {
            let identity = identity(&checkpoints);
            Writer::new(checkpoints.store, gate.clone(), stations.clone(), identity, checkpoints.keep)
        });
        let (mut resumed_at, mut restored) = (LogTime(0), None);
        if let Some((manifest, state)) = resumed {
            gate.resume(manifest.epoch.0, &manifest.positions);
            shared.committed.store(manifest.epoch.0, Ordering::SeqCst);
            writer = writer.map(|writer| writer.after(&manifest, &state));
            resumed_at = manifest.epoch;
            restored = Some(Arc::new(state));
        }
        if let (Run::Bounded(_), Some(last)) = (&run, table.last()) {
            gate.end_at(last.log_time.0);
        }
        let budget = self.budget_bytes;
        // A live run that starts behind catches up before its log time follows the clock.
        let mut ends = Positions::new();
        for (partition, _) in from.iter().filter(|_| matches!(run, Run::Live(_))) {
            ends.insert(*partition, self.log.bounds(*partition)?.1);
        }
        let inboxes: Vec<Arc<Inbox>> = (0..self.workers)
            .map(|worker| {
                let owned = from.iter().filter(|(at, _)| owns(worker, self.workers, *at)).copied().collect();
                let inbox = Inbox::new(owned, budget, &ends).without(left_out.clone());
                Arc::new(inbox.behind_gate(gate.clone()))
            })
            .collect();
        // The run's own, unless the same were shared by two runs.
        let _ = shared.inboxes.set(inboxes.clone());
        let pool = Pool::start(self.pool_threads, self.measurer.clone(), &book, &shared)?;
        let speech = SpeechPool::start(self.speech.threads, &self.transcriber, &shared)?;
        let bench = Bench::start(self.judge.clone(), self.shadow.clone(), &shared)?;

        let mut threads = Threads { shared: shared.clone(), handles: Vec::new() };
        let (epochs, complete) = crossbeam_channel::unbounded();
        let keep = Keep {
            worker: 0,
            workers: self.workers,
            gate: gate.clone(),
            stations,
            parts: writer.is_some().then(|| epochs.clone()),
            resumed: resumed_at.0,
            restored: Arc::new(Mutex::new(restored)),
            shared: shared.clone(),
        };
        let committing = inboxes.clone();
        let calm = (last, book.clone());
        let committer =
            Committer { sinks, gate: gate.clone(), checkpoints: writer, resumed: resumed_at, calm };
        threads.spawn("commit", move |shared| committer.run(&complete, &committing, shared))?;
        for (worker, inbox) in inboxes.iter().enumerate() {
            let (inbox, log, fetch) = (inbox.clone(), self.log.clone(), self.fetch);
            threads
                .spawn(&format!("fetch-{worker}"), move |shared| Ok(inbox.fetch(&*log, fetch, shared)?))?;
        }
        let (answering, scribe) = match coordinating.is_some() {
            true => {
                let deadline = Duration::from_millis(self.speech.deadline_ms);
                let (scribe, write) = Scribe::new(speech, deadline);
                let log = self.log.clone();
                threads.spawn("scribe", move |shared| Ok(write(&*log, shared)?))?;
                (Answering::Live(scribe.clone()), Some(scribe))
            }
            false => (Answering::InRun(speech, self.speech.answer_delay_ms), None),
        };
        let answers = Arc::new(answers);
        let asker = match self.gray_band.clone().filter(|_| coordinating.is_some()) {
            Some(fallback) => {
                let (asker, work) = fallback.start();
                let log = self.log.clone();
                threads.spawn("gray-band", move |shared| Ok(work(&*log, shared)?))?;
                Some(asker)
            }
            None => None,
        };
        let gray_band = Asking::new(self.gray_band.is_some(), answers.clone(), asker.clone());
        let hearing = Hearing { answering, answers };
        shared.span.0.store(table.first().map_or(0, |epoch| epoch.log_time.0), Ordering::SeqCst);
        shared.span.1.store(last.0, Ordering::SeqCst);
        for epoch in table {
            inboxes.iter().for_each(|inbox| inbox.release(epoch.clone()));
        }
        match (run, coordinating) {
            (Run::Live(ending), Some(table)) => {
                let (inboxes, SpeechSettings { answer_delay_ms, deadline_ms, .. }) =
                    (inboxes.clone(), self.speech);
                let drain = Drain { answer_delay_ms, limit_ms: 2 * deadline_ms };
                let pace = (self.cut.epoch_ms, drain);
                threads.spawn("coordinator", move |shared| {
                    Ok(coordinator::run(&*table, &inboxes, at, last, pace, &gate, (&ending, shared))?)
                })?;
            }
            _ => inboxes.iter().for_each(|inbox| inbox.finish()),
        }

        let models = (pool, hearing, bench, gray_band);
        let told = (book.clone(), Arc::new(quarantined), selections);
        work(inboxes, models, (self.limits, partitions), told, epochs, keep)?;
        scribe.iter().for_each(Scribe::end);
        asker.iter().for_each(Asker::end);
        threads.join()?;
        book.close();
        Ok(())
    }

    /// Decides how the run begins, and prepares that: the epochs to take and the positions to read from.
    fn resume(
        &self,
        table: Vec<EpochRecord>,
        healed: Option<LogTime>,
        from: &mut [(TopicPartition, i64)],
        sinks: &[Box<dyn Sink>],
    ) -> anyhow::Result<Beginning> {
        let Some(checkpoints) = &self.checkpoints else {
            recovery::refuse_gaps(&table, from)?;
            return Ok((table, None));
        };
        let mut facts = Facts {
            sinks: sinks.iter().map(|sink| sink.resumable_after()).min().flatten(),
            partitions: self.partition_counts()?,
            config: checkpoints.config.clone(),
            table,
            healed,
            ..Facts::default()
        };
        for (at, _) in from.iter() {
            facts.bounds.insert(*at, self.log.bounds(*at)?);
        }
        let found = recovery::facts::gather(&checkpoints.store, &*self.log, &mut facts)?;
        fault::point("recovery.facts");
        match recovery::plan(&facts) {
            Plan::Fresh => Ok((facts.table, None)),
            Plan::ReplayFromStart { passed_over } => {
                for why in passed_over {
                    tracing::warn!(%why, "this checkpoint cannot be used; the log is replayed from its beginning");
                }
                Ok((facts.table, None))
            }
            Plan::Resume { manifest, passed_over } => {
                for why in passed_over {
                    tracing::warn!(%why, "this checkpoint cannot be used; an older one is");
                }
                let state = found.state(&manifest)?;
                tracing::info!(epoch = manifest.epoch.0, "resuming from a checkpoint");
                let rewind: Positions = manifest.positions.iter().map(|p| (p.at, p.rewind)).collect();
                from.iter_mut().for_each(|(at, from)| *from = rewind.get(at).copied().unwrap_or(*from));
                Ok((recovery::epochs_from(&manifest, facts.table), Some((*manifest, state))))
            }
            Plan::Refuse { why, mend } => bail!("{why}; {mend}"),
        }
    }

    fn partition_counts(&self) -> anyhow::Result<BTreeMap<Topic, i32>> {
        let mut counts = BTreeMap::new();
        for topic in crate::ingest::INPUTS {
            counts.extend(self.log.topic(topic)?.map(|state| (topic, state.partitions)));
        }
        Ok(counts)
    }

    /// The accepted epochs, where they end, and the records in quarantine; makes the epochs by rule for a
    /// bounded run without a table.
    fn table(
        &self,
        run: &Run,
        from: &[(TopicPartition, i64)],
    ) -> anyhow::Result<(Vec<EpochRecord>, Positions, Told)> {
        let Table { mut entries, quarantined, mut healings } = epochs::read_table(&*self.log)?
            .context("topic epochs does not exist; `lsie topics create` makes the set")?;
        if entries.is_empty() && matches!(run, Run::Bounded(_)) {
            entries = epochs::by_rule(&*self.log, from, self.cut)?;
            // One append: a table is there whole or not at all.
            self.log.fenced(COORDINATOR)?.append(entries.iter().map(EpochRecord::encode).collect())?;
        }
        let (mut table, mut at) = epochs::accept(entries);
        for epoch in &mut table {
            epoch.ranges.retain(|range| !self.without.contains(&range.at.topic));
        }
        for (partition, start) in from {
            at.entry(*partition).or_insert(*start);
        }
        healings.retain(|healing| table.iter().any(|epoch| epoch.log_time == healing.at));
        let healing = self.heal.iter().map(|heal| heal.at);
        let last = table.last().map(|epoch| epoch.log_time);
        table.extend(
            healing
                .filter(|at| last < Some(*at))
                .map(|log_time| EpochRecord { log_time, ranges: Vec::new() }),
        );
        Ok((table, at, Told { healings, quarantined }))
    }
}

/// Puts the records into quarantine over which the process has died too often. One that has had its effect
/// already stays as it is: a replay would give other results.
fn quarantine(
    book: &CrashBook,
    table: &[EpochRecord],
    held: Option<LogTime>,
    coordinator: &dyn AppendRecord,
    quarantined: &mut BTreeSet<Place>,
) -> anyhow::Result<()> {
    let created = table.last().map_or(LogTime(0), |epoch| epoch.log_time);
    for ((at, offset), crashes) in book.guilty() {
        let epoch = epochs::epoch_of(table, at, offset);
        if epoch.is_none_or(|epoch| Some(epoch) <= held) {
            tracing::error!(%at, offset, crashes, "the process dies over this record, whose results are in the tables already");
            continue;
        }
        tracing::error!(%at, offset, crashes, "the process has died over this record too often; it is filed from now on");
        coordinator.append(vec![QuarantineRecord { at, offset, crashes }.encode(created)])?;
        quarantined.insert((at, offset));
    }
    Ok(())
}

/// Runs the workers until their inputs end.
fn work(
    inboxes: Vec<Arc<Inbox>>,
    (pool, hearing, bench, gray_band): (Pool, Hearing, Bench, Asking),
    (limits, partitions): (Limits, BTreeMap<Topic, i32>),
    (book, quarantined, selections): (Arc<CrashBook>, Arc<BTreeSet<Place>>, Arc<Selections>),
    epochs: crossbeam_channel::Sender<Message>,
    keep: Keep,
) -> anyhow::Result<()> {
    let built = AtomicUsize::new(0);
    let guards = timely::execute(timely::Config::process(keep.workers), move |worker| {
        let shared = keep.shared.clone();
        let parts = Parts {
            inbox: inboxes[worker.index()].clone(),
            shared: shared.clone(),
            pool: pool.clone(),
            hearing: hearing.clone(),
            bench: bench.clone(),
            gray_band: gray_band.clone(),
            limits,
            partitions: partitions.clone(),
            selections: selections.clone(),
            book: book.clone(),
            quarantined: quarantined.clone(),
            epochs: epochs.clone(),
            keep: Keep { worker: worker.index(), ..keep.clone() },
        };
        let stepped = catch_unwind(AssertUnwindSafe(|| {
            let (board, index) = (shared.board.clone(), worker.index());
            board.building(index, || worker.dataflow(|scope| graph::build(scope, parts)));
            if built.fetch_add(1, Ordering::SeqCst) + 1 == keep.workers {
                fault::point("recovery.restored");
                keep.forget_restored();
            }
            while worker.has_dataflows() && !shared.stopped() {
                worker.step_or_park(Some(PARK));
            }
        }));
        if stepped.is_err() {
            shared.fail(format!("worker {} panicked", worker.index()));
        }
        // After a failure epochs stay open for ever: nothing of them may be waited for.
        for dataflow in worker.installed_dataflows() {
            worker.drop_dataflow(dataflow);
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
            let ended = catch_unwind(AssertUnwindSafe(|| body(&shared)));
            match ended.unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked"))) {
                Ok(()) => {}
                Err(error) => shared.fail(format!("{label}: {error:#}")),
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
