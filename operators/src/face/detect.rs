//! The short-range face detector: the best face of a picture, as the region to look for landmarks in.
//!
//! It misses faces narrower than about a fifth of what it is shown. So a picture in which it finds none is also looked at
//! in parts, two fifths as wide as the picture and overlapping by half: one part a frame, row by row.

use super::crop::{Border, crop};
use super::image::RgbImage;
use super::region::Region;
use super::self_test;
use crate::runtime::{Model, ModelError, Signature};

/// Width and height of the input, pixels.
const SIZE: usize = 128;
/// Anchors: a 16 × 16 grid with two each, then an 8 × 8 grid with six each.
const ANCHORS: usize = 16 * 16 * 2 + 8 * 8 * 6;
/// Numbers per anchor: box centre, box size, six points.
const NUMBERS: usize = 16;
/// Boxes that overlap the best one by more than this describe the same face.
const SAME_FACE_OVERLAP: f64 = 0.3;

pub(super) static SIGNATURE: Signature = Signature {
    input: ("input", &[1, 3, SIZE as i64, SIZE as i64]),
    outputs: &[("regressors", ANCHORS * NUMBERS), ("classificators", ANCHORS)],
};

/// Side of a part, in sides of the whole square; parts begin at every half of it.
const PART: f64 = 0.4;
/// A face found in a part is at most this wide, in sides of the whole square: a wider one is seen in the whole picture, or
/// it is none.
const SMALL: f64 = 0.25;

/// Finds the face with the best score, at least 0.5. `input` is scratch memory.
pub(super) fn detect(
    model: &mut Model,
    image: &RgbImage,
    input: &mut Vec<f32>,
) -> Result<Option<Region>, ModelError> {
    let whole = Region::whole(image.size());
    let face = detect_in(model, image, &whole, input)?;
    Ok(face.and_then(|[low, high, left_eye, right_eye]| Region::around(low, high, left_eye, right_eye)))
}

/// Finds a small face in one part of the picture; `turn` counts the frames in which none was found.
pub(super) fn detect_small(
    model: &mut Model,
    image: &RgbImage,
    turn: u32,
    input: &mut Vec<f32>,
) -> Result<Option<Region>, ModelError> {
    let part = part(image.size(), turn);
    let most = SMALL / PART * part.side;
    let face = detect_in(model, image, &part, input)?.filter(|[low, high, ..]| high[0] - low[0] <= most);
    Ok(face.and_then(|[low, high, left_eye, right_eye]| Region::around(low, high, left_eye, right_eye)))
}

/// The part of a picture whose turn it is.
fn part(size: [f64; 2], turn: u32) -> Region {
    let side = PART * size[0].max(size[1]);
    // As many as reach the far edge, spread evenly.
    let steps =
        |length: f64| (((length - side) / (side / 2.0)).ceil().max(0.0) as u32, (length - side).max(0.0));
    let [(columns, free_x), (rows, free_y)] = size.map(steps);
    let turn = turn % ((columns + 1) * (rows + 1));
    let (column, row) = (turn % (columns + 1), turn / (columns + 1));
    let at = |index: u32, steps: u32, free: f64| free * f64::from(index) / f64::from(steps.max(1));
    let corner = [at(column, columns, free_x), at(row, rows, free_y)];
    let center =
        [0, 1].map(|axis| if size[axis] < side { size[axis] / 2.0 } else { corner[axis] + side / 2.0 });
    Region { center, side, cos: 1.0, sin: 0.0 }
}

/// The best face in a level square: corners of its box and its eyes, in pixels of the picture.
fn detect_in(
    model: &mut Model,
    image: &RgbImage,
    square: &Region,
    input: &mut Vec<f32>,
) -> Result<Option<[[f64; 2]; 4]>, ModelError> {
    crop(image, square, SIZE, Border::Zero, value_of, input);
    let face = model.run(input, |[numbers, logits]| best_face(numbers, logits))?;
    Ok(face.map(|face| {
        [face.low, face.high, face.left_eye, face.right_eye].map(|[x, y]| square.place(x - 0.5, y - 0.5))
    }))
}

/// Checks the model with a known picture; the inner error says what differs.
pub(super) fn self_test(model: &mut Model) -> Result<Result<(), String>, ModelError> {
    self_test::check(model, SIZE, value_of, [(100, -2.646_386_6), (400, -3.779_328_3)])
}

/// What the model reads for a byte.
fn value_of(byte: u8) -> f32 {
    (f64::from(byte) / 127.5 - 1.0) as f32
}

/// A box and two of its points, in shares of the input square.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Face {
    low: [f64; 2],
    high: [f64; 2],
    left_eye: [f64; 2],
    right_eye: [f64; 2],
}

impl Face {
    /// Decodes one anchor; `None` for a box that is turned inside out.
    fn decode(anchor: usize, numbers: &[f32]) -> Option<Face> {
        let center = anchor_center(anchor);
        let pair = |at: usize| [at, at + 1].map(|at| f64::from(numbers[at]) / SIZE as f64);
        let from_anchor = |at: usize| [pair(at)[0] + center[0], pair(at)[1] + center[1]];
        let (middle, size) = (from_anchor(0), pair(2));
        let usable = size[0] >= 0.0 && size[1] >= 0.0 && middle.iter().all(|value| value.is_finite());
        usable.then(|| Face {
            low: [middle[0] - size[0] / 2.0, middle[1] - size[1] / 2.0],
            high: [middle[0] + size[0] / 2.0, middle[1] + size[1] / 2.0],
            left_eye: from_anchor(4),
            right_eye: from_anchor(6),
        })
    }

    fn area(&self) -> f64 {
        (self.high[0] - self.low[0]) * (self.high[1] - self.low[1])
    }

    /// Intersection over union.
    fn overlap(&self, other: &Face) -> f64 {
        let side = |axis: usize| {
            (self.high[axis].min(other.high[axis]) - self.low[axis].max(other.low[axis])).max(0.0)
        };
        let shared = side(0) * side(1);
        shared / (self.area() + other.area() - shared)
    }

    fn add(&mut self, other: &Face, weight: f64) {
        let pairs = [
            (&mut self.low, other.low),
            (&mut self.high, other.high),
            (&mut self.left_eye, other.left_eye),
            (&mut self.right_eye, other.right_eye),
        ];
        for (sum, value) in pairs {
            *sum = [sum[0] + weight * value[0], sum[1] + weight * value[1]];
        }
    }
}

/// The best box, averaged by score over all boxes of the same face: weighted non-maximum suppression, of
/// which only the first round matters for one face.
fn best_face(numbers: &[f32], logits: &[f32]) -> Option<Face> {
    let mut candidates: Vec<(f64, Face)> = logits
        .iter()
        .zip(numbers.chunks_exact(NUMBERS))
        .enumerate()
        // A score of at least 0.5 is a logit of at least 0; no NaN is.
        .filter(|(_, (logit, _))| **logit >= 0.0)
        .filter_map(|(anchor, (&logit, numbers))| Some((score(logit), Face::decode(anchor, numbers)?)))
        .collect();
    // Stable: of equal scores the first anchor is the best, and the sums below run in one order.
    candidates.sort_by(|a, b| b.0.total_cmp(&a.0));
    let best = candidates.first()?.1;
    candidates.retain(|(_, face)| *face == best || face.overlap(&best) > SAME_FACE_OVERLAP);
    let total: f64 = candidates.iter().map(|(score, _)| score).sum();
    let mut mean = Face::default();
    for (score, face) in &candidates {
        mean.add(face, score / total);
    }
    Some(mean)
}

fn score(logit: f32) -> f64 {
    1.0 / (1.0 + (-f64::from(logit).clamp(-100.0, 100.0)).exp())
}

/// Centre of an anchor in shares of the input square.
fn anchor_center(anchor: usize) -> [f64; 2] {
    const FIRST_GRID: usize = 16 * 16 * 2;
    let (cell, columns) = if anchor < FIRST_GRID { (anchor / 2, 16) } else { ((anchor - FIRST_GRID) / 6, 8) };
    [cell % columns, cell / columns].map(|index| (index as f64 + 0.5) / columns as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outputs in which the anchors of `faces` carry a box and a logit.
    fn outputs(faces: &[(usize, [f32; 4], f32)]) -> (Vec<f32>, Vec<f32>) {
        let (mut numbers, mut logits) = (vec![0.0; ANCHORS * NUMBERS], vec![-5.0; ANCHORS]);
        for (anchor, face, logit) in faces {
            numbers[anchor * NUMBERS..][..4].copy_from_slice(face);
            logits[*anchor] = *logit;
        }
        (numbers, logits)
    }

    #[test]
    fn anchors_stand_on_two_grids() {
        assert_eq!(anchor_center(0), anchor_center(1));
        assert_eq!(anchor_center(2), [1.5 / 16.0, 0.5 / 16.0]);
        assert_eq!(anchor_center(512), [0.5 / 8.0, 0.5 / 8.0]);
        assert_eq!(anchor_center(ANCHORS - 1), [7.5 / 8.0, 7.5 / 8.0]);
    }

    /// A square of at most half a part's width lies whole in one of the parts, wherever it is.
    #[test]
    fn parts_cover_the_picture() {
        for size in [[1280.0, 720.0], [640.0, 480.0], [720.0, 1280.0], [512.0, 512.0], [900.0, 1.0]] {
            let parts: Vec<Region> = (0..100).map(|turn| part(size, turn)).collect();
            let count = (1..100).find(|turn| parts[*turn] == parts[0]).expect("they repeat");
            assert!(count <= 16, "{count}");
            let face = PART * f64::max(size[0], size[1]) / 2.0;
            for step in 0..=40 {
                let corner = size.map(|length| f64::from(step) / 40.0 * (length - face).max(0.0));
                for x in [corner[0], 0.0, (size[0] - face).max(0.0)] {
                    let holds = |part: &Region| {
                        let inside = |axis: usize, low: f64| {
                            let half = part.side / 2.0 + 1e-9;
                            part.center[axis] - half <= low
                                && low + face.min(size[axis]) <= part.center[axis] + half
                        };
                        inside(0, x) && inside(1, corner[1])
                    };
                    assert!(parts.iter().any(holds), "{size:?} {x} {}", corner[1]);
                }
            }
        }
    }

    #[test]
    fn no_score_of_a_half_is_no_face() {
        let (numbers, logits) = outputs(&[(3, [0.0, 0.0, 32.0, 32.0], -0.001)]);
        assert_eq!(best_face(&numbers, &logits), None);
        let (numbers, logits) = outputs(&[(3, [0.0, 0.0, 32.0, 32.0], f32::NAN)]);
        assert_eq!(best_face(&numbers, &logits), None);
        let (numbers, logits) = outputs(&[(3, [0.0, 0.0, -32.0, 32.0], 3.0)]);
        assert_eq!(best_face(&numbers, &logits), None, "a box turned inside out");
        let (numbers, logits) = outputs(&[(3, [0.0, 0.0, f32::NAN, 32.0], 3.0)]);
        assert_eq!(best_face(&numbers, &logits), None);
    }

    #[test]
    fn boxes_of_one_face_are_averaged_by_score_and_others_left_out() {
        let near = |logit| (0, [0.0f32, 0.0, 64.0, 64.0], logit);
        let shifted = |logit| (1, [8.0f32, 0.0, 64.0, 64.0], logit);
        let far = (ANCHORS - 1, [0.0f32, 0.0, 32.0, 32.0], 1.0);
        let (numbers, logits) = outputs(&[near(2.0), shifted(2.0), far]);
        let face = best_face(&numbers, &logits).expect("a face");
        let expected = 0.5 / 16.0 + 4.0 / 128.0;
        assert!(((face.low[0] + face.high[0]) / 2.0 - expected).abs() < 1e-12);
        let (numbers, logits) = outputs(&[near(0.0), far]);
        let face = best_face(&numbers, &logits).expect("a face");
        assert!((face.high[0] - (7.5 / 8.0 + 0.125)).abs() < 1e-12, "the better score wins");
    }

    #[test]
    fn a_box_without_extent_stands_alone() {
        let (numbers, logits) = outputs(&[(0, [0.0; 4], 2.0)]);
        assert!(best_face(&numbers, &logits).is_some_and(|face| face.area() == 0.0));
    }
}
