//! Doing a fault, and measuring how long the engine takes to go on afterwards.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lsie_dataflow::crash_book::Place;
use lsie_dataflow::epochs;
use lsie_schemas::log::Log;
use lsie_schemas::{LogTime, Topic};
use lsie_sinks::postgres::{Database, Reader};
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

use super::engine::Lsie;
use super::feeder::now;
use super::servers::{Servers, as_root, text, try_as_root};
use super::{Chance, Fault};
use crate::harness::signal;

/// How long a recovery may take before the round fails.
const PATIENCE: Duration = Duration::from_secs(180);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The binary's named places, and the most that it is sure to come by each in a run of some seconds.
const PLACES: [(&str, u64); 8] = [
    ("commit.written", 12),
    ("commit.flushed", 2),
    ("checkpoint.state", 2),
    ("checkpoint.manifest", 2),
    ("checkpoint.written", 2),
    ("checkpoint.collect", 1),
    ("recovery.facts", 1),
    ("recovery.restored", 1),
];

/// Where a round strikes.
pub(super) struct Target<'a> {
    pub(super) servers: &'a Servers,
    pub(super) lsie: &'a Lsie,
    /// The round's schema of the database.
    pub(super) schema: String,
    /// The mount that holds the result tables.
    pub(super) disk: Option<&'a Path>,
    /// The round's topics.
    pub(super) log: Arc<dyn Log>,
}

impl Target<'_> {
    /// Does a fault once; the seconds from its end to the next epoch that is durable where it struck.
    pub(super) fn strike(&self, fault: Fault, chance: &mut Chance) -> Option<f64> {
        let seconds = |low: u64, high: u64, chance: &mut Chance| {
            std::thread::sleep(Duration::from_millis(chance.between(low * 1_000, high * 1_000)));
        };
        match fault {
            Fault::None | Fault::Poison | Fault::MediaDisorder | Fault::Silence | Fault::Storm => {
                return None;
            }
            Fault::Kill => {
                self.other_workers(chance);
                self.lsie.signal("KILL");
            }
            Fault::KillRecovering => {
                self.lsie.signal("KILL");
                for _ in 0..2 {
                    std::thread::sleep(Duration::from_millis(chance.between(250, 1_500)));
                    self.lsie.signal("KILL");
                }
            }
            Fault::KillOne => {
                self.other_workers(chance);
                match chance.below(2) {
                    0 => self.lsie.signal("KILL"),
                    _ => self.lsie.signal_member("KILL"),
                }
            }
            Fault::Outage => {
                self.lsie.keep_down(true);
                self.lsie.signal("KILL");
                seconds(11, 16, chance);
                self.lsie.keep_down(false);
            }
            Fault::Place => {
                let (place, most) = PLACES[chance.below(PLACES.len() as u64) as usize];
                self.other_workers(chance);
                let starts = self.lsie.starts();
                self.lsie.die_at(format!("{place}:{}", chance.between(1, most)), false);
                self.lsie.signal("KILL");
                // The armed engine, and the one after it.
                let start = now();
                while self.lsie.starts() < starts + 2 && start.elapsed() < PATIENCE {
                    std::thread::sleep(LOOK_EVERY);
                }
            }
            Fault::Deadly => {
                let place = self.record_to_come(chance);
                self.lsie.die_over(place);
                self.lsie.signal("KILL");
                let start = now();
                while !self.is_quarantined(place) {
                    if self.lsie.is_fed() && self.log.bounds(place.0).expect("the log answers").1 <= place.1 {
                        // On a slow machine the feed may be over before.
                        self.lsie.spare(place);
                        return None;
                    }
                    assert!(start.elapsed() < PATIENCE, "{place:?}: not in quarantine within {PATIENCE:?}");
                    std::thread::sleep(10 * LOOK_EVERY);
                }
            }
            Fault::KillInTransaction => std::thread::scope(|scope| {
                // The engine's transaction begins, and waits for this one.
                let hold = Duration::from_millis(chance.between(2_000, 4_000));
                let lock = "BEGIN; LOCK TABLE record_classes IN ACCESS EXCLUSIVE MODE";
                let held = scope.spawn(move || self.sql(lock, hold));
                std::thread::sleep(hold / 2);
                self.lsie.signal("KILL");
                held.join().expect("the lock goes");
            }),
            Fault::Restart => {
                self.other_workers(chance);
                self.lsie.signal("TERM");
            }
            Fault::BrokerPause => {
                let pid = self.servers.broker_pid();
                signal(&pid, "STOP");
                seconds(1, 12, chance);
                signal(&pid, "CONT");
            }
            Fault::BrokerKill => {
                signal(self.servers.broker_pid(), "KILL");
                seconds(0, 3, chance);
                self.servers.start_broker();
            }
            Fault::PostgresRestart => {
                // SIGQUIT: at once, as in a crash.
                signal(self.servers.postgres_pid(), "QUIT");
                seconds(1, 6, chance);
                self.servers.start_postgres();
                return Some(self.until_postgres());
            }
            Fault::PostgresCut => {
                for _ in 0..chance.between(5, 20) {
                    self.sql(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                         WHERE application_name = 'lsie' AND pid <> pg_backend_pid()",
                        Duration::ZERO,
                    );
                    std::thread::sleep(Duration::from_millis(chance.between(20, 400)));
                }
                return Some(self.until_postgres());
            }
            Fault::PostgresLock => {
                // Longer than the engine waits for a lock.
                let hold = Duration::from_millis(chance.between(8_000, 14_000));
                self.sql(
                    "BEGIN; LOCK TABLE record_classes, sessions, lsie_sink IN ACCESS EXCLUSIVE MODE",
                    hold,
                );
                return Some(self.until_postgres());
            }
            Fault::DiskFull => {
                let filler = self.disk.expect("a disk of its own").join("filler");
                // Fails when the disk is full, as it shall.
                let _ = std::fs::write(&filler, vec![0; 64 << 20]);
                seconds(2, 5, chance);
                std::fs::remove_file(&filler).expect("the filler goes");
            }
            Fault::DiskReadOnly => {
                let disk = text(self.disk.expect("a disk of its own"));
                self.make_read_only(disk);
                seconds(2, 5, chance);
                as_root(&["mount", "-o", "remount,rw", disk]);
            }
            Fault::ClockJump => {
                for by in ["+3600", "-3600", "+0"] {
                    std::fs::write(&self.lsie.clock, by).expect("a file");
                    seconds(1, 2, chance);
                    // Only a start looks at the wall clock: it jumps before one, too.
                    self.lsie.signal("KILL");
                    seconds(1, 2, chance);
                }
            }
        }
        Some(until("the tables go on", || self.lsie.committed(), self.lsie.committed()))
    }

    fn is_quarantined(&self, place: Place) -> bool {
        // What the log does not say now it says later.
        let table = epochs::read_table(&*self.log).ok().flatten().unwrap_or_default();
        table.told.quarantined.contains(&place)
    }

    /// A record of sound that the feeder will have written some seconds from now.
    fn record_to_come(&self, chance: &mut Chance) -> Place {
        let sound = epochs::input_partitions(&*self.log).expect("the log answers").into_iter();
        let sound = sound.filter(|(at, _)| at.topic == Topic::AvAudio);
        let fed = sound.map(|(at, _)| (at, self.log.bounds(at).expect("the log answers").1));
        let fed: Vec<Place> = fed.filter(|(_, end)| *end > 0).collect();
        let (at, end) = fed[chance.below(fed.len() as u64) as usize];
        (at, end + chance.between(5, 30) as i64)
    }

    fn other_workers(&self, chance: &mut Chance) {
        self.lsie.workers.store(chance.between(1, 3), std::sync::atomic::Ordering::SeqCst);
    }

    /// A file that is open for writing keeps a disk writable, and the engine always has one open: it is killed
    /// until the disk gives in.
    fn make_read_only(&self, disk: &str) {
        for _ in 0..200 {
            self.lsie.signal("KILL");
            std::thread::sleep(LOOK_EVERY);
            if try_as_root(&["mount", "-o", "remount,ro", disk]).is_ok() {
                return;
            }
        }
        panic!("{disk} does not become read-only");
    }

    fn until_postgres(&self) -> f64 {
        let database = Database::new(&self.url(), None).expect("the harness's database");
        let marker = || Reader::open(&database).ok().and_then(|reader| reader.committed());
        until("the database goes on", marker, self.lsie.committed())
    }

    fn url(&self) -> String {
        format!("{}?options=-csearch_path%3D{}", self.servers.postgres, self.schema)
    }

    /// Runs statements in the round's schema, and keeps the connection for a while.
    pub(super) fn sql(&self, statements: &str, hold: Duration) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (client, connection) =
                tokio_postgres::connect(&self.url(), NoTls).await.expect("the database");
            let driver = tokio::spawn(connection);
            // On a busy machine the engine may not have made its tables yet.
            let began = now();
            while let Err(why) = client.batch_execute(statements).await {
                let is_early = why.code() == Some(&SqlState::UNDEFINED_TABLE) && began.elapsed() < PATIENCE;
                assert!(is_early, "{statements}: {why:?}");
                client.batch_execute("ROLLBACK").await.expect("a session");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            tokio::time::sleep(hold).await;
            drop(client);
            let _ = driver.await;
        });
    }
}

/// Seconds until a marker is beyond where it was.
///
/// # Panics
///
/// If it stays there.
fn until(what: &str, marker: impl Fn() -> Option<LogTime>, from: Option<LogTime>) -> f64 {
    let start = now();
    while marker() <= from {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(LOOK_EVERY);
    }
    start.elapsed().as_secs_f64()
}
