//! Comparing two result directories, down to the first row and column that differ.

use std::fmt;
use std::path::Path;

use lsie_schemas::{Cell, Table};

use crate::verify::log::{ChangeLog, Line};
use crate::verify::{Summary, open};
use crate::{Catalog, Error};

/// Where a table differs first, in key order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The table.
    pub table: String,
    /// `presence`, `state` or `history`.
    pub of: &'static str,
    /// The key of the first row that differs; empty when the whole table is missing.
    pub key: String,
    /// What differs: the columns with both values, or which side has the row.
    pub detail: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} differs", self.table, self.of)?;
        if !self.key.is_empty() {
            write!(f, "; first row {}", self.key)?;
        }
        write!(f, ": {}", self.detail)
    }
}

/// Two directories side by side.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The first directory.
    pub left: Summary,
    /// The second.
    pub right: Summary,
    /// The tables that differ; per table a difference of the state hides one of the history.
    pub differences: Vec<Difference>,
}

/// Compares two directories table by table.
pub fn compare(left: &Path, right: &Path, catalog: &Catalog) -> Result<Comparison, Error> {
    let (a, b) = (open(left, catalog)?, open(right, catalog)?);
    let (mut tables_a, mut tables_b, mut differences) = (Vec::new(), Vec::new(), Vec::new());
    for table in catalog.tables() {
        let (in_a, in_b) = (a.has(table)?, b.has(table)?);
        let log_a = in_a.then(|| ChangeLog::read(&a, table)).transpose()?;
        let log_b = in_b.then(|| ChangeLog::read(&b, table)).transpose()?;
        differences.extend(match (&log_a, &log_b) {
            (Some(a), Some(b)) => difference(a, b),
            (None, None) => None,
            (Some(_), None) => Some(missing(table, "only in the first directory")),
            (None, Some(_)) => Some(missing(table, "only in the second directory")),
        });
        tables_a.extend(log_a.map(|log| log.summary()));
        tables_b.extend(log_b.map(|log| log.summary()));
    }
    let summary = |dir: &Path, committed, tables| Summary { dir: dir.to_owned(), committed, tables };
    Ok(Comparison {
        left: summary(left, a.committed(), tables_a),
        right: summary(right, b.committed(), tables_b),
        differences,
    })
}

/// The first difference of two changelogs of one table: of the state, else of the history.
fn difference(a: &ChangeLog<'_>, b: &ChangeLog<'_>) -> Option<Difference> {
    state_difference(a, b).or_else(|| history_difference(a, b))
}

fn state_difference(log_a: &ChangeLog<'_>, log_b: &ChangeLog<'_>) -> Option<Difference> {
    let (a, b) = (log_a.state(), log_b.state());
    let (mut a, mut b) = (a.iter(), b.iter());
    loop {
        let (key, detail) = match (a.next(), b.next()) {
            (None, None) => return None,
            (Some(left), Some(right)) if left == right => continue,
            (Some(((key, row), copies)), Some(((other, other_row), other_copies))) => match key.cmp(other) {
                std::cmp::Ordering::Less => (key, only("first", log_a.table, row)),
                std::cmp::Ordering::Greater => (other, only("second", log_a.table, other_row)),
                std::cmp::Ordering::Equal if row == other_row => {
                    (key, format!("{copies} copies against {other_copies}"))
                }
                std::cmp::Ordering::Equal => (key, columns(log_a.table, row, other_row)),
            },
            (Some(((key, row), _)), None) => (key, only("first", log_a.table, row)),
            (None, Some(((key, row), _))) => (key, only("second", log_a.table, row)),
        };
        let (table, key) = (log_a.table.name.to_owned(), log_a.key_text(key));
        return Some(Difference { table, of: "state", key, detail });
    }
}

fn history_difference(a: &ChangeLog<'_>, b: &ChangeLog<'_>) -> Option<Difference> {
    let differs = |at: &usize| a.lines.get(*at) != b.lines.get(*at);
    let at = (0..a.lines.len().max(b.lines.len())).find(differs)?;
    let (left, right) = (a.lines.get(at), b.lines.get(at));
    let first = [left, right].into_iter().flatten().min()?;
    let of_key = |line: Option<&Line>| line.filter(|line| line.key == first.key).map(describe);
    let side = |line| of_key(line).unwrap_or_else(|| "no further change".to_owned());
    let mut detail = format!("{} against {}", side(left), side(right));
    if let (Some(left), Some(right)) = (left, right)
        && left.key == right.key
        && left.row != right.row
    {
        detail = format!("{detail}; {}", columns(a.table, &left.row, &right.row));
    }
    Some(Difference { table: a.table.name.to_owned(), of: "history", key: a.key_text(&first.key), detail })
}

fn missing(table: &Table, detail: &str) -> Difference {
    let table = table.name.to_owned();
    Difference { table, of: "presence", key: String::new(), detail: detail.to_owned() }
}

fn describe(line: &Line) -> String {
    format!("change by {:+} at epoch {}", line.diff, line.epoch.0)
}

/// A row that only one side has.
fn only(side: &str, table: &Table, row: &[Cell]) -> String {
    let cells = table.columns.iter().zip(row).map(|(c, cell)| format!("{}={}", c.name, cell.to_json()));
    format!("only in the {side} directory: {}", cells.collect::<Vec<_>>().join(" "))
}

/// The columns in which two rows differ, with both values.
pub(crate) fn columns(table: &Table, a: &[Cell], b: &[Cell]) -> String {
    let cells = table.columns.iter().zip(a.iter().zip(b));
    let unequal = cells.filter(|(_, (a, b))| a != b);
    let texts =
        unequal.map(|(c, (a, b))| format!("column {}: {} against {}", c.name, a.to_json(), b.to_json()));
    texts.collect::<Vec<_>>().join("; ")
}
