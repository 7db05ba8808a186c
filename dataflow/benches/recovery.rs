//! Recovery after kill -9: an engine with many live sessions of audio and a history of closed sessions with many encounters
//! each, on the real Kafka, models off. From its start anew to the first epoch that it had not committed before, and
//! its memory then.
//!
//! `tests/run.sh with cargo bench --locked --workspace --bench recovery`; `LSIE_BENCH_SESSIONS`, `LSIE_BENCH_HISTORY`,
//! `LSIE_BENCH_STIMULI` (of each closed session) and `LSIE_BENCH_KILLS` set how many. The engine and the generator are this program once more.
#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

mod common;
#[path = "common/live.rs"]
mod live;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::watched::{Eye, Watched};
use live::{Scene, generate, generated};
use lsie_connectors::feed::session_id;
use lsie_dataflow::Run;
use lsie_dataflow::ingest::Shared;
use lsie_schemas::log::{Log, NewRecord, TimestampType};
use lsie_schemas::record::{AudioChunk, Control, EndSession, Stimulus, Stream};
use lsie_schemas::row::EncounterRow;
use lsie_schemas::{Change, LogTime, TableRow};
use lsie_sinks::Selected;
use uuid::Uuid;

const PARTITIONS: i32 = 8;
/// About how many encounters are of one append, and how far the engine may be behind.
const BATCH: u64 = 2_000;
const AHEAD: u64 = 20_000;
/// How long new topics settle.
const SETTLE: Duration = Duration::from_secs(3);
/// From one stimulus of a closed session to the next: no word belongs to two.
const APART_US: i64 = 7_000_000;
/// The history is taken when nothing has come for so long, and at rest after so long.
const CALM: Duration = Duration::from_secs(5);
const RESTS: Duration = Duration::from_secs(150);
/// From the beginning of the live sessions to the first kill, and from one kill to the next.
const FIRST: Duration = Duration::from_secs(20);
const BETWEEN: Duration = Duration::from_secs(8);
/// How long an engine may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let number = |text: &str| text.parse().expect("a number");
    match &words[1..] {
        [mode, prefix, sessions, silent] if mode == "generate" => {
            generate(prefix, number(sessions), number(silent));
        }
        [mode, prefix, dir] if mode == "engine" => engine(prefix, Path::new(dir)),
        _ => measure(
            common::setting("LSIE_BENCH_SESSIONS", 200),
            common::setting("LSIE_BENCH_HISTORY", 10_000),
            common::setting("LSIE_BENCH_STIMULI", 100),
            common::setting("LSIE_BENCH_KILLS", 5),
        ),
    }
}

fn measure(sessions: u64, history: u64, stimuli: u64, kills: u64) {
    common::print_machine();
    let prefix = common::fresh_prefix("recovery");
    let log = common::connect(&prefix);
    // The history is of yesterday.
    common::create_topics(&*log, PARTITIONS, TimestampType::Create, LogTime(common::now_us() as u64 / 1_000));
    let dir = tempfile::tempdir().expect("a temporary folder");
    // New topics are not known to the whole of a broker at once.
    std::thread::sleep(SETTLE);
    let mut running = Running::start(&prefix, dir.path());
    let began = Instant::now();
    close(&*log, history, stimuli, &running);
    println!(
        "{} encounters of {history} closed sessions in {:.0} s",
        running.encounters(),
        began.elapsed().as_secs_f64()
    );
    std::thread::sleep(RESTS);
    let generator = std::thread::spawn({
        let (prefix, scene) = (prefix.clone(), Scene { sessions, silent: 0, checkpoints: true });
        move || generated(&prefix, scene)
    });
    std::thread::sleep(FIRST);
    let mut recovered = Vec::new();
    for _ in 0..kills {
        let before = running.epoch();
        let steady_kib = running.status_kib("VmRSS");
        running.kill();
        let start = Instant::now();
        running = Running::start(&prefix, dir.path());
        let is_new = |running: &Running| running.epoch() > before;
        assert!(running.waits(is_new), "no new epoch within {PATIENCE:?}");
        let (seconds, peak_kib) = (start.elapsed().as_secs_f64(), running.status_kib("VmHWM"));
        println!(
            "{seconds:.2} s; {:.0} MiB before, {:.0} MiB at the peak: {:.2} times",
            steady_kib as f64 / 1024.0,
            peak_kib as f64 / 1024.0,
            peak_kib as f64 / steady_kib as f64
        );
        recovered.push(seconds);
        std::thread::sleep(BETWEEN);
    }
    println!("checkpoints: {:.0} MiB", bytes_in(&dir.path().join("checkpoints")) as f64 / 1_048_576.0);
    running.kill();
    generator.join().expect("the generator ends");
    recovered.sort_by(f64::total_cmp);
    let [p50, p99] = [50.0, 99.0].map(|percent| common::percentile(&recovered, percent));
    println!("{sessions} live sessions, {kills} kills: p50 {p50:.2} s, most {p99:.2} s (bar: 5 s)");
}

/// How much lies in a folder and those within.
fn bytes_in(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_in(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}

/// Appends closed sessions of yesterday with so many encounters each, and waits until the engine has taken them; some
/// are missing, where the records of a session came in two epochs and the first closed its segments.
fn close(log: &dyn Log, history: u64, stimuli: u64, running: &Running) {
    let (yesterday, batch) = (common::now_us() - 86_400_000_000, (BATCH / stimuli).max(1));
    for from in (0..history).step_by(batch as usize) {
        let numbers = from..history.min(from + batch);
        let (mut sound, mut control) = (Vec::new(), Vec::new());
        numbers.for_each(|number| closed(number, stimuli, yesterday, &mut sound, &mut control));
        // Sound of a session that has not begun waits for it.
        log.append(sound).expect("an append");
        log.append(control).expect("an append");
        assert!(
            running.waits(|running| running.encounters() + AHEAD > from * stimuli),
            "the engine hangs at {} encounters",
            running.encounters()
        );
    }
    let mut before = 0;
    assert!(running.waits(|running| running.encounters() > 0), "no encounter came");
    while before != running.encounters() {
        before = running.encounters();
        std::thread::sleep(CALM);
    }
}

/// The records of a session: at every stimulus a little sound.
fn closed(number: u64, stimuli: u64, from_us: i64, sound: &mut Vec<NewRecord>, control: &mut Vec<NewRecord>) {
    let session_id = session_id("bench-history", number);
    let at = |nth: u64| from_us + number as i64 * 1_000 + nth as i64 * APART_US;
    let timestamp = |us: i64| Some(LogTime(us as u64 / 1_000));
    let start = common::start(session_id, &[Stream::Audio], at(0));
    control.extend(start.map(|record| record.encode(timestamp(at(0)))));
    for nth in 0..stimuli {
        let pcm = Bytes::from(vec![1; 1_920]);
        let audio = AudioChunk { session_id, seq: nth, capture_us: at(nth), pcm };
        sound.push(audio.encode(timestamp(at(nth))));
        let client_action_id = Uuid::from_u128(session_id.as_u128() ^ u128::from(nth + 1));
        let stimulus = Stimulus { session_id, client_action_id, operator_note: None, received_at_utc: None };
        control.push(Control::Stimulus(stimulus).encode(timestamp(at(nth) + 10_000)));
    }
    let end = EndSession { session_id, client_action_id: None };
    control.push(Control::End(end).encode(timestamp(at(stimuli))));
}

/// The engine as a process.
struct Running {
    child: Child,
    epoch: Arc<AtomicU64>,
    encounters: Arc<AtomicU64>,
}

impl Running {
    fn start(prefix: &str, dir: &Path) -> Running {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["engine", prefix]).arg(dir).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program once more");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (epoch, encounters) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        std::thread::spawn({
            let (epoch, encounters) = (epoch.clone(), encounters.clone());
            move || {
                for line in lines.map_while(Result::ok) {
                    let Some((at, rows)) = line.split_once(' ') else { continue };
                    let (Ok(at), Ok(rows)) = (at.parse(), rows.parse()) else { continue };
                    epoch.store(at, Ordering::SeqCst);
                    encounters.store(rows, Ordering::SeqCst);
                }
            }
        });
        Running { child, epoch, encounters }
    }

    /// The newest epoch that it has committed.
    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Encounters since it started.
    fn encounters(&self) -> u64 {
        self.encounters.load(Ordering::SeqCst)
    }

    fn waits(&self, until: impl Fn(&Running) -> bool) -> bool {
        let start = Instant::now();
        while !until(self) {
            if start.elapsed() > PATIENCE {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }

    fn status_kib(&self, name: &str) -> u64 {
        live::status_kib(&self.child.id().to_string(), name)
    }

    fn kill(&mut self) {
        self.child.kill().expect("a process to kill");
        self.child.wait().expect("its end");
    }
}

/// The engine's `main`: says each epoch that it commits, and how many encounters came so far.
fn engine(prefix: &str, dir: &Path) {
    let (tables, views) = (dir.join("tables"), live::views());
    let sinks = live::sinks(&tables, || {
        let follower = views.follow(&tables).expect("the served views");
        Watched::over(Selected::new(follower, views.catalog().clone()), Telling { encounters: 0 })
    });
    let engine = live::engine(common::connect(prefix), Some(live::checkpoints(&dir.join("checkpoints"))));
    let run = Run::Live(Arc::new(AtomicBool::new(false)));
    engine.run(run, sinks, Arc::new(Shared::default())).expect("a run");
}

/// Says what is committed.
struct Telling {
    encounters: usize,
}

impl Eye for Telling {
    fn wrote(&mut self, changes: &[Change]) {
        self.encounters += changes.iter().filter(|change| change.table == EncounterRow::TABLE.name).count();
    }

    fn committed(&mut self, epoch: LogTime) {
        println!("{} {}", epoch.0, self.encounters);
    }
}
