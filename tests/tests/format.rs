//! Tables and checkpoints that earlier versions have written: each is read, and gone on from, for ever.
//!
//! `tests/golden/format-1` is a run that was stopped in the midst of two sessions, one folder of tables and one of
//! checkpoints, as the first version with checkpoints left them. A version that changes a format adds a folder,
//! and takes none away: `cargo test --release --workspace --test format -- --ignored` writes the newest.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsie_dataflow::checkpoint::gate::Rule;
use lsie_dataflow::checkpoint::manifest::{FOLDER, FORMAT, Manifest};
use lsie_dataflow::checkpoint::store::Store;
use lsie_dataflow::config::Config;
use lsie_dataflow::engine::Checkpoints;
use lsie_dataflow::recovery::{Facts, Plan, facts, plan};
use lsie_dataflow::{Engine, Range, Run, epochs};
use lsie_schemas::LogTime;
use lsie_schemas::log::Log;
use lsie_sinks::parquet::{Options, Reader};
use lsie_sinks::{Catalog, ParquetSink, Sink};
use lsie_tests::embedded;
use lsie_tests::harness::{Settings, assert_same};
use tempfile::TempDir;

/// The sessions of the fixtures; their records are made anew, always the same.
const SESSIONS: (&str, u64) = ("format", 2);

/// The sessions in a log, and a folder with what an earlier version left of a run over them.
struct Left {
    log: Arc<dyn Log>,
    dir: TempDir,
}

impl Left {
    fn new() -> Left {
        let dir = tempfile::tempdir().expect("a temporary folder");
        Left { log: Arc::new(embedded::fed(&dir.path().join("log"), SESSIONS.0, SESSIONS.1)), dir }
    }

    fn by(format: u32) -> Left {
        let left = Left::new();
        copy(&fixture(format), left.dir.path());
        left
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn store(&self) -> Store {
        Store::in_folder(&self.path("checkpoints")).expect("a folder")
    }

    fn newest(&self) -> Manifest {
        let name = self.store().list(FOLDER).expect("a list").pop().expect("a checkpoint");
        Manifest::decode(&self.store().get(&name).expect("a file").expect("it is there")).expect("a manifest")
    }

    /// Goes on in the tables, under the settings that a checkpoint was written under.
    fn run(&self, config: String, until: LogTime) {
        let rule = Rule { interval_ms: u64::MAX, bytes: u64::MAX };
        let crashes = self.path("crashes");
        let checkpoints = Checkpoints { store: self.store(), rule, keep: 1, config, crashes };
        let engine = Settings::WITHOUT_MODELS.engine(self.log.clone());
        let engine = Engine { checkpoints: Some(checkpoints), ..engine };
        let range = Range { until, ..Range::ALL };
        engine.run(Run::Bounded(range), sinks(&self.path("tables")), Arc::default()).expect("a run");
    }

    fn undisturbed(&self) -> PathBuf {
        let engine = Settings::WITHOUT_MODELS.engine(self.log.clone());
        let tables = self.path("undisturbed");
        engine.run(Run::Bounded(Range::ALL), sinks(&tables), Arc::default()).expect("a run");
        tables
    }

    /// What a start decides.
    fn plan(&self, config: String) -> Plan {
        let table = epochs::read_table(&*self.log).expect("the log answers").expect("the topic").entries;
        let inputs = epochs::input_partitions(&*self.log).expect("the log answers");
        let mut facts = Facts { config, table, sinks: committed(&self.path("tables")), ..Facts::default() };
        for (at, _) in inputs {
            facts.bounds.insert(at, self.log.bounds(at).expect("the log answers"));
            *facts.partitions.entry(at.topic).or_default() += 1;
        }
        facts::gather(&self.store(), &*self.log, &mut facts).expect("the store answers");
        plan(&facts)
    }
}

fn committed(tables: &Path) -> Option<LogTime> {
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

#[test]
fn what_the_first_format_left_is_gone_on_from() {
    for format in 1..=FORMAT {
        let left = Left::by(format);
        let undisturbed = left.undisturbed();
        let manifest = left.newest();
        let held = committed(&left.path("tables"));
        assert_eq!(held, Some(manifest.epoch), "tables and checkpoint of format {format} end at one epoch");
        match left.plan(manifest.config.clone()) {
            Plan::Resume { manifest: chosen, .. } => assert_eq!(*chosen, manifest),
            other => panic!("format {format} is not gone on from: {other:?}"),
        }
        left.run(manifest.config, LogTime(u64::MAX));
        assert_same(&undisturbed, &left.path("tables"), "undisturbed, and gone on from an earlier format");
    }
}

#[test]
#[ignore = "writes the fixture of the newest format"]
fn write_the_newest() {
    let left = Left::new();
    left.undisturbed();
    let table = epochs::read_table(&*left.log).expect("the log answers").expect("the topic").entries;
    let config = Config::parse("").expect("the default configuration").results_hash();
    left.run(config, table[table.len() / 2].log_time);
    let to = fixture(FORMAT);
    let _ = fs::remove_dir_all(&to);
    copy(&left.path("tables"), &to.join("tables"));
    copy(&left.path("checkpoints"), &to.join("checkpoints"));
}
