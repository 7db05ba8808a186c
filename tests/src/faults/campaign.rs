//! Many rounds, several at a time, and their table.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use super::Fault;
use super::evidence::Evidence;
use super::report::Report;
use super::round::{Outcome, name, round};
use super::servers::Servers;

/// Has so many rounds at a time, each job with servers of its own: what is done to them is done to one round alone.
///
/// # Panics
///
/// If any round is not clean, after the table of all.
pub fn rounds(rounds: impl Iterator<Item = (Fault, u64)> + Send, jobs: u64) {
    let (rounds, report) = (Mutex::new(rounds), Mutex::new(Report::default()));
    let next = || rounds.lock().expect("no panic while it was held").next();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                let servers = Servers::start();
                while let Some((fault, seed)) = next() {
                    let evidence = Evidence::begin(&servers);
                    let ended = catch_unwind(AssertUnwindSafe(|| round(&servers, fault, seed)));
                    if !ended.as_ref().is_ok_and(|outcome| outcome.verdict.is_clean()) {
                        let kept = evidence.keep(&servers, &name(fault, seed));
                        println!("{seed} {fault:?}: what engines and servers wrote is kept: {kept:?}");
                    }
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
