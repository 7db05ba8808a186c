//! Cutting a rotated square out of a picture, equal to OpenCV's 8-bit bilinear warp bit for bit.
//!
//! Places are rounded to 1/32 pixel, weights are integers, the result is rounded to a byte; the corner of the
//! square is its first sample (no half-pixel offset). Only then are bytes turned into what the model wants.

use super::image::RgbImage;
use super::region::Region;

/// What lies outside the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Border {
    /// Black.
    Zero,
    /// The nearest pixel of the picture.
    Replicate,
}

/// Fractional bits of a place.
const PLACE_BITS: u32 = 5;
const PLACE_ONE: i64 = 1 << PLACE_BITS;

/// Fills `out` with `size` × `size` samples of red, green, blue, each byte mapped through `value_of`.
pub(super) fn crop(
    image: &RgbImage,
    region: &Region,
    size: usize,
    border: Border,
    value_of: impl Fn(u8) -> f32,
    out: &mut Vec<f32>,
) {
    let values: [f32; 256] = std::array::from_fn(|byte| value_of(byte as u8));
    out.clear();
    out.reserve(size * size * 3);
    for row in 0..size {
        let v = row as f64 / size as f64 - 0.5;
        for column in 0..size {
            let u = column as f64 / size as f64 - 0.5;
            let pixel = sample(image, region.place(u, v), border);
            out.extend(pixel.map(|byte| values[usize::from(byte)]));
        }
    }
}

fn sample(image: &RgbImage, place: [f64; 2], border: Border) -> [u8; 3] {
    // `as` saturates, so a place far outside stays outside.
    let [x, y] = place.map(|at| (at * PLACE_ONE as f64).round_ties_even() as i64);
    let (left, top) = (x >> PLACE_BITS, y >> PLACE_BITS);
    let [right_weight, bottom_weight] = [x, y].map(|at| (at & (PLACE_ONE - 1)) as u32);
    let [upper, lower] = image
        .square(left, top)
        .unwrap_or_else(|| [top, top + 1].map(|y| [left, left + 1].map(|x| pixel(image, x, y, border))));
    let mix = |from: u32, to: u32, weight: u32| from * (PLACE_ONE as u32 - weight) + to * weight;
    std::array::from_fn(|channel| {
        let [upper, lower] = [upper, lower]
            .map(|row| mix(u32::from(row[0][channel]), u32::from(row[1][channel]), right_weight));
        ((mix(upper, lower, bottom_weight) + (1 << (2 * PLACE_BITS - 1))) >> (2 * PLACE_BITS)) as u8
    })
}

fn pixel(image: &RgbImage, x: i64, y: i64, border: Border) -> [u8; 3] {
    let (last_x, last_y) = (i64::from(image.width()) - 1, i64::from(image.height()) - 1);
    let inside = (0..=last_x).contains(&x) && (0..=last_y).contains(&y);
    if !inside && border == Border::Zero {
        return [0; 3];
    }
    image.pixel(x.clamp(0, last_x) as usize, y.clamp(0, last_y) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(center: [f64; 2], side: f64) -> Region {
        Region { center, side, cos: 1.0, sin: 0.0 }
    }

    fn reds(image: &RgbImage, region: &Region, size: usize, border: Border) -> Vec<f32> {
        let mut out = Vec::new();
        crop(image, region, size, border, f32::from, &mut out);
        out.into_iter().step_by(3).collect()
    }

    #[test]
    fn whole_places_copy_and_halves_mix() {
        let rgb: Vec<u8> = [10, 20, 30, 40].into_iter().flat_map(|red| [red, 0, 255]).collect();
        let image = RgbImage::new(2, 2, &rgb).expect("complete");
        assert_eq!(reds(&image, &level([1.0, 1.0], 2.0), 2, Border::Zero), [10.0, 20.0, 30.0, 40.0]);
        assert_eq!(reds(&image, &level([1.5, 1.5], 2.0), 2, Border::Replicate), [25.0, 30.0, 35.0, 40.0]);
        assert_eq!(reds(&image, &level([1.5, 1.5], 2.0), 2, Border::Zero), [25.0, 15.0, 18.0, 10.0]);
    }

    #[test]
    fn outside_is_black_or_the_nearest_pixel() {
        let image = RgbImage::new(1, 1, &[7, 7, 7]).expect("complete");
        for far in [-50.0, 50.0, 1e300, f64::INFINITY] {
            assert_eq!(reds(&image, &level([far, 0.0], 1.0), 1, Border::Zero), [0.0]);
            assert_eq!(reds(&image, &level([far, 0.0], 1.0), 1, Border::Replicate), [7.0]);
        }
    }

    #[test]
    fn a_quarter_turn_turns() {
        let rgb: Vec<u8> = [10, 20, 30, 40].into_iter().flat_map(|red| [red; 3]).collect();
        let image = RgbImage::new(2, 2, &rgb).expect("complete");
        let turned = Region { center: [0.0, 1.0], side: 2.0, cos: 0.0, sin: 1.0 };
        assert_eq!(reds(&image, &turned, 2, Border::Replicate), [20.0, 40.0, 10.0, 30.0]);
    }
}
