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
pub(super) mod tests {
    use super::*;

    /// Bytes from binary digits in groups of any size; filled up with zeros.
    pub(in super::super) fn bytes(digits: &str) -> Vec<u8> {
        let digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0').collect();
        let byte = |bits: &[u8]| bits.iter().enumerate().map(|(at, bit)| bit << (7 - at)).sum();
        digits.chunks(8).map(byte).collect()
    }

    #[test]
    fn exp_golomb_numbers() {
        let mut bits = Bits::new(bytes("1 010 011 00100 00101"));
        let numbers: Vec<_> = (0..4).map_while(|_| bits.unsigned()).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
        assert_eq!(bits.signed(), Some(-2));
    }

    #[test]
    fn the_end_is_no_number() {
        assert_eq!(Bits::new(vec![0; 9]).unsigned(), None);
        assert_eq!(Bits::new(bytes("0001 000")).unsigned(), Some(7));
        assert_eq!(Bits::new(bytes("00001 000")).unsigned(), None);
        assert_eq!(Bits::new(vec![]).take(1), None);
        assert_eq!(Bits::new(vec![]).take(0), Some(0));
    }
}
