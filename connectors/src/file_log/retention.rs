//! When a segment is too old: the rule, and how often it is looked at.

use std::sync::atomic::{AtomicU64, Ordering};

/// Segments are looked at this often, in milliseconds.
const EVERY_MS: u64 = 60_000;

/// Remembers when the last look was.
#[derive(Default)]
pub(super) struct Sweep {
    last: AtomicU64,
}

impl Sweep {
    /// Whether it is time to look again; answers yes to one caller only.
    pub(super) fn is_due(&self, now: u64) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        now.saturating_sub(last) >= EVERY_MS
            && self.last.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// What has expired at a time.
pub(super) struct Expiry {
    /// Records before this are too old.
    pub(super) oldest: u64,
    /// A newest segment that began before this is closed, so that its records can expire.
    pub(super) close_before: u64,
}

impl Expiry {
    /// The rule for a retention, both in milliseconds.
    pub(super) fn at(now: u64, retention: u64) -> Expiry {
        let oldest = now.saturating_sub(retention);
        Expiry { oldest, close_before: now.saturating_sub(retention / 8) }
    }
}
