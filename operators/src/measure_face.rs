//! Video of one session → one mouth/eye ratio per frame (mathematics §5): decoder, tracker and ratio joined.

use lsie_schemas::record::NoAnswer;
use serde::{Deserialize, Serialize};

use crate::au12::raw_ratio;
use crate::decode::{DecodeError, DecoderState, Frame, H264Decoder};
use crate::face::{FaceModels, FaceTracker, Landmarks, RgbImage};
use crate::runtime::ModelError;

/// Reason of a frame that shows no face.
pub const NO_FACE: &str = "no_face";
/// Reason of a face whose eyes are too close together to measure against.
pub const NO_GEOMETRY: &str = "no_geometry";

/// What one frame shows. No coordinates are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// The capture time given with the frame's access unit, µs.
    pub capture_us: i64,
    /// Raw mouth width over eye distance; none without face or geometry.
    pub ratio: Option<f64>,
    /// Whether a face was found.
    pub present: bool,
    /// Why there is no ratio.
    pub reason: Option<&'static str>,
}

/// What became of one access unit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pushed {
    /// The frames that became ready, in display order; with B-frames they belong to earlier units. A refused
    /// unit may bring frames too: those that were held back before it.
    pub measured: Vec<Measured>,
    /// Why the unit itself was refused and is to be filed.
    pub rejected: Option<&'static str>,
}

/// Measures the video stream of one session. Owns no model: those are lent, so that many sessions share them.
pub struct FaceMeter {
    decoder: H264Decoder,
    tracker: FaceTracker,
}

/// What of a meter a checkpoint may hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeterState {
    decoder: DecoderState,
    tracker: FaceTracker,
}

impl FaceMeter {
    /// A meter that refuses pictures of more than `max_pixels` coded pixels.
    pub fn new(max_pixels: u32) -> Result<Self, DecodeError> {
        Ok(FaceMeter { decoder: H264Decoder::new(max_pixels)?, tracker: FaceTracker::default() })
    }

    /// What a checkpoint may hold: where the face was, and nothing of a picture.
    pub fn state(&self) -> MeterState {
        MeterState { decoder: self.decoder.state(), tracker: self.tracker.clone() }
    }

    /// A meter as it was when `state` was taken, once [`FaceMeter::feed_again`] has had the units that it had
    /// taken of those that [`FaceMeter::fed`] spanned.
    pub fn resumed(max_pixels: u32, state: MeterState) -> Result<Self, DecodeError> {
        Ok(FaceMeter { decoder: H264Decoder::resumed(max_pixels, state.decoder)?, tracker: state.tracker })
    }

    /// `capture_us` of the first unit that the meter depends on, a key frame, and of the last it took.
    pub fn fed(&self) -> Option<(i64, i64)> {
        self.decoder.fed()
    }

    /// Takes a unit again; the frames it brings out have been measured.
    pub fn feed_again(&mut self, access_unit: &[u8], capture_us: i64) -> Result<(), DecodeError> {
        self.decoder.feed_again(access_unit, capture_us)
    }

    /// Takes the next access unit (Annex B). `capture_us` comes back unchanged with the frame of this unit.
    pub fn push(
        &mut self,
        access_unit: &[u8],
        capture_us: i64,
        key_frame: bool,
        models: &mut FaceModels,
    ) -> Pushed {
        match self.decoder.decode(access_unit, capture_us, key_frame) {
            Ok(frames) => Pushed { measured: self.measure(frames, models), rejected: None },
            Err(DecodeError::NoPicture) => {
                Pushed { measured: Vec::new(), rejected: Some(DecodeError::NoPicture.reason()) }
            }
            // What was decoded before the error is still good; behind the gap the face may be anywhere.
            Err(error) => Pushed { measured: self.gap(models), rejected: Some(error.reason()) },
        }
    }

    /// Says that units are missing before the next one: what follows waits for a key frame, and the face is
    /// searched anew. Gives the frames still held back.
    pub fn gap(&mut self, models: &mut FaceModels) -> Vec<Measured> {
        let measured = self.finish(models);
        self.tracker.reset();
        measured
    }

    /// Measures the frames still held back for reordering.
    pub fn finish(&mut self, models: &mut FaceModels) -> Vec<Measured> {
        let frames = self.decoder.finish();
        self.measure(frames, models)
    }

    fn measure(&mut self, frames: Vec<Frame>, models: &mut FaceModels) -> Vec<Measured> {
        frames
            .into_iter()
            .map(|frame| {
                let measured = measure_frame(&frame, &mut self.tracker, &mut |image, tracker| {
                    tracker.track(image, models)
                });
                self.decoder.recycle(frame);
                measured
            })
            .collect()
    }
}

/// What a tracker says of a picture.
type Found = Result<Option<Landmarks>, ModelError>;

/// A model that fails on a frame is asked once more; one that fails again has no result for it, and the face is searched
/// anew in the next frame.
fn measure_frame(
    frame: &Frame,
    tracker: &mut FaceTracker,
    track: &mut dyn FnMut(&RgbImage, &mut FaceTracker) -> Found,
) -> Measured {
    let landmarks = match RgbImage::new(frame.width, frame.height, &frame.rgb) {
        Some(image) => {
            let before = tracker.clone();
            track(&image, tracker).or_else(|_| {
                *tracker = before;
                track(&image, tracker)
            })
        }
        None => Ok(None),
    };
    let capture_us = frame.capture_us;
    let Ok(landmarks) = landmarks else {
        tracker.reset();
        return Measured {
            capture_us,
            ratio: None,
            present: false,
            reason: Some(NoAnswer::ModelError.code()),
        };
    };
    let ratio = landmarks.as_ref().and_then(|landmarks| raw_ratio(&landmarks.au12()));
    let reason = match (&landmarks, ratio) {
        (None, _) => Some(NO_FACE),
        (Some(_), None) => Some(NO_GEOMETRY),
        (Some(_), Some(_)) => None,
    };
    Measured { capture_us, ratio, present: landmarks.is_some(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is measured of a frame when the first so many runs of the models fail, and how many runs there were.
    fn measured(failures: usize) -> (Measured, usize) {
        let frame = Frame { capture_us: 7, width: 2, height: 2, rgb: vec![0; 12] };
        let mut runs = 0;
        let measured = measure_frame(&frame, &mut FaceTracker::default(), &mut |_, tracker| {
            assert_eq!(*tracker, FaceTracker::default(), "as it was before");
            runs += 1;
            let failed = ModelError::Failed { model: "face", reason: "as made".into() };
            if runs <= failures { Err(failed) } else { Ok(None) }
        });
        (measured, runs)
    }

    #[test]
    fn a_model_that_fails_twice_has_no_result_and_says_so() {
        let of = |reason| Measured { capture_us: 7, ratio: None, present: false, reason: Some(reason) };
        assert_eq!(measured(0), (of(NO_FACE), 1));
        assert_eq!(measured(1), (of(NO_FACE), 2));
        assert_eq!(measured(2), (of(NoAnswer::ModelError.code()), 2));
    }
}
