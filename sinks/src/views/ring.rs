//! The newest epochs' changes, bounded, so that a stream of changes can be resumed and a past epoch be answered.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use lsie_schemas::{Cell, LogTime, Table};

use crate::views::state::{Edit, Entry};

/// At most this many changes are kept, however short the time they cover.
const MAX_CHANGES: usize = 1 << 20;
/// Log time that is covered, ms.
const WINDOW_MS: u64 = 600_000;

/// The changes that one epoch made.
#[derive(Clone, Debug)]
pub struct EpochChanges {
    /// The epoch.
    pub epoch: LogTime,
    /// Per table, by its position in the catalog: the rows that went (-1) and came (+1), in key order, each
    /// key's old row before its new one.
    pub tables: Vec<(usize, Vec<(Entry, i64)>)>,
}

impl EpochChanges {
    /// The changes that edits make; `None` if there is none.
    pub(crate) fn of(epoch: LogTime, edits: &[Vec<Edit>]) -> Option<EpochChanges> {
        let mut tables = Vec::new();
        for (position, edits) in edits.iter().enumerate().filter(|(_, edits)| !edits.is_empty()) {
            let rows = edits.iter().flat_map(|edit| {
                let old = edit.old.iter().map(|entry| (entry.clone(), -1));
                old.chain(edit.new.iter().map(|entry| (entry.clone(), 1)))
            });
            tables.push((position, rows.collect()));
        }
        (!tables.is_empty()).then_some(EpochChanges { epoch, tables })
    }

    /// The changes of one table.
    pub fn of_table(&self, position: usize) -> &[(Entry, i64)] {
        let found = self.tables.binary_search_by_key(&position, |(at, _)| *at);
        found.ok().and_then(|at| self.tables.get(at)).map_or(&[], |(_, rows)| rows)
    }

    fn len(&self) -> usize {
        self.tables.iter().map(|(_, rows)| rows.len()).sum()
    }
}

/// A bounded queue of epochs with changes. Epochs without any are not in it.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    epochs: VecDeque<Arc<EpochChanges>>,
    changes: usize,
    /// The newest epoch whose changes were let go.
    forgotten: Option<LogTime>,
}

impl Ring {
    /// Adds the newest epoch; lets the oldest go where there are too many.
    pub(crate) fn push(&mut self, epoch: Arc<EpochChanges>) {
        let newest = epoch.epoch;
        self.changes += epoch.len();
        self.epochs.push_back(epoch);
        self.forget(|ring, oldest| ring.changes > MAX_CHANGES || oldest.epoch.plus_ms(WINDOW_MS) < newest);
    }

    /// Lets the oldest epochs go while `is_over`.
    fn forget(&mut self, is_over: impl Fn(&Ring, &EpochChanges) -> bool) {
        while self.epochs.front().is_some_and(|oldest| is_over(self, oldest)) {
            let Some(oldest) = self.epochs.pop_front() else { break };
            self.changes -= oldest.len();
            self.forgotten = Some(oldest.epoch);
        }
    }

    /// The oldest epoch that can be answered for.
    pub(crate) fn oldest(&self) -> LogTime {
        self.forgotten.unwrap_or_default()
    }

    /// What a table's keys had after an epoch and have no more: the row, or none. Asked for an epoch not older than
    /// [`oldest`](Self::oldest).
    pub(crate) fn undone(
        &self,
        epoch: LogTime,
        position: usize,
        table: &Table,
    ) -> BTreeMap<Vec<Cell>, Option<&Entry>> {
        let mut undone = BTreeMap::new();
        let from = self.epochs.partition_point(|changes| changes.epoch <= epoch);
        for changes in self.epochs.range(from..).rev() {
            // Of each key, the row that went comes before the one that came; backwards it is met last.
            for (entry, diff) in changes.of_table(position).iter().rev() {
                undone.insert(table.key_of(&entry.row), (*diff < 0).then_some(entry));
            }
        }
        undone
    }

    /// All changes after an epoch, or `None` if some of them were let go.
    pub(crate) fn after(&self, epoch: LogTime) -> Option<impl Iterator<Item = &Arc<EpochChanges>>> {
        if Some(epoch) < self.forgotten {
            return None;
        }
        let from = self.epochs.partition_point(|changes| changes.epoch <= epoch);
        Some(self.epochs.range(from..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(epoch: u64, rows: usize) -> Arc<EpochChanges> {
        let entry = Entry { id: 0, row: Arc::from([]), created: LogTime(epoch), updated: LogTime(epoch) };
        Arc::new(EpochChanges { epoch: LogTime(epoch), tables: vec![(0, vec![(entry, 1); rows])] })
    }

    fn after(ring: &Ring, epoch: u64) -> Option<Vec<u64>> {
        ring.after(LogTime(epoch)).map(|epochs| epochs.map(|changes| changes.epoch.0).collect())
    }

    #[test]
    fn resumes_only_from_what_it_still_has() {
        let mut ring = Ring::default();
        assert_eq!(after(&ring, 0), Some(vec![]));
        for at in [10, 20, 30] {
            ring.push(epoch(at, 1));
        }
        assert_eq!(after(&ring, 0), Some(vec![10, 20, 30]));
        assert_eq!(after(&ring, 15), Some(vec![20, 30]));
        assert_eq!(after(&ring, 30), Some(vec![]));
        ring.push(epoch(40, MAX_CHANGES));
        assert_eq!(after(&ring, 29), None);
        assert_eq!(after(&ring, 30), Some(vec![40]));
        ring.push(epoch(50, MAX_CHANGES + 1));
        assert_eq!(after(&ring, 49), None);
        assert_eq!(after(&ring, 50), Some(vec![]));
    }

    #[test]
    fn covers_its_window_of_log_time() {
        let mut ring = Ring::default();
        for at in [10, WINDOW_MS + 10, WINDOW_MS + 11] {
            ring.push(epoch(at, 1));
        }
        assert_eq!((after(&ring, 9), ring.oldest()), (None, LogTime(10)));
        assert_eq!(after(&ring, 10), Some(vec![WINDOW_MS + 10, WINDOW_MS + 11]));
    }
}
