//! Where a producer's media lie on this machine's clock. A stream counts its own time from 0; what is known of
//! its zero is only that nothing can arrive before it was captured.

/// How long arrivals are looked at before the zero may move on.
const WINDOW_US: i64 = 5_000_000;

/// The zero of one producer's stream on the host's clock: the earliest that its arrivals allow.
///
/// An arrival that is earlier than the zero allows pulls it back at once. When all arrivals of a window were
/// later (the producer's clock is slow, or it left something out), it moves on by the least of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Placement {
    zero_us: Option<i64>,
    /// When the window began, and the least lag in it.
    window: Option<(i64, i64)>,
}

impl Placement {
    /// Takes note that media up to `media_us` of the stream were there at `arrived_us` of the host.
    pub(super) fn observe(&mut self, media_us: i64, arrived_us: i64) {
        let earliest = arrived_us.saturating_sub(media_us);
        let zero = *self.zero_us.get_or_insert(earliest);
        let lag = earliest.saturating_sub(zero);
        if lag < 0 {
            self.zero_us = Some(earliest);
            self.window = Some((arrived_us, 0));
            return;
        }
        let (begun, least) = self.window.unwrap_or((arrived_us, lag));
        let least = least.min(lag);
        if arrived_us.saturating_sub(begun) >= WINDOW_US {
            self.zero_us = Some(zero.saturating_add(least));
            self.window = Some((arrived_us, lag - least));
        } else {
            self.window = Some((begun, least));
        }
    }

    /// An instant of the stream on the host's clock, µs; 0 before anything arrived.
    pub(super) fn host_us(&self, media_us: i64) -> i64 {
        self.zero_us.map_or(0, |zero| zero.saturating_add(media_us))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_early_arrival_pulls_the_zero_back_and_late_ones_do_not_move_it() {
        let mut placement = Placement::default();
        placement.observe(100_000, 1_300_000);
        assert_eq!(placement.host_us(0), 1_200_000);
        placement.observe(200_000, 1_210_000);
        assert_eq!(placement.host_us(0), 1_010_000);
        placement.observe(300_000, 1_900_000);
        placement.observe(400_000, 1_910_000);
        assert_eq!(placement.host_us(0), 1_010_000);
    }

    #[test]
    fn after_a_gap_the_zero_moves_on() {
        let mut placement = Placement::default();
        let media = |i: i64| i * 100_000;
        (0..100).for_each(|i| placement.observe(media(i), media(i) + 50));
        // Two seconds were never delivered; what follows comes without delay.
        (100..250).for_each(|i| placement.observe(media(i), media(i) + 2_000_050));
        assert_eq!(placement.host_us(0), 2_000_050);
    }

    proptest! {
        /// With delays between 0 and 100 ms the zero is never further off than the least delay of a window.
        #[test]
        fn nothing_is_placed_after_its_arrival(delays in prop::collection::vec(0i64..100_000, 1..400)) {
            let mut placement = Placement::default();
            for (i, delay) in delays.iter().enumerate() {
                let media = i as i64 * 33_333;
                let arrived = 1_000_000 + media + delay;
                placement.observe(media, arrived);
                prop_assert!(placement.host_us(media) <= arrived);
                prop_assert!(placement.host_us(0) >= 1_000_000);
            }
        }
    }
}
