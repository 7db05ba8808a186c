//! A reader of bits and Exp-Golomb numbers (H.264 §9.1); every read is `None` once the bits run out.

/// Bytes, read from the highest bit of the first one.
#[derive(Debug)]
pub(super) struct Bits {
    bytes: Vec<u8>,
    position: usize,
}

impl Bits {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Bits { bytes, position: 0 }
    }

    /// The next `count` ≤ 64 bits as a number.
    pub(super) fn take(&mut self, count: u32) -> Option<u64> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.position / 8)?;
            value = value << 1 | u64::from(byte >> (7 - self.position % 8) & 1);
            self.position += 1;
        }
        Some(value)
    }

    /// An unsigned Exp-Golomb number of at most 32 bits.
    pub(super) fn unsigned(&mut self) -> Option<u64> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > 32 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.take(zeros)?)
    }

    /// A signed Exp-Golomb number: 0, 1, −1, 2, −2, …
    pub(super) fn signed(&mut self) -> Option<i64> {
        let code = self.unsigned()? as i64;
        Some(if code % 2 == 1 { code / 2 + 1 } else { -(code / 2) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_numbers() {
        let mut bits = Bits::new(vec![0b1_010_011_0, 0b0100_0010, 0b1_1000000]);
        let numbers: Vec<_> = (0..4).map_while(|_| bits.unsigned()).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
        assert_eq!(bits.signed(), Some(-2));
    }

    #[test]
    fn the_end_is_no_number() {
        assert_eq!(Bits::new(vec![0; 9]).unsigned(), None);
        assert_eq!(Bits::new(vec![0b0001_0000]).unsigned().map(|_| ()), Some(()));
        assert_eq!(Bits::new(vec![0b0000_0001]).unsigned(), None);
        assert_eq!(Bits::new(vec![]).take(1), None);
        assert_eq!(Bits::new(vec![]).take(0), Some(0));
    }
}
