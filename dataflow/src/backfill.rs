//! A backfill of the analytics alone: facts are taken from the tables of an earlier run as they are, and what is made of
//! them is computed anew. Of the log only topic `epochs` is read, so that media and models may be gone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, ensure};
use crossbeam_channel::{Sender, bounded};
use lsie_schemas::log::Log;
use lsie_schemas::row::{
    DeadLetterRow, EncounterRow, JudgementRow, LagScanRow, ReactionRow, SegmentRow, table,
};
use lsie_schemas::{LogTime, Real, TableRow};
use lsie_sinks::difference::difference;
use lsie_sinks::erase::Erased;
use lsie_sinks::parquet::Reader;
use lsie_sinks::{Catalog, Sink};
use timely::dataflow::InputHandleVec;
use timely::dataflow::operators::Input;
use timely::worker::Worker;
use uuid::Uuid;

use crate::adapter::Time;
use crate::checkpoint::Keep;
use crate::checkpoint::gate::Gate;
use crate::commit::{Committer, Message, Written};
use crate::crash_book::CrashBook;
use crate::epochs::{self, Positions, Table, Told};
use crate::graph::backfill::{COMPUTED, READ, build};
use crate::healing::rows;
use crate::ingest::Shared;
use crate::workers::{self, Threads};

/// So many epochs are in the dataflow at most.
const AHEAD: usize = 64;
/// How long a worker sleeps at most while the others work.
const PARK: Duration = Duration::from_millis(10);

/// The facts of an earlier run, and the epochs at which they were known.
#[derive(Debug)]
pub struct Backfill {
    facts: Reader,
    catalog: Catalog,
    epochs: Vec<LogTime>,
    erased: Erased,
}

impl Backfill {
    /// Opens the tables in a directory; refused where they do not hold all facts, or are not of this log.
    pub fn open(log: &dyn Log, dir: &Path) -> anyhow::Result<Backfill> {
        let facts = Reader::open(dir).with_context(|| format!("the tables in {}", dir.display()))?;
        has_all_facts(&facts)?;
        let Table { entries, told: Told { healings, erasures, .. } } = epochs::read_table(log)?
            .context("the log has no topic epochs, which says when facts were known")?;
        let dir = dir.display();
        let committed = facts.committed().with_context(|| format!("{dir} holds no epoch"))?;
        let (accepted, _) = epochs::accept(entries);
        let epochs: Vec<LogTime> =
            accepted.iter().map(|epoch| epoch.log_time).filter(|at| *at <= committed).collect();
        ensure!(
            epochs.last() == Some(&committed),
            "{dir} ends at epoch {}, which the log does not have: these tables are of another log",
            committed.0
        );
        let healed: BTreeSet<LogTime> = healings.iter().map(|healing| healing.at).collect();
        for change in facts.changes(&DeadLetterRow::TABLE) {
            let change = change?;
            // A letter goes only when it is healed; a replay after that never has it.
            ensure!(
                change.diff > 0 || !healed.contains(&change.epoch),
                "{dir} was healed at epoch {}: when its facts would have been known otherwise it does not say. Replay the \
                 log, while its media are there, and take the tables of that",
                change.epoch.0
            );
        }
        let mut erased = Erased::default();
        if !erasures.is_empty() {
            tracing::warn!(
                sessions = erasures.len(),
                "sessions were erased: nothing of a person goes on, and what their rewards did is there only if their facts are"
            );
        }
        erasures.into_iter().for_each(|erasure| erased.add(erasure.session_id, erasure.events));
        let views = COMPUTED.iter().copied().filter(|name| !READ.contains(name)).collect::<Vec<_>>();
        Ok(Backfill { facts, catalog: Catalog::all().without(&views), epochs, erased })
    }

    /// Computes the analytics on so many workers, into these sinks.
    pub fn run(self, workers: usize, sinks: Vec<Box<dyn Sink>>, shared: &Arc<Shared>) -> anyhow::Result<()> {
        let [first, last] =
            [self.epochs.first(), self.epochs.last()].map(|at| at.copied().unwrap_or(LogTime(0)));
        shared.span.0.store(first.0, Ordering::SeqCst);
        shared.span.1.store(last.0, Ordering::SeqCst);
        let mut threads = Threads::of(shared);
        let (epochs, complete) = bounded(AHEAD);
        let gate = Arc::new(Gate::new(None, Positions::new()));
        let committer = Committer {
            sinks,
            gate,
            checkpoints: None,
            erased: self.erased.clone(),
            resumed: LogTime(0),
            calm: (last, Arc::new(CrashBook::blank())),
            speaking: None,
        };
        threads.spawn("commit", move |shared| committer.run(&complete, &[], shared))?;
        let keep = Keep::nothing(0, workers, shared.clone());
        let guards = workers::start(timely::Config::process(workers), move |worker| {
            let keep = Keep { worker: worker.index(), ..keep.clone() };
            workers::guarded(worker, &keep.shared, |worker| self.work(worker, &keep, epochs.clone()));
        })?;
        workers::ended(guards)?;
        threads.join()
    }

    /// One worker. The first one reads; exchanges hand on what the others have to do.
    fn work(&self, worker: &mut Worker, keep: &Keep, epochs: Sender<Message>) -> anyhow::Result<()> {
        let (shared, index) = (&keep.shared, worker.index());
        let mut ticks: InputHandleVec<Time, _> = InputHandleVec::new();
        let (mut read, mut others) = (InputHandleVec::new(), InputHandleVec::new());
        let probe = shared.board.building(index, || {
            worker.dataflow(|scope| {
                let ticks = scope.input_from(&mut ticks);
                let (read, others) = (scope.input_from(&mut read), scope.input_from(&mut others));
                build(ticks, read, others, keep, epochs)
            })
        });
        let mut changed = (index == 0).then(|| self.facts.epochs(&self.catalog, None).peekable());
        for (n, at) in self.epochs.iter().enumerate() {
            ticks.advance_to(at.0);
            read.advance_to(at.0);
            others.advance_to(at.0);
            while n % AHEAD == 0 && probe.less_than(&at.0) && !shared.stopped() {
                worker.step_or_park(Some(PARK));
            }
            if shared.stopped() {
                return Ok(());
            }
            ticks.send(Written::Tick(at.0));
            let is_due =
                |epoch: &Result<(LogTime, _), _>| epoch.as_ref().map_or(true, |(epoch, _)| epoch <= at);
            while let Some(epoch) = changed.as_mut().and_then(|changed| changed.next_if(is_due)) {
                let (epoch, changes) = epoch.context("the tables")?;
                let dir = self.facts.dir().display();
                ensure!(epoch == *at, "{dir} has epoch {}, which the log does not have", epoch.0);
                for change in changes {
                    if READ.contains(&change.table.as_ref()) {
                        read.send(change.clone());
                    }
                    if !COMPUTED.contains(&change.table.as_ref()) {
                        others.send(Written::Change(change));
                    }
                }
            }
        }
        drop((ticks, read, others));
        while worker.has_dataflows() && !shared.stopped() {
            worker.step_or_park(Some(PARK));
        }
        Ok(())
    }
}

/// Refuses tables in which facts are missing: those of a version that did not keep all of them, also if a later version went on
/// with them.
fn has_all_facts(facts: &Reader) -> anyhow::Result<()> {
    let dir = facts.dir().display();
    for name in READ {
        let table = table(name).with_context(|| format!("there is no table {name}"))?;
        ensure!(facts.has(table)?, "{dir} has no table {name}: {LACKS}");
    }
    let reactions: BTreeSet<_> = rows::<ReactionRow>(facts)?
        .iter()
        .map(|row| (row.session_id, Real::finite(row.stimulus_utc.seconds())))
        .collect();
    let judged: BTreeSet<_> = rows::<JudgementRow>(facts)?
        .iter()
        .map(|row| (row.session_id, Real::finite(row.stimulus_utc.seconds())))
        .collect();
    let scanned: BTreeSet<(Uuid, String)> =
        rows::<LagScanRow>(facts)?.into_iter().map(|row| (row.session_id, row.segment_id)).collect();
    for row in rows::<EncounterRow>(facts)? {
        let stimulus = (row.session_id, row.stimulus_time);
        let known = reactions.contains(&stimulus) && judged.contains(&stimulus);
        ensure!(known, "{dir} has an encounter of session {} without its facts: {LACKS}", row.session_id);
    }
    for row in rows::<SegmentRow>(facts)? {
        let (session, segment) = (row.session_id, row.segment_id);
        ensure!(
            scanned.contains(&(session, segment)),
            "{dir} has a segment of session {session} without its lag scan: {LACKS}"
        );
    }
    Ok(())
}

/// Why facts are missing, and what to do.
const LACKS: &str = "a version made it that did not keep all facts. Replay the log, while its media are there, and take the tables of that";

/// How what was computed compares with what the earlier run had: of each table that differs, how many rows came and went;
/// none of a table that had other columns.
pub fn compared(facts: &Path, now: &Path) -> anyhow::Result<BTreeMap<String, Option<(u64, u64)>>> {
    let (before, now) = (Reader::open(facts)?, Reader::open(now)?);
    let mut found = BTreeMap::new();
    for table in Catalog::all().tables() {
        if before.has(table).is_err() {
            found.insert(table.name.to_owned(), None);
            continue;
        }
        let (mut came, mut went) = (0, 0);
        for change in difference(&before, &now, &Catalog::new(&[*table]), LogTime(0))? {
            *(if change.diff > 0 { &mut came } else { &mut went }) += change.diff.unsigned_abs();
        }
        if came + went > 0 {
            found.insert(table.name.to_owned(), Some((came, went)));
        }
    }
    Ok(found)
}
