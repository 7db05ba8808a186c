//! One round: sessions are fed, faults strike, the engine comes to rest, and what is left is judged.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lsie_dataflow::epochs;
use lsie_operators::align::Limits;
use lsie_schemas::LogTime;
use lsie_schemas::log::Log;
use lsie_sinks::postgres::Database;

use super::engine::Lsie;
use super::feeder::{self, now};
use super::judge::{Media, Verdict, judge, media};
use super::servers::{Servers, as_root, text, try_as_root};
use super::strike::Target;
use super::{Chance, Fault};

/// How long an engine may take to come to rest after the faults.
const REST: Duration = Duration::from_secs(600);

/// How long its orderly end may take.
const STOP: Duration = Duration::from_secs(120);

/// What came of a round.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The fault.
    pub fault: Fault,
    /// The seed: the same one makes the same round, as far as the faults' moments are the seed's.
    pub seed: u64,
    /// The judgement.
    pub verdict: Verdict,
    /// What it has seen and heard.
    pub media: Media,
    /// Seconds from the end of each strike to the next durable epoch.
    pub recoveries_s: Vec<f64>,
}

/// The name of a round's folder, topics and schema.
pub fn name(fault: Fault, seed: u64) -> String {
    format!("{fault:?}_{seed}").to_lowercase()
}

/// Runs a round.
pub fn round(servers: &Servers, fault: Fault, seed: u64) -> Outcome {
    eprintln!("round: {fault:?} with seed {seed}");
    let mut chance = Chance(seed);
    let faults = fault.parts(&mut chance);
    let name = name(fault, seed);
    let (dir, prefix) = (servers.dir().join(&name), format!("{name}."));
    let disk = Disk::mount_for(&faults, &servers.dir().join(format!("{name}-disk")));
    let tables = disk.0.as_deref().unwrap_or(&dir).join("tables");
    let (jumps, is_two) = (faults.contains(&Fault::ClockJump), faults.contains(&Fault::KillOne));
    let lsie = Lsie::new(servers, &dir, &prefix, &name, tables, jumps, is_two);
    lsie.must(&["topics", "create", "--partitions", "4"]);
    let log = servers.log(&prefix);
    let (schema, mount) = (name.clone(), disk.0.as_deref());
    let target = Target { servers, lsie: &lsie, schema, disk: mount, log: log.clone() };
    target.sql(&format!("CREATE SCHEMA {name}"), Duration::ZERO);

    let (mut promises, mut recoveries_s, mut orderly) = (Vec::new(), Vec::new(), false);
    std::thread::scope(|scope| {
        let engine = scope.spawn(|| lsie.supervise());
        // Whatever fails in here, the engine is not left running.
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let script = feeder::script(seed, fault.sessions(), wall_clock(), &faults);
            let fed = scope.spawn({
                let (log, lsie) = (log.clone(), &lsie);
                move || {
                    let promises = feeder::feed(&*log, &script);
                    lsie.fed();
                    promises
                }
            });
            std::thread::sleep(Duration::from_millis(chance.between(2_000, 6_000)));
            for fault in &faults {
                for _ in 0..chance.between(1, 2) {
                    recoveries_s.extend(target.strike(*fault, &mut chance));
                    std::thread::sleep(Duration::from_millis(chance.between(500, 3_000)));
                }
            }
            promises = fed.join().expect("the feeder ends");
            // The last segments close, and records of a session whose start is poison are waited with, and then filed.
            let limits = Limits::default();
            let poisoned = if faults.contains(&Fault::Poison) { 2 * limits.start_wait_ms } else { 0 };
            rest(&*log, &lsie, poisoned.max(limits.allowed_lateness_ms + 1_000));
        }));
        lsie.stop();
        let start = now();
        while !engine.is_finished() {
            if ended.is_err() || start.elapsed() > STOP {
                lsie.signal("KILL");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        orderly = engine.join().expect("the supervisor ends").success();
        if let Err(panic) = ended {
            eprintln!("{}", lsie.said());
            std::panic::resume_unwind(panic);
        }
    });

    let again = dir.join("again");
    std::fs::write(dir.join("replay.toml"), replay_settings(&dir)).expect("a configuration");
    lsie.must(&["--config", "replay.toml", "replay", "--out", text(&again), "--workers", "2"]);
    let url = format!("{}?options=-csearch_path%3D{name}", servers.postgres);
    let database = Database::new(&url, None).expect("the harness's database");
    let mut verdict = judge(&*log, &promises, &lsie.tables, &again, &database);
    let quarantined =
        epochs::read_table(&*log).expect("the log answers").expect("topic epochs").told.quarantined;
    if quarantined != lsie.deadly() {
        verdict.faults.push(format!("in quarantine are {quarantined:?}, deadly were {:?}", lsie.deadly()));
    }
    if !orderly {
        verdict.faults.push("the engine did not end in an orderly way".into());
    }
    if !verdict.is_clean() {
        eprintln!("{verdict:#?}\n{}", lsie.said());
    }
    Outcome { fault, seed, verdict, media: media(&lsie.tables), recoveries_s }
}

/// The settings of the live run without its database.
fn replay_settings(dir: &Path) -> String {
    let settings = std::fs::read_to_string(dir.join("lsie.toml")).expect("a configuration");
    settings.lines().filter(|line| !line.starts_with("url = ")).map(|line| format!("{line}\n")).collect()
}

/// Waits until every record is in an epoch, and the tables hold one that comes so many ms of log time after it.
fn rest(log: &dyn Log, lsie: &Lsie, waits_ms: u64) {
    let start = now();
    while !is_at_rest(log, lsie, waits_ms) {
        assert!(start.elapsed() < REST, "the engine does not come to rest:\n{}", lsie.said());
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn is_at_rest(log: &dyn Log, lsie: &Lsie, waits_ms: u64) -> bool {
    let table = epochs::read_table(log).expect("the log answers").expect("topic epochs");
    let (epochs, reached) = epochs::accept(table.entries);
    let inputs = epochs::input_partitions(log).expect("the log answers");
    let is_taken = inputs.iter().all(|(at, first)| {
        let end = log.bounds(*at).expect("the log answers").1;
        reached.get(at).copied().unwrap_or(*first) >= end
    });
    // Epochs go on coming; the one that is the last now is soon in the tables.
    let filled = epochs.iter().rfind(|epoch| !epoch.ranges.is_empty()).map(|epoch| epoch.log_time);
    let last = epochs.last().map(|epoch| epoch.log_time).max(filled.map(|filled| filled.plus_ms(waits_ms)));
    let is_held = || {
        std::thread::sleep(Duration::from_millis(50));
        lsie.committed() >= last
    };
    is_taken && last.is_some() && (0..100).any(|_| is_held())
}

#[allow(clippy::disallowed_methods, reason = "a live feed begins now")]
fn wall_clock() -> LogTime {
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    LogTime(wall.as_millis() as u64)
}

/// A small disk of its own for the rounds that need one; unmounted when dropped.
struct Disk(Option<PathBuf>);

impl Disk {
    fn mount_for(faults: &[Fault], at: &Path) -> Disk {
        if !faults.iter().any(|fault| matches!(fault, Fault::DiskFull | Fault::DiskReadOnly)) {
            return Disk(None);
        }
        std::fs::create_dir_all(at).expect("a folder");
        as_root(&["mount", "-t", "tmpfs", "-o", "size=48m,mode=1777", "tmpfs", text(at)]);
        Disk(Some(at.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(at) = &self.0 {
            // Not a panic within another one.
            let _ = try_as_root(&["umount", "--lazy", text(at)]);
        }
    }
}
