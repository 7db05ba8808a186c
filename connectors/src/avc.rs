//! H.264 as Matroska carries it (length-prefixed, parameter sets apart) to access units in Annex B form.

use bytes::{BufMut, Bytes};

/// What Matroska calls this codec.
pub(crate) const CODEC: &str = "V_MPEG4/ISO/AVC";

const START_CODE: [u8; 4] = [0, 0, 0, 1];
const NAL_IDR: u8 = 5;
const NAL_SPS: u8 = 7;

/// One frame, ready to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Whether decoding can start here; if so, the parameter sets stand in front.
    pub key_frame: bool,
    /// The access unit, Annex B.
    pub bytes: Bytes,
}

/// An `AVCDecoderConfigurationRecord`: how long length fields are, and the parameter sets.
#[derive(Clone, Debug)]
pub(crate) struct DecoderConfig {
    length_bytes: usize,
    /// The parameter sets in Annex B form.
    parameters: Vec<u8>,
}

impl DecoderConfig {
    pub(crate) fn parse(avcc: &[u8]) -> Option<DecoderConfig> {
        let (head, mut rest) = avcc.split_at_checked(5)?;
        if head[0] != 1 {
            return None;
        }
        let length_bytes = usize::from(head[4] & 3) + 1;
        let mut parameters = Vec::new();
        // First the sequence, then the picture parameter sets.
        for mask in [0x1f, 0xff] {
            let (count, after) = rest.split_first()?;
            rest = after;
            for _ in 0..count & mask {
                let (length, after) = rest.split_first_chunk::<2>()?;
                let (nal, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
                parameters.put_slice(&START_CODE);
                parameters.put_slice(nal);
                rest = after;
            }
        }
        Some(DecoderConfig { length_bytes, parameters })
    }

    /// One length-prefixed access unit in Annex B form.
    pub(crate) fn unit(&self, data: &[u8]) -> Option<Unit> {
        let mut rest = data;
        let mut nals = Vec::new();
        while !rest.is_empty() {
            let (length, after) = rest.split_at_checked(self.length_bytes)?;
            let length = length.iter().fold(0usize, |length, byte| length << 8 | usize::from(*byte));
            let (nal, after) = after.split_at_checked(length)?;
            rest = after;
            if !nal.is_empty() {
                nals.push(nal);
            }
        }
        let kind = |nal: &&[u8]| nal[0] & 0x1f;
        let key_frame = nals.iter().any(|nal| kind(nal) == NAL_IDR);
        let brings_its_own = nals.iter().any(|nal| kind(nal) == NAL_SPS);
        let mut bytes = Vec::with_capacity(data.len() + self.parameters.len() + nals.len() * 4);
        if key_frame && !brings_its_own {
            bytes.put_slice(&self.parameters);
        }
        for nal in &nals {
            bytes.put_slice(&START_CODE);
            bytes.put_slice(nal);
        }
        (!nals.is_empty()).then(|| Unit { key_frame, bytes: Bytes::from(bytes) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AVCC: [u8; 14] = [1, 100, 0, 30, 0xff, 0xe1, 0, 2, 0x67, 9, 1, 0, 1, 0x68];

    #[test]
    fn a_key_frame_gets_its_parameter_sets_and_others_do_not() {
        let config = DecoderConfig::parse(&AVCC).expect("a configuration");
        let key = config.unit(&[0, 0, 0, 2, 0x65, 1, 0, 0, 0, 1, 0x06]).expect("a unit");
        assert!(key.key_frame);
        let annex_b = [0, 0, 0, 1, 0x67, 9, 0, 0, 0, 1, 0x68, 0, 0, 0, 1, 0x65, 1, 0, 0, 0, 1, 0x06];
        assert_eq!(key.bytes.as_ref(), annex_b);
        let other = config.unit(&[0, 0, 0, 2, 0x41, 1]).expect("a unit");
        assert!(!other.key_frame);
        assert_eq!(other.bytes.as_ref(), [0, 0, 0, 1, 0x41, 1]);
        assert!(config.unit(&[0, 0, 0, 9, 0x41]).is_none(), "a length past the end");
        assert!(config.unit(&[]).is_none());
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(
            avcc in prop::collection::vec(any::<u8>(), 0..40),
            data in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            if let Some(config) = DecoderConfig::parse(&avcc) {
                let _ = config.unit(&data);
            }
        }
    }
}
