//! The wall clock, read in one place: it decides log times of the file log and nothing else.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, by the machine's clock.
#[allow(clippy::disallowed_methods, reason = "a log assigns append times; this is where it reads them")]
pub(crate) fn wall_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
