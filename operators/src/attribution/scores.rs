//! What one encounter is worth to the ledger: lifts of AU12, its peak latency, the soft reward
//! (mathematics §13.2).

use crate::reward::{MEASURE_S, reward};

/// AU12 around one stimulus; all values are finite.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Au12Metrics {
    /// Mean clamped intensity in W_baseline; 0 when only that window is empty, `None` when both are.
    pub baseline_pre: Option<f64>,
    /// max(0, P90 − baseline); `None` when W_measure is empty.
    pub lift_p90: Option<f64>,
    /// max(0, largest − baseline); `None` when W_measure is empty.
    pub lift_peak: Option<f64>,
    /// From the stimulus to the first of the largest intensities, ms; `None` when W_measure is empty.
    pub peak_latency_ms: Option<f64>,
}

/// AU12 metrics of one stimulus; windows, clamping and percentile are the reward's.
///
/// `series` holds (time in epoch seconds, intensity); the first of equal peaks is the first in its order, so
/// it is handed over in order of time. Observations that are not finite are left out.
///
/// ```
/// use lsie_operators::attribution::scores::au12_metrics;
/// let metrics = au12_metrics(&[(97.0, 0.25), (101.0, 0.75), (102.0, 0.75)], 100.0);
/// assert_eq!((metrics.baseline_pre, metrics.lift_peak), (Some(0.25), Some(0.5)));
/// assert_eq!(metrics.peak_latency_ms, Some(1000.0));
/// ```
pub fn au12_metrics(series: &[(f64, f64)], stimulus_s: f64) -> Au12Metrics {
    // The gate is open: only what the windows hold is asked of the reward.
    let windows = reward(series, stimulus_s, true);
    let Some((peak_s, peak)) = first_peak(series, stimulus_s) else {
        return Au12Metrics { baseline_pre: windows.au12_baseline_pre, ..Au12Metrics::default() };
    };
    let baseline = windows.au12_baseline_pre.unwrap_or(0.0);
    Au12Metrics {
        baseline_pre: Some(baseline),
        lift_p90: Some((windows.p90_intensity - baseline).max(0.0)),
        lift_peak: Some((peak - baseline).max(0.0)),
        peak_latency_ms: Some(1000.0 * (peak_s - stimulus_s)),
    }
}

/// Time and clamped intensity of the first largest observation in W_measure.
fn first_peak(series: &[(f64, f64)], stimulus_s: f64) -> Option<(f64, f64)> {
    let (from, to) = (stimulus_s + MEASURE_S.0, stimulus_s + MEASURE_S.1);
    let inside = series.iter().filter(|(time, value)| from <= *time && *time <= to && value.is_finite());
    let clamped = inside.map(|(time, value)| (*time, value.clamp(0.0, 1.0)));
    clamped.reduce(|first, next| if next.1 > first.1 { next } else { first })
}

/// clamp(p_match, 0, 1) · clamp(proxy, 0, 1); `None` when either is missing or no number. The proxy is the
/// gated reward (DM-14).
///
/// ```
/// use lsie_operators::attribution::scores::soft_reward_candidate;
/// assert_eq!(soft_reward_candidate(Some(0.5), Some(1.5)), Some(0.5));
/// assert_eq!(soft_reward_candidate(Some(0.5), None), None);
/// ```
pub fn soft_reward_candidate(p_match: Option<f64>, proxy: Option<f64>) -> Option<f64> {
    let unit = |value: Option<f64>| value.filter(|v| !v.is_nan()).map(|v| v.clamp(0.0, 1.0));
    Some(unit(p_match)? * unit(proxy)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn empty_windows() {
        assert_eq!(au12_metrics(&[], 100.0), Au12Metrics::default());
        let only_before = au12_metrics(&[(96.0, 0.5)], 100.0);
        assert_eq!(only_before, Au12Metrics { baseline_pre: Some(0.5), ..Au12Metrics::default() });
        let only_after = au12_metrics(&[(101.0, 0.5)], 100.0);
        assert_eq!((only_after.baseline_pre, only_after.lift_p90), (Some(0.0), Some(0.5)));
    }

    #[test]
    fn no_number_is_no_reward() {
        assert_eq!(soft_reward_candidate(Some(f64::NAN), Some(1.0)), None);
        assert_eq!(soft_reward_candidate(Some(1.0), Some(f64::NAN)), None);
        assert_eq!(soft_reward_candidate(Some(f64::INFINITY), Some(f64::NEG_INFINITY)), Some(0.0));
    }

    proptest! {
        #[test]
        fn lifts_are_bounded_and_order_of_time_does_not_matter_to_them(
            series in prop::collection::vec((94.0..106.0f64, -1.0..2.0f64), 0..40),
        ) {
            let metrics = au12_metrics(&series, 100.0);
            let mut reversed = series;
            reversed.reverse();
            let turned = au12_metrics(&reversed, 100.0);
            prop_assert_eq!((metrics.lift_p90, metrics.lift_peak), (turned.lift_p90, turned.lift_peak));
            prop_assert!(metrics.lift_p90 <= metrics.lift_peak);
            prop_assert!(metrics.lift_peak.is_none_or(|lift| (0.0..=1.0).contains(&lift)));
            prop_assert!(metrics.peak_latency_ms.is_none_or(|ms| (499.9..=5000.1).contains(&ms)));
        }

        #[test]
        fn nothing_is_silently_no_number(
            series in prop::collection::vec(any::<(f64, f64)>(), 0..9),
            stimulus_s in any::<f64>(),
        ) {
            let Au12Metrics { baseline_pre, lift_p90, lift_peak, peak_latency_ms } =
                au12_metrics(&series, stimulus_s);
            for value in [baseline_pre, lift_p90, lift_peak, peak_latency_ms].into_iter().flatten() {
                prop_assert!(value.is_finite());
            }
        }
    }

    #[test]
    fn a_million_observations() {
        let series: Vec<(f64, f64)> = (0..1_000_000).map(|i| (100.5 + f64::from(i) * 1e-6, 0.5)).collect();
        let metrics = au12_metrics(&series, 100.0);
        assert_eq!((metrics.lift_p90, metrics.peak_latency_ms), (Some(0.5), Some(500.0)));
    }
}
