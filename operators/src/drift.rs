//! Drift correction: the offset between a device's clock and UTC, learnt from poll records (mathematics §3).
//!
//! The machine moves on poll records only, a failed poll being a record too, and measures ages in their log
//! time. So it is a pure function of the topic: no clock, no timer.

use lsie_schemas::LogTime;
use serde::{Deserialize, Serialize};

use crate::logic::Logic;

/// Consecutive failures after which the offset is frozen.
pub const FREEZE_AFTER_FAILURES: u32 = 3;
/// Age of a freeze, in ms of log time, at which the offset is given up.
pub const RESET_AFTER_MS: i64 = 300_000;
/// Offsets beyond this many microseconds are applied all the same, and reported.
pub const TOLERANCE_US: i64 = 150_000;

/// What one poll record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Poll {
    /// The device answered.
    Success {
        /// Host UTC read before the device was asked, µs since the epoch.
        host_before_us: i64,
        /// The device's own clock, µs since the epoch.
        device_us: i64,
    },
    /// Non-zero exit, timeout, or an answer that is no number.
    Failure,
}

/// A poll record at its place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollRecord {
    /// Its offset in the partition of its session: the canonical order, and its identity.
    pub offset: i64,
    /// Its own log time, ms.
    pub log_ms: i64,
    /// What it says.
    pub poll: Poll,
}

/// What a poll record did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollEffect {
    /// The offset was replaced; `exceeds_tolerance` asks for a warning, nothing else.
    Updated {
        /// |offset| > 150 ms.
        exceeds_tolerance: bool,
    },
    /// One more failure; the offset is kept.
    Counted,
    /// The third failure in a row: the offset is kept and frozen from this log time on.
    Froze,
    /// Frozen for less than 300 s: the record is not looked at.
    IgnoredWhileFrozen,
    /// Frozen for 300 s or more: offset and failures go to 0. The record itself is not looked at.
    Reset,
}

/// Clock state of one device of one session.
///
/// ```
/// use lsie_operators::drift::{DriftState, Poll};
/// let mut drift = DriftState::default();
/// drift.observe(1_000, Poll::Success { host_before_us: 5_000_000, device_us: 5_040_000 });
/// assert_eq!(drift.offset_us(), -40_000);
/// assert_eq!(drift.correct(7_000_000), 6_960_000);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftState {
    offset_us: i64,
    consecutive_failures: u32,
    /// Log time of the third failure, ms.
    frozen_at_ms: Option<i64>,
}

impl DriftState {
    /// Takes the next poll record; `log_ms` is its own log time in ms.
    pub fn observe(&mut self, log_ms: i64, poll: Poll) -> PollEffect {
        if let Some(frozen_at_ms) = self.frozen_at_ms {
            if log_ms.saturating_sub(frozen_at_ms) < RESET_AFTER_MS {
                return PollEffect::IgnoredWhileFrozen;
            }
            *self = DriftState::default();
            return PollEffect::Reset;
        }
        match poll {
            Poll::Success { host_before_us, device_us } => {
                self.offset_us = host_before_us.saturating_sub(device_us);
                self.consecutive_failures = 0;
                PollEffect::Updated { exceeds_tolerance: self.exceeds_tolerance() }
            }
            Poll::Failure => {
                self.consecutive_failures += 1;
                if self.consecutive_failures < FREEZE_AFTER_FAILURES {
                    return PollEffect::Counted;
                }
                self.frozen_at_ms = Some(log_ms);
                PollEffect::Froze
            }
        }
    }

    /// Host UTC minus device clock, µs; 0 before the first success and after a reset.
    pub fn offset_us(&self) -> i64 {
        self.offset_us
    }

    /// A device instant on corrected UTC, µs. For device clocks only: platform and physiological timestamps
    /// carry their own UTC (DM-1).
    pub fn correct(&self, device_us: i64) -> i64 {
        device_us.saturating_add(self.offset_us)
    }

    /// Whether polls are ignored at present.
    pub fn is_frozen(&self) -> bool {
        self.frozen_at_ms.is_some()
    }

    /// Failures since the last success or reset, at most 3.
    pub fn consecutive_failures(&self) -> u32 {
        self.consecutive_failures
    }

    /// |offset| > 150 ms.
    pub fn exceeds_tolerance(&self) -> bool {
        self.offset_us.unsigned_abs() > TOLERANCE_US.unsigned_abs()
    }
}

/// Poll records in order of their offsets; after each, what it did and the state it left.
impl Logic for DriftState {
    type Record = PollRecord;
    type Output = (PollEffect, DriftState);
    type Snapshot = DriftState;

    fn on_epoch(&mut self, _: LogTime, mut records: Vec<PollRecord>, out: &mut Vec<Self::Output>) {
        records.sort_unstable_by_key(|record| record.offset);
        records.dedup_by_key(|record| record.offset);
        for record in records {
            let effect = self.observe(record.log_ms, record.poll);
            out.push((effect, *self));
        }
    }

    fn snapshot(&self) -> DriftState {
        *self
    }

    fn restore(&mut self, snapshot: DriftState) {
        *self = snapshot;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OK: Poll = Poll::Success { host_before_us: 1_000_000, device_us: 900_000 };

    /// Mathematics §3: failures at 0, 30 and 60 s freeze at 60, the reset comes at 360, the next poll counts.
    #[test]
    fn freeze_and_reset_by_log_time() {
        let mut drift = DriftState::default();
        drift.observe(-30_000, OK);
        let effects = [0, 30_000, 60_000].map(|log_ms| drift.observe(log_ms, Poll::Failure));
        assert_eq!(effects, [PollEffect::Counted, PollEffect::Counted, PollEffect::Froze]);
        assert_eq!(drift.observe(359_999, OK), PollEffect::IgnoredWhileFrozen);
        assert_eq!(drift.offset_us(), 100_000);
        assert_eq!(drift.observe(360_000, OK), PollEffect::Reset);
        assert_eq!(drift, DriftState::default());
        assert_eq!(drift.observe(390_000, OK), PollEffect::Updated { exceeds_tolerance: false });
    }

    #[test]
    fn the_tolerance_itself_is_tolerated() {
        let exceeds =
            |device_us| DriftState::default().observe(0, Poll::Success { host_before_us: 0, device_us });
        assert_eq!(exceeds(150_000), PollEffect::Updated { exceeds_tolerance: false });
        assert_eq!(exceeds(-150_001), PollEffect::Updated { exceeds_tolerance: true });
    }

    fn polls() -> impl Strategy<Value = Vec<(i64, Poll)>> {
        let success = (-9_000_000..9_000_000i64, -9_000_000..9_000_000i64)
            .prop_map(|(host_before_us, device_us)| Poll::Success { host_before_us, device_us });
        let poll = prop_oneof![success, Just(Poll::Failure), Just(Poll::Failure)];
        prop::collection::vec((0..120_000i64, poll), 0..60).prop_map(|gaps| {
            let mut log_ms = 0;
            gaps.into_iter()
                .map(|(gap, poll)| {
                    log_ms += gap;
                    (log_ms, poll)
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn state_is_bounded_and_moves_only_by_what_it_says(polls in polls()) {
            let mut drift = DriftState::default();
            for (log_ms, poll) in polls {
                let before = drift;
                let effect = drift.observe(log_ms, poll);
                prop_assert!(drift.consecutive_failures() <= FREEZE_AFTER_FAILURES);
                prop_assert_eq!(drift.is_frozen(), drift.consecutive_failures() == FREEZE_AFTER_FAILURES);
                match effect {
                    PollEffect::IgnoredWhileFrozen => prop_assert_eq!(drift, before),
                    PollEffect::Reset => prop_assert_eq!(drift, DriftState::default()),
                    PollEffect::Counted | PollEffect::Froze => {
                        prop_assert_eq!(drift.offset_us(), before.offset_us());
                    }
                    PollEffect::Updated { .. } => prop_assert_eq!(drift.consecutive_failures(), 0),
                }
            }
        }

        #[test]
        fn no_record_panics(
            log_ms in any::<[i64; 4]>(),
            host_before_us in any::<i64>(),
            device_us in any::<i64>(),
        ) {
            let mut drift = DriftState::default();
            for (i, log_ms) in log_ms.into_iter().enumerate() {
                let poll = if i == 3 { Poll::Success { host_before_us, device_us } } else { Poll::Failure };
                drift.observe(log_ms, poll);
                let _ = (drift.correct(device_us), drift.exceeds_tolerance());
            }
        }
    }
}
