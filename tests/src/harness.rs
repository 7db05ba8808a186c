//! Topic sets on the real Kafka, runs of the engine over them, and what must hold after every run.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lsie_connectors::feed::{Pace, TimedRecord, feed, merge};
use lsie_connectors::{KafkaConfig, KafkaLog, llm};
use lsie_dataflow::config::Config;
use lsie_dataflow::ingest::{INPUTS, Shared};
use lsie_dataflow::judge::Judge;
use lsie_dataflow::language_model::LanguageModel;
use lsie_dataflow::pool::{MeasurerFactory, Outcome, Task};
use lsie_dataflow::speech::{self, SpeechSettings, TranscriberFactory};
use lsie_dataflow::{Engine, Range, Run, epochs, faces, judge};
use lsie_operators::semantic::{Method, Role, ScoreError, Scorer};
use lsie_operators::speech::{Heard, SpeechError, Transcriber};
use lsie_schemas::log::{
    Appended, Fetch, Log, LogRecord, NewRecord, TimestampType, TopicPartition, TopicSpec,
};
use lsie_schemas::record::{EpochRecord, ExperimentRecord};
use lsie_schemas::row::RecordClassRow;
use lsie_schemas::topic::{KeyedBy, Retention};
use lsie_schemas::{LogTime, Topic, codec};
use lsie_sinks::parquet::Options;
use lsie_sinks::verify::compare;
use lsie_sinks::{Catalog, MemoryStore, ParquetSink, Sink};
use tempfile::TempDir;

use crate::broker;
use crate::tables::Tables;

/// Pictures above this are refused; the default of the configuration.
const MAX_PIXELS: u32 = 2_088_960;
/// Log time after the last record of a recorded set: the default of `session.max_wait_ms`.
const TAIL_MS: u64 = 60_000;

/// A topic set that no other test uses, on the real Kafka.
pub struct TopicSet {
    log: Arc<dyn Log>,
    prefix: String,
    timestamps: TimestampType,
}

impl TopicSet {
    /// A set that keeps the producers' timestamps, with the seed experiment.
    pub fn recorded(name: &str, partitions: i32) -> TopicSet {
        TopicSet::create(name, partitions, TimestampType::Create)
    }

    /// A set whose records get the time of their append, with the seed experiment.
    pub fn live(name: &str, partitions: i32) -> TopicSet {
        TopicSet::create(name, partitions, TimestampType::LogAppend)
    }

    fn create(name: &str, partitions: i32, timestamps: TimestampType) -> TopicSet {
        let prefix = broker::fresh_prefix(name);
        let log =
            KafkaLog::connect(KafkaConfig::new(broker::bootstrap(), &prefix)).expect("the tests' Kafka");
        log.create_topics(&specs(partitions, timestamps)).expect("a fresh topic set");
        let set = TopicSet { log: Arc::new(log), prefix, timestamps };
        set.administer(&ExperimentRecord::seed());
        set
    }

    /// The log.
    pub fn log(&self) -> &dyn Log {
        &*self.log
    }

    /// The log, for an engine.
    pub fn shared_log(&self) -> Arc<dyn Log> {
        self.log.clone()
    }

    /// What stands in front of its topics' names.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Appends an experiment record; in a recorded set it stands before every session.
    pub fn administer(&self, record: &ExperimentRecord) {
        // Not 0: to librdkafka that is no time, and the record would get the time of its append.
        let timestamp = (self.timestamps == TimestampType::Create).then_some(LogTime(1));
        self.append(record.encode(timestamp));
    }

    /// Appends one record.
    pub fn append(&self, record: NewRecord) -> Appended {
        self.log.append(vec![record]).expect("an append to the tests' Kafka")[0]
    }

    /// Appends timelines in order of time.
    pub fn feed(&self, timelines: Vec<Vec<TimedRecord>>, pace: Pace) {
        let timelines = timelines.into_iter().map(Vec::into_iter).collect();
        feed(&*self.log, merge(timelines), pace, |_| std::ops::ControlFlow::Continue(())).expect("a feed");
    }

    /// All records of the engine's input topics, in the order of topic, partition, offset.
    pub fn inputs(&self) -> Vec<LogRecord> {
        read_all(self.log(), &INPUTS)
    }

    /// The epoch table, as written.
    pub fn epochs(&self) -> Vec<EpochRecord> {
        let records = read_all(self.log(), &[Topic::Epochs]);
        records.iter().map(|record| EpochRecord::decode(&record.value).expect("an epoch")).collect()
    }

    /// Runs the engine over the set to the end of its epochs, and asserts law 4.
    pub fn replay(&self, settings: Settings) -> Finished {
        let finished = self.run(settings, Run::Bounded(Range::ALL), |_| {});
        assert_law_4(self.log(), &finished.tables);
        finished
    }

    /// The same with an engine that settings do not describe.
    pub fn replay_by(&self, engine: Engine) -> Finished {
        let finished = finish(engine, Vec::new(), Run::Bounded(Range::ALL), |_| {}).expect("a run");
        assert_law_4(self.log(), &finished.tables);
        finished
    }

    /// Runs the engine while `beside` does something on this thread. Asserts nothing.
    pub fn run(&self, settings: Settings, run: Run, beside: impl FnOnce(&MemoryStore)) -> Finished {
        self.run_into(Vec::new(), settings, run, beside)
    }

    /// Runs the engine live and stops it dead, in the midst of whatever it does, when `when` returns.
    pub fn break_off(&self, settings: Settings, when: impl FnOnce(&MemoryStore)) {
        let (store, shared) = (MemoryStore::new(Catalog::all()), Arc::new(Shared::default()));
        let (sinks, engine) =
            (vec![Box::new(store.sink()) as Box<dyn Sink>], settings.engine(self.log.clone()));
        let run = Run::Live(Arc::default());
        let result = std::thread::scope(|scope| {
            let running = scope.spawn({
                let shared = shared.clone();
                move || engine.run(run, sinks, shared)
            });
            when(&store);
            shared.stop.store(true, Ordering::SeqCst);
            running.join().expect("the engine does not panic")
        });
        result.expect("a run that is stopped has not failed");
    }

    /// The same, into these sinks as well.
    pub fn run_into(
        &self,
        more: Vec<Box<dyn Sink>>,
        settings: Settings,
        run: Run,
        beside: impl FnOnce(&MemoryStore),
    ) -> Finished {
        finish(settings.engine(self.log.clone()), more, run, beside).expect("the run ends without an error")
    }
}

/// Runs an engine while `beside` does something on this thread.
pub fn finish(
    engine: Engine,
    more: Vec<Box<dyn Sink>>,
    run: Run,
    beside: impl FnOnce(&MemoryStore),
) -> anyhow::Result<Finished> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (store, path) = (MemoryStore::new(Catalog::all()), dir.path().join("tables"));
    let parquet = ParquetSink::open(&path, Catalog::all(), Options::default()).expect("a fresh folder");
    let mut sinks: Vec<Box<dyn Sink>> = vec![Box::new(parquet), Box::new(store.sink())];
    sinks.extend(more);
    std::thread::scope(|scope| {
        let running = scope.spawn(move || engine.run(run, sinks, Arc::new(Shared::default())));
        beside(&store);
        running.join().expect("the engine does not panic")
    })?;
    Ok(Finished { tables: Tables::new(store.changes()), path, _dir: dir })
}

/// The topics of a set: session topics share one partition count, the others have one partition.
pub fn specs(partitions: i32, timestamps: TimestampType) -> Vec<TopicSpec> {
    let recorded = timestamps == TimestampType::Create;
    let spec = |topic: Topic| TopicSpec {
        topic,
        partitions: if topic.keyed_by() == KeyedBy::Session { partitions } else { 1 },
        timestamps: if topic == Topic::Epochs { TimestampType::Create } else { timestamps },
        retention_ms: match topic.retention() {
            Retention::AtMost(ms) if !recorded => Some(ms),
            _ => None,
        },
    };
    Topic::ALL.into_iter().map(spec).collect()
}

/// How a run is made. No result may depend on any of it, except on whether there are models.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Timely workers.
    pub workers: usize,
    /// Inference threads.
    pub pool_threads: usize,
    /// Bytes of one poll.
    pub poll_bytes: usize,
    /// Bytes of prefetch, and of a worker's budget.
    pub budget_bytes: usize,
    /// Whether the real face models run.
    pub models: bool,
    /// Whether voices are measured; only with models.
    pub voices: bool,
    /// Who transcribes.
    pub ears: Ears,
    /// Whether the sentence model judges what was said; else the words alone do, as the oracle does.
    pub meaning: bool,
    /// Whether the sentence model judges beside whoever judges.
    pub shadow: bool,
    /// Whether whoever judges is also asked about reduced utterances.
    pub reduced: bool,
    /// This endpoint is asked: about everything, or because a local scorer is never sure (its probability is 0.6).
    pub asked: Option<(Role, SocketAddr)>,
}

/// A scorer that is never sure.
struct Unsure;

impl Scorer for Unsure {
    fn score(&mut self, _expected: &str, _said: &str) -> Result<f64, ScoreError> {
        Ok(0.6)
    }

    fn method(&self) -> Method {
        Method::CrossEncoder
    }

    fn version(&self) -> &str {
        "unsure"
    }

    fn model(&self) -> &str {
        "no model at all"
    }
}

/// As long as a live run waits for the speech model by default.
const A_LONG_TIME: Duration = Duration::from_secs(60);

/// Who transcribes the speech of a run.
#[derive(Clone, Copy, Debug)]
pub enum Ears {
    /// The demo model; a live run waits for it as long as the configuration says.
    Demo,
    /// Somebody who hears nothing for so long, and then silence; a live run waits half a second for it, or, when that
    /// is a minute or more, as long as the configuration says.
    Slow(Duration),
    /// A model that fails on every input.
    Failing,
}

impl Ears {
    fn transcriber(self, config: &Config) -> TranscriberFactory {
        match self {
            Ears::Demo => speech::demo(config.models_folder()),
            Ears::Slow(_) | Ears::Failing => Arc::new(move |_| Ok(Box::new(self))),
        }
    }
}

impl Transcriber for Ears {
    fn transcribe(&mut self, samples: &[i16]) -> Result<Heard, SpeechError> {
        if let Ears::Slow(pause) = self {
            std::thread::sleep(*pause);
            return Ok(Heard::default());
        }
        Err(SpeechError::TooLong { samples: samples.len() })
    }

    fn model(&self) -> &str {
        "no model at all"
    }
}

impl Settings {
    /// One worker, two inference threads, the real face models.
    pub const WITH_MODELS: Settings = Settings {
        workers: 1,
        pool_threads: 2,
        poll_bytes: 4 << 20,
        budget_bytes: 64 << 20,
        models: true,
        voices: true,
        ears: Ears::Demo,
        meaning: false,
        shadow: false,
        reduced: false,
        asked: None,
    };

    /// One worker that measures everything but faces.
    pub const WITHOUT_MODELS: Settings = Settings { models: false, ..Settings::WITH_MODELS };

    /// An engine with these settings.
    pub fn engine(self, log: Arc<dyn Log>) -> Engine {
        let config = Config::parse("").expect("the default configuration");
        let measurer = match (self.models, self.voices) {
            (true, true) => faces::with_models(config.models_folder(), MAX_PIXELS),
            (true, false) => deaf(faces::with_models(config.models_folder(), MAX_PIXELS)),
            (false, _) => faces::without_models(),
        };
        Engine {
            log,
            workers: self.workers,
            pool_threads: self.pool_threads,
            measurer,
            transcriber: self.ears.transcriber(&config),
            speech: match self.ears {
                Ears::Slow(pause) if pause < A_LONG_TIME => {
                    SpeechSettings { deadline_ms: 500, ..config.speech }
                }
                _ => config.speech,
            },
            judge: match (self.asked, self.meaning) {
                (Some((Role::Primary, _)), _) => None,
                (Some((Role::GrayBand, _)), _) => Some(Arc::new(|| Ok(Judge::Model(Box::new(Unsure))))),
                (None, true) => Some(judge::sentence_model(config.models_folder())),
                (None, false) => Some(judge::token_overlap()),
            },
            reduced: self.reduced,
            shadow: self.shadow.then(|| judge::sentence_model(config.models_folder())),
            language_model: self.asked.map(|(_, address)| LanguageModel {
                access: llm::Access {
                    url: format!("http://{address}/v1"),
                    model: "stand-in".into(),
                    key: String::new(),
                    limit: Duration::from_millis(500),
                },
                api_version: "v1".into(),
                at_once: 2,
            }),
            limits: config.session,
            fetch: Fetch { prefetch_bytes: self.budget_bytes, poll_bytes: self.poll_bytes },
            budget_bytes: self.budget_bytes,
            cut: config.cut(TAIL_MS),
            checkpoints: None,
            without: Default::default(),
            heal: None,
            inferring: Default::default(),
            cluster: None,
        }
    }
}

/// Measurers that hear no voice.
fn deaf(measurers: MeasurerFactory) -> MeasurerFactory {
    Arc::new(move |thread| {
        let mut measure = measurers(thread)?;
        Ok(Box::new(move |epoch, task| match task {
            Task::Voice(_) => Ok(Outcome::default()),
            _ => measure(epoch, task),
        }))
    })
}

/// The results of a run; its folder lives as long as this.
pub struct Finished {
    /// What the memory sink got.
    pub tables: Tables,
    path: PathBuf,
    _dir: TempDir,
}

impl Finished {
    /// The folder of the Parquet tables.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// All records of these topics that are there now, in the order of topic, partition, offset.
pub fn read_all(log: &dyn Log, topics: &[Topic]) -> Vec<LogRecord> {
    let mut ends: BTreeMap<TopicPartition, i64> = BTreeMap::new();
    let mut from = Vec::new();
    for topic in topics {
        let partitions = log.topic(*topic).expect("the log answers").expect("the topic exists").partitions;
        for at in (0..partitions).map(|partition| TopicPartition { topic: *topic, partition }) {
            let (first, end) = log.bounds(at).expect("the log answers");
            if first < end {
                from.push((at, first));
                ends.insert(at, end);
            }
        }
    }
    if from.is_empty() {
        return Vec::new();
    }
    let mut reader = log.reader(&from, Fetch::default()).expect("a reader");
    let mut records = Vec::new();
    while ends.iter().any(|(at, end)| reader.position(*at).is_none_or(|position| position < *end)) {
        records.extend(reader.poll(Duration::from_millis(100)).expect("records"));
    }
    records.retain(|record: &LogRecord| record.offset < ends[&record.at]);
    records.sort_by_key(|record| (record.at, record.offset));
    records
}

/// Law 4: per session and topic, the classes of records add up to what the log holds. Answers that came after the
/// last epoch are the next run's.
pub fn assert_law_4(log: &dyn Log, tables: &Tables) {
    let table = epochs::read_table(log).expect("the log answers").unwrap_or_default().entries;
    let (_, reached) = epochs::accept(table);
    let is_after = |record: &LogRecord| {
        record.at.topic == Topic::Inference && reached.get(&record.at).is_none_or(|to| *to <= record.offset)
    };
    let mut held: BTreeMap<(String, &'static str), i64> = BTreeMap::new();
    for record in read_all(log, &INPUTS).into_iter().filter(|record| !is_after(record)) {
        let session = codec::session_of_key(&record).map_or("unattributed".into(), |id| id.to_string());
        *held.entry((session, record.at.topic.name())).or_default() += 1;
    }
    let mut classed: BTreeMap<(String, &'static str), i64> = BTreeMap::new();
    for row in tables.rows::<RecordClassRow>() {
        let topic = Topic::by_name(&row.topic).expect("a topic").name();
        *classed.entry((row.session, topic)).or_default() += row.records;
    }
    assert_eq!(held, classed, "law 4: records in the log (left), records with a class (right)");
}

/// Two result folders are equal in state and history of every table.
pub fn assert_same(left: &Path, right: &Path, what: &str) {
    let comparison = compare(left, right, &Catalog::all()).expect("two result folders");
    let differences: Vec<String> = comparison.differences.iter().map(ToString::to_string).collect();
    assert!(differences.is_empty(), "{what}:\n{}", differences.join("\n"));
    assert_eq!(comparison.left.state(), comparison.right.state(), "{what}: state hash");
    assert_eq!(comparison.left.history(), comparison.right.history(), "{what}: history hash");
    let violations: Vec<String> = comparison.left.violations().collect();
    assert!(violations.is_empty(), "{what}: {violations:?}");
}

/// The binary of the same build as this test.
///
/// # Panics
///
/// If it was not built.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("this test's own path");
    let binary = test.parent().and_then(Path::parent).expect("target/<profile>/deps").join("lsie");
    assert!(binary.exists(), "{} is missing: `cargo build --release --workspace`", binary.display());
    binary
}

/// Sends a signal; a process that is gone already has had it. One that is told to stop has stopped when this returns:
/// until the thread that takes the signal runs, which takes long on busy processors, all others still answer.
pub fn signal(pid: impl Display, name: &str) {
    let pid = pid.to_string();
    let sent = Command::new("kill").args([&format!("-{name}"), &pid]).stderr(Stdio::null()).status();
    sent.expect("kill starts");
    if name == "STOP" {
        let stopped = (0..3_000).any(|_| {
            let still = runs(&pid);
            if still {
                std::thread::sleep(Duration::from_millis(10));
            }
            !still
        });
        assert!(stopped, "process {pid} does not stop");
    }
}

/// Whether a thread of the process is neither stopped nor gone.
fn runs(pid: &str) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let states = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    // Number, name in parentheses, which may hold anything, and the state.
    let mut states = states.filter_map(|stat| stat.rsplit_once(") ")?.1.chars().next());
    states.any(|state| !matches!(state, 'T' | 't' | 'X' | 'Z'))
}

/// Writes a hosts file for so many processes of one run on this machine.
pub fn write_hosts(file: &Path, processes: usize) {
    // Held together, so that all are different.
    let ports: Vec<TcpListener> =
        (0..processes).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    let hosts = ports.iter().map(|port| format!("{}\n", port.local_addr().expect("an address")));
    std::fs::write(file, hosts.collect::<String>()).expect("hosts");
}

/// Waits until the tables of a run are as wanted.
///
/// # Panics
///
/// If they are not, three minutes later: other tests may have the processors meanwhile.
pub fn wait_for(store: &MemoryStore, wanted: impl Fn(&Tables) -> bool) {
    let waited = (0..1_800).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        wanted(&Tables::new(store.changes()))
    });
    assert!(waited, "the tables are not as wanted three minutes after the last record");
}

/// The wall clock, for a live feed that begins now.
#[allow(clippy::disallowed_methods, reason = "a live feed begins now")]
pub fn now() -> LogTime {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    LogTime(wall.as_millis() as u64)
}
