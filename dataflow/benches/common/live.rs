//! Live sessions of audio in real time on the real Kafka, models off: a generator in a process of its own, an engine
//! with the sinks of `lsie run`, and when what became of the records was served.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lsie_connectors::feed::session_id;
use lsie_dataflow::checkpoint::{gate::Rule, store::Store};
use lsie_dataflow::config::Config;
use lsie_dataflow::engine::Checkpoints;
use lsie_dataflow::ingest::Shared;
use lsie_dataflow::{Engine, Run, faces};
use lsie_operators::speech::{Heard, SpeechError, Transcriber, Word};
use lsie_schemas::log::{Fetch, Log, NewRecord, TimestampType, TopicPartition};
use lsie_schemas::record::{AudioChunk, Control, Record, Stimulus, Stream};
use lsie_schemas::row::SegmentRow;
use lsie_schemas::{Change, LogTime, TableRow, Topic, codec};
use lsie_sinks::parquet::Options;
use lsie_sinks::views::{Api, Server};
use lsie_sinks::{Catalog, ParquetSink, Selected, Sink, Views};
use uuid::Uuid;

use crate::common::watched::{Eye, Watched};
use crate::common::{self, Meter, Threads, Used};

const PARTITIONS: i32 = 8;
const CHUNK_MS: u64 = 250;
const SEGMENT_MS: u64 = 30_000;
/// Sessions begin evenly spread over this.
pub(crate) const STAGGER_MS: u64 = 10_000;
/// Length of a session: two segments, what must follow them, and a little.
pub(crate) const SESSION_MS: u64 = 65_000;
/// Stimuli of a session, one in each segment.
const STIMULI_MS: [u64; 2] = [10_000, 40_000];
/// A session that falls silent does it now.
const SILENT_MS: u64 = 15_000;
/// Time between polls of a session's clock.
const POLL_MS: u64 = 10_000;
/// How often the generator appends what is due.
const TICK: Duration = Duration::from_millis(10);
/// The engine runs for so long before the first session.
const SETTLE: Duration = Duration::from_secs(4);
/// How long to wait for the last rows.
const PATIENCE: Duration = Duration::from_secs(15);

/// A segment: session and ordinal.
pub(crate) type Key = (Uuid, i64);

/// What is going on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) sessions: u64,
    /// How many of these fall silent in their first segment, and say nothing of it.
    pub(crate) silent: u64,
    /// Whether there are checkpoints, as often as by default.
    pub(crate) checkpoints: bool,
}

/// What was seen of a scene.
pub(crate) struct Observed {
    /// When the last record was appended that a segment needs, ms.
    pub(crate) needed: BTreeMap<Key, f64>,
    pub(crate) seen: Seen,
    /// From the append of the answer that an encounter waited for to its row at a subscriber by HTTP, ms.
    pub(crate) encounters: Vec<f64>,
    pub(crate) used: Used,
    pub(crate) threads: BTreeMap<String, common::Busy>,
    pub(crate) generator: Generator,
    pub(crate) base_kib: u64,
    pub(crate) peak_kib: u64,
}

/// Runs an engine through a scene.
pub(crate) fn observe(scene: Scene) -> Observed {
    let prefix = common::fresh_prefix("live");
    let log = common::connect(&prefix);
    common::create_topics(&*log, PARTITIONS, TimestampType::LogAppend, LogTime(0));
    let dir = tempfile::tempdir().expect("a temporary folder");

    let (views, seen) = (views(), Arc::<Mutex<Seen>>::default());
    // Without the queue in front of the views, so that what is seen is what is served.
    let served = Selected::new(views.sink(), views.catalog().clone());
    let watch = Watch { pending: Vec::new(), seen: seen.clone() };
    let sinks = sinks(&dir.path().join("tables"), || Watched::over(served, watch));
    let server = Server::start(([127, 0, 0, 1], 0).into(), None, |stop| Api::new(&views).router(stop));
    let server = server.expect("a free port");

    let ending = Arc::new(AtomicBool::new(false));
    let engine = engine(log.clone(), scene.checkpoints.then(|| checkpoints(&dir.path().join("checkpoints"))));
    let running = std::thread::Builder::new().name("engine".into()).spawn({
        let run = Run::Live(ending.clone());
        move || engine.run(run, sinks, Arc::new(Shared::default()))
    });
    let running = running.expect("a thread");
    std::thread::sleep(SETTLE);
    let subscriber = subscribe(server.address());
    // From here on the peak counts anew.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let base_kib = status_kib("self", "VmRSS");
    lock(&seen).epochs.clear();
    let (threads, meter) = (Threads::start(), Meter::start(common::broker_pid(&common::bootstrap())));
    let (needed, generator) = generated(&prefix, scene);
    let (used, threads) = (meter.used(), threads.stop());
    let patience = Instant::now() + PATIENCE;
    while lock(&seen).rows.len() < needed.len() && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_secs(2));
    let peak_kib = status_kib("self", "VmHWM");
    ending.store(true, Ordering::SeqCst);
    running.join().expect("the engine does not panic").expect("the run ends without an error");
    server.stop().expect("an orderly end");
    let shown = subscriber.join().expect("the subscriber does not panic");
    let encounters = delays(&shown, &answers(&*log));
    let seen = std::mem::take(&mut *lock(&seen));
    Observed { needed, seen, encounters, used, threads, generator, base_kib, peak_kib }
}

/// The views of `lsie run`.
pub(crate) fn views() -> Views {
    Views::new(Catalog::all().without(&["au12", "faces"]))
}

/// The tables in this folder, and another sink behind them.
pub(crate) fn sinks<S: Sink + 'static>(tables: &Path, other: impl FnOnce() -> S) -> Vec<Box<dyn Sink>> {
    let parquet = ParquetSink::open(tables, Catalog::all(), Options::default()).expect("tables");
    vec![Box::new(parquet), Box::new(other())]
}

/// An engine without models, which hears somebody say hello.
pub(crate) fn engine(log: Arc<dyn Log>, checkpoints: Option<Checkpoints>) -> Engine {
    Engine {
        transcriber: Arc::new(|_| Ok(Box::new(Hello))),
        checkpoints,
        ..common::engine(log, faces::without_models(), 0)
    }
}

/// Checkpoints in a folder, as often as by default.
pub(crate) fn checkpoints(folder: &Path) -> Checkpoints {
    let config = Config::parse("").expect("the default configuration").checkpoint;
    Checkpoints {
        store: Store::in_folder(folder).expect("a folder"),
        rule: Rule { interval_ms: config.interval_ms, bytes: config.every_mib << 20 },
        keep: config.keep,
        config: "bench".into(),
        crashes: folder.join("crashes"),
    }
}

/// Hears somebody say hello every second.
struct Hello;

impl Transcriber for Hello {
    fn transcribe(&mut self, samples: &[i16]) -> Result<Heard, SpeechError> {
        let word = |from| Word { text: "hello".into(), from, to: from + 8_000, confidence: 1.0 };
        let words: Vec<Word> = (0..samples.len()).step_by(16_000).map(word).collect();
        Ok(Heard { text: vec!["hello"; words.len()].join(" "), language: "en".into(), words })
    }

    fn model(&self) -> &str {
        "no model at all"
    }
}

/// An encounter at a subscriber: when it came, ms, its session and its segment's end, in canonical form.
type Shown = (f64, Uuid, String);

/// Follows the encounters as `curl -N` would, until the server ends the stream.
fn subscribe(address: SocketAddr) -> std::thread::JoinHandle<Vec<Shown>> {
    let mut stream = TcpStream::connect(address).expect("the server");
    let request = format!("GET /api/v1/views/encounter_log/changes HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    std::thread::spawn(move || {
        let mut shown = Vec::new();
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let Some(data) = line.strip_prefix("data: ") else { continue };
            let came = common::now_us() as f64 / 1e3;
            let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
            if data["diff"] != 1 {
                continue;
            }
            let text = |name: &str| data["row"][name].as_str().expect("a text").to_owned();
            shown.push((came, text("session_id").parse().expect("an id"), text("timestamp_utc")));
        }
        shown
    })
}

/// When the answers were appended that encounters wait for, ms.
fn answers(log: &dyn Log) -> BTreeMap<Key, f64> {
    let at = |partition| TopicPartition { topic: Topic::Inference, partition };
    let count = log.topic(Topic::Inference).expect("the log").expect("the topic").partitions;
    let bounds: Vec<_> = (0..count).map(|n| (at(n), log.bounds(at(n)).expect("the log"))).collect();
    let mut left: i64 = bounds.iter().map(|(_, (from, to))| to - from).sum();
    let from: Vec<_> = bounds.iter().map(|(at, (from, _))| (*at, *from)).collect();
    let mut reader = log.reader(&from, Fetch::default()).expect("a reader");
    let mut found = BTreeMap::new();
    while left > 0 {
        for record in reader.poll(Duration::from_secs(10)).expect("records") {
            left -= 1;
            if let Ok(Record::Inference(answer)) = codec::decode(&record) {
                found.insert((answer.session_id, answer.ordinal), record.log_time.0 as f64);
            }
        }
    }
    found
}

/// From the answer to the row; the encounters of a session are one in each segment, in order.
fn delays(shown: &[Shown], answers: &BTreeMap<Key, f64>) -> Vec<f64> {
    let mut of_sessions: BTreeMap<&Uuid, Vec<(&str, f64)>> = BTreeMap::new();
    for (came, session, until) in shown {
        of_sessions.entry(session).or_default().push((until, *came));
    }
    let mut delays = Vec::new();
    for (session, mut shown) in of_sessions {
        shown.sort_by_key(|(until, _)| *until);
        for ((_, came), ordinal) in shown.into_iter().zip(1..) {
            delays.extend(answers.get(&(*session, ordinal)).map(|appended| came - appended));
        }
    }
    delays
}

/// A line of the status of a process (a number, or `self`).
pub(crate) fn status_kib(pid: &str, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics with it")
}

/// What was served.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) rows: BTreeMap<Key, Row>,
    /// From the cut of each epoch to its rows being served, ms.
    pub(crate) epochs: Vec<f64>,
}

pub(crate) struct Row {
    /// The wall clock when a reader could see it.
    pub(crate) served_ms: f64,
    /// Log time of the epoch that closed it.
    pub(crate) closed_ms: f64,
    pub(crate) rule: String,
}

/// Notes when segments become visible.
struct Watch {
    pending: Vec<SegmentRow>,
    seen: Arc<Mutex<Seen>>,
}

impl Eye for Watch {
    fn wrote(&mut self, changes: &[Change]) {
        let rows = changes.iter().filter(|change| change.table == SegmentRow::TABLE.name);
        self.pending
            .extend(rows.map(|change| SegmentRow::from_cells(&change.row).expect("a row of its table")));
    }

    fn committed(&mut self, epoch: LogTime) {
        let served_ms = common::now_us() as f64 / 1e3;
        let mut seen = lock(&self.seen);
        seen.epochs.push(served_ms - epoch.0 as f64);
        for row in self.pending.drain(..) {
            let closed_ms = row.closed_at.0 as f64 / 1e3;
            seen.rows
                .insert((row.session_id, row.ordinal), Row { served_ms, closed_ms, rule: row.closed_by });
        }
    }
}

/// What the generator says about itself.
pub(crate) struct Generator {
    pub(crate) cpu_s: f64,
    pub(crate) lag_ms: f64,
}

/// Runs the generator; gives the log time of the last record that each segment needs.
pub(crate) fn generated(prefix: &str, scene: Scene) -> (BTreeMap<Key, f64>, Generator) {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    let (sessions, silent) = (scene.sessions.to_string(), scene.silent.to_string());
    command.args(["generate", prefix, &sessions, &silent]).stdout(Stdio::piped());
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
    /// How long it sends anything.
    length_ms: u64,
    next_chunk: u64,
    next_poll_ms: u64,
    stimuli_ms: Vec<u64>,
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
        while self.next_poll_ms <= now_ms && self.next_poll_ms < self.begin_ms + self.length_ms {
            let controls = match self.next_poll_ms == self.begin_ms {
                true => common::start(self.id, &[Stream::Audio], at_us(self.begin_ms)).to_vec(),
                false => vec![common::poll(self.id, at_us(self.next_poll_ms))],
            };
            out.extend(controls.iter().map(|control| (control.encode(None), None)));
            self.next_poll_ms += POLL_MS;
        }
        while self.stimuli_ms.last().is_some_and(|at| self.begin_ms + at <= now_ms) {
            self.stimuli_ms.pop();
            out.push((self.stimulus().encode(None), None));
        }
        while !self.is_over() {
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

    fn stimulus(&self) -> Control {
        let action = Uuid::from_u128(self.id.as_u128() ^ (self.stimuli_ms.len() as u128 + 1));
        Control::Stimulus(Stimulus {
            session_id: self.id,
            client_action_id: action,
            operator_note: None,
            received_at_utc: None,
        })
    }

    /// The segment that closes once audio has reached this time of its session.
    fn completes(&self, reached_ms: u64) -> Option<i64> {
        let settled = reached_ms.checked_sub(self.lateness_ms).filter(|settled| *settled >= SEGMENT_MS)?;
        (settled % SEGMENT_MS < CHUNK_MS).then_some((settled / SEGMENT_MS) as i64)
    }

    fn is_over(&self) -> bool {
        self.next_chunk == self.length_ms / CHUNK_MS
    }
}

/// The generator's `main`.
pub(crate) fn generate(prefix: &str, sessions: u64, silent: u64) {
    let log = common::connect(prefix);
    let noise = (0..24_000u32 / 2).flat_map(|i| ((i.wrapping_mul(2_654_435_761) >> 20) as i16).to_le_bytes());
    let pcm = Bytes::from(noise.collect::<Vec<u8>>());
    let lateness_ms = Config::parse("").expect("the default configuration").session.allowed_lateness_ms;
    let mut sources: Vec<Source> = (0..sessions)
        .map(|number| {
            let begin_ms = number * STAGGER_MS / sessions;
            let length_ms = if number < silent { SILENT_MS } else { SESSION_MS };
            let stimuli = STIMULI_MS.into_iter().rev().filter(|at| *at < length_ms);
            Source {
                id: session_id("bench-live", number),
                begin_ms,
                length_ms,
                next_chunk: 0,
                next_poll_ms: begin_ms,
                stimuli_ms: stimuli.collect(),
                lateness_ms,
            }
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
