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
