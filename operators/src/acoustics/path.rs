//! The best path through the candidates of all frames, by dynamic programming (Boersma 1993, §3.2).

use super::pitch::{CEILING_HZ, Candidate, Frame, is_voiced};

/// Strength from which a frame is voiced.
pub(super) const VOICING_THRESHOLD: f64 = 0.45;
/// Cost per octave below the ceiling.
pub(super) const OCTAVE_COST: f64 = 0.01;
/// A frame of no more than this share of the peak of the sound is the better unvoiced the quieter it is: the
/// silence threshold 0.03, scaled by the voicing threshold.
const SILENCE: f64 = 0.03 / (1.0 + VOICING_THRESHOLD);
/// Cost of a jump, per octave, at frames 0.01 s apart.
const OCTAVE_JUMP_COST: f64 = 0.35;
/// Cost of a change between voiced and unvoiced, at frames 0.01 s apart.
const VOICING_CHANGE_COST: f64 = 0.14;

/// Buffers.
#[derive(Debug, Default)]
pub(super) struct PathFinder {
    nodes: Vec<Node>,
}

/// A candidate on the way.
#[derive(Clone, Copy, Debug)]
struct Node {
    /// Octaves below the ceiling; `None` for a candidate without a pitch.
    octaves: Option<f64>,
    /// The total of the best path to here.
    total: f64,
    /// The candidate of the frame before on that path.
    previous: usize,
}

impl PathFinder {
    /// Swaps the candidate of each frame that is on the best path to the first place; of equal paths, the one
    /// through the first candidates.
    pub(super) fn select(&mut self, frames: &[Frame], candidates: &mut [Candidate]) {
        self.nodes.clear();
        let mut before = 0..0;
        for frame in frames {
            let first = self.nodes.len();
            for candidate in &candidates[frame.first..frame.first + frame.count] {
                let node = step(&self.nodes[before.clone()], candidate, frame.intensity);
                self.nodes.push(node);
            }
            before = first..self.nodes.len();
        }
        let mut place = best(self.nodes[before].iter().map(|node| node.total)).0;
        for frame in frames.iter().rev() {
            candidates.swap(frame.first, frame.first + place);
            place = self.nodes[frame.first + place].previous;
        }
    }
}

/// The best way to a candidate from those of the frame before.
fn step(before: &[Node], candidate: &Candidate, intensity: f64) -> Node {
    let octaves = is_voiced(candidate.frequency_hz).then(|| (CEILING_HZ / candidate.frequency_hz).log2());
    let value = match octaves {
        Some(octaves) => candidate.strength - OCTAVE_COST * octaves,
        None => VOICING_THRESHOLD + f64::max(0.0, 2.0 - intensity / SILENCE),
    };
    if before.is_empty() {
        return Node { octaves, total: value, previous: 0 };
    }
    let cost = |from: &Node| match (from.octaves, octaves) {
        (Some(from), Some(to)) => OCTAVE_JUMP_COST * (from - to).abs(),
        (None, None) => 0.0,
        _ => VOICING_CHANGE_COST,
    };
    let (previous, total) = best(before.iter().map(|from| from.total - cost(from) + value));
    Node { octaves, total, previous }
}

/// The largest of some values and its place; the first of equals.
fn best(values: impl Iterator<Item = f64>) -> (usize, f64) {
    let larger = |best: (usize, f64), next: (usize, f64)| if next.1 > best.1 { next } else { best };
    values.enumerate().fold((0, f64::NEG_INFINITY), larger)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition: candidate values less costs of the steps between them.
    fn total(path: &[(Candidate, f64)]) -> f64 {
        let pitch =
            |candidate: &Candidate| Some(candidate.frequency_hz).filter(|hz| *hz > 0.0 && *hz < 600.0);
        let values = path.iter().map(|(candidate, intensity)| match pitch(candidate) {
            Some(hz) => candidate.strength - 0.01 * (600.0 / hz).log2(),
            None => 0.45 + f64::max(0.0, 2.0 - intensity / (0.03 / 1.45)),
        });
        let costs = path.windows(2).map(|pair| match (pitch(&pair[0].0), pitch(&pair[1].0)) {
            (Some(a), Some(b)) => 0.35 * (a / b).log2().abs(),
            (None, None) => 0.0,
            _ => 0.14,
        });
        values.sum::<f64>() - costs.sum::<f64>()
    }

    fn best_total(rest: &[(Vec<Candidate>, f64)], path: &mut Vec<(Candidate, f64)>) -> f64 {
        let Some(((candidates, intensity), rest)) = rest.split_first() else { return total(path) };
        let mut best = f64::NEG_INFINITY;
        for candidate in candidates {
            path.push((*candidate, *intensity));
            best = best.max(best_total(rest, path));
            path.pop();
        }
        best
    }

    proptest! {
        #[test]
        fn no_path_is_better(
            voiced in prop::collection::vec(
                (prop::collection::vec((60.0..900.0f64, 0.0..1.0f64), 0..4), 0.0..0.1f64),
                0..6,
            ),
        ) {
            let story: Vec<(Vec<Candidate>, f64)> = voiced
                .into_iter()
                .map(|(voiced, intensity)| {
                    let of = |(frequency_hz, strength)| Candidate { frequency_hz, strength };
                    let all = [Candidate::default()].into_iter().chain(voiced.into_iter().map(of));
                    (all.collect(), intensity)
                })
                .collect();
            let (mut frames, mut candidates) = (Vec::new(), Vec::new());
            for (of_frame, intensity) in &story {
                frames.push(Frame { first: candidates.len(), count: of_frame.len(), intensity: *intensity });
                candidates.extend_from_slice(of_frame);
            }
            PathFinder::default().select(&frames, &mut candidates);
            let selected: Vec<_> =
                frames.iter().map(|frame| (candidates[frame.first], frame.intensity)).collect();
            let best = best_total(&story, &mut Vec::new());
            prop_assert!((total(&selected) - best).abs() < 1e-9, "{} {}", total(&selected), best);
        }
    }
}
