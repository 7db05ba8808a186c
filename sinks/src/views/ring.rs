//! The newest epochs' changes, bounded, so that a stream of changes can be resumed.

use std::collections::VecDeque;
use std::sync::Arc;

use lsie_schemas::LogTime;

use crate::views::state::{Edit, Entry};

/// At most this many changes are kept.
const MAX_CHANGES: usize = 65_536;
/// At most this many epochs with changes are kept.
const MAX_EPOCHS: usize = 8_192;

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
        self.changes += epoch.len();
        self.epochs.push_back(epoch);
        while self.changes > MAX_CHANGES || self.epochs.len() > MAX_EPOCHS {
            let Some(oldest) = self.epochs.pop_front() else { break };
            self.changes -= oldest.len();
            self.forgotten = Some(oldest.epoch);
        }
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
        let entry = Entry { row: Arc::from([]), created: LogTime(epoch), updated: LogTime(epoch) };
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
}
