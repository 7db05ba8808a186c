//! The clocks, read in one place: the wall clock decides log times of the file log and stamps what a
//! capture takes in, the monotonic one bounds waiting.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch, by the machine's clock.
#[allow(clippy::disallowed_methods, reason = "a log assigns append times; this is where it reads them")]
pub(crate) fn wall_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// Microseconds since the Unix epoch, by the machine's clock.
#[allow(
    clippy::disallowed_methods,
    reason = "a capture stamps what it takes in; this is where it reads the host's clock"
)]
pub(crate) fn wall_us() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
}

/// The monotonic clock.
#[allow(clippy::disallowed_methods, reason = "limits how long something waits; it reaches no result")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
