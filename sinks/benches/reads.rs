//! The read side with a million encounters under live load: requests a second on one core by `wrk`, and what a
//! thousand subscribers cost the side that applies epochs.
//!
//! `docker/setup/packages.sh bench`, then `cargo bench --locked --workspace --bench reads`; `LSIE_BENCH_ROWS` and
//! `LSIE_BENCH_SECONDS` make it smaller. Needs two cores: this process runs on the first one, `wrk` and the
//! subscribers, which are this program once more, on the others. A thousand streams need `ulimit -n 4096`.
#![allow(
    clippy::disallowed_methods,
    reason = "a bench measures time, starts threads and reads its environment"
)]

use std::fs::read_to_string;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lsie_schemas::row::EncounterRow;
use lsie_schemas::{Change, EventTime, LogTime, Real, TableRow, Uuid};
use lsie_sinks::views::{Api, Server, ViewsSink};
use lsie_sinks::{Catalog, Sink, Views};
use tokio::net::TcpStream;

/// Between epochs, ms.
const EPOCH_MS: u64 = 250;
/// New encounters of a live epoch; as many older ones are corrected.
const LIVE_ROWS: u64 = 50;
const SUBSCRIBERS: usize = 1_000;
const SESSIONS: u64 = 5_000;
const ARMS: u64 = 4;
const EXPERIMENTS: u64 = 5;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    match &words[1..] {
        [mode, address, epoch, reads] if mode == "subscribe" => subscribe(address, epoch, reads == "reads"),
        _ => measure(setting("LSIE_BENCH_ROWS", 1_000_000), setting("LSIE_BENCH_SECONDS", 10)),
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text:?}")))
}

fn measure(rows: u64, seconds: u64) {
    let (views, mut load) = loaded(rows);
    let server =
        Server::start(SocketAddr::from(([127, 0, 0, 1], 0)), None, |stop| Api::new(&views).router(stop));
    let server = server.expect("a free port");
    let address = server.address();
    let pinned = Command::new("taskset").args(["-apc", "0", &std::process::id().to_string()]).output();
    pinned.expect("taskset is there");

    println!(
        "\napplying an epoch of {LIVE_ROWS} new and {LIVE_ROWS} corrected rows, milliseconds of `commit`"
    );
    load = load.run(|| std::thread::sleep(Duration::from_secs(seconds))).told("without subscribers");
    let mut subscribers = Subscribers::start(address, load.epoch, "reads");
    load = load.run(|| std::thread::sleep(Duration::from_secs(seconds))).told("1,000 subscribers");
    subscribers.stop();

    println!("\nsubscribers that take nothing: what they cost");
    let before = resident_mib();
    let mut subscribers = Subscribers::start(address, load.epoch, "idles");
    for _ in 0..4 * seconds * 100 / LIVE_ROWS {
        load.epoch(LIVE_ROWS * 20);
    }
    let after = resident_mib();
    subscribers.stop();
    load.times.clear();
    let kept = load.epochs_mib();
    println!(
        "1,000 of them: {:.0} MiB, of which about {kept:.0} are new rows and their history",
        after - before
    );

    println!("\nrequests, with live epochs meanwhile; one connection each of 16, closed loop");
    for path in [
        "/api/v1/encounters?limit=100",
        "/api/v1/encounters?experiment_id=experiment-1&arm=arm-2&valid_only=true&limit=100",
        "/api/v1/views/encounter_log?limit=100",
    ] {
        let url = format!("http://{address}{path}");
        let (http, start) = (http_s(), Instant::now());
        let mut wrk = None;
        load = load.run(|| wrk = Some(asked(&url, seconds)));
        let cores = (http_s() - http) / start.elapsed().as_secs_f64();
        println!("{path}");
        for line in wrk.unwrap_or_default().lines() {
            if ["50%", "99%", "Requests/sec", "Socket errors", "Non-2xx"]
                .iter()
                .any(|word| line.contains(word))
            {
                println!("  {}", line.trim());
            }
        }
        println!("  threads that answer: {cores:.2} cores");
        load = load.told("  commit meanwhile");
    }
    server.stop().expect("an orderly end");
}

/// A closed loop of 16 connections on the other cores.
fn asked(url: &str, seconds: u64) -> String {
    let mut command = Command::new("taskset");
    command.args(["-c", &others(), "wrk", "-t1", "-c16", &format!("-d{seconds}s"), "--latency", url]);
    let output = command.output().expect("wrk: docker/setup/packages.sh bench");
    assert!(output.status.success(), "wrk: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The cores that this process does not run on.
fn others() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from).max(count_cores());
    assert!(cores > 1, "this needs two cores");
    format!("1-{}", cores - 1)
}

fn count_cores() -> usize {
    read_to_string("/proc/cpuinfo").unwrap_or_default().matches("processor\t").count()
}

/// The live load, and how long its epochs took.
struct Load {
    sink: ViewsSink,
    epoch: u64,
    rows: u64,
    times: Vec<f64>,
    changes: u64,
}

impl Load {
    /// Applies epochs, one every quarter of a second, on a thread of its own while something runs.
    fn run(self, work: impl FnOnce()) -> Load {
        let over = Arc::new(AtomicBool::new(false));
        let live: JoinHandle<Load> = {
            let (over, mut load) = (over.clone(), self);
            std::thread::spawn(move || {
                let mut due = Instant::now();
                while !over.load(Ordering::Relaxed) {
                    due += Duration::from_millis(EPOCH_MS);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    load.epoch(LIVE_ROWS);
                }
                load
            })
        };
        work();
        over.store(true, Ordering::Relaxed);
        live.join().expect("correct epochs")
    }

    fn epoch(&mut self, rows: u64) {
        self.epoch += EPOCH_MS;
        let epoch = self.epoch;
        let mut changes: Vec<Change> =
            (self.rows..self.rows + rows).map(|n| change(epoch, n, 0, 1)).collect();
        for n in self.rows - rows..self.rows {
            changes.extend([change(epoch, n, 0, -1), change(epoch, n, 1, 1)]);
        }
        self.rows += rows;
        self.changes += changes.len() as u64;
        let start = Instant::now();
        self.sink.write(LogTime(epoch), &changes).expect("a correct epoch");
        self.sink.commit(LogTime(epoch)).expect("a complete epoch");
        self.times.push(start.elapsed().as_secs_f64() * 1e3);
    }

    fn told(mut self, name: &str) -> Load {
        self.times.sort_by(f64::total_cmp);
        let at =
            |share: f64| self.times.get((self.times.len() as f64 * share) as usize).copied().unwrap_or(0.0);
        let most = self.times.last().copied().unwrap_or(0.0);
        println!(
            "{name}: p50 {:.2}, p99 {:.2}, most {most:.2} ({} epochs)",
            at(0.5),
            at(0.99),
            self.times.len()
        );
        self.times.clear();
        self
    }

    /// About what the changes of the epochs so far take.
    fn epochs_mib(&self) -> f64 {
        self.changes as f64 * 1_000.0 / f64::from(1 << 20)
    }
}

fn loaded(rows: u64) -> (Views, Load) {
    let (views, start, before) = (Views::new(Catalog::served()), Instant::now(), resident_mib());
    let mut sink = views.sink();
    let (mut epoch, mut n) = (0, 0);
    while n < rows {
        epoch += EPOCH_MS;
        let upto = rows.min(n + 10_000);
        let changes: Vec<Change> = (n..upto).map(|n| change(epoch, n, 0, 1)).collect();
        sink.write(LogTime(epoch), &changes).expect("a correct epoch");
        sink.commit(LogTime(epoch)).expect("a complete epoch");
        n = upto;
    }
    println!(
        "{rows} encounters in {:.1} s, {:.0} MiB",
        start.elapsed().as_secs_f64(),
        resident_mib() - before
    );
    (views, Load { sink, epoch, rows, times: Vec::new(), changes: 0 })
}

/// Encounter `n` in one of its versions.
fn change(epoch: u64, n: u64, version: u64, diff: i64) -> Change {
    let us = 1_770_000_000_000_000 + n as i64 * 1_000;
    let row = EncounterRow {
        session_id: Uuid::from_u128(u128::from(n % SESSIONS) + 1),
        segment_id: format!("{:064x}", n / SESSIONS),
        experiment_id: format!("experiment-{}", n / ARMS % EXPERIMENTS),
        arm: format!("arm-{}", n % ARMS),
        timestamp_utc: EventTime(us),
        gated_reward: Real(n as f64 % 997.0 / 997.0),
        p90_intensity: Real(n as f64 % 991.0 / 991.0),
        semantic_gate: i64::from(!n.is_multiple_of(3)),
        is_valid: !n.is_multiple_of(7),
        n_frames: 135 + version as i64,
        baseline_neutral: Some(Real(0.012_345)),
        stimulus_time: Some(Real(us as f64 / 1e6)),
    };
    Change { table: EncounterRow::TABLE.name.into(), row: row.cells(), epoch: LogTime(epoch), diff }
}

/// A process with a thousand subscribers.
struct Subscribers(Child);

impl Subscribers {
    fn start(address: SocketAddr, epoch: u64, reads: &str) -> Subscribers {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new("taskset");
        command.args(["-c", &others()]).arg(program);
        command.args(["subscribe", &address.to_string(), &epoch.to_string(), reads]).stdout(Stdio::inherit());
        let child = command.stdin(Stdio::piped()).spawn().expect("this program once more");
        std::thread::sleep(Duration::from_secs(3));
        Subscribers(child)
    }

    fn stop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// A thousand streams of the encounters' changes, until the input ends.
fn subscribe(address: &str, epoch: &str, reads: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut streams = Vec::new();
        for _ in 0..SUBSCRIBERS {
            let stream = TcpStream::connect(address).await.expect("a connection: ulimit -n 4096");
            let request = format!(
                "GET /api/v1/views/encounter_log/changes HTTP/1.1\r\nHost: {address}\r\nLast-Event-ID: {epoch}\r\n\r\n"
            );
            stream.writable().await.expect("an open connection");
            assert_eq!(stream.try_write(request.as_bytes()).ok(), Some(request.len()));
            streams.push(stream);
        }
        let readers = streams.into_iter().map(|stream| {
            tokio::spawn(async move {
                let (mut bytes, mut buffer) = (0u64, vec![0; 16 << 10]);
                while reads && stream.readable().await.is_ok() {
                    match stream.try_read(&mut buffer) {
                        Ok(0) => break,
                        Ok(read) => bytes += read as u64,
                        Err(_) => {}
                    }
                }
                // Held, not read.
                if !reads {
                    std::future::pending::<()>().await;
                }
                drop(stream);
                bytes
            })
        });
        let readers: Vec<_> = readers.collect();
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
        let _ = ended.await;
        drop(readers);
    });
    runtime.shutdown_background();
}

/// Processor seconds of the threads that answer requests.
fn http_s() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux").flatten();
    let of = |path: std::path::PathBuf| {
        let name = read_to_string(path.join("comm")).ok()?;
        let spent = read_to_string(path.join("schedstat")).ok()?;
        name.starts_with("http").then_some(spent.split(' ').next()?.parse::<f64>().ok()? / 1e9)
    };
    tasks.filter_map(|task| of(task.path())).sum()
}

fn resident_mib() -> f64 {
    let status = read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
