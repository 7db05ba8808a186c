//! A borrowed RGB picture that is known to be complete.

/// Rows from the top, red, green, blue, no padding.
#[derive(Debug, Clone, Copy)]
pub struct RgbImage<'a> {
    width: u32,
    height: u32,
    rgb: &'a [u8],
}

impl<'a> RgbImage<'a> {
    /// `None` when the picture is empty or `rgb` does not hold exactly `width · height` pixels.
    pub fn new(width: u32, height: u32, rgb: &'a [u8]) -> Option<Self> {
        let bytes = (width as usize).checked_mul(height as usize)?.checked_mul(3)?;
        (bytes > 0 && bytes == rgb.len()).then_some(RgbImage { width, height, rgb })
    }

    /// Pixels per row.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Width and height in pixels, for geometry.
    pub(super) fn size(&self) -> [f64; 2] {
        [f64::from(self.width), f64::from(self.height)]
    }

    /// The pixel at a place inside the picture.
    pub(super) fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        let at = (y * self.width as usize + x) * 3;
        [self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]]
    }

    /// Two rows of two pixels whose first one is at a place; `None` unless all lie inside.
    #[inline(always)]
    pub(super) fn square(&self, x: i64, y: i64) -> Option<[&[u8; 6]; 2]> {
        let inside = |at: i64, size: u32| at >= 0 && at < i64::from(size) - 1;
        if !(inside(x, self.width) && inside(y, self.height)) {
            return None;
        }
        // Inside, so all of it is below the length, which is a `usize`.
        let row = 3 * self.width as usize;
        let first = (y as usize).wrapping_mul(row).wrapping_add((x as usize).wrapping_mul(3));
        let both = self.rgb.get(first..first.wrapping_add(row).wrapping_add(6))?;
        Some([both.first_chunk()?, both.last_chunk()?])
    }
}
