//! Where the tests' Kafka is, and topic sets in it that no other test uses.

use std::sync::atomic::{AtomicU64, Ordering};

/// The variable that names the broker.
const VARIABLE: &str = "LSIE_TEST_KAFKA";

/// `HOST:PORT` of the real Kafka that `make test` starts.
///
/// # Panics
///
/// If no broker is named: these tests never pass by being skipped.
#[allow(clippy::disallowed_methods, reason = "the broker of a test run is not part of a configuration")]
pub fn bootstrap() -> String {
    std::env::var(VARIABLE).unwrap_or_else(|_| {
        panic!(
            "{VARIABLE} is not set: run `make test`, which starts a real Kafka, \
             or start one with `tests/kafka/broker.sh start DIR` and set {VARIABLE}=$(cat DIR/bootstrap)"
        )
    })
}

/// A prefix for a topic set of its own, different in each call and each test process.
pub fn fresh_prefix(name: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{name}-{}-{count}.", std::process::id())
}
