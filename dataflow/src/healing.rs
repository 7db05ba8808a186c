//! Dead letters that heal: the whole log is computed again by this version and configuration, with the selections as
//! they were made, and what differs goes into the tables at one new epoch, which the log says is a healing.
//!
//! The order is log, tables, checkpoints. Whatever a crash leaves, the log knows that a healing was begun; no run
//! goes on from before it, and healing again finishes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};
use lsie_schemas::log::{Log, NewRecord, TopicPartition};
use lsie_schemas::record::{EpochRecord, HealedRecord, Healing};
use lsie_schemas::row::{DeadLetterRow, DecisionRow};
use lsie_schemas::{Change, LogTime, TableRow, Topic};
use lsie_sinks::difference::difference;
use lsie_sinks::parquet::Reader;
use lsie_sinks::{Catalog, Sink};
use uuid::Uuid;

use crate::checkpoint::manifest::{FOLDER, Manifest};
use crate::checkpoint::state_file::FOLDER as STATE_FOLDER;
use crate::checkpoint::store::Store;
use crate::engine::COORDINATOR;
use crate::epochs::{self, Table, Told};
use crate::fault;

/// So many selections, or records, go into one record of the log.
const PART: usize = 500;

/// Selections that stay as they were made.
#[derive(Debug, Default)]
pub struct Selections {
    made: BTreeMap<Uuid, DecisionRow>,
    /// The sessions for which another row would have been drawn.
    needed: Mutex<BTreeSet<Uuid>>,
}

impl Selections {
    /// These selections; of one session the first counts.
    pub fn new(made: impl IntoIterator<Item = DecisionRow>) -> Selections {
        let mut selections = Selections::default();
        for row in made {
            selections.made.entry(row.session_id).or_insert(row);
        }
        selections
    }

    /// What they are made of.
    pub fn made(&self) -> Vec<DecisionRow> {
        self.made.values().cloned().collect()
    }

    /// The selection that counts where this one would be made now.
    pub fn stand(&self, drawn: DecisionRow) -> DecisionRow {
        match self.made.get(&drawn.session_id) {
            Some(made) if *made != drawn => {
                self.needed.lock().unwrap_or_else(PoisonError::into_inner).insert(drawn.session_id);
                made.clone()
            }
            _ => drawn,
        }
    }

    /// Those that stood in the place of others.
    fn needed(&self) -> Vec<DecisionRow> {
        let needed = self.needed.lock().unwrap_or_else(PoisonError::into_inner);
        needed.iter().filter_map(|session| self.made.get(session)).cloned().collect()
    }
}

/// What a run that heals is told.
#[derive(Clone, Debug)]
pub struct Heal {
    /// The epoch at which it ends, one more than the table has.
    pub at: LogTime,
    /// Selections that stay.
    pub selections: std::sync::Arc<Selections>,
}

/// Where results and state lie.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The result tables.
    pub tables: &'a Path,
    /// The checkpoints that belong to them, if there are any.
    pub checkpoints: Option<&'a Store>,
    /// Time between the last epoch and that of the healing, ms.
    pub epoch_ms: u64,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What a healing did, or would do.
#[derive(Clone, Debug)]
pub struct Healed {
    /// Its epoch.
    pub at: LogTime,
    /// Letters whose records can be used now.
    pub healed: Vec<DeadLetterRow>,
    /// Letters that there were not before.
    pub new: Vec<DeadLetterRow>,
    /// Letters that remain.
    pub remaining: u64,
    /// Of each table how many rows came and went.
    pub rows: BTreeMap<String, (u64, u64)>,
    /// Selections that stay although others would be made now.
    pub selections: usize,
}

/// Heals the tables of a target, which `sink` writes. `run` runs the engine that heals into these tables, with checkpoints in that store.
/// None: there is nothing to heal.
pub fn heal(
    log: &dyn Log,
    target: Target<'_>,
    sink: &mut dyn Sink,
    run: impl FnOnce(Heal, &Path, Option<Store>) -> anyhow::Result<()>,
) -> anyhow::Result<Option<Healed>> {
    let before = Reader::open(target.tables).context("the result tables")?;
    // From here on no engine makes epochs; who holds the sink holds the tables.
    let fence = if target.dry_run { None } else { Some(log.fenced(COORDINATOR)?) };
    let Table { entries, told: Told { healings, .. } } =
        epochs::read_table(log)?.context("the log has no topic epochs")?;
    let (table, _) = epochs::accept(entries);
    let last = table.last().context("the epoch table is empty: there is nothing to heal")?.log_time;
    let committed = before.committed().context("the tables hold no epoch: there is nothing to heal")?;
    ensure!(
        table.iter().any(|epoch| epoch.log_time == committed),
        "the tables end at epoch {}, which the log does not have: they are of another log",
        committed.0
    );
    let newest = target.checkpoints.map(newest_checkpoint).transpose()?;
    let begun = healings.last().map(|healing| healing.at);
    let kept = |at: LogTime| newest.is_none_or(|newest| newest >= Some(at));
    let finishing = begun.filter(|at| *at == last && (committed < *at || !kept(*at)));
    let at = finishing.unwrap_or(last.plus_ms(target.epoch_ms));

    let selections = std::sync::Arc::new(Selections::new(rows::<DecisionRow>(&before)?));
    let (scratch, state) = (beside(target.tables, "-healing"), beside(target.tables, "-healing-checkpoints"));
    remove(&scratch)?;
    remove(&state)?;
    let made = || target.checkpoints.map(|_| Store::in_folder(&state)).transpose();
    run(Heal { at, selections: selections.clone() }, &scratch, made()?)?;

    let after = Reader::open(&scratch)?;
    let changes = difference(&before, &after, &Catalog::all(), at)?;
    let mut healed = report(at, &changes, rows::<DeadLetterRow>(&after)?.len() as u64);
    let needed = selections.needed();
    healed.selections = needed.len();
    let nothing = changes.is_empty() && finishing.is_none();
    if let Some(fence) = fence.filter(|_| !nothing) {
        if finishing.is_none() {
            fence.append(records(&healed, &needed))?;
        }
        fault::point("heal.logged");
        sink.write(at, &changes)?;
        sink.commit(at)?;
        sink.finish()?;
        fault::point("heal.committed");
        if let (Some(made), Some(checkpoints)) = (made()?, target.checkpoints) {
            checkpoints.replace_by(&made, &[STATE_FOLDER, FOLDER])?;
        }
    }
    remove(&scratch)?;
    remove(&state)?;
    Ok((!nothing).then_some(healed))
}

/// The records that say in the log what was healed, and then the epoch: one append.
fn records(healed: &Healed, selections: &[DecisionRow]) -> Vec<NewRecord> {
    let places: Vec<HealedRecord> = healed.healed.iter().filter_map(place).collect();
    let parts = places.len().max(selections.len()).div_ceil(PART).max(1);
    let part = |n: usize| Healing {
        at: healed.at,
        records: places.iter().skip(n * PART).take(PART).copied().collect(),
        selections: selections.iter().skip(n * PART).take(PART).cloned().collect(),
    };
    let epoch = EpochRecord { log_time: healed.at, ranges: Vec::new() };
    (0..parts).map(|n| part(n).encode()).chain([epoch.encode()]).collect()
}

fn place(letter: &DeadLetterRow) -> Option<HealedRecord> {
    let (topic, partition) = (Topic::by_name(&letter.topic)?, i32::try_from(letter.partition).ok()?);
    Some(HealedRecord { at: TopicPartition { topic, partition }, offset: letter.record_offset })
}

fn report(at: LogTime, changes: &[Change], letters: u64) -> Healed {
    let mut rows: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let (mut healed, mut new) = (Vec::new(), Vec::new());
    for change in changes {
        let (came, went) = rows.entry(change.table.to_string()).or_default();
        *(if change.diff > 0 { came } else { went }) += change.diff.unsigned_abs();
        if change.table == DeadLetterRow::TABLE.name {
            let letters = if change.diff > 0 { &mut new } else { &mut healed };
            letters.extend(DeadLetterRow::from_cells(&change.row));
        }
    }
    // A letter whose reason changed goes and comes.
    let key = |letter: &DeadLetterRow| (letter.topic.clone(), letter.partition, letter.record_offset);
    let other: BTreeSet<_> =
        new.iter().map(key).filter(|new| healed.iter().any(|old| key(old) == *new)).collect();
    healed.retain(|letter| !other.contains(&key(letter)));
    new.retain(|letter| !other.contains(&key(letter)));
    let remaining = letters - new.len() as u64;
    Healed { at, healed, new, remaining, rows, selections: 0 }
}

/// The rows of a table that are there.
pub fn rows<R: TableRow>(reader: &Reader) -> anyhow::Result<Vec<R>> {
    let mut copies = BTreeMap::new();
    for change in reader.changes(&R::TABLE) {
        let change = change.with_context(|| format!("table {}", R::TABLE.name))?;
        *copies.entry(change.row).or_insert(0) += change.diff;
    }
    let there = copies.into_iter().filter(|(_, copies)| *copies > 0);
    Ok(there.filter_map(|(row, _)| R::from_cells(&row)).collect())
}

/// The epoch of the newest checkpoint that can be read.
fn newest_checkpoint(store: &Store) -> anyhow::Result<Option<LogTime>> {
    for name in store.list(FOLDER)?.into_iter().rev() {
        if let Some(Ok(manifest)) = store.get(&name)?.map(|content| Manifest::decode(&content)) {
            return Ok(Some(manifest.epoch));
        }
    }
    Ok(None)
}

/// A folder in which something is made before it replaces anything.
fn beside(tables: &Path, what: &str) -> PathBuf {
    let mut name = tables.file_name().unwrap_or_default().to_os_string();
    name.push(what);
    tables.with_file_name(name)
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| folder.display().to_string())
        }
        _ => Ok(()),
    }
}
