//! What was said: the transcript of a stretch of sound, word by word with its place in it (mathematics §10).
//!
//! A [`Transcriber`] turns samples into words; which model does so is its affair. Sound is 16 kHz, mono, 16
//! bit, and stays in memory.

pub mod activity;
mod ctc;
mod mel;
mod voiced;
mod whisper;

use crate::runtime::ModelError;

pub use self::ctc::DemoSpeech;
pub use self::mel::{FRAME_SAMPLES, LogMel};
pub use self::voiced::Voiced;
pub use self::whisper::{Whisper, WhisperSettings};

/// Sampling rate of the input, Hz (mathematics §4).
pub const SAMPLE_HZ: usize = 16_000;
/// Longest sound that is taken at once: ten minutes.
pub const MOST_SAMPLES: usize = 600 * SAMPLE_HZ;

/// One word and where it was said.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    /// The word as the model writes it, without spaces.
    pub text: String,
    /// Sample of the input at which it begins.
    pub from: usize,
    /// Sample of the input before which it ends.
    pub to: usize,
    /// How sure the model is, in [0, 1].
    pub confidence: f64,
}

/// What was heard in a stretch of sound.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heard {
    /// The words, joined by spaces; empty when nothing was said.
    pub text: String,
    /// ISO 639-1 code of the language; empty when nothing was said and the model does not know.
    pub language: String,
    /// The words in their order.
    pub words: Vec<Word>,
}

/// Why a stretch of sound has no transcript.
#[derive(Debug, thiserror::Error)]
pub enum SpeechError {
    /// More samples than [`MOST_SAMPLES`].
    #[error("{samples} samples at once, at most {MOST_SAMPLES} are taken")]
    TooLong {
        /// How many there are.
        samples: usize,
    },
    /// The model failed on this input, or gave what is no transcript.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// A model of speech. One per thread.
pub trait Transcriber: Send {
    /// What is said in `samples`, 16 kHz. Silence, and sound too short to hold a word, is an empty transcript.
    fn transcribe(&mut self, samples: &[i16]) -> Result<Heard, SpeechError>;

    /// Name, version and hash of the model and the fingerprint of the runtime: what a recorded transcript
    /// depends on, besides the sound.
    fn model(&self) -> &str;
}

/// Refuses what is longer than a transcriber takes.
fn check_length(samples: &[i16]) -> Result<(), SpeechError> {
    match samples.len() {
        samples if samples > MOST_SAMPLES => Err(SpeechError::TooLong { samples }),
        _ => Ok(()),
    }
}
