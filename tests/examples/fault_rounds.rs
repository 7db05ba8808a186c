//! Many rounds of faults, and their table: `make fault-test RUNS=n`; `SEED=s` begins with another seed, `FAULT=Kill` takes
//! one fault alone, `JOBS=j` has so many rounds at a time.

#![allow(clippy::disallowed_methods, reason = "the number of rounds is not part of a configuration")]

use lsie_tests::faults::Fault;
use lsie_tests::faults::campaign::rounds;

/// The seed of the first round.
const SEED: u64 = 20_260_105;

fn main() {
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
