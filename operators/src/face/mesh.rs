//! The landmark model with attention: 478 points of the face in a region, refined at lips, eyes and irises.

use super::crop::{Border, crop};
use super::image::RgbImage;
use super::points::{self, ALL, IRIS, LEFT_EYE, LIPS, MESH, RIGHT_EYE};
use super::region::Region;
use super::self_test;
use crate::au12::{FacePoints, Point};
use crate::runtime::{Model, ModelError, Signature};

/// Width and height of the input, pixels; also the unit of the outputs.
const SIZE: usize = 192;

pub(super) static SIGNATURE: Signature = Signature {
    input: ("input_1", &[1, 3, SIZE as i64, SIZE as i64]),
    outputs: &[
        ("output_mesh_identity", MESH * 3),
        ("output_lips", LIPS.len() * 2),
        ("output_left_eye", LEFT_EYE.len() * 2),
        ("output_right_eye", RIGHT_EYE.len() * 2),
        ("output_left_iris", IRIS * 2),
        ("output_right_iris", IRIS * 2),
        ("conv_faceflag", 1),
    ],
};

/// The 478 points of a face: x by image width, y by image height, z on the scale of x.
#[derive(Debug, Clone, PartialEq)]
pub struct Landmarks {
    points: Box<[Point; ALL]>,
}

impl Landmarks {
    /// All points, by index.
    pub fn points(&self) -> &[Point; ALL] {
        &self.points
    }

    /// The six points that AU12 needs.
    pub fn au12(&self) -> FacePoints {
        FacePoints {
            left_eye_outer: self.points[points::LEFT_EYE_OUTER],
            left_eye_inner: self.points[points::LEFT_EYE_INNER],
            right_eye_inner: self.points[points::RIGHT_EYE_INNER],
            right_eye_outer: self.points[points::RIGHT_EYE_OUTER],
            mouth_left: self.points[points::MOUTH_LEFT],
            mouth_right: self.points[points::MOUTH_RIGHT],
        }
    }

    /// Where to look in the next frame: around all points, level with the outer corners of the eyes.
    pub(super) fn region(&self, image: &RgbImage) -> Option<Region> {
        let size = image.size();
        let pixels = |point: &Point| [point[0] * size[0], point[1] * size[1]];
        let (mut low, mut high) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
        for point in self.points.iter() {
            let place = pixels(point);
            for axis in 0..2 {
                low[axis] = low[axis].min(place[axis]);
                high[axis] = high[axis].max(place[axis]);
            }
        }
        let [left, right] =
            [points::LEFT_EYE_OUTER, points::RIGHT_EYE_OUTER].map(|at| pixels(&self.points[at]));
        Region::around(low, high, left, right)
    }
}

/// Measures the face in `region`; `None` when the model says that there is none. `input` is scratch memory.
pub(super) fn measure(
    model: &mut Model,
    image: &RgbImage,
    region: &Region,
    input: &mut Vec<f32>,
) -> Result<Option<Landmarks>, ModelError> {
    crop(image, region, SIZE, Border::Replicate, value_of, input);
    model.run(input, |outputs: [&[f32]; 7]| {
        let is_face = outputs[6][0] > 0.0; // the logit of a score above 0.5
        let points = is_face.then(|| refine(&outputs))?;
        let points = project(points, region, image.size());
        points.iter().flatten().all(|value| value.is_finite()).then_some(Landmarks { points })
    })
}

/// Checks the model with a known picture; the inner error says what differs.
pub(super) fn self_test(model: &mut Model) -> Result<Result<(), String>, ModelError> {
    let expected = [
        (0, 90.7129),
        (0, 73.60471),
        (0, 56.478928),
        (0, 111.631546),
        (0, 71.19949),
        (0, 119.00084),
        (0, -20.945166),
    ];
    self_test::check(model, SIZE, value_of, expected)
}

/// What the model reads for a byte.
fn value_of(byte: u8) -> f32 {
    (f64::from(byte) / 255.0) as f32
}

/// Joins the outputs: refined x and y replace those of the mesh, irises are appended; in shares of the
/// region.
fn refine(outputs: &[&[f32]; 7]) -> Box<[Point; ALL]> {
    let share = |value: f32| f64::from(value) / SIZE as f64;
    let [mesh, lips, left_eye, right_eye, left_iris, right_iris, _] = outputs;
    let mut points = Box::new([[0.0; 3]; ALL]);
    for (point, values) in points.iter_mut().zip(mesh.chunks_exact(3)) {
        *point = [share(values[0]), share(values[1]), share(values[2])];
    }
    for (values, indices) in [(lips, &LIPS[..]), (left_eye, &LEFT_EYE), (right_eye, &RIGHT_EYE)] {
        for (values, &index) in values.chunks_exact(2).zip(indices) {
            points[index][0] = share(values[0]);
            points[index][1] = share(values[1]);
        }
    }
    for (values, eye, first) in [(left_iris, &LEFT_EYE, MESH), (right_iris, &RIGHT_EYE, MESH + IRIS)] {
        let contour = &eye[..points::EYE_CONTOUR];
        let depth = contour.iter().map(|&index| points[index][2]).sum::<f64>() / contour.len() as f64;
        for (values, point) in values.chunks_exact(2).zip(&mut points[first..]) {
            *point = [share(values[0]), share(values[1]), depth];
        }
    }
    points
}

/// From shares of the region to shares of the picture.
fn project(mut points: Box<[Point; ALL]>, region: &Region, [width, height]: [f64; 2]) -> Box<[Point; ALL]> {
    for point in points.iter_mut() {
        let [x, y] = region.place(point[0] - 0.5, point[1] - 0.5);
        *point = [x / width, y / height, point[2] * region.side / width];
    }
    points
}
