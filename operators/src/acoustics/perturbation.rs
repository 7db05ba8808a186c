//! Jitter (local) and shimmer (local) of a span of pulses (mathematics §12.3).

use std::f64::consts::PI;

use super::sound::{Sound, index_after, index_before, time_of};

/// Shortest and longest period, s.
const PERIODS_S: (f64, f64) = (0.0001, 0.02);
/// Neighbouring periods differ by this factor at most.
const MAX_PERIOD_FACTOR: f64 = 1.3;
/// Neighbouring amplitudes differ by this factor at most.
const MAX_AMPLITUDE_FACTOR: f64 = 1.6;
/// An amplitude is measured over this share of the periods on either side of its pulse.
const AMPLITUDE_WIDTH: f64 = 0.2;

/// Jitter and shimmer of an island.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Perturbation {
    /// Mean difference of neighbouring periods over the mean period.
    pub jitter: f64,
    /// Mean difference of neighbouring amplitudes over the mean amplitude.
    pub shimmer: f64,
}

/// Jitter and shimmer of the pulses from `span.0` to `span.1`, both included; all times in s from the start of
/// the sound, pulses ascending. `None` where there are too few good periods.
pub fn perturbation(sound: &Sound, pulses: &[f64], span: (f64, f64)) -> (Option<f64>, Option<f64>) {
    let inside = inside(pulses, span);
    (jitter(pulses, inside), shimmer(sound, &pulses[inside.0..inside.1]))
}

/// The range of indices of the pulses in an inclusive span.
pub(super) fn inside(pulses: &[f64], span: (f64, f64)) -> (usize, usize) {
    let first = pulses.partition_point(|pulse| *pulse < span.0);
    (first, pulses.partition_point(|pulse| *pulse <= span.1).max(first))
}

fn jitter(pulses: &[f64], (first, end): (usize, usize)) -> Option<f64> {
    let pairs = pulses[first..end].windows(3).filter_map(good_pair);
    let (good, sum) = pairs.fold((0u32, 0.0), |(n, sum), (p1, p2)| (n + 1, sum + (p1 - p2).abs()));
    // Of n pulses, n - 1 intervals and n - 2 pairs; each bad pair takes an interval away.
    (good > 0).then_some(())?;
    finite(sum / f64::from(good) / mean_period(pulses, (first, end))?)
}

/// The two intervals of three pulses, if they are periods and alike.
fn good_pair(pulses: &[f64]) -> Option<(f64, f64)> {
    let (p1, p2) = (pulses[1] - pulses[0], pulses[2] - pulses[1]);
    (is_period(p1) && is_period(p2) && factor(p1, p2) <= MAX_PERIOD_FACTOR).then_some((p1, p2))
}

/// Mean of the intervals that are periods, except those unlike both their neighbours. The neighbours come from
/// the whole list; an interval without one on either side counts.
fn mean_period(pulses: &[f64], (first, end): (usize, usize)) -> Option<f64> {
    let interval = |i: usize| Some(pulses.get(i + 1)? - pulses.get(i)?);
    let counted = (first..end.saturating_sub(1)).filter_map(|i| {
        let period = interval(i).filter(|period| is_period(*period))?;
        let unlike = |other: Option<f64>| other.is_some_and(|it| factor(period, it) > MAX_PERIOD_FACTOR);
        let alone = unlike(i.checked_sub(1).and_then(interval)) && unlike(interval(i + 1));
        (!alone).then_some(period)
    });
    let (count, sum) = counted.fold((0u32, 0.0), |(n, sum), period| (n + 1, sum + period));
    (count > 0).then(|| sum / f64::from(count))
}

fn shimmer(sound: &Sound, pulses: &[f64]) -> Option<f64> {
    let amplitude = |pulses: &[f64]| {
        let (p1, p2) = good_pair(pulses)?;
        Some((pulses[1], amplitude(sound, pulses[1], AMPLITUDE_WIDTH * p1, AMPLITUDE_WIDTH * p2)?))
    };
    let mut last: Option<(f64, f64)> = None;
    let (mut count, mut total) = (0u32, 0.0);
    let (mut pairs, mut difference) = (0u32, 0.0);
    for (time, here) in pulses.windows(3).filter_map(amplitude) {
        if let Some((time_before, before)) = last {
            // All amplitudes but the last make the mean.
            (count, total) = (count + 1, total + before);
            if is_period(time - time_before) && factor(before, here) <= MAX_AMPLITUDE_FACTOR {
                (pairs, difference) = (pairs + 1, difference + (here - before).abs());
            }
        }
        last = Some((time, here));
    }
    (pairs > 0).then(|| finite(difference / f64::from(pairs) / (total / f64::from(count))))?
}

/// Root mean square around a pulse under a Hann window of two half widths, in s.
fn amplitude(sound: &Sound, pulse_s: f64, left_s: f64, right_s: f64) -> Option<f64> {
    let from = index_after(pulse_s - left_s).max(0);
    let to = index_before(pulse_s + right_s) + 1;
    let samples = sound.samples();
    let to = to.min(samples.len() as i64).max(from);
    let samples = samples.get(from as usize..to as usize).filter(|samples| samples.len() >= 3)?;
    let (mut squares, mut weights) = (0.0, 0.0);
    for (index, sample) in (from..).zip(samples) {
        let distance = time_of(index as f64) - pulse_s;
        let width = if distance < 0.0 { left_s } else { right_s };
        let weight = 0.5 + 0.5 * (PI * distance / width).cos();
        squares += (sample * weight).powi(2);
        weights += weight * weight;
    }
    finite((squares / weights).sqrt()).filter(|amplitude| *amplitude > 0.0)
}

fn is_period(interval: f64) -> bool {
    PERIODS_S.0 <= interval && interval <= PERIODS_S.1
}

/// By which factor two positive values differ.
fn factor(a: f64, b: f64) -> f64 {
    if a > b { a / b } else { b / a }
}

fn finite(value: f64) -> Option<f64> {
    Some(value).filter(|value| value.is_finite())
}
