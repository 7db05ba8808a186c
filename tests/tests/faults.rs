//! Faults against the running binary, a real Kafka and a real PostgreSQL: nothing lost, nothing twice.
//!
//! `make fault-test RUNS=n` runs n seeded rounds of all faults, and prints a table; `SEED=s` begins with another
//! seed, `FAULT=Kill` takes one fault alone, `JOBS=j` has so many rounds at a time.

#![allow(clippy::disallowed_methods, reason = "the number of rounds is not part of a configuration")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use lsie_tests::faults::Fault;
use lsie_tests::faults::report::Report;
use lsie_tests::faults::round::{Outcome, round};
use lsie_tests::faults::servers::Servers;

/// The seed of the short selection, and the first one of many rounds.
const SEED: u64 = 20_260_105;

#[test]
fn a_short_selection() {
    let faults = [
        Fault::Kill,
        Fault::Outage,
        Fault::Place,
        Fault::Deadly,
        Fault::BrokerKill,
        Fault::KillInTransaction,
        Fault::PostgresRestart,
        Fault::DiskFull,
        Fault::Storm,
    ];
    rounds(faults.into_iter().zip(SEED..), 2);
}

#[test]
#[ignore = "takes half a minute for each round: make fault-test RUNS=n"]
fn many_rounds() {
    let number = |name: &str, default: u64| match std::env::var(name) {
        Ok(text) if !text.is_empty() => text.parse().expect("a number"),
        _ => default,
    };
    let (runs, first, jobs) = (number("RUNS", 32), number("SEED", SEED), number("JOBS", 1));
    let only = std::env::var("FAULT").unwrap_or_default();
    let faults: Vec<Fault> =
        Fault::ALL.into_iter().filter(|fault| only.is_empty() || format!("{fault:?}") == only).collect();
    assert!(!faults.is_empty(), "FAULT names none of {:?}", Fault::ALL);
    println!("{runs} rounds from seed {first} on, {jobs} at a time");
    rounds(faults.into_iter().cycle().zip(first..first + runs), jobs);
}

/// Has so many rounds at a time, each job with servers of its own: what is done to them is done to one round alone.
///
/// # Panics
///
/// If any round is not clean, after the table of all.
fn rounds(rounds: impl Iterator<Item = (Fault, u64)> + Send, jobs: u64) {
    let (rounds, report) = (Mutex::new(rounds), Mutex::new(Report::default()));
    let next = || rounds.lock().expect("no panic while it was held").next();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                let servers = Servers::start();
                while let Some((fault, seed)) = next() {
                    let ended = catch_unwind(AssertUnwindSafe(|| round(&servers, fault, seed)));
                    report.lock().expect("no panic while it was held").add(fault, ended.as_ref().ok());
                    let said = |o: Outcome| format!("clean {}", o.verdict.is_clean());
                    println!("{seed} {fault:?}: {}", ended.map_or("broke off".into(), said));
                }
            });
        }
    });
    let report = report.into_inner().expect("no panic while it was held");
    println!("{report}");
    assert!(report.is_clean(), "not every round was clean");
}
