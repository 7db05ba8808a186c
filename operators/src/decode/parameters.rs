//! The sequence parameter set as far as it is needed: size, pixel format, frame numbers (H.264 §7.3.2.1.1).

use serde::{Deserialize, Serialize};

use super::DecodeError;
use super::annex_b::payload_bits;
use super::bits::Bits;

/// What a sequence parameter set says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sequence {
    /// Coded size in pixels, before cropping.
    width: u64,
    height: u64,
    eight_bit_420: bool,
    frame_number_bits: u32,
    /// The encoder leaves out frame numbers on purpose, so a gap says nothing.
    gaps_allowed: bool,
}

impl Sequence {
    /// Reads the payload of a parameter set; `None` when it ends early or holds an impossible number.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let bits = &mut payload_bits(payload);
        let profile = bits.take(8)?;
        bits.take(16)?; // constraint flags and level
        bits.unsigned()?; // identifier
        let with_format =
            matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135);
        let eight_bit_420 = if with_format { read_format(bits)? } else { true };
        let frame_number_bits =
            u32::try_from(bits.unsigned()?.checked_add(4)?).ok().filter(|&bits| bits <= 16)?;
        skip_picture_order(bits)?;
        bits.unsigned()?; // reference frames
        let gaps_allowed = bits.take(1)? == 1;
        let width = (bits.unsigned()? + 1) * 16;
        let map_units = bits.unsigned()? + 1;
        let fields = 2 - bits.take(1)?;
        Some(Sequence {
            width,
            height: map_units * fields * 16,
            eight_bit_420,
            frame_number_bits,
            gaps_allowed,
        })
    }

    /// Refuses pictures of more than `max_pixels` coded pixels and formats that are not converted here.
    pub(super) fn check(&self, max_pixels: u32) -> Result<(), DecodeError> {
        if self.width.saturating_mul(self.height) > u64::from(max_pixels) {
            return Err(DecodeError::TooLarge);
        }
        if self.eight_bit_420 { Ok(()) } else { Err(DecodeError::UnsupportedFormat) }
    }

    /// The frame number in the header of a slice (§7.3.3).
    pub(super) fn frame_number(&self, slice: &[u8]) -> Option<u64> {
        let bits = &mut payload_bits(slice.get(..32).unwrap_or(slice));
        bits.unsigned()?; // first macroblock
        bits.unsigned()?; // slice type
        bits.unsigned()?; // picture parameter set
        bits.take(self.frame_number_bits)
    }

    /// Whether `number` may come next when the last reference picture had number `last`.
    pub(super) fn follows(&self, last: u64, number: u64) -> bool {
        self.gaps_allowed || number == last || number == (last + 1) % (1 << self.frame_number_bits)
    }
}

/// Reads the part that only the high profiles have: whether the pixels are 8-bit 4:2:0.
fn read_format(bits: &mut Bits) -> Option<bool> {
    let chroma_format = bits.unsigned()?;
    if chroma_format == 3 {
        bits.take(1)?; // separate planes
    }
    let extra_luma_bits = bits.unsigned()?;
    let extra_chroma_bits = bits.unsigned()?;
    bits.take(1)?; // transform bypass
    let with_scaling = bits.take(1)? == 1;
    if with_scaling {
        for list in 0..if chroma_format == 3 { 12 } else { 8 } {
            if bits.take(1)? == 1 {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some((chroma_format, extra_luma_bits, extra_chroma_bits) == (1, 0, 0))
}

fn skip_scaling_list(bits: &mut Bits, entries: u32) -> Option<()> {
    let (mut last, mut next) = (8i64, 8i64);
    for _ in 0..entries {
        if next != 0 {
            next = (last + bits.signed()?).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

fn skip_picture_order(bits: &mut Bits) -> Option<()> {
    match bits.unsigned()? {
        0 => {
            bits.unsigned()?;
        }
        1 => {
            bits.take(1)?;
            bits.unsigned()?;
            bits.unsigned()?;
            let cycle = bits.unsigned()?;
            for _ in 0..cycle.min(255) {
                bits.unsigned()?;
            }
        }
        _ => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::bits::tests::bytes;
    use super::*;

    /// Profile 66, level 3.0: identifier 0, frame numbers of 4 bits, order type 2, 1 reference, no gaps, 40 ×
    /// 30 macroblocks, frames only.
    const BASELINE: &str = "01000010 00000000 00011110 1 1 011 010 0 00000101000 000011110 1";

    #[test]
    fn baseline_size_is_read_and_limited() {
        let sequence = Sequence::read(&bytes(BASELINE)).expect("complete");
        assert_eq!((sequence.width, sequence.height, sequence.frame_number_bits), (640, 480, 4));
        assert_eq!(sequence.check(640 * 480), Ok(()));
        assert_eq!(sequence.check(640 * 480 - 1), Err(DecodeError::TooLarge));
        assert_eq!(Sequence::read(&bytes(BASELINE)[..5]), None);
    }

    #[test]
    fn frame_numbers_count_up_and_wrap() {
        let sequence = Sequence::read(&bytes(BASELINE)).expect("complete");
        assert!(sequence.follows(3, 3) && sequence.follows(3, 4) && sequence.follows(15, 0));
        assert!(!sequence.follows(3, 5) && !sequence.follows(3, 2));
        assert_eq!(sequence.frame_number(&bytes("1 1 1 0101")), Some(5));
        assert_eq!(sequence.frame_number(&[]), None);
    }
}
