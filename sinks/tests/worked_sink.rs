//! The sink of docs/ADDING.md: a file of JSON lines, held to the contract of all sinks.

use lsie_sinks::testing::{Rows, Step, Subject, catalog, check_contract, check_script, consolidate};
use tempfile::TempDir;

// ANCHOR: sink
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use lsie_schemas::{Change, LogTime};
use lsie_sinks::{Catalog, Error, Sink};
use serde::{Deserialize, Serialize};

/// A line of the file.
#[derive(Serialize, Deserialize)]
enum Line {
    Change(Change),
    /// All before it is whole up to this epoch. What stands behind the last such line does not exist.
    Committed(LogTime),
}

/// Appends changes to a file, one JSON object a line. The marker stands in the same file as the rows it vouches for, so
/// that no crash can part them.
struct JsonLines {
    path: PathBuf,
    file: File,
    catalog: Catalog,
    committed: Option<LogTime>,
    written: Option<LogTime>,
    pending: Vec<u8>,
}

impl JsonLines {
    fn open(path: &Path, catalog: Catalog) -> Result<JsonLines, Error> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let (_, committed, end) = read(path)?;
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(io)?;
        // A writer that died left lines behind the last marker.
        file.set_len(end).map_err(io)?;
        file.seek(SeekFrom::End(0)).map_err(io)?;
        Ok(JsonLines { path: path.to_owned(), file, catalog, committed, written: None, pending: Vec::new() })
    }

    fn push(&mut self, line: &Line) -> Result<(), Error> {
        serde_json::to_writer(&mut self.pending, line).map_err(|why| Error::Contract(why.to_string()))?;
        self.pending.push(b'\n');
        Ok(())
    }
}

/// The changes that count, the epoch they reach, and where in the file they end.
fn read(path: &Path) -> Result<(Vec<Change>, Option<LogTime>, u64), Error> {
    let (mut changes, mut open, mut committed, mut at, mut end) = (Vec::new(), Vec::new(), None, 0, 0);
    let Ok(file) = File::open(path) else { return Ok((changes, committed, end)) };
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(|source| Error::Io { path: path.to_owned(), source })?;
        at += line.len() as u64 + 1;
        match serde_json::from_slice(&line) {
            Ok(Line::Change(change)) => open.push(change),
            Ok(Line::Committed(epoch)) => {
                changes.append(&mut open);
                (committed, end) = (Some(epoch), at);
            }
            // A line that a crash cut off: it is behind the last marker.
            Err(_) => break,
        }
    }
    Ok((changes, committed, end))
}

impl Sink for JsonLines {
    fn write(&mut self, epoch: LogTime, changes: &[Change]) -> Result<(), Error> {
        // After a restart the engine sends again what came after some checkpoint.
        if Some(epoch) <= self.committed {
            return Ok(());
        }
        if Some(epoch) < self.written {
            return Err(Error::Contract(format!("epoch {} comes after {:?}", epoch.0, self.written)));
        }
        self.written = Some(epoch);
        for change in changes {
            self.catalog.check(epoch, change)?;
            self.push(&Line::Change(change.clone()))?;
        }
        Ok(())
    }

    fn commit(&mut self, epoch: LogTime) -> Result<(), Error> {
        if Some(epoch) <= self.committed {
            return Ok(());
        }
        if Some(epoch) < self.written {
            return Err(Error::Contract(format!("a commit of {} before {:?}", epoch.0, self.written)));
        }
        self.push(&Line::Committed(epoch))?;
        let io = |source| Error::Io { path: self.path.clone(), source };
        self.file.write_all(&self.pending).map_err(io)?;
        self.file.sync_data().map_err(io)?;
        self.pending.clear();
        self.committed = Some(epoch);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        // A commit is durable already. A sink that gathers commits would write them here.
        Ok(())
    }

    fn committed(&self) -> Option<LogTime> {
        self.committed
    }
}
// ANCHOR_END: sink

// ANCHOR: contract
/// The file under test, and what a reader of it sees.
struct InFile(TempDir);

impl Subject for InFile {
    fn open(&mut self) -> Result<Box<dyn Sink>, Error> {
        Ok(Box::new(JsonLines::open(&self.0.path().join("changes.jsonl"), catalog())?))
    }
    fn rows(&mut self) -> Result<Rows, Error> {
        Ok(consolidate(&read(&self.0.path().join("changes.jsonl"))?.0))
    }
}

fn fresh() -> InFile {
    InFile(TempDir::new().expect("a temporary folder"))
}

#[test]
fn it_keeps_the_contract() {
    check_contract(fresh);
}

#[test]
fn a_script_with_crashes() {
    let set = |name, value| Step::Epoch(vec![(name, value)], true);
    let dies = Step::Epoch(vec![(1, Some(7))], false);
    let script =
        [set(1, Some(1)), set(2, Some(2)), Step::Crash, set(1, Some(3)), dies, set(2, None), Step::Flush];
    check_script(&mut fresh(), &script).expect("no error");
}
// ANCHOR_END: contract

#[test]
fn what_a_crash_cut_off_does_not_exist() {
    let subject = fresh();
    let path = subject.0.path().join("changes.jsonl");
    let mut sink = JsonLines::open(&path, catalog()).expect("a sink");
    sink.commit(LogTime(1)).expect("a commit");
    drop(sink);
    let whole = std::fs::read(&path).expect("the file");
    let torn = [whole.as_slice(), b"{\"Committed\":2".as_slice()].concat();
    std::fs::write(&path, torn).expect("a torn line");
    assert_eq!(JsonLines::open(&path, catalog()).expect("a sink").committed(), Some(LogTime(1)));
    assert_eq!(std::fs::read(&path).expect("the file"), whole);
}
