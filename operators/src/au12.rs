//! AU12, the lip-corner puller: from six face points to a smile intensity (mathematics §5).

use serde::{Deserialize, Serialize};

/// The slope α: 0.90 / 0.15.
pub const ALPHA: f64 = 6.0;
/// Below this distance between the eye centres a face has no geometry.
pub const MIN_EYE_DISTANCE: f64 = 1e-6;
/// Calibration frames an operator waits for; gates the submit button only, never the maths.
pub const CALIBRATION_FRAMES_REQUIRED: u64 = 45;

/// A landmark: x by image width, y by height, z on the scale of x (raw, DM-3).
pub type Point = [f64; 3];

/// The six landmarks AU12 needs, with their indices in the 478-point model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FacePoints {
    /// 33.
    pub left_eye_outer: Point,
    /// 133.
    pub left_eye_inner: Point,
    /// 362.
    pub right_eye_inner: Point,
    /// 263.
    pub right_eye_outer: Point,
    /// 61.
    pub mouth_left: Point,
    /// 291.
    pub mouth_right: Point,
}

/// Mouth width over eye distance; `None` without geometry (eyes closer than 1e-6, or a coordinate that is
/// not finite).
pub fn raw_ratio(face: &FacePoints) -> Option<f64> {
    let left_eye = midpoint(face.left_eye_outer, face.left_eye_inner);
    let right_eye = midpoint(face.right_eye_inner, face.right_eye_outer);
    let eye_distance = distance(left_eye, right_eye);
    if !eye_distance.is_finite() || eye_distance < MIN_EYE_DISTANCE {
        return None;
    }
    Some(distance(face.mouth_left, face.mouth_right) / eye_distance).filter(|ratio| ratio.is_finite())
}

/// The neutral face of one session: mean of all ratios calibrated so far, cumulative, not a sliding window.
///
/// Ratios are added in capture order, so the sum is the same in every run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    ratio_sum: f64,
    frames: u64,
}

impl Calibration {
    /// Adds one frame. Without geometry nothing is added.
    pub fn add(&mut self, ratio: Option<f64>) {
        if let Some(ratio) = ratio.filter(|ratio| ratio.is_finite()) {
            self.ratio_sum += ratio;
            self.frames += 1;
        }
    }

    /// B_neutral; `None` before the first frame with geometry.
    pub fn neutral(&self) -> Option<f64> {
        (self.frames > 0).then(|| self.ratio_sum / self.frames as f64)
    }

    /// Frames that entered the mean.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Whether the operator may submit: 45 frames or more.
    pub fn is_ready(&self) -> bool {
        self.frames >= CALIBRATION_FRAMES_REQUIRED
    }
}

/// Both intensities of one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Intensity {
    /// tanh(α·max(0, ratio − B)), in [0, 1]: the one the reward uses.
    pub bounded: f64,
    /// clamp(α·(ratio − B), 0, 5): the legacy diagnostic.
    pub legacy: f64,
}

/// A face was to be scored before any calibration frame; the frame is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("AU12 is not calibrated")]
pub struct NotCalibrated;

/// Scores one frame; a face without geometry has intensity 0, calibrated or not.
///
/// ```
/// use lsie_operators::au12::{score, ALPHA};
/// assert_eq!(score(Some(1.0), Some(0.75), ALPHA).unwrap().bounded, 0.9051482536448664);
/// ```
pub fn score(ratio: Option<f64>, neutral: Option<f64>, alpha: f64) -> Result<Intensity, NotCalibrated> {
    let Some(ratio) = ratio else { return Ok(Intensity::default()) };
    let lift = ratio - neutral.ok_or(NotCalibrated)?;
    Ok(Intensity { bounded: (alpha * lift.max(0.0)).tanh(), legacy: (alpha * lift).clamp(0.0, 5.0) })
}

fn midpoint(a: Point, b: Point) -> Point {
    [(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0, (a[2] + b[2]) / 2.0]
}

fn distance(a: Point, b: Point) -> f64 {
    let [dx, dy, dz] = [b[0] - a[0], b[1] - a[1], b[2] - a[2]];
    (dx * dx + dy * dy + dz * dz).sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Mathematics §1.
    #[test]
    fn tanh_of_the_mathematics_page() {
        let bounded = |lift| score(Some(lift), Some(0.0), 1.0).expect("calibrated").bounded;
        assert_eq!((bounded(0.9), bounded(1.2)), (0.7162978701990245, 0.8336546070121552));
    }

    /// Eye centres 0.40 apart, mouth as wide as given.
    fn face(mouth: f64) -> FacePoints {
        let at = |x: f64| [x, 0.5, 0.0];
        FacePoints {
            left_eye_outer: at(0.25),
            left_eye_inner: at(0.35),
            right_eye_inner: at(0.65),
            right_eye_outer: at(0.75),
            mouth_left: at(0.5 - mouth / 2.0),
            mouth_right: at(0.5 + mouth / 2.0),
        }
    }

    #[test]
    fn vector_of_the_mathematics_page() {
        let mut calibration = Calibration::default();
        assert_eq!(score(raw_ratio(&face(0.30)), calibration.neutral(), ALPHA), Err(NotCalibrated));
        calibration.add(raw_ratio(&face(0.30)));
        let bounded = |mouth| score(raw_ratio(&face(mouth)), calibration.neutral(), ALPHA).map(|i| i.bounded);
        assert!((bounded(0.40).expect("a score") - 0.905_148_253_644_866_4).abs() < 1e-9);
        assert_eq!(bounded(0.20), Ok(0.0));
    }

    #[test]
    fn a_face_without_geometry_is_zero_and_never_calibrates() {
        let mut flat = face(0.3);
        flat.right_eye_inner = flat.left_eye_inner;
        flat.right_eye_outer = flat.left_eye_outer;
        let mut calibration = Calibration::default();
        for broken in [flat, face(f64::NAN), face(f64::INFINITY)] {
            calibration.add(raw_ratio(&broken));
            assert_eq!(score(raw_ratio(&broken), calibration.neutral(), ALPHA), Ok(Intensity::default()));
        }
        assert_eq!((calibration.frames(), calibration.neutral(), calibration.is_ready()), (0, None, false));
    }

    proptest! {
        #[test]
        fn intensities_are_bounded(ratio in 0.0..1e6f64, neutral in 0.0..1e6f64) {
            let Intensity { bounded, legacy } = score(Some(ratio), Some(neutral), ALPHA).expect("calibrated");
            prop_assert!((0.0..=1.0).contains(&bounded) && (0.0..=5.0).contains(&legacy));
            prop_assert_eq!(bounded == 0.0, ratio <= neutral);
        }

        #[test]
        fn size_and_place_of_the_face_do_not_matter(
            mouth in 0.1..0.6f64,
            scale in 0.1..10.0f64,
            shift in -1.0..1.0f64,
        ) {
            let there = face(mouth);
            let moved = |point: Point| point.map(|x| x * scale + shift);
            let here = FacePoints {
                left_eye_outer: moved(there.left_eye_outer),
                left_eye_inner: moved(there.left_eye_inner),
                right_eye_inner: moved(there.right_eye_inner),
                right_eye_outer: moved(there.right_eye_outer),
                mouth_left: moved(there.mouth_left),
                mouth_right: moved(there.mouth_right),
            };
            let (a, b) = (raw_ratio(&there).expect("a face"), raw_ratio(&here).expect("a face"));
            prop_assert!((a / b - 1.0).abs() < 1e-12);
        }

        #[test]
        fn a_restart_while_calibrating_changes_nothing(ratios in prop::collection::vec(0.1..2.0f64, 1..60)) {
            let (mut running, mut restarted) = (Calibration::default(), Calibration::default());
            for ratio in ratios {
                running.add(Some(ratio));
                restarted.add(Some(ratio));
                let text = serde_json::to_string(&restarted).expect("a text");
                restarted = serde_json::from_str(&text).expect("the state");
            }
            prop_assert_eq!(running, restarted);
        }
    }
}
