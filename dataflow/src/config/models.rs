//! The sections of models: which run, who runs them, and the language model.

use std::path::PathBuf;

use anyhow::ensure;
use serde::Deserialize;

use super::positive;

/// Section `[models]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelsConfig {
    /// Folder; empty: the cache.
    pub folder: String,
    /// Who runs the models.
    pub provider: Provider,
    /// The runtime with the CUDA provider.
    pub cuda_library: PathBuf,
    /// What to do where it finds no GPU.
    pub without_cuda: WithoutCuda,
    /// Largest picture, pixels.
    pub max_pixels: u32,
    /// Directory of a Whisper model; empty: the demo's model.
    pub speech: String,
    /// Language of the speech; empty: found out.
    pub language: String,
    /// Beams of the Whisper model.
    pub beams: usize,
    /// `sentence_model`, `token_overlap`, `language_model`, or the directory of a cross-encoder.
    pub scorer: String,
    /// Whether the scorer is also asked about reduced utterances.
    pub reduced: bool,
    /// A local one, beside it and without effect; empty: none.
    pub shadow: String,
}

/// The scorer that is the language model of `[gray_band]`.
pub const LANGUAGE_MODEL: &str = "language_model";

/// Section `[gray_band]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrayBandConfig {
    /// Base URL of the endpoint; empty: none.
    pub url: String,
    /// Its model.
    pub model: String,
    /// Version of its interface.
    pub api_version: String,
    /// File with its key; empty: none.
    pub key_file: PathBuf,
    /// What an attempt may take, ms.
    pub timeout_ms: u64,
    /// Questions that may be open there at once.
    pub at_once: usize,
}

/// `models.provider`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// The processor.
    Cpu,
    /// The first GPU.
    Cuda,
}

/// `models.without_cuda`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WithoutCuda {
    /// The start fails.
    Refuse,
    /// The processor runs the models, with a warning.
    Cpu,
}

impl ModelsConfig {
    /// Checks values, and those of `[gray_band]` beside them.
    pub(super) fn check(&self, gray_band: &GrayBandConfig) -> anyhow::Result<()> {
        positive("models.max_pixels", u64::from(self.max_pixels))?;
        positive("models.beams", self.beams as u64)?;
        ensure!(
            self.provider == Provider::Cpu || !self.cuda_library.as_os_str().is_empty(),
            "models.provider is \"cuda\"; models.cuda_library must name the library of onnxruntime-gpu"
        );
        positive("gray_band.timeout_ms", gray_band.timeout_ms)?;
        positive("gray_band.at_once", gray_band.at_once as u64)?;
        ensure!(
            gray_band.url.is_empty() || !gray_band.model.is_empty(),
            "gray_band.url is set; gray_band.model must name the model there"
        );
        ensure!(
            self.scorer != LANGUAGE_MODEL || !gray_band.url.is_empty(),
            "models.scorer is \"language_model\"; gray_band.url must say where it is"
        );
        ensure!(
            self.scorer != LANGUAGE_MODEL || !self.reduced,
            "models.reduced wants a scorer on this machine; a language model is given two texts, never a third"
        );
        ensure!(
            self.shadow != LANGUAGE_MODEL,
            "models.shadow cannot be \"language_model\": a shadow is asked beside every judgement, and on this machine"
        );
        Ok(())
    }
}
