//! Content hashes of a result directory, and the first difference between two (DESIGN §5).
//!
//! The *state hash* of a table covers the rows that are left when all diffs are summed; the *history hash*
//! covers every row with the epochs at which it came and went. Neither depends on the order of rows, on how
//! they lie in files, or on changes that cancel within an epoch.

pub(crate) mod compare;
mod log;

use std::fmt;
use std::path::{Path, PathBuf};

use lsie_schemas::LogTime;
use sha2::{Digest, Sha256};

pub use compare::{Comparison, Difference, compare};
pub(crate) use log::state_hash;

use crate::parquet::Reader;
use crate::{Catalog, Error};
use log::ChangeLog;

/// A SHA-256 value.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    fn of(hasher: Sha256) -> Hash {
        Hash(hasher.finalize().into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The hashes of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSummary {
    /// The table.
    pub table: &'static str,
    /// Rows left when all diffs are summed.
    pub rows: u64,
    /// Changelog rows, those of one row and epoch summed.
    pub changes: u64,
    /// The state hash.
    pub state: Hash,
    /// The history hash.
    pub history: Hash,
    /// Keys that have, at some epoch, other than none or one row. Empty for every correct run; bounded.
    pub violations: Vec<String>,
}

/// The hashes of a directory.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The directory.
    pub dir: PathBuf,
    /// Its newest epoch.
    pub committed: Option<LogTime>,
    /// The tables it has, by name.
    pub tables: Vec<TableSummary>,
}

impl Summary {
    /// One hash over the state hashes of all tables.
    pub fn state(&self) -> Hash {
        self.total(|table| table.state)
    }

    /// One hash over the history hashes of all tables.
    pub fn history(&self) -> Hash {
        self.total(|table| table.history)
    }

    /// The violations of all tables, each with its table's name.
    pub fn violations(&self) -> impl Iterator<Item = String> + '_ {
        self.tables.iter().flat_map(|t| t.violations.iter().map(move |v| format!("{}: {v}", t.table)))
    }

    fn total(&self, hash: impl Fn(&TableSummary) -> Hash) -> Hash {
        let mut hasher = Sha256::new();
        for table in &self.tables {
            hasher.update(table.table);
            hasher.update([0]);
            hasher.update(hash(table).0);
        }
        Hash::of(hasher)
    }
}

/// One line per table: name, rows, changes, state hash, history hash; then the totals and any violations.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, rows: u64, changes: u64, state: Hash, history: Hash| {
            writeln!(f, "{name:20} {rows:>9} rows {changes:>9} changes  state {state}  history {history}")
        };
        for t in &self.tables {
            line(t.table, t.rows, t.changes, t.state, t.history)?;
        }
        let sum = |count: fn(&TableSummary) -> u64| self.tables.iter().map(count).sum();
        line("all", sum(|t| t.rows), sum(|t| t.changes), self.state(), self.history())?;
        self.violations().try_for_each(|violation| writeln!(f, "violation: {violation}"))
    }
}

/// Hashes every table of a directory.
pub fn summarize(dir: &Path, catalog: &Catalog) -> Result<Summary, Error> {
    let reader = open(dir, catalog)?;
    let mut tables = Vec::new();
    for table in catalog.tables() {
        if reader.has(table)? {
            tables.push(ChangeLog::read(&reader, table)?.summary());
        }
    }
    Ok(Summary { dir: dir.to_owned(), committed: reader.committed(), tables })
}

/// Opens a directory; refused if it has tables that the catalog does not know, since they would go unseen.
fn open(dir: &Path, catalog: &Catalog) -> Result<Reader, Error> {
    let reader = Reader::open(dir)?;
    match reader.unknown(catalog).as_slice() {
        [] => Ok(reader),
        unknown => {
            Err(Error::refused(dir, format!("tables unknown to this version: {}", unknown.join(", "))))
        }
    }
}
