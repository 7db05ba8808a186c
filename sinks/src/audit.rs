//! Whether a database holds exactly what the Parquet changelog says, as of the epoch that the database has.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lsie_schemas::{Cell, Change, LogTime, Table, shape};

use crate::parquet;
use crate::postgres::net::{Dated, net};
use crate::postgres::{self, Database, Held, stored};
use crate::verify::{Hash, compare, state_hash};
use crate::{Catalog, Error};

/// At most this many differences are told per table.
const MOST_DIFFERENCES: usize = 5;
/// How often the changelog is looked at while it does not yet hold the database's epoch.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What an audit found.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The changelog's directory.
    pub changelog: PathBuf,
    /// The database.
    pub database: String,
    /// The epoch as of which both were compared; none if the database holds none.
    pub frontier: Option<LogTime>,
    /// The tables, by name.
    pub tables: Vec<TableAudit>,
}

/// What an audit found in one table.
#[derive(Clone, Debug)]
pub struct TableAudit {
    /// The table.
    pub table: &'static str,
    /// Rows, and their state hash, by the changelog.
    pub changelog: (u64, Hash),
    /// The same by the database.
    pub database: (u64, Hash),
    /// The first differences of rows, `id`s and derived times, in key order; empty if there is none.
    pub differences: Vec<String>,
}

impl Audit {
    /// Whether everything is equal.
    pub fn is_clean(&self) -> bool {
        self.tables.iter().all(|table| table.differences.is_empty())
    }
}

/// One line per table, then its first differences, then the verdict.
impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frontier = self.frontier.map_or("no epoch yet".into(), |epoch| epoch.as_event().canonical());
        writeln!(f, "changelog {}, database {}, as of {frontier}", self.changelog.display(), self.database)?;
        for table in &self.tables {
            let ((rows, state), (held, other)) = (table.changelog, table.database);
            match table.differences.as_slice() {
                [] => writeln!(f, "{:20} {rows:>9} rows  state {state}  equal", table.table)?,
                differences => {
                    writeln!(f, "{:20} {rows:>9} rows  state {state}  in the changelog", table.table)?;
                    writeln!(f, "{:20} {held:>9} rows  state {other}  in the database", "")?;
                    differences.iter().try_for_each(|difference| writeln!(f, "  {difference}"))?;
                }
            }
        }
        match self.is_clean() {
            true => writeln!(f, "equal: rows, ids and times of every table"),
            false => writeln!(f, "the database differs from the changelog"),
        }
    }
}

/// Compares a database with a changelog. A changelog beside a live writer may be a flush behind; `wait` is how
/// long it is waited for.
pub fn audit(dir: &Path, database: &Database, catalog: &Catalog, wait: Duration) -> Result<Audit, Error> {
    let mut held = postgres::Reader::open(database)?;
    let frontier = held.committed();
    let newest = catalog.tables().iter().map(|table| held.holds(table)).max().flatten();
    wait_for(dir, newest, wait)?;
    let mut tables = Vec::new();
    if newest.is_some() {
        for table in catalog.tables() {
            let expected = as_of(dir, table, held.holds(table))?;
            tables.push(compared(table, expected, held.rows(table)?));
        }
    }
    Ok(Audit { changelog: dir.to_owned(), database: database.place(), frontier, tables })
}

/// Waits until the changelog holds an epoch.
fn wait_for(dir: &Path, frontier: Option<LogTime>, wait: Duration) -> Result<(), Error> {
    let mut left = wait;
    loop {
        let durable = parquet::Reader::open(dir)?.committed();
        if durable >= frontier {
            return Ok(());
        }
        if left.is_zero() {
            let (durable, frontier) = (durable.unwrap_or_default().0, frontier.unwrap_or_default().0);
            return Err(Error::Unavailable(format!(
                "the changelog {} ends at epoch {durable}, the database at {frontier}: it belongs to another \
                 changelog, or its run was cut short and is to go on first",
                dir.display()
            )));
        }
        std::thread::sleep(LOOK_EVERY.min(left));
        left = left.saturating_sub(LOOK_EVERY);
    }
}

/// The rows of a table as of an epoch, by the changelog, as a database holds them.
fn as_of(dir: &Path, table: &Table, epoch: Option<LogTime>) -> Result<Vec<Held>, Error> {
    // Opened for each table: a live writer merges files away.
    let reader = parquet::Reader::open(dir)?;
    let later = |change: &Result<Change, Error>| change.as_ref().is_ok_and(|c| Some(c.epoch) > epoch);
    let changes = reader.changes(table).take_while(|change| !later(change)).collect::<Result<_, _>>()?;
    Ok(net(table, changes)?.added.iter().map(|dated| held(table, dated)).collect())
}

fn held(table: &Table, dated: &Dated) -> Held {
    let time = |epoch: LogTime| stored(&Cell::Time(epoch.as_event()));
    let times = shape::derived_times(table).map(|(name, _)| match name {
        "created_at" => dated.created.map_or(Cell::Null, time),
        _ => time(dated.updated),
    });
    Held {
        row: dated.row.iter().map(stored).collect(),
        id: Cell::Int(table.id_of(&dated.row)),
        times: times.collect(),
    }
}

fn compared(table: &Table, expected: Vec<Held>, found: Vec<Held>) -> TableAudit {
    let hash = |rows: &[Held]| (rows.len() as u64, state_hash(rows.iter().map(|held| held.row.as_slice())));
    let (changelog, database) = (hash(&expected), hash(&found));
    let by_key = |rows: Vec<Held>| -> BTreeMap<Vec<Cell>, Held> {
        rows.into_iter().map(|held| (table.key_of(&held.row), held)).collect()
    };
    let (expected, found) = (by_key(expected), by_key(found));
    let mut differences: Vec<String> =
        expected.iter().filter_map(|(key, held)| difference(table, key, held, found.get(key))).collect();
    let surplus = found.keys().filter(|key| !expected.contains_key(*key));
    differences.extend(surplus.map(|key| format!("{}: only in the database", named(table, key))));
    differences.truncate(MOST_DIFFERENCES);
    TableAudit { table: table.name, changelog, database, differences }
}

/// What differs in one row.
fn difference(table: &Table, key: &[Cell], expected: &Held, found: Option<&Held>) -> Option<String> {
    let key = named(table, key);
    let Some(found) = found else { return Some(format!("{key}: only in the changelog")) };
    if expected.row != found.row {
        return Some(format!("{key}: {}", compare::columns(table, &expected.row, &found.row)));
    }
    let derived = |held: &Held| {
        let cells = std::iter::once(&held.id).chain(&held.times);
        cells.map(|cell| cell.to_json().to_string()).collect::<Vec<_>>().join(" ")
    };
    (expected != found)
        .then(|| format!("{key}: id and times {} against {}", derived(expected), derived(found)))
}

/// A key as `column=value` pairs.
fn named(table: &Table, key: &[Cell]) -> String {
    let pairs = table.key.iter().zip(key).map(|(name, cell)| format!("{name}={}", cell.to_json()));
    pairs.collect::<Vec<_>>().join(" ")
}
