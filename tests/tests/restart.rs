//! Restarts: whenever a run ends, and with however many workers it goes on, nothing is lost, nothing comes twice.
//! In one process, over the embedded log.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::ensure;
use lsie_dataflow::checkpoint::gate::Rule;
use lsie_dataflow::checkpoint::manifest::{FOLDER, Manifest};
use lsie_dataflow::checkpoint::store::Store;
use lsie_dataflow::config::Config;
use lsie_dataflow::engine::Checkpoints;
use lsie_dataflow::pool::{MeasurerFactory, Task};
use lsie_dataflow::{Engine, Range, Run, epochs, faces};
use lsie_schemas::LogTime;
use lsie_schemas::log::Log;
use lsie_schemas::record::EpochRecord;
use lsie_sinks::parquet::Options;
use lsie_sinks::{Catalog, ParquetSink, Sink};
use lsie_tests::embedded;
use lsie_tests::harness::{Settings, assert_same};
use tempfile::TempDir;

/// Sessions of four partitions in an embedded log, one after the other.
struct Fed {
    log: Arc<dyn Log>,
    dir: TempDir,
}

impl Fed {
    fn new(name: &str, sessions: u64) -> Fed {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let log = embedded::fed(&dir.path().join("log"), name, sessions);
        Fed { log: Arc::new(log), dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn table(&self) -> Vec<EpochRecord> {
        epochs::read_table(&*self.log).expect("the log answers").expect("the topic").entries
    }

    fn engine(&self, settings: Settings, tables: &Path, interval_ms: u64) -> Engine {
        let store = Store::in_folder(&tables.with_extension("checkpoints")).expect("a folder");
        let rule = Rule { interval_ms, bytes: u64::MAX };
        let config = Config::parse("").expect("the default configuration").results_hash();
        let crashes = self.dir.path().join("crashes");
        let checkpoints = Checkpoints { store, rule, keep: 2, config, crashes };
        Engine { checkpoints: Some(checkpoints), ..settings.engine(self.log.clone()) }
    }

    /// A run without checkpoints from beginning to end.
    fn undisturbed(&self, settings: Settings) -> PathBuf {
        let tables = self.path("undisturbed");
        let engine = settings.engine(self.log.clone());
        engine.run(Run::Bounded(Range::ALL), sinks(&tables), Arc::default()).expect("a run");
        tables
    }

    /// Runs on to the end of an epoch, with a checkpoint there.
    fn run_until(&self, settings: Settings, tables: &Path, until: LogTime) {
        let engine = self.engine(settings, tables, u64::MAX);
        let range = Range { until, ..Range::ALL };
        engine.run(Run::Bounded(range), sinks(tables), Arc::default()).expect("a run");
        assert_eq!(newest(tables).map(|manifest| manifest.epoch), Some(until), "its last checkpoint");
    }
}

/// The newest checkpoint beside these tables.
fn newest(tables: &Path) -> Option<Manifest> {
    let store = Store::in_folder(&tables.with_extension("checkpoints")).expect("a folder");
    let name = store.list(FOLDER).expect("a list").pop()?;
    let content = store.get(&name).expect("a file").expect("it is there");
    Some(Manifest::decode(&content).expect("a manifest"))
}

fn sinks(tables: &Path) -> Vec<Box<dyn Sink>> {
    vec![Box::new(ParquetSink::open(tables, Catalog::all(), Options::default()).expect("a folder"))]
}

/// Stops at epochs all along the sessions, each time with another number of workers.
fn stop_and_go(fed: &Fed, settings: Settings, stops: usize) {
    let undisturbed = fed.undisturbed(settings);
    let tables = fed.path("stopped");
    let epochs = fed.table();
    let last = epochs.len() - 1;
    let workers = [1, 2, 4, 1, 3];
    for stop in 0..=stops {
        let until = epochs[last * stop / stops].log_time;
        let settings = Settings { workers: workers[stop % workers.len()], ..settings };
        fed.run_until(settings, &tables, until);
    }
    assert_same(&undisturbed, &tables, "undisturbed, and stopped");
}

#[test]
fn a_stop_at_any_epoch_changes_nothing() {
    stop_and_go(&Fed::new("stops", 3), Settings::WITHOUT_MODELS, 40);
}

/// Decoders and trackers of faces go on as if nothing had happened.
#[test]
fn a_stop_in_the_middle_of_pictures_changes_nothing() {
    stop_and_go(&Fed::new("pictures", 1), Settings::WITH_MODELS, 12);
}

/// What the specification asks when a processor of models is gone: the process ends, and the next one goes on.
#[test]
fn a_model_that_fails_ends_the_run_and_the_next_goes_on() {
    let fed = Fed::new("gone", 2);
    let undisturbed = fed.undisturbed(Settings::WITHOUT_MODELS);
    let tables = fed.path("gone");
    let epochs = fed.table();
    fed.run_until(Settings::WITHOUT_MODELS, &tables, epochs[epochs.len() / 2].log_time);
    let pictures = Arc::new(AtomicU64::new(0));
    let failing: MeasurerFactory = Arc::new(move |thread| {
        let mut measure = faces::without_models()(thread)?;
        let pictures = pictures.clone();
        Ok(Box::new(move |epoch, task| {
            let is_one = matches!(task, Task::Frame(_));
            ensure!(!is_one || pictures.fetch_add(1, Ordering::SeqCst) < 30, "the device is gone");
            measure(epoch, task)
        }))
    });
    let engine = Engine { measurer: failing, ..fed.engine(Settings::WITHOUT_MODELS, &tables, 1_000) };
    let why = engine.run(Run::Bounded(Range::ALL), sinks(&tables), Arc::default()).expect_err("it ends");
    assert!(format!("{why:#}").contains("the device is gone"), "{why:#}");
    let engine = fed.engine(Settings::WITHOUT_MODELS, &tables, 1_000);
    engine.run(Run::Bounded(Range::ALL), sinks(&tables), Arc::default()).expect("the next goes on");
    assert_same(&undisturbed, &tables, "undisturbed, and after a model failed");
}
