//! A cross-encoder that the user supplies: greeting and utterance go through one model as a pair (mathematics
//! §11.2).
//!
//! The directory holds `model.onnx` (inputs `input_ids`, `attention_mask` and, if it has them, `token_type_ids`;
//! output `logits`, one number) and `tokenizer.json`.

use std::fs;
use std::path::Path;

use super::encode::Encoder;
use super::{Method, ScoreError, Scorer, calibrate, has_words};
use crate::runtime::{ModelError, Network, Runtime};

/// Calibration of the raw score, [`calibrate`].
const CALIBRATION: &str = "semantic-greeting-calibration-v1.0.0";

/// A cross-encoder, loaded.
pub struct CrossEncoder {
    encoder: Encoder,
    version: String,
    model: String,
}

impl CrossEncoder {
    /// Loads the directory. `name` is the model's name and version, as rows are to carry it.
    pub fn load(runtime: &Runtime, directory: &Path, name: &str) -> Result<CrossEncoder, ModelError> {
        let network = Network::load(runtime, "cross_encoder", &directory.join("model.onnx"))?;
        if !network.outputs().iter().any(|output| output.name() == "logits") {
            let reason = "the graph has no output `logits`".to_string();
            return Err(ModelError::Foreign { path: directory.join("model.onnx"), reason });
        }
        let hash = network.info().sha256.get(..16).unwrap_or_default();
        let model = format!("{name}:{hash} {}", runtime.fingerprint());
        let path = directory.join("tokenizer.json");
        let foreign = |reason: String| ModelError::Foreign { path: path.clone(), reason };
        let tokenizer = fs::read(&path).map_err(|error| foreign(error.to_string()))?;
        let encoder = Encoder::new(network, "logits", &tokenizer).map_err(foreign)?;
        let mut scorer = CrossEncoder { encoder, version: format!("{name}+{CALIBRATION}"), model };
        // It has no known answer; that it gives one at all is checked before it is needed.
        scorer.score("hello", "hello").map_err(|error| ModelError::Foreign {
            path: directory.to_path_buf(),
            reason: format!("a trial gives no score: {error}"),
        })?;
        Ok(scorer)
    }
}

impl Scorer for CrossEncoder {
    fn score(&mut self, expected: &str, said: &str) -> Result<f64, ScoreError> {
        if !has_words(expected) || !has_words(said) {
            return Ok(0.0);
        }
        match self.encoder.run((expected, said))?[..] {
            [logit] => Ok(calibrate(f64::from(logit))?),
            ref other => {
                let reason = format!("{} numbers for a pair, not one", other.len());
                Err(ModelError::Failed { model: "cross_encoder", reason }.into())
            }
        }
    }

    fn method(&self) -> Method {
        Method::CrossEncoder
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn model(&self) -> &str {
        &self.model
    }
}
