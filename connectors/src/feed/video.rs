//! `video.mkv`: H.264 access units in Annex B form, parameter sets in front of every key frame.

use std::io::Cursor;

use bytes::{BufMut, Bytes};
use matroska_demuxer::{Frame, MatroskaFile, TrackType};

const START_CODE: [u8; 4] = [0, 0, 0, 1];
const CODEC: &str = "V_MPEG4/ISO/AVC";
const NAL_IDR: u8 = 5;
const NAL_SPS: u8 = 7;

/// One frame, ready to be appended.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) key_frame: bool,
    pub(super) bytes: Bytes,
}

/// A video track as the script describes it.
pub(super) struct Expected {
    pub(super) width: u64,
    pub(super) height: u64,
    pub(super) fps: u32,
}

/// The access units of the file's H.264 track, one per frame, at a constant rate.
pub(super) fn units(file: Bytes, expected: &Expected) -> Result<Vec<Unit>, String> {
    let mut mkv = MatroskaFile::open(Cursor::new(file)).map_err(|e| format!("is no Matroska file: {e}"))?;
    let scale_ns = mkv.info().timestamp_scale().get();
    let track = mkv.tracks().iter().find(|track| track.track_type() == TrackType::Video);
    let track = track.ok_or("has no video track")?;
    if track.codec_id() != CODEC {
        return Err(format!("has codec {}, must be {CODEC}", track.codec_id()));
    }
    let size = track.video().map(|video| (video.pixel_width().get(), video.pixel_height().get()));
    if size != Some((expected.width, expected.height)) {
        return Err(format!("shows {size:?}, the script says {}x{}", expected.width, expected.height));
    }
    let avcc = track.codec_private().ok_or("has no decoder configuration")?;
    let config = DecoderConfig::parse(avcc).ok_or("has a damaged decoder configuration")?;
    let number = track.track_number().get();
    let mut units = Vec::new();
    let mut frame = Frame::default();
    while mkv.next_frame(&mut frame).map_err(|e| format!("is damaged: {e}"))? {
        if frame.track != number {
            continue;
        }
        let i = units.len() as u64;
        let millis = frame.timestamp.saturating_mul(scale_ns) / 1_000_000;
        let due = i * 1000 / u64::from(expected.fps);
        if millis.abs_diff(due) > 2 {
            return Err(format!(
                "has frame {i} at {millis} ms, {} frames per second want {due}",
                expected.fps
            ));
        }
        units.push(config.unit(&frame.data).ok_or_else(|| format!("has a damaged frame {i}"))?);
    }
    match units.first() {
        None => Err("has no frame".into()),
        Some(first) if !first.key_frame => Err("does not begin with a key frame".into()),
        Some(_) => Ok(units),
    }
}

/// An `AVCDecoderConfigurationRecord`: how long length fields are, and the parameter sets.
struct DecoderConfig {
    length_bytes: usize,
    /// The parameter sets in Annex B form.
    parameters: Vec<u8>,
}

impl DecoderConfig {
    fn parse(avcc: &[u8]) -> Option<DecoderConfig> {
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
    fn unit(&self, data: &[u8]) -> Option<Unit> {
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
            let expected = Expected { width: 1, height: 1, fps: 30 };
            let _ = units(Bytes::from(data), &expected);
        }
    }
}
