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
}
