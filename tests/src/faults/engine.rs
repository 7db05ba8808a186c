//! The engine under test: the binary in a folder of its own, started again whenever it dies.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use lsie_dataflow::crash_book::Place;
use lsie_schemas::LogTime;
use lsie_sinks::parquet::Reader;

use crate::harness::{binary, signal, write_hosts};

use super::servers::{Servers, text};

/// How long the supervisor waits before it starts an engine again.
const PAUSE: Duration = Duration::from_millis(200);
/// Where Debian has the library that a clock jumps with.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// The binary with its configuration.
pub struct Lsie {
    dir: PathBuf,
    /// The result tables of the live run.
    pub tables: PathBuf,
    /// The file that says how far the wall clock is off.
    pub clock: PathBuf,
    /// Workers of the next start.
    pub workers: AtomicU64,
    /// Starts so far.
    starts: AtomicU32,
    /// Process of the running engine, 0 if there is none.
    pid: AtomicU32,
    /// The second process of a run of two.
    member: Option<AtomicU32>,
    /// Where the engine is to die: at the next start only, or at each.
    die_at: Mutex<Option<(String, bool)>>,
    deadly: Mutex<BTreeSet<Place>>,
    stopping: AtomicBool,
    fed: AtomicBool,
    down: AtomicBool,
    jumps: bool,
}

impl Lsie {
    /// Writes the configuration into a folder; tables go to `tables`. Its clock jumps, and it is two processes, if a
    /// fault needs that.
    pub fn new(
        servers: &Servers,
        dir: &Path,
        prefix: &str,
        schema: &str,
        tables: PathBuf,
        jumps: bool,
        is_two: bool,
    ) -> Lsie {
        std::fs::create_dir_all(dir).expect("a folder");
        let settings = format!(
            "[log]\naddress = \"kafka:{}\"\nprefix = \"{prefix}\"\n[parquet]\nflush_ms = 500\n[checkpoint]\ninterval_ms = 2000\n[api]\nlisten = \
             \"127.0.0.1:0\"\n[postgres]\nurl = \"{}?options=-csearch_path%3D{schema}\"\nqueue_mib = 1\n\
             end_wait_ms = 60000\n",
            servers.bootstrap, servers.postgres
        );
        std::fs::write(dir.join("lsie.toml"), settings).expect("a configuration");
        let clock = dir.join("clock");
        std::fs::write(&clock, "+0").expect("a file");
        write_hosts(&dir.join("hosts"), 2);
        Lsie {
            dir: dir.to_owned(),
            tables,
            clock,
            workers: AtomicU64::new(1),
            starts: AtomicU32::new(0),
            pid: AtomicU32::new(0),
            member: is_two.then(AtomicU32::default),
            die_at: Mutex::new(None),
            deadly: Mutex::default(),
            stopping: AtomicBool::new(false),
            fed: AtomicBool::new(false),
            down: AtomicBool::new(false),
            jumps,
        }
    }

    /// Runs a command to its end.
    pub fn command(&self, arguments: &[&str]) -> Output {
        Command::new(binary()).args(arguments).current_dir(&self.dir).output().expect("the binary starts")
    }

    /// Runs a command that must succeed.
    pub fn must(&self, arguments: &[&str]) {
        let done = self.command(arguments);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "lsie {arguments:?}: {}\n{said}", done.status);
    }

    /// Keeps an engine running until it is told to stop; its exit status then.
    pub fn supervise(&self) -> std::process::ExitStatus {
        loop {
            let mut child = self.spawn(0);
            self.pid.store(child.id(), Ordering::SeqCst);
            let status = match &self.member {
                None => child.wait().expect("an engine that ends"),
                Some(pid) => self.beside(&mut child, pid),
            };
            self.pid.store(0, Ordering::SeqCst);
            if self.stopping.load(Ordering::SeqCst) {
                return status;
            }
            std::thread::sleep(PAUSE);
            while self.down.load(Ordering::SeqCst) {
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// Keeps the second process running beside the first, until that ends; then it ends too.
    fn beside(&self, first: &mut Child, pid: &AtomicU32) -> std::process::ExitStatus {
        loop {
            let mut member = self.spawn(1);
            pid.store(member.id(), Ordering::SeqCst);
            loop {
                if let Some(status) = first.try_wait().expect("a process") {
                    ends_too(member);
                    return status;
                }
                if member.try_wait().expect("a process").is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            // Killed before the run had begun, it is started again alone; else the first one ends now, too.
            std::thread::sleep(PAUSE);
        }
    }

    /// Whether an engine that has ended is left so.
    pub fn keep_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    fn spawn(&self, process: usize) -> Child {
        let start = self.starts.fetch_add(u32::from(process == 0), Ordering::SeqCst);
        let name = if process == 0 { format!("engine-{start}.log") } else { format!("member-{start}.log") };
        let log = File::create(self.dir.join(name)).expect("a file");
        let workers = self.workers.load(Ordering::SeqCst).to_string();
        let mut command = Command::new(binary());
        command.args(["--workers", &workers, "run", "--out", text(&self.tables), "--port", "0"]);
        if self.member.is_some() {
            command.args(["--process", &process.to_string(), "--hosts", "hosts"]);
        }
        let mut armed = self.die_at.lock().expect("no panic while it was held");
        if let Some((place, always)) = armed.take() {
            command.args(["--die-at", &place]);
            *armed = always.then_some((place, always));
        }
        command.current_dir(&self.dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        if self.jumps {
            assert!(Path::new(FAKETIME).exists(), "{FAKETIME} is missing: docker/setup/packages.sh test");
            command.env("LD_PRELOAD", FAKETIME).env("FAKETIME_TIMESTAMP_FILE", &self.clock);
            command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        command.spawn().expect("the binary starts")
    }

    /// Has the next engine die at a named place, or `always` each one.
    pub fn die_at(&self, place: String, always: bool) {
        *self.die_at.lock().expect("no panic while it was held") = Some((place, always));
    }

    /// Has every engine from the next one on die over a record, until it is in quarantine.
    pub fn die_over(&self, (at, offset): Place) {
        self.die_at(format!("decode {at} {offset}"), true);
        self.deadly.lock().expect("no panic while it was held").insert((at, offset));
    }

    /// A record that never comes: no engine dies over it.
    pub fn spare(&self, place: Place) {
        *self.die_at.lock().expect("no panic while it was held") = None;
        self.deadly.lock().expect("no panic while it was held").remove(&place);
        // The engine that runs is armed.
        self.signal("TERM");
    }

    /// Whether the feed is over.
    pub fn is_fed(&self) -> bool {
        self.fed.load(Ordering::SeqCst)
    }

    /// The feed is over.
    pub fn fed(&self) {
        self.fed.store(true, Ordering::SeqCst);
    }

    /// The records over which engines were to die.
    pub fn deadly(&self) -> BTreeSet<Place> {
        self.deadly.lock().expect("no panic while it was held").clone()
    }

    /// Starts so far.
    pub fn starts(&self) -> u32 {
        self.starts.load(Ordering::SeqCst)
    }

    /// Sends a signal to the engine that runs, if one does.
    pub fn signal(&self, name: &str) {
        let pid = self.pid.load(Ordering::SeqCst);
        if pid != 0 {
            signal(pid, name);
        }
    }

    /// Sends a signal to the second process of the run.
    pub fn signal_member(&self, name: &str) {
        let pid = self.member.as_ref().map_or(0, |pid| pid.load(Ordering::SeqCst));
        if pid != 0 {
            signal(pid, name);
        }
    }

    /// Ends the engine in an orderly way, and it is not started again.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.signal("TERM");
    }

    /// The newest durable epoch of the live tables.
    pub fn committed(&self) -> Option<LogTime> {
        Reader::open(&self.tables).ok().and_then(|reader| reader.committed())
    }

    /// What the engines said to the standard error, newest last.
    pub fn said(&self) -> String {
        let log =
            |start| std::fs::read_to_string(self.dir.join(format!("engine-{start}.log"))).unwrap_or_default();
        let last = self.starts.load(Ordering::SeqCst);
        (last.saturating_sub(3)..last).map(|start| format!("start {start}: {}\n", log(start))).collect()
    }
}

/// A process of a run whose first one has ended. It ends too; if it still looks for the first, it is ended.
fn ends_too(mut member: Child) {
    for _ in 0..200 {
        if member.try_wait().expect("a process").is_some() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = member.kill();
    let _ = member.wait();
}
