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
/// Bits that the two weights of a pixel add.
const WEIGHT_BITS: u32 = 2 * PLACE_BITS;

/// Fills `out` with the reds of `size` × `size` samples, row by row, then their greens, then their blues, each byte mapped
/// through `value_of`.
pub(super) fn crop(
    image: &RgbImage,
    region: &Region,
    size: usize,
    border: Border,
    value_of: impl Fn(u8) -> f32,
    out: &mut Vec<f32>,
) {
    let values: [f32; 256] = std::array::from_fn(|byte| value_of(byte as u8));
    let share = |at: usize| at as f64 / size as f64 - 0.5;
    let columns: Vec<[f64; 2]> = (0..size).map(|column| region.along(share(column))).collect();
    let [x_axis, y_axis] = [image.width(), image.height()].map(|pixels| Axis::new(pixels, border));
    let mut places = vec![[0; 2]; size];
    out.resize(size * size * 3, 0.0);
    let (reds, others) = out.split_at_mut(size * size);
    let (greens, blues) = others.split_at_mut(size * size);
    let [reds, greens, blues] = [reds, greens, blues].map(|plane| plane.chunks_exact_mut(size));
    for (row, ((reds, greens), blues)) in reds.zip(greens).zip(blues).enumerate() {
        // In a loop of its own, which takes several places at once.
        let down = region.across(share(row));
        for (place, along) in places.iter_mut().zip(&columns) {
            *place = [x_axis.place(along[0] + down[0]), y_axis.place(along[1] + down[1])];
        }
        for (((&[x, y], red), green), blue) in places.iter().zip(reds).zip(greens).zip(blues) {
            let pixel = sample(image, x_axis.pair(x), y_axis.pair(y), border);
            [*red, *green, *blue] = pixel.map(|byte| values[usize::from(byte)]);
        }
    }
}

/// Two neighbouring pixels of an axis, and how much of the second one a sample takes, in 1/32.
#[derive(Debug, Clone, Copy)]
struct Pair {
    first: i64,
    weight: u32,
}

/// How places along one axis of a picture become pairs of pixels. They are brought into a range first, beyond which every
/// sample is as at its end; with a replicated border every pair then lies inside (unless the picture is one pixel wide).
#[derive(Debug, Clone, Copy)]
struct Axis {
    low: f64,
    high: f64,
    last_pair: i64,
}

// Numbers are as small as the sides of a picture: nothing overflows, and the loops are spared the checks.
impl Axis {
    fn new(pixels: u32, border: Border) -> Axis {
        let pixels = i64::from(pixels);
        let range = |low: i64, high: i64| [low, high].map(|at| (at * PLACE_ONE) as f64);
        let ([low, high], last_pair) = match border {
            Border::Zero => (range(-1, pixels), pixels),
            Border::Replicate => (range(0, pixels - 1), pixels - 2),
        };
        Axis { low, high, last_pair }
    }

    /// A place in 1/32 pixel, within the range.
    #[inline(always)]
    fn place(&self, at: f64) -> i64 {
        let at = at * PLACE_ONE as f64;
        let at = if at > self.low { at } else { self.low };
        rounded(if at < self.high { at } else { self.high })
    }

    #[inline(always)]
    fn pair(&self, place: i64) -> Pair {
        let first = (place >> PLACE_BITS).min(self.last_pair);
        Pair { first, weight: place.wrapping_sub(first << PLACE_BITS) as u32 }
    }
}

/// The nearest whole number, of two the even one, for numbers below 2^51: the sum has no room for a fraction. Not every
/// x86-64 has an instruction for it.
#[inline(always)]
fn rounded(value: f64) -> i64 {
    const WHOLE: f64 = 6_755_399_441_055_744.0; // 1.5 · 2^52
    (value + WHOLE).to_bits().wrapping_sub(WHOLE.to_bits()) as i64
}

#[inline(always)]
fn sample(image: &RgbImage, x: Pair, y: Pair, border: Border) -> [u8; 3] {
    match image.square(x.first, y.first) {
        Some([upper, lower]) => mix(upper, lower, x.weight, y.weight),
        None => sample_at_border(image, x, y, border),
    }
}

/// A sample of which a pixel lies outside.
#[cold]
fn sample_at_border(image: &RgbImage, x: Pair, y: Pair, border: Border) -> [u8; 3] {
    let [upper, lower] = [y.first, y.first + 1].map(|y| {
        let [[a, b, c], [d, e, f]] = [x.first, x.first + 1].map(|x| pixel(image, x, y, border));
        [a, b, c, d, e, f]
    });
    mix(&upper, &lower, x.weight, y.weight)
}

/// Mixes two rows of two pixels. The four weights make 1024 together, so nothing overflows here either.
#[inline(always)]
fn mix(upper: &[u8; 6], lower: &[u8; 6], right: u32, bottom: u32) -> [u8; 3] {
    let lower_right = right.wrapping_mul(bottom);
    let upper_right = (right << PLACE_BITS).wrapping_sub(lower_right);
    let lower_left = (bottom << PLACE_BITS).wrapping_sub(lower_right);
    let upper_left = (1u32 << WEIGHT_BITS).wrapping_sub(right << PLACE_BITS).wrapping_sub(lower_left);
    std::array::from_fn(|channel| {
        let part = |row: &[u8; 6], at: usize, weight: u32| u32::from(row[at]).wrapping_mul(weight);
        let sum = part(upper, channel, upper_left)
            .wrapping_add(part(upper, channel + 3, upper_right))
            .wrapping_add(part(lower, channel, lower_left))
            .wrapping_add(part(lower, channel + 3, lower_right));
        (sum.wrapping_add(1 << (WEIGHT_BITS - 1)) >> WEIGHT_BITS) as u8
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
    use proptest::prelude::*;

    use super::*;

    /// The plain formula, sample by sample.
    fn formula(image: &RgbImage, region: &Region, size: usize, border: Border) -> Vec<f32> {
        let share = |at: usize| at as f64 / size as f64 - 0.5;
        let places = (0..size * size).map(|at| {
            let (along, across) = (share(at % size) * region.side, share(at / size) * region.side);
            let Region { center, cos, sin, .. } = region;
            [center[0] + along * cos - across * sin, center[1] + along * sin + across * cos]
        });
        let pixels: Vec<[u8; 3]> = places.map(|place| sample_at(image, place, border)).collect();
        (0..3).flat_map(|channel| pixels.iter().map(move |pixel| f32::from(pixel[channel]))).collect()
    }

    fn sample_at(image: &RgbImage, place: [f64; 2], border: Border) -> [u8; 3] {
        // `as` saturates, so a place far outside stays outside.
        let [x, y] = place.map(|at| (at * 32.0).round_ties_even() as i64);
        let square =
            [0, 1].map(|down| [0, 1].map(|right| pixel(image, (x >> 5) + right, (y >> 5) + down, border)));
        let mix = |from: u32, to: u32, at: i64| from * (32 - (at & 31) as u32) + to * (at & 31) as u32;
        std::array::from_fn(|channel| {
            let [upper, lower] =
                square.map(|[left, right]| mix(u32::from(left[channel]), u32::from(right[channel]), x));
            ((mix(upper, lower, y) + 512) >> 10) as u8
        })
    }

    fn noise(bytes: usize, seed: u32) -> Vec<u8> {
        let next = |state: &u32| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
        std::iter::successors(Some(seed), next).take(bytes).map(|state| (state >> 24) as u8).collect()
    }

    /// Regions of any turn: around a picture of some forty pixels, or anywhere. With halves, 32 samples a row and no turn, every
    /// other place lies just between two that can be told apart.
    fn region() -> impl Strategy<Value = Region> {
        let near = (-40.0..80.0, -40.0..80.0, 0.01..120.0);
        let halves = (-40i32..80, -40i32..80, 1i32..90);
        let halves =
            halves.prop_map(|(x, y, side)| (f64::from(x) / 2.0, f64::from(y) / 2.0, f64::from(side) / 2.0));
        let any = (-1e300..1e300, -1e12..1e12, 1e-300..1e300);
        let square = prop_oneof![near, halves, any];
        let turn = prop_oneof![
            Just([1.0, 0.0]),
            Just([0.0, -1.0]),
            (-3.2..3.2f64).prop_map(|turn| [turn.cos(), turn.sin()])
        ];
        (square, turn).prop_map(|((x, y, side), [cos, sin])| Region { center: [x, y], side, cos, sin })
    }

    proptest! {
        #[test]
        fn equals_the_formula_bit_for_bit(
            (width, height, seed) in (1u32..50, 1u32..50, any::<u32>()),
            region in region(),
            size in prop_oneof![1usize..40, Just(32)],
            border in prop_oneof![Just(Border::Zero), Just(Border::Replicate)],
        ) {
            let rgb = noise((width * height * 3) as usize, seed);
            let image = RgbImage::new(width, height, &rgb).expect("complete");
            let mut out = vec![1.0; 7];
            crop(&image, &region, size, border, f32::from, &mut out);
            prop_assert_eq!(out, formula(&image, &region, size, border));
        }
    }

    fn level(center: [f64; 2], side: f64) -> Region {
        Region { center, side, cos: 1.0, sin: 0.0 }
    }

    fn reds(image: &RgbImage, region: &Region, size: usize, border: Border) -> Vec<f32> {
        let mut out = Vec::new();
        crop(image, region, size, border, f32::from, &mut out);
        out.truncate(size * size);
        out
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
