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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tone() -> Sound {
        let mut sound = Sound::default();
        sound.load(&(0..16_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 18) as i16).collect::<Vec<_>>());
        sound
    }

    fn alike(p1: f64, p2: f64) -> bool {
        let inside = |p: f64| (0.0001..=0.02).contains(&p);
        inside(p1) && inside(p2) && (p1 / p2).max(p2 / p1) <= 1.3
    }

    /// Jitter by the letter of the section, for a span of all pulses.
    fn naive_jitter(t: &[f64]) -> Option<f64> {
        let periods: Vec<f64> = t.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let pairs = periods.windows(2);
        let sum: f64 = pairs.clone().filter(|p| alike(p[0], p[1])).map(|p| (p[0] - p[1]).abs()).sum();
        let bad = pairs.filter(|p| !alike(p[0], p[1])).count();
        let k = periods.len().checked_sub(bad).filter(|k| *k >= 2)?;
        let kept = periods.iter().enumerate().filter(|(i, p)| {
            let within = |other: f64| (*p / other).max(other / *p) <= 1.3;
            let at_an_end = *i == 0 || *i + 1 == periods.len();
            (0.0001..=0.02).contains(*p) && (at_an_end || within(periods[i - 1]) || within(periods[i + 1]))
        });
        let kept: Vec<f64> = kept.map(|(_, p)| *p).collect();
        Some(sum / (k - 1) as f64 / (kept.iter().sum::<f64>() / kept.len() as f64))
    }

    /// Shimmer by the letter of the section, for a span of all pulses.
    fn naive_shimmer(sound: &Sound, t: &[f64]) -> Option<f64> {
        let mut peaks: Vec<(f64, f64)> = Vec::new();
        for i in 1..t.len().saturating_sub(1) {
            let (p1, p2) = (t[i] - t[i - 1], t[i + 1] - t[i]);
            let (mut above, mut below, mut count) = (0.0, 0.0, 0);
            for (index, x) in sound.samples().iter().enumerate() {
                let time = (index as f64 + 0.5) / 16_000.0;
                if alike(p1, p2) && t[i] - 0.2 * p1 <= time && time <= t[i] + 0.2 * p2 {
                    let u = (time - t[i]) / (0.2 * if time < t[i] { p1 } else { p2 });
                    let h = 0.5 + 0.5 * (PI * u).cos();
                    (above, below, count) = (above + (x * h).powi(2), below + h * h, count + 1);
                }
            }
            if count >= 3 && above > 0.0 {
                peaks.push((t[i], (above / below).sqrt()));
            }
        }
        let good = peaks.windows(2).filter(|pair| {
            let ratio = (pair[1].1 / pair[0].1).max(pair[0].1 / pair[1].1);
            (0.0001..=0.02).contains(&(pair[1].0 - pair[0].0)) && ratio <= 1.6
        });
        let steps: Vec<f64> = good.map(|pair| (pair[1].1 - pair[0].1).abs()).collect();
        let but_last = &peaks[..peaks.len().saturating_sub(1)];
        let mean = but_last.iter().map(|peak| peak.1).sum::<f64>() / but_last.len() as f64;
        (!steps.is_empty()).then(|| steps.iter().sum::<f64>() / steps.len() as f64 / mean)
    }

    #[test]
    fn periods_that_alternate() {
        let mut time = 0.1;
        let pulses: Vec<f64> = (0..21)
            .map(|i| {
                time += if i % 2 == 0 { 0.0101 } else { 0.0099 };
                time
            })
            .collect();
        let jitter = perturbation(&tone(), &pulses, (0.0, 1.0)).0.expect("a jitter");
        assert!((jitter - 0.02).abs() < 1e-12, "{jitter}");
    }

    #[test]
    fn ends_of_a_span_are_inside() {
        let pulses = [0.1, 0.11, 0.12, 0.13];
        assert_eq!(inside(&pulses, (0.1, 0.13)), (0, 4));
        assert_eq!(inside(&pulses, (0.1 + 1e-15, 0.13 - 1e-15)), (1, 3));
        assert_eq!(inside(&pulses, (0.2, 0.1)), (4, 4));
    }

    proptest! {
        #[test]
        fn equals_the_section_word_for_word(
            start in 0.01..0.3f64,
            base in 0.002..0.021f64,
            factors in prop::collection::vec(0.6..1.5f64, 0..30),
        ) {
            let mut pulses = vec![start];
            pulses.extend(factors.iter().scan(start, |time, factor| {
                *time += base * factor;
                Some(*time)
            }));
            let sound = tone();
            let (jitter, shimmer) = perturbation(&sound, &pulses, (0.0, 1.0));
            let naive = pulses.iter().filter(|time| **time <= 1.0).copied().collect::<Vec<_>>();
            if naive.len() == pulses.len() {
                let close = |a: Option<f64>, b: Option<f64>| match (a, b) {
                    (Some(a), Some(b)) => (a - b).abs() < 1e-9,
                    (a, b) => a == b,
                };
                prop_assert!(close(jitter, naive_jitter(&naive)), "{:?} {:?}", jitter, naive_jitter(&naive));
                let expected = naive_shimmer(&sound, &naive);
                prop_assert!(close(shimmer, expected), "{:?} {:?}", shimmer, expected);
            }
        }

        #[test]
        fn no_pulses_panic(
            mut pulses in prop::collection::vec(any::<f64>(), 0..9),
            span in any::<(f64, f64)>(),
        ) {
            pulses.sort_by(f64::total_cmp);
            let (jitter, shimmer) = perturbation(&tone(), &pulses, span);
            prop_assert!(jitter.is_none_or(f64::is_finite) && shimmer.is_none_or(f64::is_finite));
        }
    }
}
