//! One run of several processes, on the real Kafka: what it leaves is what one process makes of the same epoch table,
//! whichever of its processes is killed, and however many there are after that.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use lsie_connectors::feed::{Pace, TimedRecord, session_id};
use lsie_dataflow::ingest::INPUTS;
use lsie_schemas::row::{EncounterRow, FaceRow, SegmentRow, SessionRow, TranscriptRow};
use lsie_schemas::topic::partition_of;
use lsie_sinks::parquet::Reader;
use lsie_tests::harness::{TopicSet, assert_law_4, assert_same, binary, now, signal, write_hosts};
use lsie_tests::sessions::{recording, records};
use lsie_tests::tables::Tables;
use lsie_tests::telemetry::telemetry;
use tempfile::TempDir;

const PARTITIONS: i32 = 4;

/// A topic set, and a folder for the tables that processes make of it.
struct Site {
    dir: TempDir,
    set: TopicSet,
}

impl Site {
    fn new(name: &str) -> Site {
        let site = Site {
            dir: tempfile::tempdir().expect("a temporary folder"),
            set: TopicSet::live(name, PARTITIONS),
        };
        let settings = format!(
            "[log]\naddress = \"kafka:{}\"\nprefix = \"{}\"\n[parquet]\nflush_ms = 500\n[checkpoint]\n\
             interval_ms = 1500\n[api]\nlisten = \"127.0.0.1:0\"\n",
            lsie_tests::broker::bootstrap(),
            site.set.prefix()
        );
        std::fs::write(site.path("lsie.toml"), settings).expect("settings");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts a process with these arguments.
    fn spawn(&self, arguments: &[&str]) -> Child {
        let said = File::options().create(true).append(true).open(self.path("said")).expect("a file");
        let mut command = Command::new(binary());
        let also = said.try_clone().expect("the same file");
        command.args(arguments).current_dir(self.dir.path()).stdout(also).stderr(said);
        command.spawn().expect("the binary starts")
    }

    /// Starts so many processes of one run with so many workers each.
    fn start(&self, processes: usize, workers: usize, command: &[&str]) -> Vec<Child> {
        write_hosts(&self.path("hosts"), processes);
        let start = |process: usize| {
            let (number, workers) = (process.to_string(), workers.to_string());
            let mut arguments = vec!["--workers", &workers];
            arguments.extend(command);
            if processes > 1 {
                arguments.extend(["--process", &number, "--hosts", "hosts"]);
            }
            self.spawn(&arguments)
        };
        (0..processes).map(start).collect()
    }

    fn run(&self, processes: usize, workers: usize) -> Vec<Child> {
        self.start(processes, workers, &["run", "--out", "live", "--port", "0"])
    }

    fn replay(&self, processes: usize, out: &str) {
        for mut process in self.start(processes, 1, &["replay", "--out", out]) {
            let ended = process.wait().expect("a process");
            assert!(ended.success(), "{out}: {ended}, {}", self.said());
        }
    }

    /// Whether both sessions have ended in the tables.
    fn has_ended(&self) -> bool {
        let Ok(reader) = Reader::open(&self.path("live")) else { return false };
        let rows = Tables::of(&reader).rows::<SessionRow>();
        rows.iter().filter(|row| row.ended_at.is_some()).count() == 2
    }

    /// The workers whose operators, and the partitions whose sources, the first process shows.
    fn shown(&self) -> (BTreeSet<u64>, usize) {
        let said = self.said();
        let address = said.split("views on ").last().and_then(|rest| rest.split_whitespace().next());
        let get = |view: &str| -> Vec<serde_json::Value> {
            let rows =
                ureq::get(format!("{}api/v1/views/{view}?limit=1000", address.unwrap_or_default())).call();
            let text = rows.ok().and_then(|mut rows| rows.body_mut().read_to_string().ok());
            text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
        };
        let workers = get("operators").iter().filter_map(|row| row["worker"].as_u64()).collect();
        let partitions = get("sources").iter().filter(|row| row["kind"] == "partition").count();
        (workers, partitions)
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.path("said")).unwrap_or_default()
    }
}

/// Two sessions, each owned by another of two processes.
fn sessions(name: &str) -> Vec<Vec<TimedRecord>> {
    let (short, begin) = (recording("short"), now());
    let mut owners = BTreeSet::new();
    let ids = (0..).map(|number| session_id(name, number));
    let ids = ids.filter(|id| owners.insert(partition_of(id.to_string().as_bytes(), PARTITIONS) % 2));
    let timeline = |id| {
        let mut timeline = records(&short, id, begin, 0);
        timeline.extend(telemetry(id, begin, 0));
        timeline.sort_by_key(|timed| timed.at_ms);
        timeline
    };
    ids.take(2).map(timeline).collect()
}

#[test]
fn several_processes_make_what_one_makes_whichever_is_killed() {
    let site = Site::new("processes");
    std::thread::scope(|scope| {
        scope.spawn(|| site.set.feed(sessions("processes"), Pace::RealTime));
        // Each time the other of the two, and then another number of them.
        for killed in [1, 0] {
            let mut processes = site.run(2, 1);
            std::thread::sleep(Duration::from_secs(7));
            for process in &mut processes {
                assert!(process.try_wait().expect("a process").is_none(), "it ended: {}", site.said());
            }
            processes[killed].kill().expect("a kill");
            processes.swap_remove(killed).wait().expect("a process");
            let ended = processes[0].wait().expect("a process");
            assert_eq!(ended.code(), Some(2), "the other one ends with it: {}", site.said());
        }
        let mut alone = site.run(1, 3).remove(0);
        std::thread::sleep(Duration::from_secs(5));
        signal(alone.id(), "TERM");
        assert_eq!(alone.wait().expect("a process").code(), Some(0), "{}", site.said());
        let processes = site.run(2, 2);
        let partitions = |topic| {
            site.set.log().topic(topic).expect("the log answers").expect("a topic").partitions as usize
        };
        let all = (BTreeSet::from([0, 1, 2, 3]), INPUTS.into_iter().map(partitions).sum());
        let shown = (0..300).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            site.shown() == all
        });
        assert!(shown, "{:?} of all workers and partitions: {}", site.shown(), site.said());
        let ended = (0..1_200).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            site.has_ended()
        });
        assert!(ended, "the sessions have not ended: {}", site.said());
        // Any of them may be told; the first one ends the run.
        signal(processes[1].id(), "TERM");
        for mut process in processes {
            let ended = process.wait().expect("a process");
            assert_eq!(ended.code(), Some(0), "an orderly stop: {}", site.said());
        }
    });
    let tables = Tables::of(&Reader::open(&site.path("live")).expect("tables"));
    assert_law_4(site.set.log(), &tables);
    assert_eq!(tables.rows::<SegmentRow>().len(), 4);
    assert_eq!((tables.rows::<EncounterRow>().len(), tables.rows::<TranscriptRow>().len()), (2, 2));
    assert_eq!(tables.rows::<FaceRow>().len(), 2 * 1_050);
    for (processes, out) in [(1, "one"), (2, "two")] {
        site.replay(processes, out);
        assert_same(&site.path("live"), &site.path(out), "live, killed and gone on, and replayed");
    }
}

#[test]
fn a_process_with_other_settings_is_not_let_in() {
    let site = Site::new("others");
    let settings = std::fs::read_to_string(site.path("lsie.toml")).expect("settings");
    std::fs::write(site.path("other.toml"), settings + "[session]\nmax_wait_ms = 45000\n").expect("settings");
    write_hosts(&site.path("hosts"), 2);
    let mut first = site.spawn(&["run", "--out", "live", "--process", "0", "--hosts", "hosts"]);
    let other = ["--config", "other.toml", "run", "--process", "1", "--hosts", "hosts"];
    let mut other = site.spawn(&other);
    assert_eq!(other.wait().expect("a process").code(), Some(2), "{}", site.said());
    assert_eq!(first.wait().expect("a process").code(), Some(2), "{}", site.said());
    assert!(
        site.said().contains("process 1 has other settings, or another number of workers"),
        "{}",
        site.said()
    );
}

#[test]
fn a_live_run_of_several_processes_wants_kafka() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    write_hosts(&dir.path().join("hosts"), 2);
    let log = format!("file:{}", dir.path().join("log").display());
    let ended = Command::new(binary())
        .args(["--log", &log, "run", "--process", "0", "--hosts", "hosts"])
        .current_dir(dir.path())
        .output()
        .expect("the binary starts");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && said.contains("takes its records from Kafka"), "{said}");
}
