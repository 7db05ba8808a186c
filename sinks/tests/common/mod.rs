//! What several tests of the sinks need: the places under test, and rows of the product's tables.
#![allow(dead_code, unreachable_pub)]

pub mod server;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use lsie_schemas::cell::{Cell, Real};
use lsie_schemas::{Change, Column, ColumnType, EventTime, LogTime, Table, Uuid};
use lsie_sinks::parquet::{Options, Reader};
use lsie_sinks::testing::{Rows, Subject, catalog, consolidate};
use lsie_sinks::{Catalog, Error, MemoryStore, ParquetSink, Sink, Views};
use tempfile::TempDir;

/// A memory store under test.
pub struct Memory(pub MemoryStore);

impl Memory {
    pub fn new() -> Memory {
        Memory(MemoryStore::new(catalog()))
    }
}

impl Subject for Memory {
    fn open(&mut self) -> Result<Box<dyn Sink>, Error> {
        Ok(Box::new(self.0.sink()))
    }
    fn rows(&mut self) -> Result<Rows, Error> {
        Ok(consolidate(&self.0.changes()))
    }
}

/// Served views under test.
pub struct Served(pub Views);

impl Served {
    pub fn new() -> Served {
        Served(Views::new(catalog()))
    }
}

impl Subject for Served {
    fn open(&mut self) -> Result<Box<dyn Sink>, Error> {
        Ok(Box::new(self.0.sink()))
    }
    fn rows(&mut self) -> Result<Rows, Error> {
        let state = self.0.read();
        let mut rows = Rows::new();
        for (at, table) in catalog().tables().iter().enumerate() {
            for entry in state.table(at).expect("a table of the catalog").entries() {
                rows.insert((table.name.to_owned(), entry.row.to_vec()), 1);
            }
        }
        Ok(rows)
    }
}

/// A Parquet directory under test.
pub struct Directory {
    _temp: TempDir,
    pub dir: PathBuf,
    pub options: Options,
}

impl Directory {
    pub fn new(options: Options) -> Directory {
        let temp = TempDir::new().expect("a temporary directory");
        Directory { dir: temp.path().join("results"), _temp: temp, options }
    }
}

impl Subject for Directory {
    fn open(&mut self) -> Result<Box<dyn Sink>, Error> {
        Ok(Box::new(ParquetSink::open(&self.dir, catalog(), self.options.clone())?))
    }
    fn rows(&mut self) -> Result<Rows, Error> {
        Ok(consolidate(&changes_in(&self.dir, &catalog())))
    }
}

/// Options under which every commit flushes and files are merged soon.
pub fn eager() -> Options {
    Options { flush_rows: 1, flush_epochs_ms: 1, max_files: 3, ..Options::default() }
}

/// All changes in a directory.
pub fn changes_in(dir: &Path, catalog: &Catalog) -> Vec<Change> {
    let reader = Reader::open(dir).expect("a result directory");
    let mut changes = Vec::new();
    for table in catalog.tables() {
        for change in reader.changes(table) {
            changes.push(change.expect("an undamaged file"));
        }
    }
    changes
}

/// Writes epochs into a sink, committing each.
pub fn drive(sink: &mut dyn Sink, epochs: &[(u64, Vec<Change>)]) {
    for (epoch, changes) in epochs {
        sink.write(LogTime(*epoch), changes).expect("a correct epoch");
        sink.commit(LogTime(*epoch)).expect("a complete epoch");
    }
    sink.finish().expect("an orderly end");
}

/// A row of one of the product's tables.
pub struct Made {
    table: &'static str,
    row: Vec<Cell>,
}

impl Made {
    /// Another text in a column.
    pub fn set(&mut self, column: &str, value: &str) {
        let columns = lsie_schemas::row::table(self.table).expect("a table of the product").columns;
        let at = columns.iter().position(|known| known.name == column).expect("a column of the table");
        self.row[at] = text(value);
    }
}

/// A row with these values; other columns are null, or empty where null is not allowed.
fn made(table: &'static str, values: &[(&str, Cell)]) -> Made {
    let columns = lsie_schemas::row::table(table).expect("a table of the product").columns;
    assert!(values.iter().all(|(name, _)| columns.iter().any(|column| column.name == *name)), "{table}");
    let row = columns.iter().map(|column| {
        let value = values.iter().find(|(name, _)| *name == column.name);
        value.map_or_else(|| empty(column), |(_, cell)| cell.clone())
    });
    Made { table, row: row.collect() }
}

fn empty(column: &Column) -> Cell {
    match column.ty {
        _ if column.nullable => Cell::Null,
        ColumnType::Bool => Cell::Bool(false),
        ColumnType::Int => Cell::Int(0),
        ColumnType::Real => Cell::Real(Real(0.0)),
        ColumnType::Text => Cell::Text(String::new()),
        ColumnType::Uuid => Cell::Uuid(Uuid::nil()),
        ColumnType::Time => Cell::Time(EventTime(0)),
        ColumnType::Json => Cell::Json("{}".into()),
        ColumnType::Texts => Cell::Texts(Vec::new()),
    }
}

/// A row that comes or goes.
pub fn change(epoch: u64, made: &Made, diff: i64) -> Change {
    Change { table: Cow::Borrowed(made.table), row: made.row.clone(), epoch: LogTime(epoch), diff }
}

/// Session 1, 2, …
pub fn session_id(n: u128) -> Uuid {
    Uuid::from_u128(0x1111_1111_1111_4111_8111_0000_0000_0000 + n)
}

/// 2026-02-02T02:40:00Z plus seconds.
pub fn at(seconds: i64) -> EventTime {
    EventTime((1_770_000_000 + seconds) * 1_000_000)
}

fn text(text: impl Into<String>) -> Cell {
    Cell::Text(text.into())
}

fn real(value: f64) -> Cell {
    Cell::Real(Real(value))
}

pub fn session(n: u128, started_s: i64, ended_s: Option<i64>) -> Made {
    made(
        "sessions",
        &[
            ("session_id", Cell::Uuid(session_id(n))),
            ("stream_url", text(format!("https://example.org/{n}"))),
            ("started_at", Cell::Time(at(started_s))),
            ("ended_at", ended_s.map_or(Cell::Null, |s| Cell::Time(at(s)))),
        ],
    )
}

pub fn segment(n: u128, ordinal: i64) -> Made {
    made(
        "segments",
        &[
            ("session_id", Cell::Uuid(session_id(n))),
            ("ordinal", Cell::Int(ordinal)),
            ("window_start_utc", Cell::Time(at((ordinal - 1) * 30))),
            ("window_end_utc", Cell::Time(at(ordinal * 30))),
            ("closed_by", text("complete")),
        ],
    )
}

pub fn metrics(n: u128, ordinal: i64, au12: Option<f64>) -> Made {
    made(
        "metrics",
        &[
            ("session_id", Cell::Uuid(session_id(n))),
            ("segment_id", text(format!("{ordinal:064x}"))),
            ("timestamp_utc", Cell::Time(at(ordinal * 30))),
            ("au12_intensity", au12.map_or(Cell::Null, real)),
        ],
    )
}

pub fn encounter(n: u128, arm: &str, at_s: i64, reward: f64, is_valid: bool) -> Made {
    made(
        "encounter_log",
        &[
            ("session_id", Cell::Uuid(session_id(n))),
            ("segment_id", text(format!("{:064x}", at_s / 30 + 1))),
            ("experiment_id", text("greeting_line_v1")),
            ("arm", text(arm)),
            ("timestamp_utc", Cell::Time(at(at_s))),
            ("gated_reward", real(reward)),
            ("p90_intensity", real(reward.max(0.25))),
            ("semantic_gate", Cell::Int(i64::from(reward > 0.0))),
            ("is_valid", Cell::Bool(is_valid)),
            ("n_frames", Cell::Int(if is_valid { 150 } else { 0 })),
            ("stimulus_time", real(1_770_000_000.0 + at_s as f64)),
        ],
    )
}

pub fn arm(experiment: &str, arm: &str, alpha: f64) -> Made {
    made(
        "experiments",
        &[
            ("experiment_id", text(experiment)),
            ("arm", text(arm)),
            ("alpha_param", real(alpha)),
            ("beta_param", real(1.0)),
            ("enabled", Cell::Bool(true)),
        ],
    )
}

/// What the encounters of an arm come to: their number, how many are valid, and the mean reward of all and of those.
pub fn arm_summary(name: &str, counts: [i64; 2], mean: f64, valid_mean: Option<f64>, at_s: [i64; 2]) -> Made {
    let valid = |value: f64| valid_mean.map_or(Cell::Null, |_| real(value));
    made(
        "arm_summaries",
        &[
            ("experiment_id", text("greeting_line_v1")),
            ("arm", text(name)),
            ("encounter_count", Cell::Int(counts[0])),
            ("valid_count", Cell::Int(counts[1])),
            ("avg_reward", real(mean)),
            ("avg_valid_reward", valid_mean.map_or(Cell::Null, real)),
            ("avg_p90", valid(mean.max(0.25))),
            ("gate_rate", real(f64::from(mean > 0.0))),
            ("avg_frames", valid(150.0)),
            ("first_encounter", Cell::Time(at(at_s[0]))),
            ("last_encounter", Cell::Time(at(at_s[1]))),
        ],
    )
}

pub fn alert(id: &str, n: u128, at_s: i64) -> Made {
    made(
        "alerts",
        &[
            ("alert_id", text(id)),
            ("session_id", Cell::Uuid(session_id(n))),
            ("emitted_at_utc", Cell::Time(at(at_s))),
        ],
    )
}

pub fn stimulus(n: u128, at_s: i64) -> Made {
    made(
        "stimuli",
        &[
            ("session_id", Cell::Uuid(session_id(n))),
            ("client_action_id", Cell::Uuid(Uuid::from_u128(at_s as u128))),
            ("stimulus_utc", Cell::Time(at(at_s))),
        ],
    )
}

pub fn action(id: Uuid, action: &str, session: Option<u128>) -> Made {
    made(
        "actions",
        &[
            ("action_id", Cell::Uuid(id)),
            ("action", text(action)),
            ("at", Cell::Time(at(0))),
            ("session_id", session.map_or(Cell::Null, |n| Cell::Uuid(session_id(n)))),
        ],
    )
}

/// A row of any table: of this session, with the same text and number everywhere.
pub fn a_row_of(table: &Table, session: Uuid) -> Vec<Cell> {
    let cell = |column: &Column| match column.ty {
        ColumnType::Bool => Cell::Bool(true),
        ColumnType::Int => Cell::Int(1),
        ColumnType::Real => Cell::Real(Real(1.0)),
        ColumnType::Text => Cell::Text("text".into()),
        ColumnType::Uuid => Cell::Uuid(session),
        ColumnType::Time => Cell::Time(EventTime(1_770_000_000_000_000)),
        ColumnType::Json => Cell::Json("{}".into()),
        ColumnType::Texts => Cell::Texts(vec!["text".into()]),
    };
    table.columns.iter().map(cell).collect()
}
