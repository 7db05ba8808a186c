//! Any samples, start and stimulus: every number finite, every mean in its range.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lsie_operators::acoustics::Analyzer;

fuzz_target!(|input: (f64, Option<f64>, u16, Vec<i16>)| {
    let (start_s, stimulus_s, repeats, samples) = input;
    // What repeats has a pitch; foreign bytes alone are noise of a few milliseconds.
    let wanted = samples.len().saturating_mul(1 + usize::from(repeats)).min(3 * 16_000);
    let samples: Vec<i16> = samples.iter().copied().cycle().take(wanted).collect();
    let ours = Analyzer::default().analyze(&samples, start_s, stimulus_s);
    let numbers = [
        ours.pitch_f0,
        ours.jitter,
        ours.shimmer,
        ours.f0_mean_measure_hz,
        ours.f0_mean_baseline_hz,
        ours.f0_delta_semitones,
        ours.jitter_mean_measure,
        ours.jitter_mean_baseline,
        ours.jitter_delta,
        ours.shimmer_mean_measure,
        ours.shimmer_mean_baseline,
        ours.shimmer_delta,
        Some(ours.voiced_coverage_measure_s),
        Some(ours.voiced_coverage_baseline_s),
    ];
    assert!(numbers.into_iter().flatten().all(f64::is_finite), "{ours:?}");
    assert!(ours.voiced_coverage_measure_s >= 0.0 && ours.voiced_coverage_baseline_s >= 0.0);
});
