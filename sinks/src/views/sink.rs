//! The writer of the served views: each complete epoch is checked first, then applied at once.

use std::collections::{BTreeMap, VecDeque};

use lsie_schemas::row::{self, Au12Row};
use lsie_schemas::{Cell, Change, LogTime, Table, TableRow};

use crate::order::Order;
use crate::views::state::{Edit, Entry, TableState, Views};
use crate::{Error, Sink};

/// How long what fades is served.
const FADES_AFTER_MS: u64 = 15 * 60_000;

/// A sink into [`Views`]. What it holds lives as long as the process; see [`Views::follow`].
#[derive(Debug)]
pub struct ViewsSink {
    views: Views,
    order: Order,
    /// Per epoch, per table.
    pending: BTreeMap<LogTime, Vec<Diffs>>,
    /// Per table that fades.
    arrivals: Vec<Arrivals>,
}

/// Rows, and how many copies came or went.
type Diffs = Vec<(Vec<Cell>, i64)>;

impl ViewsSink {
    pub(crate) fn new(views: Views) -> ViewsSink {
        let (epoch, arrivals) = {
            let state = views.read();
            let tables = views.catalog().tables().iter().zip(&state.tables);
            (state.epoch(), tables.map(|(table, state)| arrivals(table, state)).collect())
        };
        ViewsSink { views, order: Order::after(epoch), pending: BTreeMap::new(), arrivals }
    }
}

impl Sink for ViewsSink {
    fn write(&mut self, epoch: LogTime, changes: &[Change]) -> Result<(), Error> {
        if !self.order.write(epoch)? {
            return Ok(());
        }
        let catalog = self.views.catalog();
        let tables = self.pending.entry(epoch).or_insert_with(|| vec![Vec::new(); catalog.tables().len()]);
        for change in changes {
            let at = catalog.check(epoch, change)?;
            tables[at].push((change.row.clone(), change.diff));
        }
        Ok(())
    }

    fn commit(&mut self, epoch: LogTime) -> Result<(), Error> {
        if !self.order.commit(epoch)? {
            return Ok(());
        }
        // An epoch without rows moves the views forward too.
        self.pending.entry(epoch).or_default();
        for (epoch, tables) in std::mem::take(&mut self.pending) {
            let edits = {
                let state = self.views.read();
                let known = self.views.catalog().tables().iter().zip(&state.tables);
                let planned = known.zip(&mut self.arrivals).zip(tables);
                let planned = planned.map(|(((table, rows), arrivals), changes)| match fades(table) {
                    true => Ok(fade(table, rows, epoch, arrivals, changes)),
                    false => plan(table, rows, epoch, changes),
                });
                planned.collect::<Result<Vec<_>, Error>>()?
            };
            self.views.apply(epoch, edits);
        }
        Ok(())
    }

    fn takes_transient(&self) -> bool {
        true
    }

    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn committed(&self) -> Option<LogTime> {
        self.order.committed()
    }
}

/// Whether rows of this table are served for a while only: transient ones, and the series of every frame, which
/// would fill the memory and is in Parquet.
fn fades(table: &Table) -> bool {
    let is_transient = row::transient().iter().any(|transient| transient.name == table.name);
    is_transient || table.name == Au12Row::TABLE.name
}

/// Keys in the order in which their rows came, each with its epoch.
type Arrivals = VecDeque<(LogTime, Vec<Cell>)>;

/// What came before this sink.
fn arrivals(table: &Table, state: &TableState) -> Arrivals {
    let rows = state.rows.iter().filter(|_| fades(table));
    let mut came: Vec<_> = rows.map(|(key, entry)| (entry.updated, key.clone())).collect();
    came.sort();
    came.into()
}

/// The edits of a table whose rows only come, in key order: the newest of a key counts, and what is old goes.
fn fade(
    table: &Table,
    state: &TableState,
    epoch: LogTime,
    arrivals: &mut Arrivals,
    changes: Diffs,
) -> Vec<Edit> {
    let mut edits: BTreeMap<Vec<Cell>, Edit> = BTreeMap::new();
    while let Some((at, key)) = arrivals.pop_front_if(|(at, _)| at.plus_ms(FADES_AFTER_MS) <= epoch) {
        // One that came again since stands further back.
        let old = state.rows.get(&key).filter(|entry| entry.updated == at).cloned();
        edits.extend(old.map(|old| (key.clone(), Edit { key, old: Some(old), new: None })));
    }
    for (row, _) in changes.into_iter().filter(|(_, diff)| *diff > 0) {
        let key = table.key_of(&row);
        let old = state.rows.get(&key).cloned();
        let (id, created) =
            old.as_ref().map_or_else(|| (table.id_of(&row), epoch), |entry| (entry.id, entry.created));
        let new = Some(Entry { id, row: row.into(), created, updated: epoch });
        arrivals.push_back((epoch, key.clone()));
        edits.insert(key.clone(), Edit { key, old, new });
    }
    edits.into_values().collect()
}

/// The edits that changes of one epoch make to a table, in key order.
fn plan(table: &Table, state: &TableState, epoch: LogTime, mut changes: Diffs) -> Result<Vec<Edit>, Error> {
    changes.sort_unstable();
    let mut keys: BTreeMap<Vec<Cell>, Diffs> = BTreeMap::new();
    for copies in changes.chunk_by(|a, b| a.0 == b.0) {
        let diff: i64 = copies.iter().map(|(_, diff)| diff).sum();
        if let Some((row, _)) = copies.first().filter(|_| diff != 0) {
            keys.entry(table.key_of(row)).or_default().push((row.clone(), diff));
        }
    }
    keys.into_iter().map(|(key, rows)| edit(table, state.rows.get(&key), epoch, key, rows)).collect()
}

/// The edit of one key. At most its present row may go, and at most one may come.
fn edit(
    table: &Table,
    old: Option<&Entry>,
    epoch: LogTime,
    key: Vec<Cell>,
    rows: Diffs,
) -> Result<Edit, Error> {
    let broken = |what: &str| {
        let key: Vec<String> = key.iter().map(|cell| cell.to_json().to_string()).collect();
        Error::Contract(format!("table {} epoch {}: key {}: {what}", table.name, epoch.0, key.join(" ")))
    };
    let (mut removed, mut new) = (false, None);
    for (row, diff) in rows {
        match diff {
            -1 if old.is_some_and(|entry| entry.row[..] == row[..]) => removed = true,
            1 if new.is_none() => {
                let (id, created) =
                    old.map_or_else(|| (table.id_of(&row), epoch), |entry| (entry.id, entry.created));
                new = Some(Entry { id, row: row.into(), created, updated: epoch });
            }
            1 => return Err(broken("two rows")),
            _ => return Err(broken("a row goes that is not there, or more than one copy comes or goes")),
        }
    }
    if old.is_some() && !removed {
        return Err(broken("a second row"));
    }
    Ok(Edit { old: old.cloned(), new, key })
}
