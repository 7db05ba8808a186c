//! Drift correction under the laws.

use lsie_operators::drift::{DriftState, Poll, PollRecord};
use lsie_schemas::LogTime;
use proptest::prelude::*;

use crate::laws::{Script, order_changes_nothing, restarts_change_nothing};

fn poll() -> impl Strategy<Value = Poll> {
    let success = (0..4_000_000_000_i64, 0..4_000_000_000_i64)
        .prop_map(|(host_before_us, device_us)| Poll::Success { host_before_us, device_us });
    prop_oneof![success, Just(Poll::Failure), Just(Poll::Failure)]
}

prop_compose! {
    fn script()(epochs in prop::collection::vec(prop::collection::vec(poll(), 0..4), 1..24))
        -> Script<PollRecord>
    {
        let mut offset = 0;
        let line = |(index, polls): (usize, Vec<Poll>)| {
            let epoch = LogTime(1_000 + index as u64 * 45_000);
            let records = polls.into_iter().map(|poll| {
                offset += 1;
                PollRecord { offset, log_ms: epoch.0 as i64, poll }
            });
            (epoch, records.collect())
        };
        epochs.into_iter().enumerate().map(line).collect()
    }
}

proptest! {
    #[test]
    fn restarts(script in script()) {
        restarts_change_nothing(DriftState::default, &script);
    }

    #[test]
    fn order(script in script(), turns in prop::collection::vec(0usize..8, 1..5)) {
        order_changes_nothing(DriftState::default, &script, &turns);
    }
}
