//! AU12 sequences: ratios, calibration, both intensities.

use lsie_operators::au12::{Calibration, FacePoints, Point, raw_ratio, score};

use crate::read::{assert_absolute, assert_relative, cases};

#[derive(serde::Deserialize)]
struct Input {
    alpha: f64,
    point_order: [usize; 6],
    frames: Vec<Frame>,
}

#[derive(serde::Deserialize)]
struct Frame {
    calibrating: bool,
    points: Option<[Point; 6]>,
    landmarks_478: Option<Vec<Point>>,
}

#[derive(serde::Deserialize)]
struct Expected {
    frames: Vec<ExpectedFrame>,
}

#[derive(serde::Deserialize)]
struct ExpectedFrame {
    raw_ratio: Option<f64>,
    intensity_0_5: Option<f64>,
    bounded_0_1: Option<f64>,
    error: Option<String>,
    b_neutral_after: Option<f64>,
    calibration_frames_after: u64,
}

#[test]
fn golden_sequences_of_faces() {
    for case in cases("au12", 320) {
        let (input, expected): (Input, Expected) = (case.input(), case.expected());
        assert_eq!(input.frames.len(), expected.frames.len(), "{}", case.name);
        let mut calibration = Calibration::default();
        for (frame, expected) in input.frames.iter().zip(expected.frames) {
            let ratio = raw_ratio(&face(frame, &input.point_order));
            check(ratio, expected.raw_ratio, &case.name);
            // A calibrating frame is not scored; the original reports 0.0 for it, which is what the
            // intensity of a neutral face is by definition.
            if frame.calibrating {
                calibration.add(ratio);
                assert_eq!(
                    (expected.intensity_0_5, expected.bounded_0_1),
                    (Some(0.0), Some(0.0)),
                    "{}",
                    case.name
                );
            } else {
                let ours = score(ratio, calibration.neutral(), input.alpha);
                assert_eq!(ours.is_err(), expected.error.is_some(), "{}", case.name);
                assert_eq!(ours.is_ok(), expected.bounded_0_1.is_some(), "{}", case.name);
                // 1e-9: the subtraction of two nearly equal ratios cancels digits, times alpha up to 60.
                if let (Ok(ours), Some(bounded), Some(legacy)) =
                    (ours, expected.bounded_0_1, expected.intensity_0_5)
                {
                    assert_absolute(ours.bounded, bounded, 1e-9, &case.name);
                    assert_absolute(ours.legacy, legacy, 1e-9, &case.name);
                }
            }
            check(calibration.neutral(), expected.b_neutral_after, &case.name);
            assert_eq!(calibration.frames(), expected.calibration_frames_after, "{}", case.name);
        }
    }
}

/// 1e-12: order of the sums inside a norm and a mean.
fn check(ours: Option<f64>, theirs: Option<f64>, case: &str) {
    assert_eq!(ours.is_some(), theirs.is_some(), "{case}");
    if let (Some(ours), Some(theirs)) = (ours, theirs) {
        assert_relative(ours, theirs, 1e-12, case);
    }
}

fn face(frame: &Frame, order: &[usize; 6]) -> FacePoints {
    let point = |index: usize| match (&frame.points, &frame.landmarks_478) {
        (Some(points), _) => points[order.iter().position(|i| *i == index).expect("a listed index")],
        (None, Some(landmarks)) => landmarks[index],
        (None, None) => panic!("a frame without points"),
    };
    FacePoints {
        left_eye_outer: point(33),
        left_eye_inner: point(133),
        right_eye_inner: point(362),
        right_eye_outer: point(263),
        mouth_left: point(61),
        mouth_right: point(291),
    }
}
