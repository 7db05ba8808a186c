//! Which way up a stream is to be shown: its display orientation message (H.264 §D.2.26), by which phones say how they were held.
//!
//! It is read where a stream begins, with a key frame, and holds until the next one: the message of a later unit counts from the next key
//! frame on. Angles are rounded to quarter turns.

use serde::{Deserialize, Serialize};

use super::annex_b::payload_bits;
use super::bits::Bits;

/// The type of the message.
const DISPLAY_ORIENTATION: u64 = 47;

/// How a decoded picture becomes the one to be shown: mirrored first, then turned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Orientation {
    /// Left and right change places.
    mirrored: bool,
    /// Top and bottom change places.
    upside_down: bool,
    /// Quarter turns anticlockwise, 0 to 3.
    quarters: u8,
}

impl Orientation {
    /// That of the messages in the payload of a supplemental NAL unit; none if they say nothing of it.
    pub(super) fn read(payload: &[u8]) -> Option<Orientation> {
        let bits = &mut payload_bits(payload);
        loop {
            let (kind, length) = (number(bits)?, number(bits)?);
            if kind == DISPLAY_ORIENTATION {
                return Orientation::read_message(bits);
            }
            for _ in 0..length {
                bits.take(8)?;
            }
        }
    }

    fn read_message(bits: &mut Bits) -> Option<Orientation> {
        let cancelled = bits.take(1)? == 1;
        if cancelled {
            return Some(Orientation::default());
        }
        let (mirrored, upside_down) = (bits.take(1)? == 1, bits.take(1)? == 1);
        // In 65 536ths of a full turn.
        let quarters = ((bits.take(16)? + (1 << 13)) >> 14) % 4;
        Some(Orientation { mirrored, upside_down, quarters: quarters as u8 })
    }

    /// Brings a picture (`width` · `height` times red, green, blue) into the position to be shown; gives its new size.
    pub(super) fn apply(self, width: u32, height: u32, rgb: &mut Vec<u8>) -> (u32, u32) {
        if self == Orientation::default() {
            return (width, height);
        }
        let (columns, rows) = (width as usize, height as usize);
        let is_turned = self.quarters % 2 == 1;
        let shown = if is_turned { (height, width) } else { (width, height) };
        let (pixels, _) = rgb.as_chunks::<3>();
        let mut out = Vec::with_capacity(rgb.len());
        for y in 0..shown.1 as usize {
            for x in 0..shown.0 as usize {
                let (column, row) = match self.quarters {
                    0 => (x, y),
                    1 => (columns - 1 - y, x),
                    2 => (columns - 1 - x, rows - 1 - y),
                    _ => (y, rows - 1 - x),
                };
                let column = if self.mirrored { columns - 1 - column } else { column };
                let row = if self.upside_down { rows - 1 - row } else { row };
                out.extend(pixels[row * columns + column]);
            }
        }
        *rgb = out;
        shown
    }
}

/// A number of a message's header: as many 255 as fit, and the rest.
fn number(bits: &mut Bits) -> Option<u64> {
    let mut sum = 0;
    loop {
        let byte = bits.take(8)?;
        sum += byte;
        if byte < 255 {
            return Some(sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bits::tests::bytes;
    use super::*;

    /// A message of another type, and then one with these digits.
    fn said(digits: &str) -> Option<Orientation> {
        let body = bytes(digits);
        let mut payload = vec![5, 2, 0xaa, 0xbb, 47, body.len() as u8];
        payload.extend(body);
        payload.push(0x80);
        Orientation::read(&payload)
    }

    fn turned(quarters: u8) -> Orientation {
        Orientation { quarters, ..Orientation::default() }
    }

    #[test]
    fn messages_are_read_and_rounded_to_quarters() {
        // Not cancelled, no mirror, a quarter; the period and the extension flag behind it are not of interest.
        assert_eq!(said("0 0 0 0100000000000000 010 0"), Some(turned(1)));
        assert_eq!(said("0 0 0 1100000000000000 010 0"), Some(turned(3)));
        assert_eq!(said("0 0 0 0101111111111111 010 0"), Some(turned(1)));
        assert_eq!(said("0 0 0 1111111111111111 010 0"), Some(turned(0)), "a full turn is none");
        assert_eq!(
            said("0 1 0 0000000000000000 1 0").map(|o| (o.mirrored, o.upside_down)),
            Some((true, false))
        );
        assert_eq!(said("1"), Some(Orientation::default()));
        assert_eq!(Orientation::read(&[5, 1, 0, 0x80]), None, "another message");
        assert_eq!(Orientation::read(&[47, 3, 0]), None, "cut off");
        assert_eq!(Orientation::read(&[255, 255]), None);
        assert_eq!(Orientation::read(&[]), None);
    }

    /// A picture of 3 × 2: a b c over d e f.
    #[test]
    fn pictures_are_mirrored_and_then_turned() {
        let shown = |orientation: Orientation| {
            let mut rgb: Vec<u8> = b"abcdef".iter().flat_map(|&pixel| [pixel; 3]).collect();
            let size = orientation.apply(3, 2, &mut rgb);
            (size, String::from_utf8(rgb.into_iter().step_by(3).collect()).expect("letters"))
        };
        let mirrored = Orientation { mirrored: true, ..Orientation::default() };
        assert_eq!(shown(turned(0)), ((3, 2), "abcdef".into()));
        assert_eq!(shown(turned(1)), ((2, 3), "cfbead".into()));
        assert_eq!(shown(turned(2)), ((3, 2), "fedcba".into()));
        assert_eq!(shown(turned(3)), ((2, 3), "daebfc".into()));
        assert_eq!(shown(mirrored), ((3, 2), "cbafed".into()));
        assert_eq!(shown(Orientation { upside_down: true, ..turned(0) }), ((3, 2), "defabc".into()));
        assert_eq!(shown(Orientation { quarters: 1, ..mirrored }), ((2, 3), "adbecf".into()));
    }
}
