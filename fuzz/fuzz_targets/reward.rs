//! Rewards of any series: in [0, 1], and the same in any order.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lsie_operators::posterior::RewardSum;
use lsie_operators::reward::reward;

fuzz_target!(|input: (Vec<(f64, f64)>, f64, bool)| {
    let (mut series, stimulus_s, is_match) = input;
    let ours = reward(&series, stimulus_s, is_match);
    assert!((0.0..=1.0).contains(&ours.p90_intensity) && (0.0..=1.0).contains(&ours.gated_reward));
    assert!(ours.au12_baseline_pre.is_none_or(|baseline| (0.0..=1.0).contains(&baseline)));
    RewardSum::of(ours.gated_reward).expect("a reward in [0, 1]");
    series.reverse();
    assert_eq!(reward(&series, stimulus_s, is_match), ours);
});
