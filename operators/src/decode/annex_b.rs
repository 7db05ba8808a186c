//! What an access unit is, judged before the decoder sees it: its kind, its size, what is missing before it.

use serde::{Deserialize, Serialize};

use super::DecodeError;
use super::bits::Bits;
use super::orientation::Orientation;
use super::parameters::Sequence;

/// What an access unit is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnitKind {
    /// An IDR picture with its parameter sets: decoding may begin here, and what it leads to is shown this way up.
    Start(Orientation),
    /// Any other picture.
    Follow,
}

/// NAL unit types (H.264 table 7-1).
const SLICE: u8 = 1;
const IDR_SLICE: u8 = 5;
const SUPPLEMENT: u8 = 6;
const SEQUENCE_PARAMETERS: u8 = 7;
const PICTURE_PARAMETERS: u8 = 8;

/// Follows one stream from unit to unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Inspector {
    sequence: Option<Sequence>,
    /// Frame number of the last picture that others may refer to.
    reference: Option<u64>,
}

impl Inspector {
    /// Looks at the NAL units of `unit`; refuses what is no picture, is larger than `max_pixels` coded
    /// pixels, has another pixel format, or refers to a picture that never came (a gap in the frame numbers,
    /// H.264 §7.4.3).
    pub(super) fn inspect(&mut self, unit: &[u8], max_pixels: u32) -> Result<UnitKind, DecodeError> {
        let (mut sequence, mut parameters, mut first_slice) = (false, false, None);
        let mut orientation = None;
        for nal in nal_units(unit).ok_or(DecodeError::NotAnnexB)? {
            let Some((&header, payload)) = nal.split_first() else { continue };
            let forbidden_bit = header & 0x80 != 0;
            if forbidden_bit {
                return Err(DecodeError::Corrupt);
            }
            match header & 0x1f {
                // Types 2 to 4 are partitions of a slice (extended profile).
                SLICE..=IDR_SLICE => first_slice = first_slice.or(Some((header, payload))),
                SEQUENCE_PARAMETERS => {
                    let read = Sequence::read(payload).ok_or(DecodeError::Corrupt)?;
                    read.check(max_pixels)?;
                    self.sequence = Some(read);
                    sequence = true;
                }
                PICTURE_PARAMETERS => parameters = true,
                SUPPLEMENT => orientation = orientation.or_else(|| Orientation::read(payload)),
                _ => {}
            }
        }
        let (header, payload) = first_slice.ok_or(DecodeError::NoPicture)?;
        let idr = header & 0x1f == IDR_SLICE;
        if idr {
            self.reference = None;
        }
        self.follow(header, payload)?;
        Ok(match idr && sequence && parameters {
            true => UnitKind::Start(orientation.unwrap_or_default()),
            false => UnitKind::Follow,
        })
    }

    /// Checks the frame number of a slice against the last reference picture.
    fn follow(&mut self, header: u8, payload: &[u8]) -> Result<(), DecodeError> {
        let Some(sequence) = &self.sequence else { return Ok(()) };
        let number = sequence.frame_number(payload).ok_or(DecodeError::Corrupt)?;
        let follows = self.reference.is_none_or(|last| sequence.follows(last, number));
        let is_reference = header & 0x60 != 0;
        if is_reference {
            self.reference = Some(number);
        }
        if follows { Ok(()) } else { Err(DecodeError::MissingReference) }
    }
}

/// The NAL units between the start codes; `None` when the bytes do not begin with one.
fn nal_units(unit: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let zeros = unit.iter().take_while(|&&byte| byte == 0).count();
    if zeros < 2 || unit.get(zeros) != Some(&1) {
        return None;
    }
    let mut rest = Some(&unit[zeros + 1..]);
    Some(std::iter::from_fn(move || {
        let current = rest?;
        let next_start = current.windows(3).position(|bytes| bytes == [0, 0, 1]);
        rest = next_start.map(|at| &current[at + 3..]);
        Some(&current[..next_start.unwrap_or(current.len())])
    }))
}

/// Bits of a NAL unit's payload, without the bytes that only keep start codes apart (H.264 §7.4.1.1).
pub(super) fn payload_bits(payload: &[u8]) -> Bits {
    /// Nothing behind this many bytes of a header is of interest here; an encoder's own remarks may stand before what is.
    const MAX_HEADER_BYTES: usize = 4_096;
    let mut bytes = Vec::with_capacity(payload.len().min(MAX_HEADER_BYTES));
    let mut zeros = 0;
    for &byte in payload.iter().take(MAX_HEADER_BYTES) {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        bytes.push(byte);
    }
    Bits::new(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_told_apart() {
        let check = |bytes: &[u8], expected| {
            assert_eq!(Inspector::default().inspect(bytes, 1_000_000), expected, "{bytes:?}");
        };
        check(&[0, 0, 1, 0x65, 9], Ok(UnitKind::Follow));
        check(&[0, 0, 0, 1, 0x09, 0xf0, 0, 0, 1, 0x41, 9], Ok(UnitKind::Follow));
        check(&[0, 0, 1, 0x68, 9], Err(DecodeError::NoPicture));
        check(&[0, 0, 1], Err(DecodeError::NoPicture));
        check(&[0, 0, 1, 0xe5, 9], Err(DecodeError::Corrupt));
        check(&[0, 0, 1, 0x67, 66, 0, 0, 1, 0x68, 9, 0, 0, 1, 0x65, 9], Err(DecodeError::Corrupt));
        check(&[], Err(DecodeError::NotAnnexB));
        check(&[0, 1, 0x65], Err(DecodeError::NotAnnexB));
        check(&[0, 0, 0, 12, 0x65, 1], Err(DecodeError::NotAnnexB));
    }

    #[test]
    fn emulation_prevention_is_taken_out() {
        let mut bits = payload_bits(&[0, 0, 3, 1, 0, 0, 3]);
        assert_eq!((bits.take(32), bits.take(8), bits.take(1)), (Some(0x0000_0100), Some(0), None));
    }
}
