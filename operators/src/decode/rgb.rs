//! 8-bit 4:2:0 → RGB in fixed point: the same bytes on every machine, which no scaler library promises.
//!
//! A chroma sample serves its 2 × 2 block of pixels. Matrix and range are those the stream states (BT.709 or
//! BT.601, full or limited); an unstated matrix counts as BT.601, an unstated range as limited.

use ffmpeg_next::color::{Range, Space};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::frame::Video;

use super::DecodeError;

/// Fixed-point factors, 16 fractional bits (ITU-R BT.601, BT.709).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Matrix {
    black: i32,
    luma: i32,
    red_v: i32,
    green_u: i32,
    green_v: i32,
    blue_u: i32,
}

impl Matrix {
    /// From the luma weights of red and blue.
    fn new(red: f64, blue: f64, full_range: bool) -> Self {
        let green = 1.0 - red - blue;
        let (black, luma_gain, chroma_gain) =
            if full_range { (0, 1.0, 1.0) } else { (16, 255.0 / 219.0, 255.0 / 224.0) };
        let fixed = |factor: f64| (factor * 65_536.0).round() as i32;
        Matrix {
            black,
            luma: fixed(luma_gain),
            red_v: fixed(2.0 * (1.0 - red) * chroma_gain),
            green_u: fixed(-2.0 * (1.0 - blue) * blue / green * chroma_gain),
            green_v: fixed(-2.0 * (1.0 - red) * red / green * chroma_gain),
            blue_u: fixed(2.0 * (1.0 - blue) * chroma_gain),
        }
    }

    fn of(picture: &Video) -> Result<Self, DecodeError> {
        let full_range = match picture.format() {
            Pixel::YUVJ420P => true,
            Pixel::YUV420P => picture.color_range() == Range::JPEG,
            _ => return Err(DecodeError::UnsupportedFormat),
        };
        Ok(match picture.color_space() {
            Space::BT709 => Matrix::new(0.2126, 0.0722, full_range),
            _ => Matrix::new(0.299, 0.114, full_range),
        })
    }
}

/// Fills `rgb` with the picture, rows from the top without padding.
pub(super) fn convert(picture: &Video, rgb: &mut Vec<u8>) -> Result<(), DecodeError> {
    let matrix = Matrix::of(picture)?;
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    if width == 0 || height == 0 {
        return Err(DecodeError::Corrupt);
    }
    rgb.resize(width * height * 3, 0);
    for (row, line) in rgb.chunks_exact_mut(width * 3).enumerate() {
        let plane_row = |plane: usize, row: usize, samples: usize| {
            let from = row * picture.stride(plane);
            &picture.data(plane)[from..from + samples]
        };
        let luma = plane_row(0, row, width);
        let u = plane_row(1, row / 2, width.div_ceil(2));
        let v = plane_row(2, row / 2, width.div_ceil(2));
        convert_row(&matrix, luma, u, v, line);
    }
    Ok(())
}

fn convert_row(matrix: &Matrix, luma: &[u8], u: &[u8], v: &[u8], line: &mut [u8]) {
    let (pairs, last) = luma.as_chunks::<2>();
    let (line_pairs, line_last) = line.as_chunks_mut::<6>();
    for (((&luma, line), &u), &v) in pairs.iter().zip(line_pairs).zip(u).zip(v) {
        let chroma = Chroma::of(matrix, u, v);
        let [[a, b, c], [d, e, f]] = luma.map(|y| chroma.pixel(matrix, y));
        *line = [a, b, c, d, e, f];
    }
    // A row of odd width ends in half a block.
    if let (&[y], &[.., u], &[.., v]) = (last, u, v) {
        line_last.copy_from_slice(&Chroma::of(matrix, u, v).pixel(matrix, y));
    }
}

/// What the chroma of one block adds to the luma of its pixels.
#[derive(Debug, Clone, Copy)]
struct Chroma {
    red: i32,
    green: i32,
    blue: i32,
}

// Factors have at most 19 bits and samples 9: nothing overflows, and the loop is spared the checks.
impl Chroma {
    fn of(matrix: &Matrix, u: u8, v: u8) -> Self {
        let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
        Chroma {
            red: matrix.red_v.wrapping_mul(v),
            green: matrix.green_u.wrapping_mul(u).wrapping_add(matrix.green_v.wrapping_mul(v)),
            blue: matrix.blue_u.wrapping_mul(u),
        }
    }

    fn pixel(self, matrix: &Matrix, y: u8) -> [u8; 3] {
        let y = i32::from(y).wrapping_sub(matrix.black).wrapping_mul(matrix.luma).wrapping_add(1 << 15);
        [self.red, self.green, self.blue].map(|chroma| (y.wrapping_add(chroma) >> 16).clamp(0, 255) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Converts one pixel.
    fn pixel(matrix: Matrix, y: u8, u: u8, v: u8) -> [u8; 3] {
        let mut line = [0; 3];
        convert_row(&matrix, &[y], &[u], &[v], &mut line);
        line
    }

    #[test]
    fn primaries_of_both_matrices_and_ranges() {
        let limited = Matrix::new(0.299, 0.114, false);
        assert_eq!(pixel(limited, 16, 128, 128), [0, 0, 0]);
        assert_eq!(pixel(limited, 235, 128, 128), [255, 255, 255]);
        assert_eq!(pixel(limited, 81, 90, 240), [254, 0, 0]);
        assert_eq!(pixel(limited, 255, 128, 128), [255, 255, 255], "above white saturates");
        let full = Matrix::new(0.299, 0.114, true);
        assert_eq!(pixel(full, 0, 128, 128), [0, 0, 0]);
        assert_eq!(pixel(full, 76, 85, 255), [254, 0, 0]);
        let high_definition = Matrix::new(0.2126, 0.0722, false);
        assert_eq!(pixel(high_definition, 63, 102, 240), [255, 1, 0]);
    }

    /// Every triple stays within one step of the same formula in floating point.
    #[test]
    fn fixed_point_equals_the_formula() {
        let matrix = Matrix::new(0.299, 0.114, false);
        for y in (0..=255u8).step_by(5) {
            for u in (0..=255u8).step_by(5) {
                for v in (0..=255u8).step_by(5) {
                    let [luma, cb, cr] = [(y, 16.0, 219.0), (u, 128.0, 224.0), (v, 128.0, 224.0)]
                        .map(|(value, zero, span)| (f64::from(value) - zero) * 255.0 / span);
                    let green = luma - (0.114 * 1.772 * cb + 0.299 * 1.402 * cr) / 0.587;
                    let ideal = [luma + 1.402 * cr, green, luma + 1.772 * cb];
                    for (got, ideal) in pixel(matrix, y, u, v).into_iter().zip(ideal) {
                        assert!((f64::from(got) - ideal.clamp(0.0, 255.0)).abs() <= 0.51, "{y} {u} {v}");
                    }
                }
            }
        }
    }

    #[test]
    fn odd_widths_use_the_last_chroma_sample() {
        let matrix = Matrix::new(0.299, 0.114, false);
        let mut line = [0; 9];
        convert_row(&matrix, &[235, 235, 81], &[128, 90], &[128, 240], &mut line);
        assert_eq!(line, [255, 255, 255, 255, 255, 255, 254, 0, 0]);
    }
}
