//! `video.mkv`: H.264 access units in Annex B form, parameter sets in front of every key frame.

use std::io::Cursor;

use bytes::Bytes;
use matroska_demuxer::{Frame, MatroskaFile, TrackType};

use crate::avc::{CODEC, DecoderConfig, Unit};

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(
            data in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let expected = Expected { width: 1, height: 1, fps: 30 };
            let _ = units(Bytes::from(data), &expected);
        }
    }
}
