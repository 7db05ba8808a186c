//! The real binary over a recorded topic set in an embedded log: started, killed, gone on with, and compared with a replay.

use std::cell::Cell;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lsie_dataflow::epochs;
use lsie_schemas::log::{Log, TopicPartition};
use lsie_schemas::row::SegmentRow;
use lsie_schemas::{LogTime, TableRow};
use lsie_sinks::parquet::Reader;
use tempfile::TempDir;

use crate::embedded;
use crate::harness::{assert_same, binary, signal};

/// Small epochs, checkpoints and files far more often than by default; a recorded set keeps its records.
const SETTINGS: &str = r#"
[log]
allow_long_retention = ["physio", "av.audio", "av.video", "requests", "dead-letters", "keys"]
[engine]
budget_mib = 1
fetch_kib = 64
[checkpoint]
interval_ms = 1000
[parquet]
flush_ms = 3000
"#;

/// A recorded topic set of sessions in an embedded log, and the tables of live runs over it.
pub struct Site {
    dir: TempDir,
    log: String,
    /// What the binary finds in its environment.
    environment: Vec<(&'static str, String)>,
    /// Bytes that it had said before the last start.
    started: Cell<usize>,
}

impl Site {
    /// Sessions of these names in a log of their own.
    pub fn new(name: &str, sessions: u64) -> Site {
        let dir = tempfile::tempdir().expect("a temporary folder");
        drop(embedded::fed(&dir.path().join("log"), name, sessions));
        let log = format!("file:{}", dir.path().join("log").display());
        let site = Site { log, dir, environment: Vec::new(), started: Cell::default() };
        std::fs::write(site.dir.path().join("lsie.toml"), SETTINGS).expect("settings");
        site
    }

    /// The same with variables in the environment of the binary.
    pub fn with(self, environment: &[(&'static str, &str)]) -> Site {
        let environment = environment.iter().map(|(name, value)| (*name, value.to_string())).collect();
        Site { environment, ..self }
    }

    /// A path in its folder: `live` are the tables, `log` is the log.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts `lsie run` in the background.
    pub fn start(&self, workers: usize, more: &[&str]) -> Child {
        self.run(workers, more).spawn().expect("the binary starts")
    }

    fn run(&self, workers: usize, more: &[&str]) -> Command {
        self.started.set(self.said().len());
        let workers = workers.to_string();
        let run = ["--log", &self.log, "--workers", &workers, "run", "--out", "live", "--port", "0"];
        let errors = std::fs::File::options().create(true).append(true).open(self.path("stderr"));
        let mut command = Command::new(binary());
        command.args(run).args(more).envs(self.environment.iter().cloned()).current_dir(self.dir.path());
        command.stdout(Stdio::null()).stderr(errors.expect("a file"));
        command
    }

    /// Starts it with another setting in its environment, under which it is to refuse; what it says.
    pub fn refuses(&self, setting: &str, value: &str) -> String {
        let mut running = self.run(1, &[]).env(setting, value).spawn().expect("the binary starts");
        for _ in 0..1_200 {
            if let Some(ended) = running.try_wait().expect("a process") {
                let said = self.said().split_off(self.started.get());
                assert_eq!(ended.code(), Some(2), "it was to refuse: {said}");
                return said;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        running.kill().expect("a kill");
        panic!("it does not refuse: {}", self.said());
    }

    /// Whether the tables hold every record of the log.
    pub fn has_all(&self) -> bool {
        let log = embedded::open(&self.path("log"));
        let Ok(Some(table)) = epochs::read_table(&log) else { return false };
        let (table, at) = epochs::accept(table.entries);
        let inputs = epochs::input_partitions(&log).expect("the log answers");
        let all = inputs.into_iter().all(|(partition, first)| {
            let end = log.bounds(partition).expect("the log answers").1;
            at.get(&partition).copied().unwrap_or(first) == end
        });
        let newest = table.iter().rfind(|epoch| !epoch.ranges.is_empty()).map(|epoch| epoch.log_time);
        all && newest.is_some() && self.held() >= newest
    }

    /// The newest epoch in the tables.
    pub fn held(&self) -> Option<LogTime> {
        Reader::open(&self.path("live")).ok().and_then(|reader| reader.committed())
    }

    /// Starts the binary, which is to die over a record; whether it did. If not, it is killed once it is past it.
    pub fn dies_over(&self, deadly: &str, at: TopicPartition, offset: i64) -> bool {
        let log = embedded::open(&self.path("log"));
        let mut running = self.start(2, &["--die-at", deadly]);
        for _ in 0..2_400 {
            if let Some(ended) = running.try_wait().expect("a process") {
                assert_eq!(ended.code(), None, "it died: {ended}, {}", self.said());
                return true;
            }
            let table = epochs::read_table(&log).expect("the log answers").expect("the topic").entries;
            let past = epochs::epoch_of(&table, at, offset);
            if past.is_some() && self.held() >= past {
                running.kill().expect("a kill");
                running.wait().expect("a process");
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("it neither died over {deadly} nor came past it: {}", self.said());
    }

    /// Runs until the tables hold every record and an epoch more than they had, and stops in order.
    pub fn goes_on(&self, workers: usize) {
        let before = self.held();
        let mut running = self.start(workers, &[]);
        for _ in 0..6_000 {
            assert!(running.try_wait().expect("a process").is_none(), "it ended: {}", self.said());
            if self.has_all() && self.held() > before {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(self.has_all(), "the tables do not hold every record: {}", self.said());
        signal(running.id(), "TERM");
        let ended = running.wait().expect("a process");
        assert_eq!(ended.code(), Some(0), "an orderly stop: {}", self.said());
    }

    /// How many epochs of topic `epochs` the last start has read, if it said so: where there are checkpoints, at `info`.
    pub fn epochs_at_last_start(&self) -> Option<usize> {
        let said = self.said().split_off(self.started.get());
        said.split_whitespace().find_map(|word| word.strip_prefix("epochs=")?.parse().ok())
    }

    /// Runs to the last record and stops in order; then replays the table into a fresh folder and compares.
    pub fn finish_and_compare(&self, workers: usize) {
        self.goes_on(workers);
        // A stop while it still catches up leaves the rest of the table to the next run.
        let until = self.held().map_or(0, |epoch| epoch.0).to_string();
        let replay = Command::new(binary())
            .args(["--log", &self.log, "--workers", "2", "replay", "--out", "again", "--until", &until])
            .current_dir(self.dir.path())
            .output()
            .expect("the binary starts");
        assert!(replay.status.success(), "{}", String::from_utf8_lossy(&replay.stderr));
        assert_same(&self.path("live"), &self.path("again"), "killed and gone on, and replayed");
        let reader = Reader::open(&self.path("live")).expect("tables");
        assert!(reader.changes(&SegmentRow::TABLE).count() > 0, "there is something to compare");
    }

    /// What it wrote to its standard error.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.path("stderr")).unwrap_or_default()
    }
}
