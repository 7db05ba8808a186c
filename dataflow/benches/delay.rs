//! Close delay and memory with many live sessions of audio in real time on the real Kafka, models off.
//!
//! `tests/run.sh with cargo bench --locked --workspace --bench delay`; `LSIE_BENCH_SESSIONS` sets how many.
//! The generator is this program once more, as a process of its own.
#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::Meter;
use lsie_connectors::feed::session_id;
use lsie_dataflow::config::Config;
use lsie_dataflow::ingest::Shared;
use lsie_dataflow::{Run, faces};
use lsie_schemas::log::{NewRecord, TimestampType};
use lsie_schemas::record::{AudioChunk, Stream};
use lsie_schemas::row::SegmentRow;
use lsie_schemas::{Change, LogTime, TableRow};
use lsie_sinks::parquet::Options;
use lsie_sinks::{Catalog, Error, ParquetSink, Selected, Sink, Views};
use uuid::Uuid;

const PARTITIONS: i32 = 8;
const CHUNK_MS: u64 = 250;
const SEGMENT_MS: u64 = 30_000;
/// Sessions begin evenly spread over this.
const STAGGER_MS: u64 = 10_000;
/// Length of a session: two segments, what must follow them, and a little.
const SESSION_MS: u64 = 65_000;
/// Time between polls of a session's clock.
const POLL_MS: u64 = 10_000;
/// How often the generator appends what is due.
const TICK: Duration = Duration::from_millis(10);
/// The engine runs for so long before the first session.
const SETTLE: Duration = Duration::from_secs(4);
/// How long to wait for the last rows.
const PATIENCE: Duration = Duration::from_secs(15);

/// A segment: session and ordinal.
type Key = (Uuid, i64);

fn main() {
    let words: Vec<String> = std::env::args().collect();
    match &words[1..] {
        [mode, prefix, sessions] if mode == "generate" => {
            generate(prefix, sessions.parse().expect("a number"))
        }
        _ => measure(common::setting("LSIE_BENCH_SESSIONS", 200)),
    }
}

fn measure(sessions: u64) {
    common::print_machine();
    let prefix = common::fresh_prefix("delay");
    let log = common::connect(&prefix);
    common::create_topics(&*log, PARTITIONS, TimestampType::LogAppend, LogTime(0));
    let epoch_ms = Config::parse("").expect("the default configuration").epochs.epoch_ms;
    let dir = tempfile::tempdir().expect("a temporary folder");

    // The sinks of `lsie run`.
    let views = Views::new(Catalog::all().without(&["au12", "faces"]));
    let parquet = ParquetSink::open(dir.path(), Catalog::all(), Options::default()).expect("a fresh folder");
    let served = Selected::new(views.sink(), views.catalog().clone());
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let watch = Watch { sink: Box::new(served), pending: Vec::new(), seen: seen.clone() };
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(parquet), Box::new(watch)];

    let ending = Arc::new(AtomicBool::new(false));
    let running = std::thread::Builder::new().name("engine".into()).spawn({
        let (engine, run) = (common::engine(log, faces::without_models(), 0), Run::Live(ending.clone()));
        move || engine.run(run, sinks, Arc::new(Shared::default()))
    });
    let running = running.expect("a thread");
    std::thread::sleep(SETTLE);
    // From here on the peak counts anew.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let base_kib = status_kib("VmRSS");
    let epochs_before = lock(&seen).epochs;
    let meter = Meter::start(common::broker_pid(&common::bootstrap()));
    let (needed, generator) = generated(&prefix, sessions);
    let used = meter.used();
    let epochs = lock(&seen).epochs - epochs_before;
    let patience = Instant::now() + PATIENCE;
    while lock(&seen).rows.len() < needed.len() && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(50));
    }
    let peak_kib = status_kib("VmHWM");
    ending.store(true, Ordering::SeqCst);
    running.join().expect("the engine does not panic").expect("the run ends without an error");

    let seen = std::mem::take(&mut *lock(&seen));
    println!("{sessions} sessions of {} s, begun within {} s", SESSION_MS / 1_000, STAGGER_MS / 1_000);
    print_delays(&needed, &seen, epoch_ms);
    let every = used.wall * 1e3 / epochs.max(1) as f64;
    println!("{epochs} epochs, one every {every:.0} ms (set: {epoch_ms} ms)");
    let cores =
        [used.own, generator.cpu_s, used.broker, used.others - generator.cpu_s].map(|s| s / used.wall);
    println!(
        "cores kept busy: engine {:.2}, generator {:.2}, broker {:.2}, others {:.2}",
        cores[0], cores[1], cores[2], cores[3]
    );
    println!("the generator was at most {:.0} ms behind real time", generator.lag_ms);
    let growth_kib = peak_kib.saturating_sub(base_kib);
    println!(
        "memory: {:.1} MiB before the sessions, {:.1} MiB at the peak: {:.3} MiB per session (bar: 4 MiB)",
        base_kib as f64 / 1024.0,
        peak_kib as f64 / 1024.0,
        growth_kib as f64 / 1024.0 / sessions as f64
    );
}

fn print_delays(needed: &BTreeMap<Key, f64>, seen: &Seen, epoch_ms: u64) {
    let mut whole: [Vec<f64>; 3] = Default::default();
    for (key, appended_ms) in needed {
        let Some(row) = seen.rows.get(key) else { continue };
        let parts = [row.served_ms - appended_ms, row.closed_ms - appended_ms, row.served_ms - row.closed_ms];
        for (all, part) in whole.iter_mut().zip(parts) {
            all.push(part);
        }
    }
    println!("{} segments expected, {} served", needed.len(), whole[0].len());
    println!("\n{:<46} {:>8} {:>8} {:>8}", "milliseconds", "p50", "p99", "most");
    let names = [
        "append of the last needed record to served row",
        "  append to the epoch's cut",
        "  cut to served row",
    ];
    for (name, all) in names.iter().zip(&mut whole) {
        all.sort_by(f64::total_cmp);
        let [p50, p99, most] = [50.0, 99.0, 100.0].map(|percent| common::percentile(all, percent));
        println!("{name:<46} {p50:>8.0} {p99:>8.0} {most:>8.0}");
    }
    println!("bar: p99 at most {} ms\n", 2 * epoch_ms + 100);
    let rules = seen.rows.values().fold(BTreeMap::<&str, u64>::new(), |mut rules, row| {
        *rules.entry(&row.rule).or_default() += 1;
        rules
    });
    println!("closed by {rules:?}");
}

/// A line of /proc/self/status.
fn status_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics with it")
}

/// What was served.
#[derive(Default)]
struct Seen {
    rows: BTreeMap<Key, Row>,
    epochs: u64,
}

struct Row {
    /// The wall clock when a reader could see it.
    served_ms: f64,
    /// Log time of the epoch that closed it.
    closed_ms: f64,
    rule: String,
}

/// Notes when segments become visible behind a sink.
struct Watch {
    sink: Box<dyn Sink>,
    pending: Vec<SegmentRow>,
    seen: Arc<Mutex<Seen>>,
}

impl Sink for Watch {
    fn write(&mut self, epoch: LogTime, changes: &[Change]) -> Result<(), Error> {
        let rows = changes.iter().filter(|change| change.table == SegmentRow::TABLE.name);
        self.pending
            .extend(rows.map(|change| SegmentRow::from_cells(&change.row).expect("a row of its table")));
        self.sink.write(epoch, changes)
    }

    fn commit(&mut self, epoch: LogTime) -> Result<(), Error> {
        self.sink.commit(epoch)?;
        let served_ms = common::now_us() as f64 / 1e3;
        let mut seen = lock(&self.seen);
        seen.epochs += 1;
        for row in self.pending.drain(..) {
            let closed_ms = row.closed_at.0 as f64 / 1e3;
            seen.rows
                .insert((row.session_id, row.ordinal), Row { served_ms, closed_ms, rule: row.closed_by });
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.sink.flush()
    }

    fn committed(&self) -> Option<LogTime> {
        self.sink.committed()
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.sink.finish()
    }
}

/// What the generator says about itself.
struct Generator {
    cpu_s: f64,
    lag_ms: f64,
}

/// Runs the generator; gives the log time of the last record that each segment needs.
fn generated(prefix: &str, sessions: u64) -> (BTreeMap<Key, f64>, Generator) {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.args(["generate", prefix, &sessions.to_string()]).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the generator starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let (mut needed, mut generator) = (BTreeMap::new(), Generator { cpu_s: 0.0, lag_ms: 0.0 });
    for line in lines {
        let line = line.expect("text");
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["needed", session, ordinal, ms] => {
                let key = (session.parse().expect("an id"), ordinal.parse().expect("a number"));
                needed.insert(key, ms.parse().expect("a number"));
            }
            ["used", cpu, lag] => {
                generator.cpu_s = cpu.parse().expect("a number");
                generator.lag_ms = lag.parse().expect("a number");
            }
            _ => panic!("the generator said {line:?}"),
        }
    }
    assert!(child.wait().expect("the generator ends").success(), "the generator failed");
    (needed, generator)
}

/// One session on the generator's side; times in ms after the generator's start.
struct Source {
    id: Uuid,
    begin_ms: u64,
    next_chunk: u64,
    next_poll_ms: u64,
    /// How far past a segment's end its audio must be.
    lateness_ms: u64,
}

impl Source {
    /// Adds what is due, with the ordinal of the segment whose last needed record it is.
    fn due(
        &mut self,
        base_us: i64,
        now_ms: u64,
        pcm: &Bytes,
        out: &mut Vec<(NewRecord, Option<Key>)>,
    ) -> u64 {
        let mut lag = 0;
        let at_us = |ms: u64| base_us + ms as i64 * 1_000;
        while self.next_poll_ms <= now_ms && self.next_poll_ms < self.begin_ms + SESSION_MS {
            let controls = match self.next_poll_ms == self.begin_ms {
                true => common::start(self.id, &[Stream::Audio], at_us(self.begin_ms)).to_vec(),
                false => vec![common::poll(self.id, at_us(self.next_poll_ms))],
            };
            out.extend(controls.iter().map(|control| (control.encode(None), None)));
            self.next_poll_ms += POLL_MS;
        }
        while self.next_chunk < SESSION_MS / CHUNK_MS {
            let end_ms = (self.next_chunk + 1) * CHUNK_MS;
            if self.begin_ms + end_ms > now_ms {
                break;
            }
            lag = lag.max(now_ms - self.begin_ms - end_ms);
            let capture_us = at_us(self.begin_ms + end_ms - CHUNK_MS);
            let chunk =
                AudioChunk { session_id: self.id, seq: self.next_chunk, capture_us, pcm: pcm.clone() };
            out.push((chunk.encode(None), self.completes(end_ms).map(|ordinal| (self.id, ordinal))));
            self.next_chunk += 1;
        }
        lag
    }

    /// The segment that closes once audio has reached this time of its session.
    fn completes(&self, reached_ms: u64) -> Option<i64> {
        let settled = reached_ms.checked_sub(self.lateness_ms).filter(|settled| *settled >= SEGMENT_MS)?;
        (settled % SEGMENT_MS < CHUNK_MS).then_some((settled / SEGMENT_MS) as i64)
    }

    fn is_over(&self) -> bool {
        self.next_chunk == SESSION_MS / CHUNK_MS
    }
}

fn generate(prefix: &str, sessions: u64) {
    let log = common::connect(prefix);
    let noise = (0..24_000u32 / 2).flat_map(|i| ((i.wrapping_mul(2_654_435_761) >> 20) as i16).to_le_bytes());
    let pcm = Bytes::from(noise.collect::<Vec<u8>>());
    let lateness_ms = Config::parse("").expect("the default configuration").session.allowed_lateness_ms;
    let mut sources: Vec<Source> = (0..sessions)
        .map(|number| {
            let begin_ms = number * STAGGER_MS / sessions;
            let id = session_id("bench-delay", number);
            Source { id, begin_ms, next_chunk: 0, next_poll_ms: begin_ms, lateness_ms }
        })
        .collect();
    let (start, base_us) = (Instant::now(), common::now_us());
    let (mut lag_ms, mut out) = (0, std::io::stdout().lock());
    while !sources.iter().all(Source::is_over) {
        let now_ms = start.elapsed().as_millis() as u64;
        let mut due = Vec::new();
        for source in &mut sources {
            lag_ms = lag_ms.max(source.due(base_us, now_ms, &pcm, &mut due));
        }
        let (records, keys): (Vec<NewRecord>, Vec<Option<Key>>) = due.into_iter().unzip();
        if !records.is_empty() {
            let appended = log.append(records).expect("an append");
            for (appended, (session, ordinal)) in
                appended.iter().zip(keys).filter_map(|(a, key)| Some((a, key?)))
            {
                writeln!(out, "needed {session} {ordinal} {}", appended.log_time.0).expect("a reader");
            }
        }
        std::thread::sleep(TICK);
    }
    writeln!(out, "used {} {lag_ms}", common::process_s("self")).expect("a reader");
}
