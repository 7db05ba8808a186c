//! Faults against the running binary, a real Kafka and a real PostgreSQL: nothing lost, nothing twice.
//!
//! `make fault-test RUNS=n` runs n seeded rounds of all faults, and prints a table; `SEED=s` begins with another seed, `FAULT=Kill` takes one fault alone.

#![allow(clippy::disallowed_methods, reason = "the number of rounds is not part of a configuration")]

use lsie_tests::faults::Fault;
use lsie_tests::faults::report::Report;
use lsie_tests::faults::round::round;
use lsie_tests::faults::servers::Servers;

/// The seed of the short selection.
const SEED: u64 = 20_260_105;

#[test]
#[ignore = "not part of make test until it has been run on a quiet machine: docs/RELIABILITY.md"]
fn a_short_selection() {
    let servers = Servers::start();
    for (fault, seed) in
        [Fault::Kill, Fault::BrokerKill, Fault::PostgresRestart, Fault::DiskFull].into_iter().zip(SEED..)
    {
        let outcome = round(&servers, fault, seed);
        assert!(outcome.verdict.is_clean(), "{fault:?} with seed {seed}: {:#?}", outcome.verdict);
    }
}

#[test]
#[ignore = "takes about a minute for each round: make fault-test RUNS=n"]
fn many_rounds() {
    let number = |name: &str, default: u64| match std::env::var(name) {
        Ok(text) if !text.is_empty() => text.parse().expect("a number"),
        _ => default,
    };
    let (runs, first) = (number("RUNS", 32), number("SEED", SEED));
    let only = std::env::var("FAULT").unwrap_or_default();
    let faults: Vec<Fault> =
        Fault::ALL.into_iter().filter(|fault| only.is_empty() || format!("{fault:?}") == only).collect();
    assert!(!faults.is_empty(), "FAULT names none of {:?}", Fault::ALL);
    let servers = Servers::start();
    let mut report = Report::default();
    println!("{runs} rounds from seed {first} on");
    for (seed, fault) in (first..first + runs).zip(faults.iter().cycle()) {
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| round(&servers, *fault, seed)));
        report.add(*fault, ended.as_ref().ok());
        println!(
            "{seed} {fault:?}: {}",
            ended.map_or("broke off".into(), |o| format!("clean {}", o.verdict.is_clean()))
        );
    }
    println!("{report}");
    assert!(report.is_clean(), "not every round was clean");
}
