//! Glottal pulses by cross-correlation of neighbouring periods (mathematics §12.1: To PointProcess).

use super::pitch::PitchTrack;
use super::sound::{Sound, index_after, index_before, index_nearest, seconds, time_of};

/// The next pulse is looked for this many periods away, and up to `FARTHEST`.
const NEAREST: f64 = 0.8;
const FARTHEST: f64 = 1.25;
/// Inside a voiced stretch a pulse needs a correlation above this.
const MIN_CORRELATION: f64 = 0.3;
/// And an amplitude above this share of the peak of the sound.
const MIN_AMPLITUDE: f64 = 0.01;
/// The same for the first pulse outside of the stretch.
const MIN_CORRELATION_OUTSIDE: f64 = 0.7;
const MIN_AMPLITUDE_OUTSIDE: f64 = 0.023333;

/// Finds the pulses of all voiced stretches; `pulses` is overwritten, in ascending order, s.
pub(super) fn find(sound: &Sound, pitch: &PitchTrack, pulses: &mut Vec<f64>) {
    pulses.clear();
    let finder = Finder { sound, pitch, peak: sound.peak_around(0.0) };
    let mut last_right = f64::NEG_INFINITY;
    let mut frame = 0;
    while let Some(first) = (frame..pitch.len()).find(|frame| pitch.voiced_hz(*frame).is_some()) {
        frame = (first..pitch.len()).find(|frame| pitch.voiced_hz(*frame).is_none()).unwrap_or(pitch.len());
        let half = 0.5 * pitch.step_s();
        let stretch = (
            f64::max(pitch.time_s(first) - half, 0.0),
            f64::min(pitch.time_s(frame - 1) + half, sound.duration_s()),
        );
        last_right = finder.fill(stretch, last_right, pulses);
    }
    pulses.sort_unstable_by(f64::total_cmp);
    pulses.dedup();
}

struct Finder<'a> {
    sound: &'a Sound,
    pitch: &'a PitchTrack,
    /// Largest magnitude of the sound.
    peak: f64,
}

/// How well two segments agree, and where.
struct Match {
    /// -1 when there is no maximum.
    correlation: f64,
    /// Where the pulse moves to, s.
    time_s: f64,
    /// Largest magnitude of the compared segment.
    peak: f64,
}

impl Finder<'_> {
    /// Appends the pulses of one stretch; returns the last one set rightwards, of this or an earlier stretch.
    fn fill(&self, stretch: (f64, f64), mut last_right: f64, pulses: &mut Vec<f64>) -> f64 {
        let middle = 0.5 * (stretch.0 + stretch.1);
        let Some(hz) = self.pitch.hz_at(middle) else { return last_right };
        let start = self.extremum(middle - 0.5 / hz, middle + 0.5 / hz);
        pulses.push(start);

        let mut time = start;
        while let Some(hz) = self.pitch.hz_at(time) {
            let found = self.neighbour(time, hz, -FARTHEST / hz, -NEAREST / hz, -1.0 / hz);
            time = found.time_s;
            let inside = time >= stretch.0;
            if self.is_pulse(&found, inside) && time - last_right > NEAREST / hz {
                pulses.push(time);
            }
            if !inside {
                break;
            }
        }

        let mut time = start;
        while let Some(hz) = self.pitch.hz_at(time) {
            let found = self.neighbour(time, hz, NEAREST / hz, FARTHEST / hz, 1.0 / hz);
            time = found.time_s;
            let inside = time <= stretch.1;
            if self.is_pulse(&found, inside) {
                pulses.push(time);
                last_right = time;
            }
            if !inside {
                break;
            }
        }
        last_right
    }

    fn is_pulse(&self, found: &Match, inside: bool) -> bool {
        if inside {
            let loud = found.peak == 0.0 || found.peak > MIN_AMPLITUDE * self.peak;
            return found.correlation > MIN_CORRELATION && loud;
        }
        found.correlation > MIN_CORRELATION_OUTSIDE && found.peak > MIN_AMPLITUDE_OUTSIDE * self.peak
    }

    /// Time of the largest magnitude between two instants, of equals the first maximum, refined by a parabola.
    fn extremum(&self, from_s: f64, to_s: f64) -> f64 {
        let samples = self.sound.samples();
        let from = usize::try_from(index_before(from_s)).unwrap_or(0);
        let end = usize::try_from(index_after(to_s) + 1).unwrap_or(0).min(samples.len());
        let part = samples.get(from..end).unwrap_or_default();
        let place = |better: fn(f64, f64) -> bool| {
            part.iter().enumerate().reduce(|best, next| if better(*next.1, *best.1) { next } else { best })
        };
        let Some(((lowest, low), (highest, high))) = place(|a, b| a < b).zip(place(|a, b| a > b)) else {
            return 0.5 * (from_s + to_s);
        };
        let index = if low.abs() > high.abs() { lowest } else { highest };
        let shift = if low == high {
            0.5 * (part.len() - 1) as f64
        } else if index == 0 || index + 1 == part.len() {
            0.0
        } else {
            vertex(part[index - 1], part[index], part[index + 1]).unwrap_or(0.0)
        };
        time_of((from + index) as f64 + shift)
    }

    /// The place, `from_s` to `to_s` away from a pulse, where a period of the sound is most like the period
    /// around the pulse; without a maximum, the place `skip_s` away.
    fn neighbour(&self, time_s: f64, hz: f64, from_s: f64, to_s: f64, skip_s: f64) -> Match {
        let half = 0.5 / hz;
        let fixed = (index_nearest(time_s - half), index_nearest(time_s + half) + 1);
        let range = (index_before(time_s + from_s - half), index_after(time_s + to_s - half));
        let mut found = Match { correlation: -1.0, time_s: time_s + skip_s, peak: 0.0 };
        let mut best = None;
        let (mut before, mut here) = (0.0, 0.0);
        for moved in range.0..=range.1 {
            let after = self.correlation(fixed, moved);
            if here > found.correlation && here >= before && here >= after {
                found.correlation = here;
                best = Some((moved, before, after));
            }
            (before, here) = (here, after);
        }
        if let Some((moved, before, after)) = best {
            let here = found.correlation;
            let shift = vertex(before, here, after);
            let rise = shift.map_or(0.0, |shift| 0.25 * (after - before) * shift);
            found.correlation += rise;
            found.time_s = time_s + seconds((moved - 1 - fixed.0) as f64 + shift.unwrap_or(0.0));
            found.peak = self.peak_of(fixed, moved);
        }
        found
    }

    /// Normalised cross-correlation of the samples of `fixed` with as many from `moved` on; pairs of which one
    /// lies outside the sound do not count.
    fn correlation(&self, fixed: (i64, i64), moved: i64) -> f64 {
        let shift = moved - fixed.0;
        let (from, to) = self.pairs(fixed, shift);
        let samples = self.sound.samples();
        let part = |from: i64, to: i64| samples.get(from as usize..to as usize).unwrap_or_default();
        let product = dot(part(from, to), part(from + shift, to + shift));
        if product == 0.0 {
            return 0.0;
        }
        product / (self.sound.energy(from, to) * self.sound.energy(from + shift, to + shift)).sqrt()
    }

    fn peak_of(&self, fixed: (i64, i64), moved: i64) -> f64 {
        let shift = moved - fixed.0;
        let (from, to) = self.pairs(fixed, shift);
        let samples = self.sound.samples().get((from + shift) as usize..(to + shift) as usize);
        samples.unwrap_or_default().iter().fold(0.0, |peak, sample| f64::max(peak, sample.abs()))
    }

    /// The part of `fixed` that is inside the sound together with its counterparts.
    fn pairs(&self, fixed: (i64, i64), shift: i64) -> (i64, i64) {
        let count = self.sound.samples().len() as i64;
        let from = fixed.0.max(0).max(-shift);
        (from, fixed.1.min(count).min(count - shift).max(from))
    }
}

/// Where the parabola through three equidistant values has its vertex, in steps from the middle one.
fn vertex(before: f64, here: f64, after: f64) -> Option<f64> {
    let curvature = 2.0 * here - before - after;
    (curvature != 0.0).then(|| 0.5 * (after - before) / curvature)
}

/// Sum of products. Of whole numbers, so the order of summation is free.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (a_rest, b_rest) = (a.chunks_exact(LANES).remainder(), b.chunks_exact(LANES).remainder());
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn correlation_equals_the_sums_of_pairs(
            samples in prop::collection::vec(any::<i16>(), 1..200),
            from in -50..220i64,
            length in 0..60i64,
            moved in -80..250i64,
        ) {
            let mut sound = Sound::default();
            sound.load(&samples);
            let at = |index: i64| usize::try_from(index).ok().and_then(|i| samples.get(i)).map(|it| f64::from(*it));
            let pairs: Vec<(f64, f64)> =
                (0..length).filter_map(|i| at(from + i).zip(at(moved + i))).collect();
            let product: f64 = pairs.iter().map(|(a, b)| a * b).sum();
            let energies: (f64, f64) =
                (pairs.iter().map(|pair| pair.0 * pair.0).sum(), pairs.iter().map(|pair| pair.1 * pair.1).sum());
            let expected = if product == 0.0 { 0.0 } else { product / (energies.0 * energies.1).sqrt() };
            let pitch = PitchTrack::default();
            let finder = Finder { sound: &sound, pitch: &pitch, peak: 1.0 };
            prop_assert_eq!(finder.correlation((from, from + length), moved), expected);
            let peak = pairs.iter().fold(0.0, |peak, pair| f64::max(peak, pair.1.abs()));
            prop_assert_eq!(finder.peak_of((from, from + length), moved), peak);
        }
    }

    #[test]
    fn of_equal_extrema_the_maximum_is_taken() {
        let mut samples = vec![0; 1_600];
        (samples[400], samples[420], samples[440]) = (-9, 9, 9);
        let mut sound = Sound::default();
        sound.load(&samples);
        let finder = Finder { sound: &sound, pitch: &PitchTrack::default(), peak: 9.0 };
        assert_eq!(finder.extremum(0.02, 0.03), time_of(420.0));
    }
}
