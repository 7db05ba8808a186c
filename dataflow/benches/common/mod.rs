//! What the benchmarks share: topic sets, processor time of threads and processes, and who else ran
//! meanwhile.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

pub(crate) mod watched;

use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lsie_connectors::{KafkaConfig, KafkaLog};
use lsie_dataflow::config::Config;
use lsie_dataflow::pool::MeasurerFactory;
use lsie_dataflow::{Engine, judge, speech};
use lsie_schemas::log::{Log, TimestampType, TopicSpec};
use lsie_schemas::record::{ClockPoll, Control, ExperimentRecord, StartSession, Stream, Subjects};
use lsie_schemas::topic::{KeyedBy, Retention};
use lsie_schemas::{LogTime, Topic};
use uuid::Uuid;

/// Unit of processor time in /proc/PID/stat: fixed at a hundredth of a second on Linux.
const TICK_S: f64 = 0.01;
/// How often the threads of this process are looked at; one that ends loses at most this much.
const SAMPLING: Duration = Duration::from_millis(20);

/// `HOST:PORT` of the real Kafka.
pub(crate) fn bootstrap() -> String {
    std::env::var("LSIE_TEST_KAFKA").unwrap_or_else(|_| {
        panic!("LSIE_TEST_KAFKA is not set: run `make bench`, or start a broker with tests/kafka/broker.sh")
    })
}

/// A number from the environment, or its default.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text:?}")))
}

/// A prefix for a topic set that no other run uses.
pub(crate) fn fresh_prefix(name: &str) -> String {
    format!("bench-{name}-{}-{}.", now_us(), std::process::id())
}

/// The log of a topic set on the real Kafka.
pub(crate) fn connect(prefix: &str) -> Arc<dyn Log> {
    Arc::new(KafkaLog::connect(KafkaConfig::new(bootstrap(), prefix)).expect("the real Kafka"))
}

/// Creates a topic set and its experiment, which stands at `time` if the topics keep creation times.
pub(crate) fn create_topics(log: &dyn Log, partitions: i32, timestamps: TimestampType, time: LogTime) {
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
    let specs: Vec<TopicSpec> = Topic::ALL.into_iter().map(spec).collect();
    log.create_topics(&specs).expect("a fresh topic set");
    log.append(vec![ExperimentRecord::seed().encode(recorded.then_some(time))]).expect("an experiment");
}

/// The start of a session with these streams, and a poll that says its clock is exact.
pub(crate) fn start(session_id: Uuid, streams: &[Stream], at_us: i64) -> [Control; 2] {
    let start = StartSession {
        session_id,
        streams: streams.to_vec(),
        subjects: Subjects::default(),
        watched_account: None,
        source_url: "bench:".into(),
        experiment_id: "greeting_line_v1".into(),
        client_action_id: None,
    };
    [Control::Start(start), poll(session_id, at_us)]
}

/// A poll that says that the device's clock is exact.
pub(crate) fn poll(session_id: Uuid, at_us: i64) -> Control {
    Control::ClockPoll(ClockPoll {
        session_id,
        host_before_us: at_us,
        host_after_us: at_us + 2_000,
        device_us: Some(at_us),
    })
}

/// The engine with the default settings, one worker and one inference thread.
pub(crate) fn engine(log: Arc<dyn Log>, measurer: MeasurerFactory, tail_ms: u64) -> Engine {
    let config = Config::parse("").expect("the default configuration");
    Engine {
        log,
        workers: 1,
        pool_threads: 1,
        measurer,
        transcriber: speech::demo(config.models_folder()),
        speech: config.speech,
        judge: Some(judge::token_overlap()),
        reduced: false,
        shadow: None,
        language_model: None,
        limits: config.session,
        fetch: config.fetch(),
        budget_bytes: config.engine.budget_mib << 20,
        cut: config.cut(tail_ms),
        checkpoints: None,
        without: Default::default(),
        heal: None,
        inferring: Default::default(),
        cluster: None,
    }
}

/// The wall clock in microseconds since the Unix epoch.
pub(crate) fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |wall| wall.as_micros() as i64)
}

/// Prints on which machine this runs, and how busy it is.
pub(crate) fn print_machine() {
    let info = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split(' ').take(3).collect();
    println!("{cores} cores, {}; load average {}", model.trim_matches([' ', '\t', ':']), load.join(" "));
}

/// Processor seconds that a process (a number, or `self`) has used; 0 if it is gone.
pub(crate) fn process_s(pid: &str) -> f64 {
    let stat = read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Behind the name, which may hold anything: state, ten numbers, user time, system time.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() * TICK_S
}

/// Processor seconds that the whole machine has been busy.
fn machine_s() -> f64 {
    let stat = read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1);
    let ticks: Vec<f64> = line.filter_map(|ticks| ticks.parse().ok()).collect();
    // User, nice, system, then idle and waiting for disks, then interrupts and what the host took.
    ticks.iter().take(8).sum::<f64>() * TICK_S - ticks.iter().skip(3).take(2).sum::<f64>() * TICK_S
}

/// Processor seconds that this thread has used.
pub(crate) fn thread_s() -> f64 {
    busy_s(Path::new("/proc/thread-self")).unwrap_or(0.0)
}

fn busy_s(task: &Path) -> Option<f64> {
    let stat = read_to_string(task.join("schedstat")).ok()?;
    Some(stat.split(' ').next()?.parse::<f64>().ok()? / 1e9)
}

/// The process of the broker at `bootstrap`, by the settings it was started with.
pub(crate) fn broker_pid(bootstrap: &str) -> Option<String> {
    let listens =
        |settings: &str| settings.lines().any(|line| line.ends_with(&format!("PLAINTEXT://{bootstrap}")));
    let mut processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes.find_map(|process| {
        let line = read_to_string(process.path().join("cmdline")).ok()?;
        let mut words = line.trim_end_matches('\0').split('\0');
        let is_kafka = words.any(|word| word == "kafka.Kafka");
        let settings = read_to_string(words.next()?).ok()?;
        (is_kafka && listens(&settings)).then(|| process.file_name().to_string_lossy().into_owned())
    })
}

/// Processor time of this process, the broker, and everything else, from its start.
pub(crate) struct Meter {
    start: Instant,
    broker: Option<String>,
    from: [f64; 3],
}

/// Seconds of wall time, and processor seconds of this process, the broker, and everything else.
#[derive(Clone, Copy)]
pub(crate) struct Used {
    pub(crate) wall: f64,
    pub(crate) own: f64,
    pub(crate) broker: f64,
    pub(crate) others: f64,
}

impl Meter {
    pub(crate) fn start(broker: Option<String>) -> Meter {
        let mut meter = Meter { start: Instant::now(), broker, from: [0.0; 3] };
        meter.from = meter.read();
        meter
    }

    fn read(&self) -> [f64; 3] {
        [process_s("self"), self.broker.as_ref().map_or(0.0, |pid| process_s(pid)), machine_s()]
    }

    pub(crate) fn used(&self) -> Used {
        let now = self.read();
        let [own, broker, all] = [0, 1, 2].map(|i| now[i] - self.from[i]);
        Used { wall: self.start.elapsed().as_secs_f64(), own, broker, others: (all - own - broker).max(0.0) }
    }
}

impl Used {
    /// Cores that others kept busy meanwhile: the honest note beside every figure.
    pub(crate) fn other_cores(&self) -> f64 {
        self.others / self.wall
    }
}

/// Processor time by thread name, sampled by a thread, since threads take their figures with them.
pub(crate) struct Threads {
    over: Arc<AtomicBool>,
    sampler: JoinHandle<BTreeMap<String, Busy>>,
}

/// Processor time of threads of one name, in seconds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Busy {
    pub(crate) all: f64,
    /// Of the one that had most.
    pub(crate) most: f64,
}

impl Threads {
    pub(crate) fn start() -> Threads {
        let over = Arc::new(AtomicBool::new(false));
        let sampler = std::thread::Builder::new().name("sampler".into()).spawn({
            let over = over.clone();
            move || sample(&over)
        });
        Threads { over, sampler: sampler.expect("a thread") }
    }

    /// By name; numbers at the end of a name are left out.
    pub(crate) fn stop(self) -> BTreeMap<String, Busy> {
        self.over.store(true, Ordering::SeqCst);
        self.sampler.join().expect("the sampler does not panic")
    }
}

fn sample(over: &AtomicBool) -> BTreeMap<String, Busy> {
    let mut first: BTreeMap<String, f64> = BTreeMap::new();
    let mut last: BTreeMap<String, (String, f64)> = BTreeMap::new();
    let mut begun = false;
    loop {
        let end = over.load(Ordering::SeqCst);
        for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
            let id = task.file_name().to_string_lossy().into_owned();
            let (Ok(name), Some(busy)) = (read_to_string(task.path().join("comm")), busy_s(&task.path()))
            else {
                continue;
            };
            // Threads that are there already have used time before; those that come later have not.
            first.entry(id.clone()).or_insert(if begun { 0.0 } else { busy });
            let name = name.trim().trim_end_matches(|c: char| c.is_ascii_digit() || c == '-').to_string();
            last.insert(id, (name, busy));
        }
        begun = true;
        if end {
            break;
        }
        std::thread::sleep(SAMPLING);
    }
    let mut by_name: BTreeMap<String, Busy> = BTreeMap::new();
    for (id, (name, busy)) in last {
        let busy = busy - first.get(&id).copied().unwrap_or(0.0);
        let Busy { all, most } = by_name.entry(name).or_default();
        (*all, *most) = (*all + busy, most.max(busy));
    }
    by_name
}

/// Prints processor time by thread, the busiest first.
pub(crate) fn print_threads(threads: &BTreeMap<String, Busy>) {
    let mut threads: Vec<(&String, &Busy)> = threads.iter().filter(|(_, busy)| busy.all >= 0.005).collect();
    threads.sort_by(|a, b| b.1.all.total_cmp(&a.1.all));
    let of_one = |busy: &Busy| match busy.most < busy.all {
        true => format!(" (the busiest of them {:.2} s)", busy.most),
        false => String::new(),
    };
    let line = threads.iter().map(|(name, busy)| format!("{name} {:.2} s{}", busy.all, of_one(busy)));
    let line: Vec<String> = line.collect();
    println!("  processor time by thread: {}", line.join(", "));
}

/// The value below which `percent` of the sorted values lie.
pub(crate) fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
}
