//! What a run of epochs amounts to for each row: gone, changed or new. Pure.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use lsie_schemas::{Cell, Change, LogTime, Table};

use crate::Error;

/// A row.
type Row = Vec<Cell>;

/// A row with the epochs that decide its `created_at` and `updated_at` (DESIGN §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dated {
    pub(crate) row: Row,
    /// The epoch at which its key was inserted; unknown for a row that was there before the run.
    pub(crate) created: Option<LogTime>,
    /// The epoch of its last change.
    pub(crate) updated: LogTime,
}

/// The net effect of a run of epochs on one table, in key order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Net {
    /// Rows that were there before and are to be removed; a key may be among `added` again.
    pub(crate) removed: Vec<Row>,
    /// Rows that were there before, by key, as they are now.
    pub(crate) changed: Vec<Dated>,
    /// Rows that were not there.
    pub(crate) added: Vec<Dated>,
}

impl Net {
    pub(crate) fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.changed.is_empty() && self.added.is_empty()
    }
}

/// The net effect of changes with ascending epochs. An error if some key would have other than none or one
/// row after an epoch, or if a row is taken back that was not there.
pub(crate) fn net(table: &Table, mut changes: Vec<Change>) -> Result<Net, Error> {
    let key = table.key_positions();
    let by_key = |a: &Change, b: &Change| {
        key.iter().map(|&at| a.row.get(at).cmp(&b.row.get(at))).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
    };
    // Stable: of one key the epochs stay in order.
    changes.sort_by(by_key);
    let mut net = Net::default();
    let mut changes = changes.into_iter().peekable();
    while let Some(first) = changes.next() {
        let next = |other: &Change| by_key(&first, other).is_eq();
        let is_alone = !changes.peek().is_some_and(next);
        if is_alone && first.diff == 1 {
            net.added.push(Dated { row: first.row, created: Some(first.epoch), updated: first.epoch });
            continue;
        }
        let mut all = vec![first.clone()];
        while let Some(change) = changes.next_if(next) {
            all.push(change);
        }
        add(table, &all, &mut net)?;
    }
    Ok(net)
}

/// Adds the effect on one key.
fn add(table: &Table, changes: &[Change], net: &mut Net) -> Result<(), Error> {
    let mut now: Option<Dated> = None;
    let mut before: Option<Row> = None;
    let mut is_first = true;
    // Whether the row of before went, if only for some epochs.
    let mut is_gone = false;
    for epoch in changes.chunk_by(|a, b| a.epoch == b.epoch) {
        let (old, new) = one_epoch(table, epoch)?;
        let at = epoch[0].epoch;
        if old.is_none() && new.is_none() {
            continue;
        }
        if is_first {
            before = old.clone();
            now = old.clone().map(|row| Dated { row, created: None, updated: at });
            is_first = false;
        }
        if now.as_ref().map(|dated| &dated.row) != old.as_ref() {
            return Err(broken(table, at, "takes back a row that is not there, or adds one beside another"));
        }
        is_gone |= new.is_none();
        let created = match &now {
            Some(dated) => dated.created,
            None => Some(at),
        };
        now = new.map(|row| Dated { row, created, updated: at });
    }
    match (before, now) {
        (Some(_), Some(dated)) if !is_gone => net.changed.push(dated),
        (before, now) => {
            net.removed.extend(before);
            net.added.extend(now);
        }
    }
    Ok(())
}

/// The row that goes and the row that comes at one epoch.
fn one_epoch(table: &Table, changes: &[Change]) -> Result<(Option<Row>, Option<Row>), Error> {
    let mut copies: BTreeMap<&[Cell], i64> = BTreeMap::new();
    for change in changes {
        *copies.entry(&change.row).or_default() += change.diff;
    }
    let (mut old, mut new) = (None, None);
    for (row, copies) in copies {
        match copies {
            0 => {}
            1 if new.is_none() => new = Some(row.to_vec()),
            -1 if old.is_none() => old = Some(row.to_vec()),
            _ => return Err(broken(table, changes[0].epoch, "has other than none or one row of a key")),
        }
    }
    Ok((old, new))
}

fn broken(table: &Table, epoch: LogTime, what: &str) -> Error {
    Error::Contract(format!("table {}: epoch {} {what}", table.name, epoch.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TOTALS, total};

    fn of(changes: &[(u64, i64, i64)]) -> Result<Net, Error> {
        net(&TOTALS, changes.iter().map(|&(epoch, value, diff)| total(epoch, "a", value, diff)).collect())
    }

    fn dated(value: i64, created: Option<u64>, updated: u64) -> Dated {
        Dated { row: total(0, "a", value, 1).row, created: created.map(LogTime), updated: LogTime(updated) }
    }

    #[test]
    fn a_run_is_what_is_left_of_it() {
        let check = |changes: &[(u64, i64, i64)], removed: &[i64], changed: &[Dated], added: &[Dated]| {
            let net = of(changes).expect("a correct run");
            let rows: Vec<_> = removed.iter().map(|value| total(0, "a", *value, 1).row).collect();
            assert_eq!((net.removed, net.changed, net.added), (rows, changed.to_vec(), added.to_vec()));
        };
        check(&[(1, 5, 1)], &[], &[], &[dated(5, Some(1), 1)]);
        check(&[(1, 5, 1), (2, 5, -1), (2, 6, 1)], &[], &[], &[dated(6, Some(1), 2)]);
        check(&[(1, 5, 1), (2, 5, -1)], &[], &[], &[]);
        check(&[(1, 5, -1), (1, 6, 1)], &[], &[dated(6, None, 1)], &[]);
        check(&[(1, 6, 1), (1, 5, -1), (3, 6, -1)], &[5], &[], &[]);
        check(&[(1, 5, -1), (3, 7, 1)], &[5], &[], &[dated(7, Some(3), 3)]);
        check(&[(1, 5, -1), (1, 6, 1), (2, 6, -1), (3, 7, 1)], &[5], &[], &[dated(7, Some(3), 3)]);
        check(&[(1, 5, 1), (1, 5, -1)], &[], &[], &[]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for changes in
            [&[(1, 5, 2)][..], &[(1, 5, 1), (1, 6, 1)], &[(1, 5, 1), (2, 6, 1)], &[(1, 5, 1), (2, 6, -1)]]
        {
            assert!(matches!(of(changes), Err(Error::Contract(_))), "{changes:?}");
        }
    }
}
