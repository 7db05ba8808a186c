//! The reward of one encounter: how strongly a face smiled after the stimulus, gated by what was said
//! (mathematics §6).

use crate::percentile::percentile_in_place;

/// W_measure in seconds after the stimulus, both bounds inclusive.
pub const MEASURE_S: (f64, f64) = (0.5, 5.0);
/// W_baseline in seconds after (that is, before) the stimulus, both bounds inclusive.
pub const BASELINE_S: (f64, f64) = (-5.0, -2.0);

/// Outcome of one encounter; contracts §11.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reward {
    /// r: P90 where the gate is open, else 0; in [0, 1].
    pub gated_reward: f64,
    /// 90th percentile of the clamped intensities in W_measure; 0 when there are none.
    pub p90_intensity: f64,
    /// G: 1 when the utterance matched, else 0.
    pub semantic_gate: u8,
    /// Observations in W_measure.
    pub n_frames_in_window: u64,
    /// Mean clamped intensity in W_baseline; `None` when it is empty. Diagnostic only.
    pub au12_baseline_pre: Option<f64>,
    /// The computation completed (there is no minimum of frames, DM-16).
    pub is_valid: bool,
}

/// Evaluates one encounter on the session's continuous series.
///
/// `series` holds (time in epoch seconds, intensity) in any order; the edges are `stimulus_s + offset` in
/// double arithmetic. Observations that are not finite are left out. The result does not depend on order.
///
/// ```
/// use lsie_operators::reward::reward;
/// let result = reward(&[(100.6, 0.8), (100.7, 0.9)], 100.0, true);
/// assert_eq!((result.n_frames_in_window, result.gated_reward), (2, 0.89));
/// ```
pub fn reward(series: &[(f64, f64)], stimulus_s: f64, is_match: bool) -> Reward {
    let within = |offsets_s: (f64, f64)| {
        let (from, to) = edges(stimulus_s, offsets_s);
        intensities(series.iter().filter(move |(time, _)| from <= *time && *time <= to))
    };
    gate(within(MEASURE_S), within(BASELINE_S), is_match)
}

/// A session's series in order of time, for many stimuli on a long session: an encounter costs the search for its
/// two windows and what is in them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OrderedSeries {
    observations: Vec<(f64, f64)>,
}

impl OrderedSeries {
    /// Takes (time in epoch seconds, intensity) in any order; one without a time is in no window.
    pub fn new(mut observations: Vec<(f64, f64)>) -> OrderedSeries {
        observations.retain(|(time, _)| !time.is_nan());
        observations.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        OrderedSeries { observations }
    }

    /// As [`reward`] on the same observations, to the bit.
    pub fn reward(&self, stimulus_s: f64, is_match: bool) -> Reward {
        let within = |offsets_s: (f64, f64)| {
            let (from, to) = edges(stimulus_s, offsets_s);
            let first = self.observations.partition_point(|(time, _)| *time < from);
            let rest = self.observations.get(first..).unwrap_or_default();
            let until = rest.partition_point(|(time, _)| *time <= to);
            intensities(rest.get(..until).unwrap_or_default().iter())
        };
        gate(within(MEASURE_S), within(BASELINE_S), is_match)
    }
}

/// The reward from the intensities of both windows.
fn gate(mut measured: Vec<f64>, baseline: Vec<f64>, is_match: bool) -> Reward {
    let p90_intensity = percentile_in_place(&mut measured, 90.0).unwrap_or(0.0);
    let gated_reward = if is_match { p90_intensity.clamp(0.0, 1.0) } else { 0.0 };
    Reward {
        gated_reward,
        p90_intensity,
        semantic_gate: u8::from(is_match),
        n_frames_in_window: measured.len() as u64,
        au12_baseline_pre: mean(baseline),
        is_valid: true,
    }
}

/// What the segment or the session must know before an encounter changes a posterior.
#[derive(Clone, Copy, Debug)]
pub struct EncounterInput<'a> {
    /// Whether the utterance matched; `None` when there is no semantic result.
    pub is_match: Option<bool>,
    /// The series, possibly empty; `None` when none was recorded.
    pub series: Option<&'a [(f64, f64)]>,
    /// When the stimulus happened, epoch seconds.
    pub stimulus_s: Option<f64>,
    /// Arm in force.
    pub arm: &'a str,
    /// Experiment in force.
    pub experiment: &'a str,
}

/// The reward of an encounter, or `None` when it makes no update and no row.
///
/// A closed gate and an empty series are observations: reward 0, and β grows by 1 (DM-5).
pub fn encounter_reward(input: &EncounterInput<'_>) -> Option<Reward> {
    if input.arm.is_empty() || input.experiment.is_empty() {
        return None;
    }
    Some(reward(input.series?, input.stimulus_s?, input.is_match?))
}

/// First and last instant of a window.
fn edges(stimulus_s: f64, offsets_s: (f64, f64)) -> (f64, f64) {
    (stimulus_s + offsets_s.0, stimulus_s + offsets_s.1)
}

/// Clamped finite intensities.
fn intensities<'a>(observations: impl Iterator<Item = &'a (f64, f64)>) -> Vec<f64> {
    let finite = observations.map(|(_, value)| *value).filter(|value| value.is_finite());
    finite.map(|value| value.clamp(0.0, 1.0)).collect()
}

/// Mean in ascending order, so that it is the same for any order of arrival.
fn mean(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_measure_window_is_an_observation() {
        let result = reward(&[(96.0, 0.2), (97.0, 0.4)], 100.0, true);
        assert_eq!((result.gated_reward, result.p90_intensity, result.n_frames_in_window), (0.0, 0.0, 0));
        assert!((result.au12_baseline_pre.expect("a baseline") - 0.3).abs() < 1e-15);
    }

    proptest! {
        #[test]
        fn order_does_not_matter_and_results_are_bounded(
            series in prop::collection::vec((90.0..110.0f64, -1.0..2.0f64), 0..60),
            is_match in any::<bool>(),
        ) {
            let result = reward(&series, 100.0, is_match);
            let mut reversed = series;
            reversed.reverse();
            prop_assert_eq!(result, reward(&reversed, 100.0, is_match));
            prop_assert_eq!(result, OrderedSeries::new(reversed).reward(100.0, is_match));
            prop_assert!((0.0..=1.0).contains(&result.gated_reward));
            prop_assert!((0.0..=1.0).contains(&result.p90_intensity));
            prop_assert!(result.au12_baseline_pre.is_none_or(|mean| (0.0..=1.0).contains(&mean)));
            prop_assert_eq!(result.gated_reward, if is_match { result.p90_intensity } else { 0.0 });
        }

        #[test]
        fn no_series_panics(
            series in prop::collection::vec(any::<(f64, f64)>(), 0..9),
            stimulus_s in any::<f64>(),
        ) {
            let result = reward(&series, stimulus_s, true);
            prop_assert!((0.0..=1.0).contains(&result.gated_reward));
            prop_assert_eq!(result, OrderedSeries::new(series).reward(stimulus_s, true));
        }

        /// Instants on the very edges of the windows, and times that are none.
        #[test]
        fn ordered_series_see_the_same_windows(
            steps in prop::collection::vec((-24..=24i64, 0.0..1.0f64), 0..40),
            odd in prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0)],
            stimulus_s in prop_oneof![Just(1_777_024_800.1), Just(0.0), Just(f64::INFINITY), Just(f64::NAN)],
        ) {
            let mut series: Vec<(f64, f64)> =
                steps.into_iter().map(|(step, value)| (stimulus_s + step as f64 / 4.0, value)).collect();
            series.push((odd, 0.5));
            series.push((stimulus_s + 1.0, odd));
            let result = reward(&series, stimulus_s, true);
            prop_assert_eq!(result, OrderedSeries::new(series).reward(stimulus_s, true));
        }
    }
}
