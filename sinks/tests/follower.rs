//! A target that is away at any moment gets every epoch exactly once, from the queue or from the changelog.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use common::server::Schema;
use common::{Directory, eager};
use lsie_schemas::{Change, LogTime};
use lsie_sinks::follower::{Connect, Options};
use lsie_sinks::testing::{Rows, Step, Subject, catalog, check_contract, check_script, consolidate, total};
use lsie_sinks::views::{Api, Shutdown};
use lsie_sinks::{Catalog, Error, Follower, MemoryStore, Sink, Views};
use proptest::collection::vec;
use proptest::prelude::*;
use tower::ServiceExt;

const LONG: Duration = Duration::from_secs(60);
const ROOMY: Options =
    Options { queue_bytes: 1 << 20, patience: LONG, takes_transient: false, yields: Duration::ZERO };

/// A follower whose flush waits for its target, as the contract wants it, behind its changelog.
struct Waiting {
    changelog: Box<dyn Sink>,
    follower: Follower,
}

impl Sink for Waiting {
    fn write(&mut self, epoch: LogTime, changes: &[Change]) -> Result<(), Error> {
        self.changelog.write(epoch, changes)?;
        self.follower.write(epoch, changes)
    }
    fn commit(&mut self, epoch: LogTime) -> Result<(), Error> {
        self.changelog.commit(epoch)?;
        self.follower.commit(epoch)
    }
    fn flush(&mut self) -> Result<(), Error> {
        self.changelog.flush()?;
        self.follower.flush()?;
        assert!(self.follower.caught_up(LONG), "{:?}", self.follower);
        Ok(())
    }
    fn committed(&self) -> Option<LogTime> {
        self.follower.committed()
    }
    fn finish(&mut self) -> Result<(), Error> {
        self.changelog.finish()?;
        self.follower.finish()
    }
}

/// A target behind a changelog.
struct Behind<F: FnMut() -> Connect> {
    directory: Directory,
    options: Options,
    connect: F,
    rows: Box<dyn FnMut() -> Rows>,
}

impl<F: FnMut() -> Connect> Subject for Behind<F> {
    fn open(&mut self) -> Result<Box<dyn Sink>, Error> {
        let changelog = self.directory.open()?;
        let dir = self.directory.dir.clone();
        let follower = Follower::start("target", catalog(), &dir, self.options, (self.connect)())?;
        assert!(follower.caught_up(LONG), "{follower:?}");
        Ok(Box::new(Waiting { changelog, follower }))
    }
    fn rows(&mut self) -> Result<Rows, Error> {
        Ok((self.rows)())
    }
}

/// Memory that may be away, as a flag or every so many calls.
struct Faulty {
    target: Box<dyn Sink>,
    calls: Arc<AtomicU32>,
    every: u32,
    is_away: Arc<AtomicBool>,
}

impl Faulty {
    fn call(&self) -> Result<(), Error> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        match self.is_away.load(Ordering::Relaxed) || call.is_multiple_of(self.every) {
            true => Err(Error::Unavailable("a made absence".into())),
            false => Ok(()),
        }
    }
}

impl Sink for Faulty {
    fn write(&mut self, epoch: LogTime, changes: &[Change]) -> Result<(), Error> {
        self.call()?;
        self.target.write(epoch, changes)
    }
    fn commit(&mut self, epoch: LogTime) -> Result<(), Error> {
        self.call()?;
        self.target.commit(epoch)
    }
    fn flush(&mut self) -> Result<(), Error> {
        self.call()?;
        self.target.flush()
    }
    fn committed(&self) -> Option<LogTime> {
        self.target.committed()
    }
}

/// Opens memory that fails every so many calls, and as long as the flag is set.
fn memory(store: &MemoryStore, every: u32, is_away: &Arc<AtomicBool>) -> Connect {
    let (store, is_away, calls) = (store.clone(), is_away.clone(), Arc::new(AtomicU32::new(0)));
    Box::new(move || {
        let target = Box::new(store.sink());
        let faulty = Faulty { target, calls: calls.clone(), every, is_away: is_away.clone() };
        faulty.call()?;
        Ok(Box::new(faulty))
    })
}

fn over_memory(every: u32, options: Options) -> Behind<impl FnMut() -> Connect> {
    let store = MemoryStore::new(catalog());
    let kept = store.clone();
    Behind {
        directory: Directory::new(eager()),
        options,
        connect: move || memory(&store, every, &Arc::default()),
        rows: Box::new(move || consolidate(&kept.changes())),
    }
}

fn over_postgres(options: Options) -> Behind<impl FnMut() -> Connect> {
    let schema = Schema::new();
    let (database, tables) = (schema.database(), schema.catalog.clone());
    Behind {
        directory: Directory::new(eager()),
        options,
        connect: move || {
            let (database, tables) = (database.clone(), tables.clone());
            Box::new(move || {
                let sink = lsie_sinks::PostgresSink::open(&database, tables.clone())?;
                Ok(Box::new(sink) as Box<dyn Sink>)
            })
        },
        rows: Box::new(move || schema.rows_of(schema.catalog.tables()).expect("rows")),
    }
}

#[test]
fn the_contract_with_memory() {
    check_contract(|| over_memory(u32::MAX, ROOMY));
}

#[test]
fn the_contract_with_postgres() {
    check_contract(|| over_postgres(ROOMY));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn scripts_with_crashes_and_absences(script in script(), every in 9..40u32, queue_bytes in 0..2_000usize) {
        let options = Options { queue_bytes, ..ROOMY };
        check_script(&mut over_memory(every, options), &script).expect("no error");
    }
}

fn script() -> impl Strategy<Value = Vec<Step>> {
    let sets = vec((0..6u8, proptest::option::weighted(0.7, -3..3i64)), 0..5);
    let step = prop_oneof![
        8 => (sets, proptest::bool::weighted(0.8)).prop_map(|(sets, commit)| Step::Epoch(sets, commit)),
        1 => Just(Step::Flush),
        1 => Just(Step::Crash),
    ];
    vec(step, 0..30)
}

/// Until the run has an epoch of its own, or it is known that none will come, the processors are the run's.
#[test]
fn a_target_that_yields_begins_with_the_run_s_first_epoch() {
    for ends in [false, true] {
        let (store, is_away) = (MemoryStore::new(catalog()), Arc::new(AtomicBool::new(false)));
        let mut directory = Directory::new(eager());
        let mut changelog = directory.open().expect("a directory");
        changelog.write(LogTime(1), &[total(1, "a", 1, 1)]).expect("a correct epoch");
        changelog.commit(LogTime(1)).expect("a commit");
        changelog.flush().expect("a flush");
        let options = Options { yields: LONG, ..ROOMY };
        let connect = memory(&store, u32::MAX, &is_away);
        let mut follower =
            Follower::start("target", catalog(), &directory.dir, options, connect).expect("a follower");
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(store.sink().committed(), None, "it has begun");
        if ends {
            follower.finish().expect("an end");
        } else {
            for sink in [&mut *changelog, &mut follower as &mut dyn Sink] {
                sink.write(LogTime(2), &[total(2, "b", 2, 1)]).expect("a correct epoch");
                sink.commit(LogTime(2)).expect("a commit");
            }
            // Not by `caught_up`: who waits for the target has it begin as well.
            let begins = (0..400).any(|_| {
                std::thread::sleep(Duration::from_millis(50));
                store.sink().committed() == Some(LogTime(2))
            });
            assert!(begins, "{follower:?}");
        }
        assert_eq!(store.sink().committed(), Some(LogTime(if ends { 1 } else { 2 })));
    }
}

/// A long absence: nobody waits, memory stays within its bound, and the target makes up for it by itself.
#[test]
fn a_target_that_is_away_stops_nothing_and_catches_up() {
    const BOUND: usize = 20_000;
    let (store, is_away) = (MemoryStore::new(catalog()), Arc::new(AtomicBool::new(true)));
    let mut directory = Directory::new(eager());
    let mut changelog = directory.open().expect("a directory");
    let options = Options { queue_bytes: BOUND, ..ROOMY };
    let connect = memory(&store, u32::MAX, &is_away);
    let mut follower =
        Follower::start("target", catalog(), &directory.dir, options, connect).expect("a follower");
    let watch = follower.watch();
    let mut all = Vec::new();
    for epoch in 1..=400u64 {
        let mut changes = vec![total(epoch, &format!("{epoch}"), 1, 1), total(epoch, "n", epoch as i64, 1)];
        changes.extend((epoch > 1).then(|| total(epoch, "n", epoch as i64 - 1, -1)));
        for sink in [&mut *changelog, &mut follower as &mut dyn Sink] {
            sink.write(LogTime(epoch), &changes).expect("a correct epoch");
            sink.commit(LogTime(epoch)).expect("a complete epoch");
        }
        assert!(watch.status().waiting_bytes <= BOUND, "{:?}", watch.status());
        all.extend(changes);
        if epoch == 300 {
            assert_eq!((watch.status().reached, watch.status().lag_ms()), (None, 300));
            is_away.store(false, Ordering::Relaxed);
        }
    }
    assert!(follower.caught_up(LONG), "{follower:?}");
    assert_eq!((watch.status().away, watch.status().reached), (None, Some(LogTime(400))));
    assert_eq!(consolidate(&store.changes()), consolidate(&all));
    assert!(store.changes().is_sorted_by_key(|change| change.epoch), "every epoch once, in order");
    assert_eq!(store.changes().len(), all.len());
    follower.finish().expect("an orderly end");
}

/// A target that comes back empty, as from an old backup, gets everything again.
#[test]
fn a_target_that_has_lost_its_rows_gets_them_again() {
    let stores = [MemoryStore::new(catalog()), MemoryStore::new(catalog())];
    let (is_away, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let mut directory = Directory::new(eager());
    let mut changelog = directory.open().expect("a directory");
    let connect: Connect = {
        let (stores, is_away) = (stores.clone(), is_away.clone());
        Box::new(move || {
            let store = &stores[opened.fetch_add(1, Ordering::Relaxed).min(1) as usize];
            memory(store, u32::MAX, &is_away)()
        })
    };
    let mut follower =
        Follower::start("target", catalog(), &directory.dir, ROOMY, connect).expect("a follower");
    let mut all = Vec::new();
    for epoch in 1..=20u64 {
        is_away.store(epoch == 11, Ordering::Relaxed);
        let changes = vec![total(epoch, &format!("{epoch}"), 1, 1)];
        for sink in [&mut *changelog, &mut follower as &mut dyn Sink] {
            sink.write(LogTime(epoch), &changes).expect("a correct epoch");
            sink.commit(LogTime(epoch)).expect("a complete epoch");
        }
        all.extend(changes);
        if epoch == 10 {
            assert!(follower.caught_up(LONG), "{follower:?}");
        }
        while epoch == 11 && follower.watch().status().away.is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert!(follower.caught_up(LONG), "{follower:?}");
    assert_eq!(consolidate(&stores[1].changes()), consolidate(&all));
    follower.finish().expect("an orderly end");
}

/// What the target refuses for good ends the run; nobody goes on as if nothing had been.
#[test]
fn a_refusal_reaches_the_run() {
    let mut directory = Directory::new(eager());
    drop(directory.open().expect("a directory"));
    let connect: Connect = Box::new(|| Err(Error::Database("no such rights".into())));
    let mut follower =
        Follower::start("target", catalog(), &directory.dir, ROOMY, connect).expect("a follower");
    assert!(!follower.caught_up(LONG));
    let refused = follower.write(LogTime(1), &[]);
    assert!(matches!(refused, Err(Error::Database(_))), "{refused:?}");
}

/// The end of a run does not wait for ever.
#[test]
fn an_end_without_the_target_is_bounded() {
    let mut directory = Directory::new(eager());
    drop(directory.open().expect("a directory"));
    let store = MemoryStore::new(catalog());
    let options = Options { patience: Duration::from_millis(50), ..ROOMY };
    let connect = memory(&store, 1, &Arc::default());
    let mut follower =
        Follower::start("target", catalog(), &directory.dir, options, connect).expect("a follower");
    follower.write(LogTime(5), &[total(5, "a", 1, 1)]).expect("a correct epoch");
    follower.commit(LogTime(5)).expect("a complete epoch");
    follower.finish().expect("an end");
    assert_eq!((follower.watch().status().lag_ms(), store.committed()), (5, None));
}

/// Health says how far the target is, in time, epochs and rows, and what it means.
#[test]
fn the_lag_is_seen_in_health() {
    let mut directory = Directory::new(eager());
    let mut changelog = directory.open().expect("a directory");
    let (store, is_away) = (MemoryStore::new(catalog()), Arc::new(AtomicBool::new(true)));
    let connect = memory(&store, u32::MAX, &is_away);
    let mut follower =
        Follower::start("target", catalog(), &directory.dir, ROOMY, connect).expect("a follower");
    let views = Views::new(Catalog::served());
    views.serve();
    let none = sink_in_health(&views).expect("a subsystem");
    assert_eq!((&none["state"], &none["recovery_mode"]), (&"unknown".into(), &serde_json::Value::Null));
    assert!(none["detail"].as_str().expect("text").ends_with("no database is configured"));
    views.watch(follower.watch());
    for epoch in 1..=30u64 {
        let changes = vec![total(epoch * 1000, &format!("{epoch}"), 1, 1)];
        for sink in [&mut *changelog, &mut follower as &mut dyn Sink] {
            sink.write(LogTime(epoch * 1000), &changes).expect("a correct epoch");
            sink.commit(LogTime(epoch * 1000)).expect("a complete epoch");
        }
    }
    let away = sink_in_health(&views).expect("a database");
    assert_eq!((&away["state"], &away["recovery_mode"]), (&"recovering".into(), &"store_retry".into()));
    assert_eq!(away["detail"], "no signal yet; 30.0 s, 30 epochs and 30 rows behind");
    assert!(away["operator_action_hint"].is_string());
    is_away.store(false, Ordering::Relaxed);
    assert!(follower.caught_up(LONG), "{follower:?}");
    let back = sink_in_health(&views).expect("a database");
    assert_eq!((&back["state"], &back["recovery_mode"]), (&"ok".into(), &serde_json::Value::Null));
    assert_eq!(back["last_success_utc"], "1970-01-01T00:00:30Z");
    assert!(back["detail"].as_str().is_some_and(|text| text.ends_with("0.0 s, 0 epochs and 0 rows behind")));
}

/// A database that goes away is an alert, told at the epoch at which it is noticed, and once.
#[test]
fn what_the_database_passes_into_is_an_alert() {
    let mut directory = Directory::new(eager());
    let mut changelog = directory.open().expect("a directory");
    let (store, is_away) = (MemoryStore::new(catalog()), Arc::new(AtomicBool::new(false)));
    let connect = memory(&store, u32::MAX, &is_away);
    let mut follower =
        Follower::start("target", catalog(), &directory.dir, ROOMY, connect).expect("a follower");
    let views = Views::new(Catalog::served());
    views.watch(follower.watch());
    let mut served = views.sink();
    let mut epoch = |seconds: u64| {
        let changes = vec![total(seconds * 1000, &format!("{seconds}"), 1, 1)];
        for sink in [&mut *changelog, &mut follower as &mut dyn Sink] {
            sink.write(LogTime(seconds * 1000), &changes).expect("a correct epoch");
            sink.commit(LogTime(seconds * 1000)).expect("a complete epoch");
        }
        if !is_away.load(Ordering::Relaxed) {
            assert!(follower.caught_up(LONG), "{follower:?}");
        } else {
            while follower.watch().status().away.is_none() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        served.commit(LogTime(seconds * 1000)).expect("a complete epoch");
        ids(&views)
    };
    assert_eq!(epoch(1), [""; 0]);
    is_away.store(true, Ordering::Relaxed);
    assert_eq!(epoch(2), ["subsystem_recovering:sink:2000"]);
    assert_eq!(epoch(3), ["subsystem_recovering:sink:2000"]);
    is_away.store(false, Ordering::Relaxed);
    assert_eq!(epoch(4), ["subsystem_recovering:sink:2000"]);
    is_away.store(true, Ordering::Relaxed);
    assert_eq!(epoch(5), ["subsystem_recovering:sink:5000", "subsystem_recovering:sink:2000"]);
    is_away.store(false, Ordering::Relaxed);
    assert_eq!(epoch(3_604), ["subsystem_recovering:sink:5000"], "an hour later it is not shown any more");
}

/// The alerts that are shown, by their ids.
fn ids(views: &Views) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let request = Request::get("/api/v1/operator/alerts").body(Body::empty()).expect("a request");
    let alerts: Vec<serde_json::Value> = runtime.block_on(async {
        let response = Api::new(views).router(Shutdown::never()).oneshot(request).await.expect("infallible");
        let bytes = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        serde_json::from_slice(&bytes).expect("JSON")
    });
    alerts.iter().filter_map(|alert| alert["alert_id"].as_str().map(str::to_owned)).collect()
}

/// Subsystem `sink` as health shows it.
fn sink_in_health(views: &Views) -> Option<serde_json::Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let request = Request::get("/api/v1/operator/health").body(Body::empty()).expect("a request");
    let health: serde_json::Value = runtime.block_on(async {
        let response = Api::new(views).router(Shutdown::never()).oneshot(request).await.expect("infallible");
        let bytes = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        serde_json::from_slice(&bytes).expect("JSON")
    });
    let mut subsystems = health["subsystems"].as_array().expect("a list").iter();
    subsystems.find(|subsystem| subsystem["subsystem_key"] == "sink").cloned()
}
