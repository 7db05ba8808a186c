//! Named places at which a test can have the process die, as if it were killed there.
//!
//! Nothing is armed unless the hidden flag `--die-at NAME[:N]` of the binary says so: the process then aborts
//! the N-th time it comes by. Between two such places a kill can be at any moment and make no difference.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use lsie_schemas::log::TopicPartition;

static ARMED: OnceLock<(String, AtomicU64)> = OnceLock::new();

/// Arms a place, `NAME` or `NAME:N`; once in a process.
pub fn arm(place: &str) -> Result<(), std::num::ParseIntError> {
    let (name, times) = match place.split_once(':') {
        Some((name, times)) => (name, times.parse()?),
        None => (place, 1),
    };
    // A second arming changes nothing.
    let _ = ARMED.set((name.to_string(), AtomicU64::new(times)));
    Ok(())
}

/// Work on a record over which the process may have to die, each time: armed as `STAGE TOPIC[PARTITION] OFFSET`.
pub fn over(stage: &str, at: TopicPartition, offset: i64) {
    let Some((armed, _)) = ARMED.get() else { return };
    if armed.strip_prefix(stage).is_some_and(|rest| rest == format!(" {at} {offset}")) {
        std::process::abort();
    }
}

/// A place where the process may have to die.
pub fn point(name: &str) {
    let Some((armed, left)) = ARMED.get() else { return };
    if armed == name && left.fetch_sub(1, Ordering::SeqCst) == 1 {
        std::process::abort();
    }
}
