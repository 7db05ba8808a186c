//! A run: threads, workers and sinks around one graph, from the first epoch to the last.

mod assemble;
mod beginning;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::Context;
use crossbeam_channel::{bounded, unbounded};
use lsie_operators::align::Limits;
use lsie_schemas::log::{AppendRecord, Fetch, Log, LogError, TopicPartition};
use lsie_schemas::record::{EpochRecord, QuarantineRecord};
use lsie_schemas::{LogTime, Topic};
use lsie_sinks::Sink;
use lsie_sinks::erase::Erased;

use crate::answers::{self, Answers};
use crate::checkpoint::Restored;
use crate::checkpoint::gate::{Gate, Rule};
use crate::checkpoint::keeper::Keeper;
use crate::checkpoint::state_file::StateFile;
use crate::checkpoint::store::Store;
use crate::checkpoint::writer::{Identity, Writer};
use crate::cluster::hub::{Ear, Hub, Quarantining};
use crate::cluster::member::Member;
use crate::cluster::wire::Wire;
use crate::cluster::{Begin, Cluster, Packet, notice_lost_processes};
use crate::commit::Committer;
use crate::coordinator::{self, Drain, Intake};
use crate::crash_book::{CrashBook, Place};
use crate::epochs::{self, Cut, Positions};
use crate::healing::{Heal, Selections};
use crate::ingest::Shared;
use crate::judge::JudgeFactory;
use crate::language_model::LanguageModel;
use crate::pool::MeasurerFactory;
use crate::recorded::Inferring;
use crate::recovery;
use crate::speech::{SpeechSettings, TranscriberFactory};
use crate::watchdog::{self, watch};
use crate::workers::{Among, Begun, Threads, work};
use assemble::Writers;
use beginning::Known;

/// Name under which coordinators fence each other.
pub(crate) const COORDINATOR: &str = "lsie-coordinator";

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
    pub judge: Option<JudgeFactory>,
    /// Whether it is also asked about reduced utterances, without effect.
    pub reduced: bool,
    /// Makes what judges beside it, without effect.
    pub shadow: Option<JudgeFactory>,
    /// The language model that is asked about what the judge leaves open; without a judge, about everything.
    pub language_model: Option<LanguageModel>,
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
    /// Where the results of models come from, in a bounded run.
    pub inferring: Inferring,
    /// The processes of the run, if it has several.
    pub cluster: Option<Cluster>,
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

impl Checkpoints {
    /// State kept alike in another store.
    pub(crate) fn moved(&self, store: Store) -> Checkpoints {
        let Checkpoints { rule, keep, ref config, ref crashes, .. } = *self;
        Checkpoints { store, rule, keep, config: config.clone(), crashes: crashes.clone() }
    }
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

/// What keeps the state of this process's part of the graph.
struct Kept {
    gate: Arc<Gate>,
    stations: Arc<AtomicUsize>,
    restored: Option<Arc<Restored>>,
}

impl Engine {
    /// Runs to the end. The sinks hold every epoch when this returns without an error. In a cluster this is the
    /// first process; the others [follow](Engine::follow).
    pub fn run(mut self, run: Run, sinks: Vec<Box<dyn Sink>>, shared: Arc<Shared>) -> anyhow::Result<()> {
        let mut from = epochs::input_partitions(&*self.log)?;
        // Earlier coordinators are fenced before the table is read: it cannot grow behind our back.
        let coordinating: Option<Arc<dyn AppendRecord>> = match &run {
            Run::Live(_) => Some(self.log.fenced(COORDINATOR)?.into()),
            Run::Bounded(_) => None,
        };
        if matches!(run, Run::Bounded(range) if range.from > LogTime(0)) {
            self.checkpoints = None;
        }
        let (Known { mut table, mut at, mut told }, decision) = self.decided(&run, &from, &sinks)?;
        for (partition, start) in &from {
            at.entry(*partition).or_insert(*start);
        }
        let selections = match &self.heal {
            Some(heal) => heal.selections.clone(),
            None => {
                let made = told.healings.iter().flat_map(|healing| healing.selections.iter().cloned());
                Arc::new(Selections::new(made))
            }
        };
        let mut erased = Erased::default();
        told.erasures
            .iter()
            .for_each(|erasure| erased.add(erasure.session_id, erasure.events.iter().copied()));
        let last = table.last().map_or(LogTime(0), |epoch| epoch.log_time);
        let answered = answers::Ends::of(&table);
        let judge = coordinating.clone().map(|coordinator| Quarantine {
            table: table.clone(),
            held: sinks.iter().filter_map(|sink| sink.committed()).max(),
            coordinator,
        });
        let mut left_out = BTreeSet::new();
        let mut resumed = None;
        match run {
            Run::Bounded(range) if range.from > LogTime(0) => {
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
                (table, resumed) = beginning::carry_out(table, decision, &mut from)?;
                if let Run::Bounded(range) = run {
                    table.retain(|epoch| epoch.log_time <= range.until);
                }
            }
        }
        let book = Arc::new(match (&self.checkpoints, &coordinating) {
            (Some(checkpoints), Some(_)) => CrashBook::open(&checkpoints.crashes)?,
            _ => CrashBook::blank(),
        });
        let mut quarantine = None;
        if let Some(judge) = judge {
            judge.put(book.guilty(), &mut told.quarantined)?;
            book.watch()?;
            quarantine = self.cluster.is_some().then_some(judge);
        }
        let begun: Positions = from.iter().copied().collect();
        let answers = Answers::read(&*self.log, &answered, coordinating.is_some(), &begun)?;
        if matches!(run, Run::Bounded(_)) {
            recovery::refuse_ends(&table, &*self.log)?;
        }
        if let (Inferring::Recorded(known), Some(last)) = (&self.inferring, table.last()) {
            known.reach(last.log_time)?;
        }
        // A live run that starts behind catches up before its log time follows the clock.
        let ends = if coordinating.is_some() { ends_of(&*self.log, &from)? } else { Positions::new() };
        let resumed_at = resumed.as_ref().map_or(LogTime(0), |(manifest, _)| manifest.epoch);
        let begin = Begin {
            live: coordinating.is_some(),
            last,
            ends,
            partitions: self.partition_counts()?,
            left_out,
            resumed: resumed_at,
            checkpoints: self.checkpoints.is_some(),
            quarantined: told.quarantined.clone(),
            selections: selections.made(),
            answers,
            from,
        };

        let partitions: Vec<TopicPartition> = begin.from.iter().map(|(at, _)| *at).collect();
        let (over, is_over) = bounded::<()>(0);
        let rule = self.checkpoints.as_ref().map(|checkpoints| checkpoints.rule);
        let mut gate = Gate::new(rule, begin.from.iter().copied().collect());
        let hub = self.cluster.as_ref().map(|cluster| {
            notice_lost_processes(&shared, &book);
            Hub::new(cluster, self.workers, &at, &shared)
        });
        if let Some((hub, ..)) = &hub {
            let hub = hub.clone();
            gate = gate.telling(move |passing| hub.passed(passing));
        }
        let (gate, stations) = (Arc::new(gate), Arc::new(AtomicUsize::new(0)));
        let mut writer = self.checkpoints.take().map(|checkpoints| {
            let identity = Identity {
                engine: format!("lsie {}", env!("CARGO_PKG_VERSION")),
                config: checkpoints.config,
                partitions: begin.partitions.clone(),
                workers: self.workers,
                processes: self.processes(),
                // What other processes have died over is put into quarantine when all are there.
                told: self.cluster.is_none().then_some(told),
            };
            Writer::new(checkpoints.store, gate.clone(), stations.clone(), identity, checkpoints.keep)
        });
        let mut kept = Kept { gate: gate.clone(), stations, restored: None };
        if let Some((manifest, state)) = resumed {
            gate.resume(manifest.epoch.0, &manifest.positions);
            shared.committed.store(manifest.epoch.0, Ordering::SeqCst);
            writer = writer.map(|writer| writer.after(&manifest, &state));
            kept.restored = Some(Arc::new(state));
        }
        if let (Run::Bounded(_), Some(last)) = (&run, table.last()) {
            gate.end_at(last.log_time.0);
        }

        let mut threads = Threads::of(&shared);
        let (epochs, complete) = unbounded();
        let others = hub.is_some().then(|| (begin.clone(), kept.restored.clone(), epochs.clone()));
        let (local, writers) = self.assemble(begin, selections, kept, &book, epochs, &mut threads)?;
        let inboxes = local.inboxes.clone();
        let committing = inboxes.clone();
        let calm = (last, book.clone());
        let speaking = hub.as_ref().map(|(hub, ..)| hub.clone());
        let checkpoints = match writer {
            Some(writer) => {
                let (handing, handed) = unbounded();
                let keeper = Keeper { writer, speaking: speaking.clone() };
                threads.spawn("checkpoints", move |shared| keeper.run(&handed, shared))?;
                Some(handing)
            }
            None => None,
        };
        let committer =
            Committer { sinks, gate: gate.clone(), checkpoints, erased, resumed: resumed_at, calm, speaking };
        threads.spawn("commit", move |shared| committer.run(&complete, &committing, shared))?;
        shared.span.0.store(table.first().map_or(0, |epoch| epoch.log_time.0), Ordering::SeqCst);
        shared.span.1.store(last.0, Ordering::SeqCst);
        for epoch in table {
            inboxes.iter().for_each(|inbox| inbox.release(epoch.clone()));
        }
        let signal = match &run {
            Run::Live(ending) => Some(ending.clone()),
            Run::Bounded(_) => None,
        };
        match (run, coordinating) {
            (Run::Live(ending), Some(table)) => {
                let mut intakes: Vec<Arc<dyn Intake>> = Vec::new();
                intakes.extend(inboxes.iter().map(|inbox| inbox.clone() as Arc<dyn Intake>));
                intakes.extend(hub.iter().flat_map(|(hub, ..)| hub.intakes()));
                let SpeechSettings { answer_delay_ms, deadline_ms, .. } = self.speech;
                let drain = Drain { answer_delay_ms, limit_ms: 2 * deadline_ms };
                let (pace, watched) = ((self.cut.epoch_ms, drain), gate.clone());
                let asking = watchdog::ask(&self.log, partitions, shared.clone())?;
                threads.spawn("watchdog", move |shared| {
                    watch(&asking, &watched, &is_over, shared);
                    Ok(())
                })?;
                let gate = gate.clone();
                threads.spawn("coordinator", move |shared| {
                    Ok(coordinator::run(&*table, &intakes, at, last, pace, &gate, (&ending, shared))?)
                })?;
            }
            _ => inboxes.iter().for_each(|inbox| inbox.finish()),
        }

        let (begun, workers) = (Arc::new(Begun::default()), self.workers);
        let mut among = None;
        match (self.cluster.clone(), hub, others) {
            (Some(cluster), Some((hub, plug, arrivals)), Some((begin, restored, epochs))) => {
                let state = restored.map(|restored| restored.state.encode()).transpose()?;
                let (handing, log, partitions) = (begun.clone(), self.log.clone(), begin.from.clone());
                let is_live = begin.live;
                let ready = move |quarantined| {
                    let mut local = local;
                    local.told.1 = Arc::new(quarantined);
                    let ends = if is_live { ends_of(&*log, &partitions)? } else { Positions::new() };
                    inboxes.iter().for_each(|inbox| inbox.open(&ends));
                    handing.begin(local, workers);
                    Ok(())
                };
                let quarantine: Box<Quarantining> = Box::new(move |guilty, known| {
                    quarantine.as_ref().map_or(Ok(()), |judge| judge.put(guilty.into_iter(), known))
                });
                let config = cluster.config.clone();
                let ready = Box::new(ready);
                let ear =
                    Ear { begin, state, gate, epochs, ending: signal, ready, quarantine, config, workers };
                among = Some(Among { cluster, plug, closes: Some(hub.wire()) });
                threads.spawn("cluster", move |shared| hub.listen(ear, &arrivals, shared))?;
            }
            _ => begun.begin(local, workers),
        }
        work(workers, begun, among, &shared)?;
        drop(over);
        writers.end();
        threads.join()?;
        book.close();
        Ok(())
    }

    /// Runs as a process other than the first, until that one ends the run. A signal is passed on to it.
    pub fn follow(self, ending: Arc<AtomicBool>, shared: Arc<Shared>) -> anyhow::Result<()> {
        let cluster = self.cluster.clone().context("a run of one process has none that follows")?;
        let book = match &self.checkpoints {
            Some(checkpoints) => CrashBook::open(&checkpoints.crashes.join(cluster.process.to_string()))?,
            None => CrashBook::blank(),
        };
        let book = Arc::new(book);
        book.watch()?;
        notice_lost_processes(&shared, &book);
        let (wire, plug, arrivals) = Wire::new(cluster.process, self.workers, &shared);
        let member = Arc::new(Member::new(wire, book.clone(), ending));
        member.greet(cluster.config.clone());
        let mut threads = Threads::of(&shared);
        let begun = Arc::new(Begun::default());
        let (workers, waiting, running) = (self.workers, begun.clone(), shared.clone());
        threads.spawn("workers", move |_| {
            work(workers, waiting, Some(Among { cluster, plug, closes: None }), &running)
        })?;
        let (over, is_over) = unbounded::<()>();
        let telling = member.clone();
        threads.spawn("tell", move |shared| {
            telling.tell(&is_over, shared);
            Ok(())
        })?;
        let mut writers = Writers::default();
        for (_, packet) in arrivals {
            let Packet::Begin(mut begin, state) = packet else {
                member.obey(packet, &shared);
                continue;
            };
            let (epochs, parts) = unbounded();
            let handing = member.clone();
            threads.spawn("parts", move |_| Ok(handing.hand_on(&parts)?))?;
            shared.committed.store(begin.resumed.0, Ordering::SeqCst);
            let (epoch, last, is_live) = (begin.resumed.0, begin.last, begin.live);
            if is_live {
                begin.ends = ends_of(&*self.log, &begin.from)?;
            }
            let state = state.map(|bytes| StateFile::decode(&bytes)).transpose()?;
            let restored = state.map(|state| Arc::new(Restored { epoch, state, weight: 0 }));
            let kept = Kept { gate: member.gate.clone(), stations: Arc::default(), restored };
            let selections = Arc::new(Selections::new(begin.selections.iter().cloned()));
            let (local, writing) = self.assemble(*begin, selections, kept, &book, epochs, &mut threads)?;
            writers = writing;
            member.begin(local.inboxes.clone(), last, is_live);
            begun.begin(local, workers);
        }
        drop(over);
        writers.end();
        threads.join()?;
        book.close();
        Ok(())
    }

    fn is_first_of_several(&self) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| !cluster.is_member())
    }

    fn processes(&self) -> usize {
        self.cluster.as_ref().map_or(1, Cluster::processes)
    }

    fn partition_counts(&self) -> anyhow::Result<BTreeMap<Topic, i32>> {
        let mut counts = BTreeMap::new();
        for topic in crate::ingest::INPUTS {
            counts.extend(self.log.topic(topic)?.map(|state| (topic, state.partitions)));
        }
        Ok(counts)
    }
}

/// Where partitions end now.
fn ends_of(log: &dyn Log, partitions: &[(TopicPartition, i64)]) -> Result<Positions, LogError> {
    let partitions: Vec<TopicPartition> = partitions.iter().map(|(at, _)| *at).collect();
    Ok(log.bounds_of(&partitions)?.into_iter().map(|(at, (_, end))| (at, end)).collect())
}

/// Puts the records into quarantine over which a process has died too often.
struct Quarantine {
    table: Vec<EpochRecord>,
    /// The newest epoch that a sink holds.
    held: Option<LogTime>,
    coordinator: Arc<dyn AppendRecord>,
}

impl Quarantine {
    /// One that has had its effect already stays as it is: a replay would give other results.
    fn put(
        &self,
        guilty: impl Iterator<Item = (Place, u32)>,
        quarantined: &mut BTreeSet<Place>,
    ) -> anyhow::Result<()> {
        let created = self.table.last().map_or(LogTime(0), |epoch| epoch.log_time);
        for ((at, offset), crashes) in
            guilty.filter(|(place, _)| !quarantined.contains(place)).collect::<Vec<_>>()
        {
            let epoch = epochs::epoch_of(&self.table, at, offset);
            if epoch.is_none_or(|epoch| Some(epoch) <= self.held) {
                tracing::error!(%at, offset, crashes, "the process dies over this record, whose results are in the tables already");
                continue;
            }
            tracing::error!(%at, offset, crashes, "the process has died over this record too often; it is filed from now on");
            self.coordinator.append(vec![QuarantineRecord { at, offset, crashes }.encode(created)])?;
            quarantined.insert((at, offset));
        }
        Ok(())
    }
}
