//! Rewards of single stimulus windows, edges to the last bit.

use lsie_operators::percentile::percentile;
use lsie_operators::reward::{OrderedSeries, reward};

use crate::read::{assert_relative, cases};

#[derive(serde::Deserialize)]
struct Input {
    au12_series: Vec<(f64, f64)>,
    stimulus_time_s: f64,
    is_match: bool,
}

#[derive(serde::Deserialize)]
struct Expected {
    gated_reward: f64,
    p90_intensity: f64,
    semantic_gate: u8,
    n_frames_in_window: u64,
    au12_baseline_pre: Option<f64>,
    is_valid: bool,
    au12_window_series: Option<Vec<f64>>,
}

/// `x_max` and the confidence of the inputs are never read (DM-16), so their families pass by construction.
#[test]
fn golden_windows() {
    for case in cases("reward", 437) {
        let (input, expected): (Input, Expected) = (case.input(), case.expected());
        let ours = reward(&input.au12_series, input.stimulus_time_s, input.is_match);
        let name = &case.name;
        let ordered = OrderedSeries::new(input.au12_series.clone());
        assert_eq!(ours, ordered.reward(input.stimulus_time_s, input.is_match), "{name}");
        assert_eq!(ours.n_frames_in_window, expected.n_frames_in_window, "{name}");
        assert_eq!(ours.semantic_gate, expected.semantic_gate, "{name}");
        assert_eq!(ours.is_valid, expected.is_valid, "{name}");
        // The same order statistics and the same form of the interpolation: the same bits.
        assert_eq!(ours.p90_intensity, expected.p90_intensity, "{name}");
        assert_eq!(ours.gated_reward, expected.gated_reward, "{name}");
        assert_eq!(ours.au12_baseline_pre.is_some(), expected.au12_baseline_pre.is_some(), "{name}");
        if let (Some(ours), Some(theirs)) = (ours.au12_baseline_pre, expected.au12_baseline_pre) {
            // 1e-12: the original sums in the order given, we in ascending order.
            assert_relative(ours, theirs, 1e-12, name);
        }
        if let Some(window) = expected.au12_window_series.filter(|window| !window.is_empty()) {
            assert_eq!(percentile(&window, 90.0), Some(expected.p90_intensity), "{name}");
        }
    }
}
