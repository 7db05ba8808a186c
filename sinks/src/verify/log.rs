//! The consolidated changelog of one table, held in memory in key order.

use std::collections::BTreeMap;

use lsie_schemas::{Cell, Change, LogTime, Table};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::parquet::Reader;
use crate::verify::{Hash, TableSummary};

/// At most this many violations are named per table.
const MAX_VIOLATIONS: usize = 10;

/// All copies of one row that came or went at one epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    pub(crate) key: Vec<Cell>,
    pub(crate) epoch: LogTime,
    pub(crate) row: Vec<Cell>,
    pub(crate) diff: i64,
}

/// The changelog of a table: lines in the order of key, epoch, row; no line is a change by 0.
#[derive(Debug)]
pub(crate) struct ChangeLog<'a> {
    pub(crate) table: &'a Table,
    pub(crate) lines: Vec<Line>,
}

impl<'a> ChangeLog<'a> {
    /// Reads a table of a directory.
    pub(crate) fn read(reader: &Reader, table: &'a Table) -> Result<ChangeLog<'a>, Error> {
        let changes: Vec<Change> = reader.changes(table).collect::<Result<_, _>>()?;
        Ok(ChangeLog::new(table, changes))
    }

    /// Consolidates changes, whatever their order.
    pub(crate) fn new(table: &'a Table, changes: Vec<Change>) -> ChangeLog<'a> {
        let line = |c: Change| Line { key: table.key_of(&c.row), epoch: c.epoch, row: c.row, diff: c.diff };
        let mut lines: Vec<Line> = changes.into_iter().map(line).collect();
        lines.sort_unstable();
        lines.dedup_by(|next, kept| {
            let same = kept.epoch == next.epoch && kept.row == next.row;
            if same {
                kept.diff = kept.diff.saturating_add(next.diff);
            }
            same
        });
        lines.retain(|line| line.diff != 0);
        ChangeLog { table, lines }
    }

    /// The rows that are left when all diffs are summed, in key order, with their number of copies.
    pub(crate) fn state(&self) -> BTreeMap<(&[Cell], &[Cell]), i64> {
        let mut state = BTreeMap::new();
        for line in &self.lines {
            *state.entry((line.key.as_slice(), line.row.as_slice())).or_insert(0) += line.diff;
        }
        state.retain(|_, copies| *copies != 0);
        state
    }

    /// Counts, hashes and violations.
    pub(crate) fn summary(&self) -> TableSummary {
        let state = self.state();
        let rows = state.iter().map(|((_, row), copies)| row_bytes(row, &copies.to_le_bytes()));
        let changes = self
            .lines
            .iter()
            .map(|l| row_bytes(&l.row, &[l.epoch.0.to_le_bytes(), l.diff.to_le_bytes()].concat()));
        TableSummary {
            table: self.table.name,
            rows: state.len() as u64,
            changes: self.lines.len() as u64,
            state: hash("state", rows.collect()),
            history: hash("history", changes.collect()),
            violations: self.violations(),
        }
    }

    /// Keys with other than none or one row after some epoch.
    fn violations(&self) -> Vec<String> {
        let keys = self.lines.chunk_by(|a, b| a.key == b.key);
        let broken = keys.filter_map(|lines| {
            let epoch = first_violation(lines)?;
            Some(format!(
                "{} at epoch {}: not exactly none or one row",
                self.key_text(&lines[0].key),
                epoch.0
            ))
        });
        broken.take(MAX_VIOLATIONS).collect()
    }

    /// A key as `column=value` pairs.
    pub(crate) fn key_text(&self, key: &[Cell]) -> String {
        let pairs = self.table.key.iter().zip(key).map(|(name, cell)| format!("{name}={}", cell.to_json()));
        pairs.collect::<Vec<_>>().join(" ")
    }
}

/// The first epoch after which the lines of one key leave other than none or one row.
fn first_violation(lines: &[Line]) -> Option<LogTime> {
    let mut copies: BTreeMap<&[Cell], i64> = BTreeMap::new();
    for epoch in lines.chunk_by(|a, b| a.epoch == b.epoch) {
        for line in epoch {
            *copies.entry(&line.row).or_default() += line.diff;
        }
        copies.retain(|_, copies| *copies != 0);
        if copies.len() > 1 || copies.values().any(|&copies| copies != 1) {
            return epoch.first().map(|line| line.epoch);
        }
    }
    None
}

/// The state hash of rows that are there once each.
pub(crate) fn state_hash<'a>(rows: impl Iterator<Item = &'a [Cell]>) -> Hash {
    hash("state", rows.map(|row| row_bytes(row, &1i64.to_le_bytes())).collect())
}

/// The canonical bytes of a row and of what is counted with it.
fn row_bytes(row: &[Cell], counts: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for cell in row {
        cell.hash_into(&mut bytes);
    }
    bytes.extend_from_slice(counts);
    bytes
}

/// SHA-256 over sorted, length-prefixed items.
fn hash(what: &str, mut items: Vec<Vec<u8>>) -> Hash {
    items.sort_unstable();
    let mut hasher = Sha256::new();
    hasher.update(what);
    for item in items {
        hasher.update((item.len() as u64).to_le_bytes());
        hasher.update(item);
    }
    Hash::of(hasher)
}
