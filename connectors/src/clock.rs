//! The clocks, read in one place: the wall clock decides log times of the file log and nothing else, the
//! monotonic one bounds waiting.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, by the machine's clock.
#[allow(clippy::disallowed_methods, reason = "a log assigns append times; this is where it reads them")]
pub(crate) fn wall_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// The monotonic clock.
#[allow(clippy::disallowed_methods, reason = "limits how long something waits; it reaches no result")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
