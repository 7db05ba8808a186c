//! What the 48 → 16 kHz resampler promises: pass band, stop band, delay, level, and independence of chunking.

use std::f64::consts::PI;

use lsie_operators::resample::Resampler;
use proptest::prelude::*;

/// Resamples all of `input` in chunks of `chunk` samples.
fn resample(input: &[i16], chunk: usize) -> Vec<i16> {
    let mut resampler = Resampler::default();
    let mut out = Vec::new();
    for piece in input.chunks(chunk) {
        resampler.push(piece, &mut out);
    }
    resampler.finish(&mut out);
    out
}

fn tone(hz: f64, amplitude: f64, seconds: f64) -> Vec<i16> {
    let samples = (seconds * 48_000.0) as usize;
    (0..samples).map(|i| (amplitude * (2.0 * PI * hz * i as f64 / 48_000.0).sin()).round() as i16).collect()
}

/// Amplitude of the output at `hz`, by correlation over whole cycles in the middle of one second.
fn amplitude_at(out: &[i16], hz: f64) -> f64 {
    let middle = &out[2_000..2_000 + 8_000];
    let (mut re, mut im) = (0.0, 0.0);
    for (i, &sample) in middle.iter().enumerate() {
        let phase = 2.0 * PI * hz * i as f64 / 16_000.0;
        re += f64::from(sample) * phase.cos();
        im += f64::from(sample) * phase.sin();
    }
    (re * re + im * im).sqrt() * 2.0 / middle.len() as f64
}

fn db(ratio: f64) -> f64 {
    20.0 * ratio.log10()
}

#[test]
fn pass_band_is_flat_to_7_khz() {
    for hz in (50..=7_000).step_by(50) {
        let hz = f64::from(hz);
        let gain = db(amplitude_at(&resample(&tone(hz, 30_000.0, 1.0), 480), hz) / 30_000.0);
        assert!(gain.abs() <= 0.02, "{hz} Hz: {gain:.4} dB");
    }
}

#[test]
fn nothing_aliases_from_8_khz_up() {
    let mut worst = (f64::MIN, 0);
    for hz in (8_000..24_000).step_by(50) {
        let out = resample(&tone(f64::from(hz), 32_000.0, 1.0), 480);
        let rms = (out[500..15_500].iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / 15_000.0).sqrt();
        let level = db((rms * 2f64.sqrt()).max(1e-3) / 32_000.0);
        if level > worst.0 {
            worst = (level, hz);
        }
    }
    println!("loudest alias: {:.1} dB at {} Hz", worst.0, worst.1);
    assert!(worst.0 <= -64.0, "{} Hz: {:.1} dB", worst.1, worst.0);
}

#[test]
fn one_kilohertz_keeps_its_level_and_its_phase() {
    let input = tone(1_000.0, 20_000.0, 1.0);
    let out = resample(&input, 480);
    let gain = db(amplitude_at(&out, 1_000.0) / 20_000.0);
    assert!(gain.abs() <= 0.1, "{gain} dB");
    // No delay: output k equals input 3k, up to rounding and ripple.
    for k in 200..15_800 {
        assert!((i32::from(out[k]) - i32::from(input[3 * k])).abs() <= 4, "sample {k}");
    }
}

#[test]
fn the_filter_is_centred_on_its_own_sample() {
    let mut input = vec![0i16; 3_000];
    input[1_500] = 30_000;
    let out = resample(&input, 7);
    let peak = (0..out.len()).max_by_key(|&k| out[k]);
    assert_eq!(peak, Some(500));
    for distance in 1..60 {
        assert_eq!(out[500 - distance], out[500 + distance], "linear phase");
    }
}

#[test]
fn length_is_a_third_rounded_up_and_positions_count() {
    for (samples, expected) in
        [(0, 0), (1, 1), (2, 1), (3, 1), (4, 2), (480, 160), (48_000, 16_000), (48_001, 16_001)]
    {
        assert_eq!(resample(&vec![1_000; samples], 100).len(), expected, "{samples} samples");
    }
    let mut resampler = Resampler::default();
    let mut out = Vec::new();
    resampler.push(&[5; 4_800], &mut out);
    assert_eq!((resampler.samples_in(), resampler.samples_out()), (4_800, out.len() as u64));
    assert!(4_800 / 3 - out.len() <= 32, "the filter holds back at most 2 ms");
    resampler.finish(&mut out);
    assert_eq!((resampler.samples_in(), resampler.samples_out(), out.len()), (0, 0, 1_600));
}

#[test]
fn constants_pass_exactly_and_full_scale_saturates() {
    for level in [i16::MIN, -1, 0, 1, 12_345, i16::MAX] {
        let out = resample(&vec![level; 6_000], 999);
        assert!(out[100..1_900].iter().all(|&sample| sample == level), "{level}");
    }
    let square: Vec<i16> = (0..6_000).map(|i| if i / 24 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
    let out = resample(&square, 480);
    assert!(out.contains(&i16::MAX) && out.contains(&i16::MIN), "overshoot saturates, it never wraps");
}

proptest! {
    #[test]
    fn chunking_never_reaches_the_output(
        input in prop::collection::vec(any::<i16>(), 0..6_000),
        chunks in prop::collection::vec(1usize..700, 1..20),
    ) {
        let whole = resample(&input, input.len().max(1));
        prop_assert_eq!(&resample(&input, 1), &whole);

        let mut resampler = Resampler::default();
        let mut out = Vec::new();
        let mut rest = &input[..];
        for &chunk in chunks.iter().cycle() {
            let (piece, after) = rest.split_at(chunk.min(rest.len()));
            resampler.push(piece, &mut out);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        resampler.finish(&mut out);
        prop_assert_eq!(&out, &whole);
    }
}

#[test]
fn ten_seconds_at_once_equal_one_sample_at_a_time() {
    let input: Vec<i16> = (0..480_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 16) as i16).collect();
    assert_eq!(resample(&input, 1), resample(&input, input.len()));
}
