//! Runs that were stopped in the midst of two sessions, as versions of the engine have left them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsie_dataflow::checkpoint::gate::Rule;
use lsie_dataflow::checkpoint::manifest::{FOLDER, Manifest};
use lsie_dataflow::checkpoint::store::Store;
use lsie_dataflow::config::Config;
use lsie_dataflow::engine::Checkpoints;
use lsie_dataflow::recovery::{Facts, Plan, facts};
use lsie_dataflow::{Engine, Range, Run, epochs};
use lsie_schemas::LogTime;
use lsie_schemas::log::Log;
use lsie_sinks::parquet::{Options, Reader};
use lsie_sinks::{Catalog, ParquetSink, Sink};
use tempfile::TempDir;

use crate::embedded;
use crate::harness::Settings;

/// The sessions of the fixtures; their records are made anew, always the same.
const SESSIONS: (&str, u64) = ("format", 2);

/// The sessions in a log, and a folder with what an earlier version left of a run over them.
pub struct Left {
    log: Arc<dyn Log>,
    dir: TempDir,
}

impl Left {
    fn new() -> Left {
        let dir = tempfile::tempdir().expect("a temporary folder");
        Left { log: Arc::new(embedded::fed(&dir.path().join("log"), SESSIONS.0, SESSIONS.1)), dir }
    }

    /// What an earlier version left.
    pub fn by(format: u32) -> Left {
        let left = Left::new();
        copy(&fixture(format), left.dir.path());
        left
    }

    /// A path of the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn store(&self) -> Store {
        Store::in_folder(&self.path("checkpoints")).expect("a folder")
    }

    /// The newest checkpoint.
    pub fn newest(&self) -> Manifest {
        let name = self.store().list(FOLDER).expect("a list").pop().expect("a checkpoint");
        Manifest::decode(&self.store().get(&name).expect("a file").expect("it is there")).expect("a manifest")
    }

    /// Goes on in the tables, under the settings that a checkpoint was written under.
    pub fn run(&self, config: String, until: LogTime) {
        let rule = Rule { interval_ms: u64::MAX, bytes: u64::MAX };
        let crashes = self.path("crashes");
        let checkpoints = Checkpoints { store: self.store(), rule, keep: 1, config, crashes };
        let engine = Settings::WITHOUT_MODELS.engine(self.log.clone());
        let engine = Engine { checkpoints: Some(checkpoints), ..engine };
        let range = Range { until, ..Range::ALL };
        engine.run(Run::Bounded(range), sinks(&self.path("tables")), Arc::default()).expect("a run");
    }

    /// A run from beginning to end, beside.
    pub fn undisturbed(&self) -> PathBuf {
        let engine = Settings::WITHOUT_MODELS.engine(self.log.clone());
        let tables = self.path("undisturbed");
        engine.run(Run::Bounded(Range::ALL), sinks(&tables), Arc::default()).expect("a run");
        tables
    }

    /// What a start decides.
    pub fn plan(&self, config: String) -> Plan {
        let table = epochs::read_table(&*self.log).expect("the log answers").expect("the topic").entries;
        let inputs = epochs::input_partitions(&*self.log).expect("the log answers");
        let mut facts = Facts { config, table, sinks: committed(&self.path("tables")), ..Facts::default() };
        for (at, _) in inputs {
            facts.bounds.insert(at, self.log.bounds(at).expect("the log answers"));
            *facts.partitions.entry(at.topic).or_default() += 1;
        }
        facts::decide(&self.store(), &*self.log, &mut facts).expect("the store answers").0
    }
}

/// The newest epoch in these tables.
pub fn committed(tables: &Path) -> Option<LogTime> {
    Reader::open(tables).expect("readable tables").committed()
}

fn sinks(tables: &Path) -> Vec<Box<dyn Sink>> {
    vec![Box::new(ParquetSink::open(tables, Catalog::all(), Options::default()).expect("a folder"))]
}

fn fixture(format: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/format-{format}"))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a kind").is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("a copy")),
        }
    }
}

/// Writes the fixture of a format, as this version leaves it.
pub fn write(format: u32) {
    let left = Left::new();
    left.undisturbed();
    let table = epochs::read_table(&*left.log).expect("the log answers").expect("the topic").entries;
    let config = Config::parse("").expect("the default configuration").results_hash();
    left.run(config, table[table.len() / 2].log_time);
    let to = fixture(format);
    let _ = fs::remove_dir_all(&to);
    copy(&left.path("tables"), &to.join("tables"));
    copy(&left.path("checkpoints"), &to.join("checkpoints"));
}
