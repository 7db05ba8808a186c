//! The writer of the served views: each complete epoch is checked first, then applied at once.

use std::collections::BTreeMap;

use lsie_schemas::{Cell, Change, LogTime, Table};

use crate::order::Order;
use crate::views::state::{Edit, Entry, TableState, Views};
use crate::{Error, Sink};

/// A sink into [`Views`]. What it holds lives as long as the process; see [`Views::restore`].
#[derive(Debug)]
pub struct ViewsSink {
    views: Views,
    order: Order,
    /// Per epoch, per table.
    pending: BTreeMap<LogTime, Vec<Diffs>>,
}

/// Rows, and how many copies came or went.
type Diffs = Vec<(Vec<Cell>, i64)>;

impl ViewsSink {
    pub(crate) fn new(views: Views) -> ViewsSink {
        let epoch = views.read().epoch();
        ViewsSink { views, order: Order::after(epoch), pending: BTreeMap::new() }
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
                let planned =
                    known.zip(tables).map(|((table, rows), changes)| plan(table, rows, epoch, changes));
                planned.collect::<Result<Vec<_>, Error>>()?
            };
            self.views.apply(epoch, edits);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn committed(&self) -> Option<LogTime> {
        self.order.committed()
    }
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
                let created = old.map_or(epoch, |entry| entry.created);
                new = Some(Entry { row: row.into(), created, updated: epoch });
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
