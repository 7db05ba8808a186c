//! The local sentence model: all-MiniLM-L6-v2 encodes greeting and utterance apart, and the cosine of the two
//! becomes a probability by a committed calibration.
//!
//! A cosine is no probability: the thresholds of mathematics §11.2 hold for what the calibration makes of it.

use std::path::Path;
use std::sync::LazyLock;

use serde::Deserialize;

use super::encode::Encoder;
use super::{Method, NotFinite, ScoreError, Scorer, has_words};
use crate::models;
use crate::runtime::{ModelError, Network, RUNTIME_FILE, Runtime};

/// File of the model in the folder of the models.
const FILE: &str = "minilm.onnx";
/// File of its tokenizer.
const TOKENIZER_FILE: &str = "minilm_tokenizer.json";
/// Elements of an embedding.
const WIDTH: usize = 384;
/// A pair and its cosine by Python's onnxruntime.
const SELF_TEST: (&str, &str, f64) = ("Nice to meet you", "pleased to meet you", 0.737);

/// From the cosine of two embeddings to the probability of a match: 1 / (1 + e^(−slope · (cosine − midpoint))).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Its name and version.
    pub version: String,
    /// Steepness.
    pub slope: f64,
    /// Cosine at which a match is as probable as none.
    pub midpoint: f64,
}

static CALIBRATION: LazyLock<Calibration> = LazyLock::new(|| {
    let json = include_str!("../../models/calibration/minilm.json");
    serde_json::from_str(json).expect("the committed calibration is read")
});

impl Calibration {
    /// The committed calibration; `models/calibration` says how it was fitted.
    pub fn committed() -> &'static Calibration {
        &CALIBRATION
    }

    /// The probability of a match at a cosine.
    ///
    /// ```
    /// use lsie_operators::semantic::Calibration;
    /// let calibration = Calibration::committed();
    /// assert_eq!(calibration.probability(calibration.midpoint), Ok(0.5));
    /// assert!(calibration.probability(f64::NAN).is_err());
    /// ```
    pub fn probability(&self, cosine: f64) -> Result<f64, NotFinite> {
        match cosine {
            c if c.is_finite() => Ok(1.0 / (1.0 + (-self.slope * (c - self.midpoint)).exp())),
            c => Err(NotFinite(c)),
        }
    }
}

/// The sentence model, loaded.
pub struct MiniLm {
    encoder: Encoder,
    version: String,
    model: String,
    /// The greeting that was encoded last: many utterances are held against one greeting.
    expected: Option<(String, Vec<f32>)>,
}

impl MiniLm {
    /// Loads `libonnxruntime.so`, `minilm.onnx` and its tokenizer from `folder`, and scores a known pair.
    pub fn load(folder: &Path) -> Result<MiniLm, ModelError> {
        MiniLm::load_with(Runtime::load(&folder.join(RUNTIME_FILE))?, folder)
    }

    /// The same with a runtime that lies elsewhere.
    pub fn load_with(runtime: &Runtime, folder: &Path) -> Result<MiniLm, ModelError> {
        let network = Network::pinned(runtime, "all_minilm", folder, FILE)?;
        let hash = network.info().sha256.get(..16).unwrap_or_default();
        let model = format!("all_minilm:L6-v2:{hash} {}", runtime.fingerprint());
        let tokenizer = models::read(folder, TOKENIZER_FILE)?;
        let encoder = Encoder::new(network, "sentence_embedding", &tokenizer)
            .map_err(|reason| ModelError::Mismatch { path: folder.join(TOKENIZER_FILE), reason })?;
        let version = format!("all-minilm-l6-v2+{}", Calibration::committed().version);
        let mut scorer = MiniLm { encoder, version, model, expected: None };
        scorer.self_test(folder)?;
        Ok(scorer)
    }

    fn self_test(&mut self, folder: &Path) -> Result<(), ModelError> {
        let (expected, said, wanted) = SELF_TEST;
        let got = self.cosine(expected, said);
        let equal = got.as_ref().is_ok_and(|got| (got - wanted).abs() <= 1e-3);
        if equal {
            return Ok(());
        }
        let reason = format!("the self-test gives {got:?}, not {wanted}");
        Err(ModelError::Mismatch { path: folder.join(FILE), reason })
    }

    /// Cosine of the two texts' embeddings.
    pub fn cosine(&mut self, expected: &str, said: &str) -> Result<f64, ScoreError> {
        let of_expected = match self.expected.take() {
            Some((text, embedding)) if text == expected => embedding,
            _ => self.embedding(expected)?,
        };
        let of_said = self.embedding(said)?;
        let pairs = of_expected.iter().zip(&of_said);
        let cosine = pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
        self.expected = Some((expected.to_string(), of_expected));
        Ok(cosine)
    }

    /// The embedding of a text, of length 1.
    fn embedding(&mut self, text: &str) -> Result<Vec<f32>, ScoreError> {
        let embedding = self.encoder.run(text)?;
        match embedding.len() {
            WIDTH => Ok(embedding),
            other => {
                let model = self.encoder.network().info().name;
                let reason = format!("an embedding of {other} elements, not {WIDTH}");
                Err(ModelError::Failed { model, reason }.into())
            }
        }
    }
}

impl Scorer for MiniLm {
    fn score(&mut self, expected: &str, said: &str) -> Result<f64, ScoreError> {
        if !has_words(expected) || !has_words(said) {
            return Ok(0.0);
        }
        let cosine = self.cosine(expected, said)?;
        Ok(Calibration::committed().probability(cosine)?)
    }

    fn method(&self) -> Method {
        Method::BiEncoderMinilm
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn model(&self) -> &str {
        &self.model
    }
}
