//! The two times of a result as types that do not mix; the third, the wall clock, never enters a result.

use serde::{Deserialize, Serialize};

/// When the log accepted something: milliseconds since the Unix epoch. The timely timestamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LogTime(pub u64);

/// When something happened, on drift-corrected UTC: microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventTime(pub i64);

impl LogTime {
    /// The same instant as an event time; for what the log itself decides (a stimulus, an end).
    pub fn as_event(self) -> EventTime {
        EventTime(i64::try_from(self.0).unwrap_or(i64::MAX / 1000).saturating_mul(1000))
    }

    /// This time plus a duration in milliseconds.
    pub fn plus_ms(self, ms: u64) -> LogTime {
        LogTime(self.0.saturating_add(ms))
    }
}

impl EventTime {
    /// This time plus a signed duration in microseconds.
    pub fn plus_us(self, us: i64) -> EventTime {
        EventTime(self.0.saturating_add(us))
    }

    /// Seconds since the Unix epoch, as the formulas of the specification take it.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Canonical text (`math.md` §2): UTC, `Z`, six fraction digits or none.
    pub fn canonical(self) -> String {
        crate::canonical::to_text(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_time_becomes_event_time_in_microseconds() {
        assert_eq!(LogTime(1_500).as_event(), EventTime(1_500_000));
        assert_eq!(EventTime(1_500_000).seconds(), 1.5);
    }
}
