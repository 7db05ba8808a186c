//! How connectors try again: one rule for how long to wait, one loop that uses it.

use std::time::Duration;

use lsie_schemas::log::LogError;

use crate::Stop;

/// Waits that double from the first to the longest, and how many failures in a row are borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub first: Duration,
    /// No wait is longer.
    pub longest: Duration,
    /// After so many failures in a row there is no further try; none: never give up.
    pub give_up_after: Option<u32>,
}

impl Backoff {
    /// Connections to a live platform (behaviour §1, §7): 1 s, doubling, at most 30 s, ten failures in a row.
    pub const CONNECTION: Backoff =
        Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(30), give_up_after: Some(10) };
    /// Appends to a log that is away: what was taken in must not be lost, so there is no end to it.
    pub const LOG: Backoff =
        Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(5), give_up_after: None };

    /// The wait after so many failures in a row; `None`: give up.
    ///
    /// ```
    /// use lsie_connectors::Backoff;
    /// assert_eq!(Backoff::LOG.wait(3).map(|wait| wait.as_millis()), Some(400));
    /// ```
    pub fn wait(&self, failures: u32) -> Option<Duration> {
        match failures {
            0 => Some(Duration::ZERO),
            n if self.give_up_after.is_some_and(|most| n >= most) => None,
            n => {
                let doubled = self.first.saturating_mul(1 << (n - 1).min(20));
                Some(doubled.min(self.longest))
            }
        }
    }
}

/// Tries until it succeeds, fails for good, has failed too often, or shall stop. `failed` hears of each failure
/// that is borne.
pub(crate) fn retry<T, E>(
    backoff: Backoff,
    stop: &Stop,
    for_good: impl Fn(&E) -> bool,
    mut failed: impl FnMut(&E),
    mut attempt: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let mut failures = 0;
    loop {
        let error = match attempt() {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        failures += 1;
        match backoff.wait(failures) {
            Some(wait) if !for_good(&error) => {
                failed(&error);
                if stop.wait(wait) {
                    return Err(error);
                }
            }
            _ => return Err(error),
        }
    }
}

/// Whether trying again is of no use.
pub(crate) fn log_is_lost(error: &LogError) -> bool {
    !matches!(error, LogError::Unavailable(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_end() {
        let waits: Vec<_> = (0..12).map(|n| Backoff::CONNECTION.wait(n).map(|wait| wait.as_secs())).collect();
        let expected = [0, 1, 2, 4, 8, 16, 30, 30, 30, 30].map(Some);
        assert_eq!(waits, [&expected[..], &[None, None]].concat());
        assert_eq!(Backoff::LOG.wait(u32::MAX), Some(Backoff::LOG.longest));
    }

    #[test]
    fn what_fails_for_good_is_tried_once_and_the_rest_until_it_succeeds() {
        let backoff = Backoff { first: Duration::from_millis(1), ..Backoff::LOG };
        let mut tries = 0;
        let mut run = |last: u32, for_good: bool| {
            tries = 0;
            let result = retry(
                backoff,
                &Stop::default(),
                |_| for_good,
                |_| {},
                || {
                    tries += 1;
                    if tries < last { Err(tries) } else { Ok(tries) }
                },
            );
            (result, tries)
        };
        assert_eq!(run(4, false), (Ok(4), 4));
        assert_eq!(run(4, true), (Err(1), 1));
    }
}
