//! The rotated square in which a face is looked at.

use serde::{Deserialize, Serialize};

/// How much wider than the face the square is (MediaPipe's graph).
const MARGIN: f64 = 1.5;

/// A square in pixels. The rotation is kept as cosine and sine, which come from a square root alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Region {
    pub(super) center: [f64; 2],
    pub(super) side: f64,
    pub(super) cos: f64,
    pub(super) sin: f64,
}

impl Region {
    /// The square around a box (`low` to `high`, pixels), level with the line between two points of the face
    /// that should lie side by side. `None` when the numbers make no square.
    pub(super) fn around(low: [f64; 2], high: [f64; 2], left: [f64; 2], right: [f64; 2]) -> Option<Region> {
        let (dx, dy) = (right[0] - left[0], right[1] - left[1]);
        let distance = (dx * dx + dy * dy).sqrt();
        let (cos, sin) = if distance > 0.0 { (dx / distance, dy / distance) } else { (1.0, 0.0) };
        let side = MARGIN * (high[0] - low[0]).max(high[1] - low[1]);
        let center = [(low[0] + high[0]) / 2.0, (low[1] + high[1]) / 2.0];
        let usable =
            side > 0.0 && [center[0], center[1], side, cos, sin].iter().all(|value| value.is_finite());
        usable.then_some(Region { center, side, cos, sin })
    }

    /// The whole picture: a level square around its middle.
    pub(super) fn whole([width, height]: [f64; 2]) -> Region {
        Region { center: [width / 2.0, height / 2.0], side: width.max(height), cos: 1.0, sin: 0.0 }
    }

    /// The pixel place of `(u, v)`, which run from −0.5 to 0.5 across the square.
    pub(super) fn place(&self, u: f64, v: f64) -> [f64; 2] {
        let (along, across) = (self.along(u), self.across(v));
        [along[0] + across[0], along[1] + across[1]]
    }

    /// The pixel place of `(u, 0)`.
    pub(super) fn along(&self, u: f64) -> [f64; 2] {
        let along = u * self.side;
        [self.center[0] + along * self.cos, self.center[1] + along * self.sin]
    }

    /// How far `(u, v)` lies from `(u, 0)`.
    pub(super) fn across(&self, v: f64) -> [f64; 2] {
        let across = v * self.side;
        [-(across * self.sin), across * self.cos]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilted_face_gives_a_tilted_square() {
        let region = Region::around([10.0, 20.0], [50.0, 40.0], [0.0, 0.0], [3.0, 4.0]).expect("a square");
        assert_eq!(region, Region { center: [30.0, 30.0], side: 60.0, cos: 0.6, sin: 0.8 });
        assert_eq!(region.place(0.5, 0.0), [30.0 + 18.0, 30.0 + 24.0]);
    }

    #[test]
    fn numbers_that_make_no_square_are_refused() {
        let origin = [0.0, 0.0];
        assert_eq!(Region::around([5.0, 5.0], [5.0, 5.0], origin, [1.0, 0.0]), None);
        assert_eq!(Region::around([f64::NAN, 5.0], [8.0, 9.0], origin, [1.0, 0.0]), None);
        assert_eq!(Region::around([0.0, 0.0], [f64::INFINITY, 9.0], origin, [1.0, 0.0]), None);
        assert!(
            Region::around([0.0, 0.0], [9.0, 9.0], origin, origin).is_some_and(|region| region.cos == 1.0)
        );
    }
}
