//! One suite that every sink passes, and the tables it uses.
//!
//! A sink's own tests implement [`Subject`] and call [`check_contract`] and, with made scripts,
//! [`check_script`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use lsie_schemas::cell::{Cell, Real};
use lsie_schemas::{Change, Column, ColumnType, EventTime, LogTime, Table, Uuid};

use crate::{Catalog, Error, Sink};

const fn column(name: &'static str, ty: ColumnType, nullable: bool) -> Column {
    Column { name, ty, nullable, doc: " A column of the suite." }
}

/// A table with a column of every type.
pub const SAMPLES: Table = Table {
    name: "samples",
    doc: " A table of the suite.",
    columns: &[
        column("session_id", ColumnType::Uuid, false),
        column("number", ColumnType::Int, false),
        column("flag", ColumnType::Bool, true),
        column("share", ColumnType::Real, true),
        column("words", ColumnType::Text, true),
        column("at_utc", ColumnType::Time, true),
        column("data", ColumnType::Json, true),
        column("flags", ColumnType::Texts, true),
    ],
    key: &["session_id", "number"],
    constraints: &[],
    indexes: &[],
};

/// A table with a text key and no session.
pub const TOTALS: Table = Table {
    name: "totals",
    doc: " Another table of the suite.",
    columns: &[column("name", ColumnType::Text, false), column("total", ColumnType::Int, false)],
    key: &["name"],
    constraints: &[],
    indexes: &[],
};

/// The catalog of the suite.
pub fn catalog() -> Catalog {
    Catalog::new(&[SAMPLES, TOTALS])
}

/// A sink under test with the place it writes to.
pub trait Subject {
    /// Opens a sink on the place; the one before was dropped.
    fn open(&mut self) -> Result<Box<dyn Sink>, Error>;
    /// The rows a reader of the place sees, with their number of copies.
    fn rows(&mut self) -> Result<Rows, Error>;
}

/// One case of the contract.
type Case = fn(&mut dyn Subject) -> Result<(), Error>;

/// Rows of tables with their number of copies.
pub type Rows = BTreeMap<(String, Vec<Cell>), i64>;

/// Sums changes up.
pub fn consolidate<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Rows {
    let mut rows = Rows::new();
    for change in changes {
        *rows.entry((change.table.to_string(), change.row.clone())).or_default() += change.diff;
    }
    rows.retain(|_, copies| *copies != 0);
    rows
}

/// A change of [`TOTALS`].
pub fn total(epoch: u64, name: &str, total: i64, diff: i64) -> Change {
    let row = vec![Cell::Text(name.to_owned()), Cell::Int(total)];
    Change { table: Cow::Borrowed(TOTALS.name), row, epoch: LogTime(epoch), diff }
}

/// A change of [`SAMPLES`]; `seed` decides the values and which of them are null.
pub fn sample(epoch: u64, session: u128, number: i64, seed: u32, diff: i64) -> Change {
    let some = |bit: u32, cell: Cell| if seed >> bit & 1 == 1 { cell } else { Cell::Null };
    let texts = (0..seed % 4).map(|i| format!("flag {i} ✓")).collect();
    let row = vec![
        Cell::Uuid(Uuid::from_u128(session)),
        Cell::Int(number),
        some(0, Cell::Bool(seed.is_multiple_of(3))),
        some(1, Cell::Real(Real(f64::from(seed) / 7.0))),
        some(2, Cell::Text(format!("\"{seed}\"\n"))),
        some(3, Cell::Time(EventTime(1_770_000_000_000_000 + i64::from(seed)))),
        some(4, Cell::Json(format!("{{\"a\":[{seed}],\"b\":null}}"))),
        some(5, Cell::Texts(texts)),
    ];
    Change { table: Cow::Borrowed(SAMPLES.name), row, epoch: LogTime(epoch), diff }
}

/// Checks what [`Sink`] promises, case by case, each on a fresh place.
pub fn check_contract<S: Subject>(mut fresh: impl FnMut() -> S) {
    let cases: [(&str, Case); 8] = [
        ("starts empty", starts_empty),
        ("rows become visible with their commit", visible_with_commit),
        ("every type of cell comes back", every_type_comes_back),
        ("committing twice changes nothing", commit_twice),
        ("rows without commit are gone after a crash", crash_before_commit),
        ("epochs that are committed are ignored", resent_epochs),
        ("a row is replaced within an epoch", replaced_row),
        ("misuse is refused", misuse),
    ];
    for (name, case) in cases {
        let mut subject = fresh();
        if let Err(error) = case(&mut subject) {
            panic!("{name}: {error}");
        }
    }
}

fn starts_empty(subject: &mut dyn Subject) -> Result<(), Error> {
    let mut sink = subject.open()?;
    assert_eq!(sink.committed(), None);
    sink.flush()?;
    assert_eq!(sink.committed(), None);
    // An epoch may have no rows.
    sink.commit(LogTime(250))?;
    sink.flush()?;
    assert_eq!(sink.committed(), Some(LogTime(250)));
    drop(sink);
    assert_eq!(subject.rows()?, Rows::new());
    assert_eq!(subject.open()?.committed(), Some(LogTime(250)));
    Ok(())
}

fn visible_with_commit(subject: &mut dyn Subject) -> Result<(), Error> {
    let mut sink = subject.open()?;
    let (first, second) = ([total(1, "a", 1, 1)], [total(1, "b", 2, 1)]);
    sink.write(LogTime(1), &first)?;
    sink.write(LogTime(1), &second)?;
    assert_eq!(subject.rows()?, Rows::new());
    sink.commit(LogTime(1))?;
    sink.flush()?;
    assert_eq!(subject.rows()?, consolidate(first.iter().chain(&second)));
    assert_eq!(sink.committed(), Some(LogTime(1)));
    let third = [total(9, "c", 3, 1)];
    sink.write(LogTime(9), &third)?;
    sink.commit(LogTime(9))?;
    sink.finish()?;
    drop(sink);
    assert_eq!(subject.rows()?, consolidate(first.iter().chain(&second).chain(&third)));
    assert_eq!(subject.open()?.committed(), Some(LogTime(9)));
    Ok(())
}

fn every_type_comes_back(subject: &mut dyn Subject) -> Result<(), Error> {
    let changes: Vec<Change> = (0..200).map(|seed| sample(5, 7, i64::from(seed), seed, 1)).collect();
    let mut sink = subject.open()?;
    sink.write(LogTime(5), &changes)?;
    sink.commit(LogTime(5))?;
    sink.finish()?;
    drop(sink);
    subject.open()?;
    assert_eq!(subject.rows()?, consolidate(&changes));
    Ok(())
}

fn commit_twice(subject: &mut dyn Subject) -> Result<(), Error> {
    let rows = [total(1, "a", 1, 1)];
    let mut sink = subject.open()?;
    sink.write(LogTime(1), &rows)?;
    for _ in 0..2 {
        sink.commit(LogTime(1))?;
        sink.flush()?;
    }
    sink.commit(LogTime(0))?;
    sink.flush()?;
    assert_eq!(sink.committed(), Some(LogTime(1)));
    assert_eq!(subject.rows()?, consolidate(&rows));
    Ok(())
}

fn crash_before_commit(subject: &mut dyn Subject) -> Result<(), Error> {
    let (kept, lost) = ([total(1, "a", 1, 1)], [total(2, "b", 2, 1)]);
    let mut sink = subject.open()?;
    sink.write(LogTime(1), &kept)?;
    sink.commit(LogTime(1))?;
    sink.flush()?;
    sink.write(LogTime(2), &lost)?;
    drop(sink);
    assert_eq!(subject.rows()?, consolidate(&kept));
    let mut sink = subject.open()?;
    assert_eq!(sink.committed(), Some(LogTime(1)));
    assert_eq!(subject.rows()?, consolidate(&kept));
    // The next run may find other rows in that epoch's place only if it is another epoch.
    let other = [total(3, "c", 3, 1)];
    sink.write(LogTime(3), &other)?;
    sink.commit(LogTime(3))?;
    sink.flush()?;
    assert_eq!(subject.rows()?, consolidate(kept.iter().chain(&other)));
    Ok(())
}

fn resent_epochs(subject: &mut dyn Subject) -> Result<(), Error> {
    let (first, second) = ([total(1, "a", 1, 1)], [total(2, "b", 2, 1)]);
    let mut sink = subject.open()?;
    sink.write(LogTime(1), &first)?;
    sink.commit(LogTime(1))?;
    sink.flush()?;
    drop(sink);
    let mut sink = subject.open()?;
    for (epoch, rows) in [(1, &first), (2, &second), (2, &second)] {
        sink.write(LogTime(epoch), rows)?;
        sink.commit(LogTime(epoch))?;
    }
    sink.finish()?;
    assert_eq!(subject.rows()?, consolidate(first.iter().chain(&second)));
    Ok(())
}

fn replaced_row(subject: &mut dyn Subject) -> Result<(), Error> {
    let mut sink = subject.open()?;
    let steps = [
        (1, vec![total(1, "a", 1, 1), total(1, "b", 1, 1)]),
        (2, vec![total(2, "a", 1, -1), total(2, "a", 2, 1)]),
        (3, vec![total(3, "a", 3, 1), total(3, "a", 2, -1), total(3, "b", 1, -1)]),
        (4, vec![total(4, "a", 4, 1), total(4, "a", 4, -1)]),
    ];
    for (epoch, changes) in &steps {
        sink.write(LogTime(*epoch), changes)?;
        sink.commit(LogTime(*epoch))?;
        sink.flush()?;
    }
    assert_eq!(subject.rows()?, consolidate(&[total(3, "a", 3, 1)]));
    Ok(())
}

fn misuse(subject: &mut dyn Subject) -> Result<(), Error> {
    let mut short = total(5, "a", 1, 1);
    short.row.pop();
    let mut unknown = total(5, "a", 1, 1);
    unknown.table = Cow::Borrowed("nowhere");
    let mut wrong = total(5, "a", 1, 1);
    wrong.row[1] = Cell::Bool(true);
    let mut null = total(5, "a", 1, 1);
    null.row[1] = Cell::Null;
    let mut infinite = sample(5, 1, 1, 63, 1);
    infinite.row[3] = Cell::Real(Real(f64::INFINITY));
    for change in [short, unknown, wrong, null, infinite, total(4, "a", 1, 1), total(5, "a", 1, 0)] {
        let refused = subject.open()?.write(LogTime(5), std::slice::from_ref(&change));
        assert!(matches!(refused, Err(Error::Contract(_))), "{change:?}: {refused:?}");
    }
    let mut sink = subject.open()?;
    sink.write(LogTime(5), &[total(5, "a", 1, 1)])?;
    assert!(matches!(sink.commit(LogTime(4)), Err(Error::Contract(_))), "a commit before written rows");
    drop(sink);
    let mut sink = subject.open()?;
    sink.write(LogTime(5), &[total(5, "a", 1, 1)])?;
    assert!(matches!(sink.write(LogTime(4), &[]), Err(Error::Contract(_))), "epochs that go back");
    drop(sink);
    assert_eq!(subject.rows()?, Rows::new());
    Ok(())
}

/// A step of a script: what the engine, or its death, does to a sink.
#[derive(Clone, Debug)]
pub enum Step {
    /// An epoch that sets totals (`None`: removes); without commit if the flag is false, so that the next
    /// step must be a crash.
    Epoch(Vec<(u8, Option<i64>)>, bool),
    /// A flush.
    Flush,
    /// The process dies, is started again, and sends the epochs after the last committed one again.
    Crash,
}

/// Runs a script against a sink and against a plain map, and compares after each restart and at the end.
pub fn check_script(subject: &mut dyn Subject, script: &[Step]) -> Result<(), Error> {
    let mut sink = subject.open()?;
    // The epochs of the run so far, as a replay would send them, and the totals after each.
    let mut epochs: Vec<Vec<Change>> = Vec::new();
    let mut totals: BTreeMap<u8, i64> = BTreeMap::new();
    for step in script {
        match step {
            Step::Flush => sink.flush()?,
            Step::Epoch(sets, commit) => {
                let epoch = epochs.len() as u64 + 1;
                let changes = set_totals(epoch, &mut totals, sets);
                sink.write(LogTime(epoch), &changes)?;
                epochs.push(changes);
                if *commit {
                    sink.commit(LogTime(epoch))?;
                    continue;
                }
                sink = restart(subject, sink, &epochs)?;
            }
            Step::Crash => sink = restart(subject, sink, &epochs)?,
        }
    }
    sink.finish()?;
    assert_eq!(sink.committed(), epochs.len().checked_sub(1).map(|last| LogTime(last as u64 + 1)));
    drop(sink);
    let expected: Vec<Change> =
        totals.iter().map(|(name, value)| total(0, &name.to_string(), *value, 1)).collect();
    assert_eq!(subject.rows()?, consolidate(&expected));
    Ok(())
}

/// Drops a sink, opens it anew, compares with a recomputation, and sends what is missing.
fn restart(
    subject: &mut dyn Subject,
    sink: Box<dyn Sink>,
    epochs: &[Vec<Change>],
) -> Result<Box<dyn Sink>, Error> {
    drop(sink);
    let mut sink = subject.open()?;
    let committed = sink.committed().map_or(0, |epoch| epoch.0);
    let durable = epochs.iter().take(committed as usize).flatten();
    assert_eq!(subject.rows()?, consolidate(durable));
    // From a checkpoint two epochs earlier, as a recovery may.
    for (at, changes) in epochs.iter().enumerate().skip(committed.saturating_sub(2) as usize) {
        let epoch = LogTime(at as u64 + 1);
        sink.write(epoch, changes)?;
        sink.commit(epoch)?;
    }
    Ok(sink)
}

/// The changes of an epoch that sets totals.
fn set_totals(epoch: u64, totals: &mut BTreeMap<u8, i64>, sets: &[(u8, Option<i64>)]) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, value) in sets {
        let old = match value {
            Some(value) => totals.insert(*name, *value),
            None => totals.remove(name),
        };
        changes.extend(value.map(|value| total(epoch, &name.to_string(), value, 1)));
        changes.extend(old.map(|old| total(epoch, &name.to_string(), old, -1)));
    }
    changes
}
