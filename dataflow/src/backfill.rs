//! A backfill of the analytics alone: facts are taken from the tables of an earlier run as they are, and every view over
//! them is computed anew. Of the log only topic `epochs` is read, so that media and models may be gone.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, ensure};
use crossbeam_channel::bounded;
use lsie_schemas::log::Log;
use lsie_schemas::{LogTime, row};
use lsie_sinks::difference::difference;
use lsie_sinks::erase::Erased;
use lsie_sinks::parquet::Reader;
use lsie_sinks::{Catalog, Sink};
use timely::dataflow::InputHandleVec;
use timely::dataflow::operators::Input;

use crate::adapter::Time;
use crate::checkpoint::Keep;
use crate::checkpoint::gate::Gate;
use crate::commit::{Committer, Written};
use crate::crash_book::CrashBook;
use crate::epochs::{self, Positions, Table};
use crate::graph::backfill::{COMPUTED, READ, build};
use crate::ingest::Shared;
use crate::workers::Threads;

/// So many epochs are in the dataflow at most.
const AHEAD: usize = 64;

/// Computes the analytics over the facts in a directory, on so many workers, up to the last epoch that it holds.
pub fn analytics(
    log: &dyn Log,
    facts: &Path,
    workers: usize,
    sinks: Vec<Box<dyn Sink>>,
    shared: &Arc<Shared>,
) -> anyhow::Result<()> {
    let reader = Reader::open(facts).with_context(|| format!("the tables in {}", facts.display()))?;
    let table = table(log, &reader)?;
    let (first, last) =
        (table.first().copied().unwrap_or(LogTime(0)), table.last().copied().unwrap_or(LogTime(0)));
    shared.span.0.store(first.0, Ordering::SeqCst);
    shared.span.1.store(last.0, Ordering::SeqCst);

    let mut threads = Threads::of(shared);
    let (epochs, complete) = bounded(AHEAD);
    let gate = Arc::new(Gate::new(None, Positions::new()));
    let committer = Committer {
        sinks,
        gate: gate.clone(),
        checkpoints: None,
        erased: Erased::default(),
        resumed: LogTime(0),
        calm: (last, Arc::new(CrashBook::blank())),
        speaking: None,
    };
    threads.spawn("commit", move |shared| committer.run(&complete, &[], shared))?;
    let keep = Keep {
        worker: 0,
        workers,
        gate,
        stations: Arc::default(),
        parts: None,
        resumed: 0,
        restored: Arc::default(),
        shared: shared.clone(),
    };
    let (reader, table) = (Arc::new(reader), Arc::new(table));
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let mut ticks: InputHandleVec<Time, _> = InputHandleVec::new();
        let (mut rows, mut others) = (InputHandleVec::new(), InputHandleVec::new());
        let keep = Keep { worker: worker.index(), ..keep.clone() };
        let shared = keep.shared.clone();
        let index = worker.index();
        let probe = shared.board.building(index, || {
            worker.dataflow(|scope| {
                let ticks = scope.input_from(&mut ticks);
                let (rows, others) = (scope.input_from(&mut rows), scope.input_from(&mut others));
                build(ticks, rows, others, &keep, epochs.clone())
            })
        });
        let catalog = Catalog::all();
        // One worker reads; exchanges hand on what the others have to do.
        let mut changed = (index == 0).then(|| reader.epochs(&catalog, None).peekable());
        for (n, at) in table.iter().enumerate() {
            ticks.advance_to(at.0);
            rows.advance_to(at.0);
            others.advance_to(at.0);
            if n % AHEAD == 0 {
                worker.step_while(|| probe.less_than(&at.0) && !shared.stopped());
            }
            if shared.stopped() {
                break;
            }
            ticks.send(Written::Tick(at.0));
            let due = |epoch: &Result<(LogTime, _), _>| epoch.as_ref().map_or(true, |(epoch, _)| epoch <= at);
            while let Some(epoch) = changed.as_mut().and_then(|changed| changed.next_if(due)) {
                let changes = match epoch {
                    Ok((epoch, changes)) if epoch == *at => changes,
                    Ok((epoch, _)) => {
                        shared.fail(format!(
                            "the log has no epoch {}: these tables are of another log",
                            epoch.0
                        ));
                        break;
                    }
                    Err(error) => {
                        shared.fail(format!("the tables: {error}"));
                        break;
                    }
                };
                for change in changes {
                    if READ.contains(&change.table.as_ref()) {
                        rows.send(change.clone());
                    }
                    if !COMPUTED.contains(&change.table.as_ref()) {
                        others.send(Written::Change(change));
                    }
                }
            }
        }
        drop((ticks, rows, others));
        while worker.has_dataflows() && !shared.stopped() {
            worker.step_or_park(None);
        }
        for dataflow in worker.installed_dataflows() {
            worker.drop_dataflow(dataflow);
        }
    });
    let guards = guards.map_err(|why| anyhow::anyhow!("the workers did not start: {why}"))?;
    for result in guards.join() {
        result.map_err(|why| anyhow::anyhow!("a worker died: {why}"))?;
    }
    threads.join()
}

/// The epochs that the tables hold.
fn table(log: &dyn Log, reader: &Reader) -> anyhow::Result<Vec<LogTime>> {
    let dir = reader.dir().display();
    let committed = reader.committed().with_context(|| format!("{dir} holds no epoch"))?;
    for name in READ {
        let table = row::table(name).with_context(|| format!("there is no table {name}"))?;
        ensure!(
            reader.has(table)?,
            "{dir} has no table {name}: an earlier version made it, which did not keep all facts; replay the log while its \
             media are there"
        );
    }
    let Table { entries, healings, erasures, .. } =
        epochs::read_table(log)?.context("the log has no topic epochs, which says when facts were known")?;
    let (accepted, _) = epochs::accept(entries);
    let table: Vec<LogTime> =
        accepted.iter().map(|epoch| epoch.log_time).filter(|at| *at <= committed).collect();
    ensure!(
        table.last() == Some(&committed),
        "{dir} ends at epoch {}, which the log does not have: these tables are of another log",
        committed.0
    );
    let healed = healings.iter().find(|healing| table.contains(&healing.at));
    ensure!(
        healed.is_none(),
        "{dir} was healed at epoch {}, and when its facts would have been known otherwise it does not say: replay the log",
        healed.map_or(0, |healing| healing.at.0)
    );
    if !erasures.is_empty() {
        let sessions = erasures.len();
        tracing::warn!(
            sessions,
            "erased sessions have left no facts: no posterior has learned from their rewards"
        );
    }
    Ok(table)
}

/// How what was computed compares with what the earlier run had: of each table that differs, how many rows came and went.
pub fn compared(facts: &Path, now: &Path) -> anyhow::Result<Vec<(String, u64, u64)>> {
    let (before, now) = (Reader::open(facts)?, Reader::open(now)?);
    let mut found: Vec<(String, u64, u64)> = Vec::new();
    for change in difference(&before, &now, &Catalog::all(), LogTime(0))? {
        if found.last().is_none_or(|(table, ..)| *table != *change.table) {
            found.push((change.table.to_string(), 0, 0));
        }
        if let Some((_, came, went)) = found.last_mut() {
            *(if change.diff > 0 { came } else { went }) += change.diff.unsigned_abs();
        }
    }
    Ok(found)
}
