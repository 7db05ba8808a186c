//! The real binary, killed: at every named place, during recovery too, and at random moments. What is left in
//! the end is what an undisturbed replay of the same epoch table gives.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lsie_dataflow::epochs;
use lsie_schemas::log::{Log, TopicPartition};
use lsie_schemas::row::{DeadLetterRow, SegmentRow};
use lsie_schemas::{Cell, LogTime, TableRow, Topic};
use lsie_sinks::parquet::Reader;
use lsie_tests::embedded;
use lsie_tests::harness::{assert_same, binary, signal};
use tempfile::TempDir;

/// Every place at which the binary can be made to die, with how often it has come by then.
const PLACES: [&str; 12] = [
    "commit.written:9",
    "checkpoint.state",
    "checkpoint.manifest",
    "recovery.restored",
    "checkpoint.manifest:3",
    "checkpoint.written:2",
    "recovery.facts",
    "checkpoint.collect:3",
    "commit.flushed:2",
    "recovery.restored",
    "checkpoint.state:4",
    "commit.written:200",
];
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
struct Site {
    dir: TempDir,
    log: String,
}

impl Site {
    fn new(name: &str, sessions: u64) -> Site {
        let dir = tempfile::tempdir().expect("a temporary folder");
        drop(embedded::fed(&dir.path().join("log"), name, sessions));
        let site = Site { log: format!("file:{}", dir.path().join("log").display()), dir };
        std::fs::write(site.dir.path().join("lsie.toml"), SETTINGS).expect("settings");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts `lsie run` in the background.
    fn start(&self, workers: usize, more: &[&str]) -> Child {
        let workers = workers.to_string();
        let run = ["--log", &self.log, "--workers", &workers, "run", "--out", "live", "--port", "0"];
        let errors = std::fs::File::options().create(true).append(true).open(self.path("stderr"));
        Command::new(binary())
            .args(run)
            .args(more)
            .current_dir(self.dir.path())
            .stdout(Stdio::null())
            .stderr(errors.expect("a file"))
            .spawn()
            .expect("the binary starts")
    }

    /// Whether the tables hold every record of the log.
    fn has_all(&self) -> bool {
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
    fn held(&self) -> Option<LogTime> {
        Reader::open(&self.path("live")).ok().and_then(|reader| reader.committed())
    }

    /// Starts the binary, which is to die over a record; whether it did. If not, it is killed once it is past it.
    fn dies_over(&self, deadly: &str, at: TopicPartition, offset: i64) -> bool {
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

    /// Runs to the last record and stops in order; then replays the table into a fresh folder and compares.
    fn finish_and_compare(&self, workers: usize) {
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

    fn said(&self) -> String {
        std::fs::read_to_string(self.path("stderr")).unwrap_or_default()
    }
}

#[test]
fn killed_at_every_named_place_it_goes_on_as_if_nothing_had_happened() {
    let site = Site::new("places", 1);
    for (number, place) in PLACES.into_iter().enumerate() {
        let mut running = site.start([1, 2, 4, 1][number % 4], &["--die-at", place]);
        let ended = running.wait().expect("a process");
        assert_eq!(ended.code(), None, "it died at {place}: {ended}, {}", site.said());
    }
    site.finish_and_compare(1);
}

/// The seed is the number in the name of the sessions; another one is another test.
#[test]
fn killed_at_random_moments_it_goes_on_as_if_nothing_had_happened() {
    let site = Site::new("moments-1", 1);
    let mut seed = 1u64;
    for number in 0..8 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut running = site.start([2, 1, 3, 4][number % 4], &[]);
        std::thread::sleep(Duration::from_millis(300 + (seed >> 33) % 3_000));
        assert!(running.try_wait().expect("a process").is_none(), "it ended by itself: {}", site.said());
        running.kill().expect("a kill");
        running.wait().expect("a process");
    }
    site.finish_and_compare(2);
}

/// One record that cannot be decoded, and one whose picture cannot be measured, without the process dying.
#[test]
fn a_record_over_which_it_dies_again_and_again_is_filed_and_the_run_goes_on() {
    let site = Site::new("poison", 1);
    let log = embedded::open(&site.path("log"));
    let inputs = epochs::input_partitions(&log).expect("the log answers");
    let end = |at: TopicPartition| log.bounds(at).expect("the log answers").1;
    let with_records = |topic| {
        let mut partitions = inputs.iter().map(|(at, _)| *at).filter(|at| at.topic == topic);
        partitions.find(|at| end(*at) > 100).expect("a partition with records")
    };
    let (video, audio) = (with_records(Topic::AvVideo), with_records(Topic::AvAudio));
    // What is decoded is noted only after a run that did not end in order; the first of these was killed.
    for (stage, at, offset) in [("measure", video, 30), ("decode", audio, end(audio) - 10)] {
        let deadly = format!("{stage} {at} {offset}");
        let deaths = (0..).find(|_| !site.dies_over(&deadly, at, offset));
        assert_eq!(deaths, Some(3), "deaths over {deadly}: {}", site.said());
    }
    site.finish_and_compare(1);
    let table = epochs::read_table(&log).expect("the log answers").expect("the topic");
    assert_eq!(table.quarantined.len(), 2, "and no other: {:?}", table.quarantined);
    let reader = Reader::open(&site.path("live")).expect("tables");
    let letters = reader.changes(&DeadLetterRow::TABLE).map(|change| change.expect("a row"));
    let poisoned = letters.filter(|change| change.row.contains(&Cell::Text("poisoned".into())));
    assert_eq!(poisoned.count(), 2, "both are filed, with their reason");
}
