//! How long the live connector waits before it connects again (behaviour §1, §7).

use std::time::Duration;

/// Failures in a row after which the connector gives up.
pub const GIVE_UP_AFTER: u32 = 10;
/// The longest wait.
pub const LONGEST: Duration = Duration::from_secs(30);

/// The wait before the next attempt, after this many failures in a row: 1 s, doubling, at most 30 s; none
/// after the tenth, when the connector stops. A connection that came about sets the count back to 0.
///
/// ```
/// use lsie_operators::reconnect::backoff;
/// assert_eq!(backoff(3).map(|wait| wait.as_secs()), Some(4));
/// assert_eq!(backoff(10), None);
/// ```
pub fn backoff(failures_in_a_row: u32) -> Option<Duration> {
    match failures_in_a_row {
        0 => Some(Duration::ZERO),
        n if n >= GIVE_UP_AFTER => None,
        n => Some(Duration::from_secs(1 << (n - 1)).min(LONGEST)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_half_a_minute_and_end() {
        let waits: Vec<_> = (0..12).map(|n| backoff(n).map(|wait| wait.as_secs())).collect();
        let expected = [0, 1, 2, 4, 8, 16, 30, 30, 30, 30].map(Some);
        assert_eq!(waits, [&expected[..], &[None, None]].concat());
        assert_eq!(backoff(u32::MAX), None);
    }
}
