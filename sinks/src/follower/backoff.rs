//! How long to wait before the next attempt.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Attempts that failed since the last success.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failed: u32,
}

impl Backoff {
    /// The wait after one more failure: doubled each time, bounded.
    pub(super) fn next(&mut self) -> Duration {
        let wait = FIRST.saturating_mul(1 << self.failed.min(16)).min(LONGEST);
        self.failed = self.failed.saturating_add(1);
        wait
    }

    /// Whether the failure is to be logged: the first, and then ever more rarely.
    pub(super) fn is_worth_a_line(&self) -> bool {
        (self.failed + 1).is_power_of_two()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..8).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        let mut backoff = Backoff::default();
        let lines = (0..100).filter(|_| (backoff.is_worth_a_line(), backoff.next()).0).count();
        assert_eq!(lines, 7);
    }
}
