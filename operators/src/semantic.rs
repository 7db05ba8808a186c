//! The semantic decision without a model: calibration of a raw score, the gray band, the bounded codes
//! (mathematics §11.2, contracts §8).
//!
//! A [`Scorer`] gives a probability of a match; [`Thresholds::route`] decides, or says that the fallback is to
//! be asked; [`Role::resolve`] decides from a language model's answers. Every scorer goes through here, the interim
//! [`gate`](crate::gate) too, so that no code outside the two enums ever reaches a row.

mod cross_encoder;
mod encode;
mod language_model;
mod minilm;
mod reduced;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

pub use self::cross_encoder::CrossEncoder;
pub use self::language_model::{
    ATTEMPTS, Answer, AnswerError, Attempt, Role, language_model_version, question,
};
pub use self::minilm::{Calibration, MiniLm};
pub use self::reduced::reduced;
use crate::runtime::ModelError;

/// A local model of meaning. One per thread.
pub trait Scorer: Send {
    /// Calibrated probability that `said` means the same as `expected`. A text without a letter or digit
    /// matches nothing.
    fn score(&mut self, expected: &str, said: &str) -> Result<f64, ScoreError>;

    /// Who decides by this score.
    fn method(&self) -> Method;

    /// Version of the model and its calibration, as rows carry it.
    fn version(&self) -> &str;

    /// Name, version and hash of the model and the fingerprint of the runtime: what a recorded score depends
    /// on, besides the two texts.
    fn model(&self) -> &str;
}

/// Why a pair of texts has no score: the scorer failed (`semantic_local_failure_fallback`).
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// The text cannot be cut into tokens.
    #[error("the tokenizer failed: {0}")]
    Tokens(String),
    /// The model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model gave what is no score.
    #[error(transparent)]
    NotFinite(#[from] NotFinite),
}

/// Whether there is anything to compare.
fn has_words(text: &str) -> bool {
    text.chars().any(char::is_alphanumeric)
}

/// Who decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The local primary scorer.
    CrossEncoder,
    /// The fallback of the gray band.
    LlmGrayBand,
    /// A language model that judges every utterance.
    LlmPrimary,
    /// Retired; in historical records only.
    AzureLlmLegacy,
    /// The interim scorer of [`gate`](crate::gate).
    TokenOverlap,
    /// The local sentence model: greeting and utterance are encoded apart and compared.
    BiEncoderMinilm,
}

impl Method {
    const ALL: [Method; 6] = [
        Method::CrossEncoder,
        Method::LlmGrayBand,
        Method::LlmPrimary,
        Method::AzureLlmLegacy,
        Method::TokenOverlap,
        Method::BiEncoderMinilm,
    ];

    /// Its name in rows.
    pub fn name(self) -> &'static str {
        match self {
            Method::CrossEncoder => "cross_encoder",
            Method::LlmGrayBand => "llm_gray_band",
            Method::LlmPrimary => "llm_primary",
            Method::AzureLlmLegacy => "azure_llm_legacy",
            Method::TokenOverlap => "token_overlap",
            Method::BiEncoderMinilm => "bi_encoder_minilm",
        }
    }

    /// Whether it decides by a model of this machine, whose score is recorded.
    pub fn is_local(&self) -> bool {
        matches!(self, Method::CrossEncoder | Method::BiEncoderMinilm)
    }

    /// The method of a name.
    pub fn by_name(name: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.name() == name)
    }

    /// Its codes for a match and for none; the legacy method had none of its own.
    fn reasons(self) -> (Reason, Reason) {
        match self {
            Method::CrossEncoder => (Reason::CrossEncoderHighMatch, Reason::CrossEncoderHighNonmatch),
            Method::LlmGrayBand => (Reason::GrayBandLlmMatch, Reason::GrayBandLlmNonmatch),
            Method::LlmPrimary => (Reason::LlmMatch, Reason::LlmNonmatch),
            Method::AzureLlmLegacy => (Reason::SemanticError, Reason::SemanticError),
            Method::TokenOverlap => (Reason::TokenOverlapMatch, Reason::TokenOverlapNonmatch),
            Method::BiEncoderMinilm => (Reason::LocalHighMatch, Reason::LocalHighNonmatch),
        }
    }
}

/// Why it was decided so: the only explanation that is ever kept (contracts §8, behaviour §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The primary scorer is sure of a match.
    CrossEncoderHighMatch,
    /// The primary scorer is sure that there is none.
    CrossEncoderHighNonmatch,
    /// The fallback found a match.
    GrayBandLlmMatch,
    /// The fallback found none.
    GrayBandLlmNonmatch,
    /// The language model that judges everything found a match.
    LlmMatch,
    /// It found none.
    LlmNonmatch,
    /// The primary scorer failed and there is no fallback.
    SemanticLocalFailureFallback,
    /// The language model's last attempt timed out.
    SemanticTimeout,
    /// Undecided: in the gray band without a fallback, or the language model failed.
    SemanticError,
    /// The interim scorer found a match.
    TokenOverlapMatch,
    /// The interim scorer found none.
    TokenOverlapNonmatch,
    /// The local sentence model is sure of a match.
    LocalHighMatch,
    /// The local sentence model is sure that there is none.
    LocalHighNonmatch,
}

impl Reason {
    const ALL: [Reason; 13] = [
        Reason::CrossEncoderHighMatch,
        Reason::CrossEncoderHighNonmatch,
        Reason::GrayBandLlmMatch,
        Reason::GrayBandLlmNonmatch,
        Reason::LlmMatch,
        Reason::LlmNonmatch,
        Reason::SemanticLocalFailureFallback,
        Reason::SemanticTimeout,
        Reason::SemanticError,
        Reason::TokenOverlapMatch,
        Reason::TokenOverlapNonmatch,
        Reason::LocalHighMatch,
        Reason::LocalHighNonmatch,
    ];

    /// Its code in rows.
    pub fn code(self) -> &'static str {
        match self {
            Reason::CrossEncoderHighMatch => "cross_encoder_high_match",
            Reason::CrossEncoderHighNonmatch => "cross_encoder_high_nonmatch",
            Reason::GrayBandLlmMatch => "gray_band_llm_match",
            Reason::GrayBandLlmNonmatch => "gray_band_llm_nonmatch",
            Reason::LlmMatch => "llm_match",
            Reason::LlmNonmatch => "llm_nonmatch",
            Reason::SemanticLocalFailureFallback => "semantic_local_failure_fallback",
            Reason::SemanticTimeout => "semantic_timeout",
            Reason::SemanticError => "semantic_error",
            Reason::TokenOverlapMatch => "token_overlap_match",
            Reason::TokenOverlapNonmatch => "token_overlap_nonmatch",
            Reason::LocalHighMatch => "local_high_match",
            Reason::LocalHighNonmatch => "local_high_nonmatch",
        }
    }

    /// The reason of a code.
    pub fn by_code(code: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

impl From<Method> for String {
    fn from(method: Method) -> String {
        method.name().into()
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> String {
        reason.code().into()
    }
}

/// Judgement of one utterance; never free text (contracts §8).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Whether the gate opens.
    pub is_match: bool,
    /// How sure, in [0, 1]; 0 when nothing was decided.
    pub confidence: f64,
    /// Who decided.
    pub method: Method,
    /// Model and calibration, or rule, that decided.
    pub version: Cow<'static, str>,
    /// Why.
    pub reason: Reason,
}

impl Evaluation {
    /// Whether nothing was decided: in the gray band, or something failed.
    pub fn is_undecided(&self) -> bool {
        matches!(
            self.reason,
            Reason::SemanticError | Reason::SemanticLocalFailureFallback | Reason::SemanticTimeout
        )
    }
}

/// A raw score that is NaN or infinite: the scorer failed.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("the raw score {0} is not finite")]
pub struct NotFinite(pub f64);

/// Calibration `semantic-greeting-calibration-v1.0.0`: a score in [0, 1] is a probability already, any other
/// is a logit.
///
/// ```
/// use lsie_operators::semantic::calibrate;
/// assert_eq!((calibrate(0.58), calibrate(999.0), calibrate(-999.0)), (Ok(0.58), Ok(1.0), Ok(0.0)));
/// assert!(calibrate(f64::NAN).is_err());
/// ```
pub fn calibrate(raw_score: f64) -> Result<f64, NotFinite> {
    match raw_score {
        s if !s.is_finite() => Err(NotFinite(s)),
        s if (0.0..=1.0).contains(&s) => Ok(s),
        // The exponential's overflow is infinity, and its inverse the 0 that is asked for.
        s => Ok(1.0 / (1.0 + (-s).exp())),
    }
}

/// Whether undecided utterances are put to the fallback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// They stay undecided.
    Disabled,
    /// They are.
    Enabled,
}

/// What follows from a scorer's probability.
#[derive(Clone, Debug, PartialEq)]
pub enum Route {
    /// It is decided.
    Decided(Evaluation),
    /// The fallback is to be asked, and [`Role::resolve`] decides.
    AskFallback,
}

/// A local scorer as far as decisions go: its names and its thresholds.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    /// Who decides.
    pub method: Method,
    /// Its version.
    pub version: Cow<'static, str>,
    /// Probability below which there is no match.
    pub nonmatch_below: f64,
    /// Probability at which there is a match, inclusive; between the two lies the gray band.
    pub match_at: f64,
}

/// The primary scorer.
pub const CROSS_ENCODER: Thresholds = Thresholds {
    method: Method::CrossEncoder,
    version: Cow::Borrowed("lsie-greeting-cross-encoder-v1.0.0+semantic-greeting-calibration-v1.0.0"),
    nonmatch_below: NONMATCH_BELOW,
    match_at: MATCH_AT,
};
/// Calibrated probability below which there is no match (mathematics §11.2).
const NONMATCH_BELOW: f64 = 0.58;
/// Calibrated probability at which there is a match.
const MATCH_AT: f64 = 0.72;

impl Thresholds {
    /// Those of mathematics §11.2 for the probabilities of `scorer`.
    pub fn of(scorer: &dyn Scorer) -> Thresholds {
        let version = Cow::Owned(scorer.version().to_string());
        Thresholds { method: scorer.method(), version, nonmatch_below: NONMATCH_BELOW, match_at: MATCH_AT }
    }

    /// Decides on a calibrated probability, or asks for the fallback where this scorer is not sure. None, or
    /// a value that is no probability, is a scorer that failed.
    ///
    /// ```
    /// use lsie_operators::semantic::{CROSS_ENCODER, Fallback, Route};
    /// assert_eq!(CROSS_ENCODER.route(Some(0.58), Fallback::Enabled), Route::AskFallback);
    /// assert!(matches!(
    ///     CROSS_ENCODER.route(Some(0.72), Fallback::Enabled),
    ///     Route::Decided(evaluation) if evaluation.is_match
    /// ));
    /// ```
    pub fn route(&self, p: Option<f64>, fallback: Fallback) -> Route {
        let evaluation = self.decide(p);
        match fallback {
            Fallback::Enabled if evaluation.is_undecided() => Route::AskFallback,
            _ => Route::Decided(evaluation),
        }
    }

    /// Decides on a calibrated probability alone: what is left of [`Thresholds::route`] without a fallback.
    pub fn decide(&self, p: Option<f64>) -> Evaluation {
        let (match_reason, nonmatch_reason) = self.method.reasons();
        match p.filter(|p| (0.0..=1.0).contains(p)) {
            Some(p) if p >= self.match_at => self.evaluation(true, p, match_reason),
            Some(p) if p < self.nonmatch_below => self.evaluation(false, p, nonmatch_reason),
            Some(_) => self.undecided(Reason::SemanticError),
            None => self.undecided(Reason::SemanticLocalFailureFallback),
        }
    }

    /// What this scorer would have said beside the live one: stored apart, never asks anyone, and whatever
    /// goes wrong is `semantic_error` with confidence 0. Since it takes nothing of the live evaluation and
    /// gives it nothing, the live result cannot depend on it.
    pub fn shadow(&self, p: Option<f64>) -> Evaluation {
        let evaluation = self.decide(p);
        match evaluation.reason {
            Reason::SemanticLocalFailureFallback => self.undecided(Reason::SemanticError),
            _ => evaluation,
        }
    }

    fn evaluation(&self, is_match: bool, confidence: f64, reason: Reason) -> Evaluation {
        Evaluation { is_match, confidence, method: self.method, version: self.version.clone(), reason }
    }

    fn undecided(&self, reason: Reason) -> Evaluation {
        self.evaluation(false, 0.0, reason)
    }
}

/// The method of a foreign evaluation is none of [`Method`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no method of semantic evaluation")]
pub struct UnknownMethod(pub String);

/// An evaluation as a record from elsewhere carries it: any text, any number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Foreign<'a> {
    /// Whether it says that there is a match.
    pub is_match: bool,
    /// Its confidence.
    pub confidence: Option<f64>,
    /// Its method.
    pub method: Option<&'a str>,
    /// Its version.
    pub version: Option<&'a str>,
    /// Its reason.
    pub reason: Option<&'a str>,
}

impl Foreign<'_> {
    /// The bounded form (contracts §8): a missing method is the cross-encoder, an unknown reason the method's
    /// own code, a missing confidence 0, any other is clamped to [0, 1], a missing version `unknown`. A method
    /// that is not known is refused: nobody's judgement is passed off as another's.
    pub fn normalised(&self) -> Result<Evaluation, UnknownMethod> {
        let method = match self.method {
            Some(name) => Method::by_name(name).ok_or_else(|| UnknownMethod(name.to_string()))?,
            None => Method::CrossEncoder,
        };
        let (match_reason, nonmatch_reason) = method.reasons();
        let own = if self.is_match { match_reason } else { nonmatch_reason };
        Ok(Evaluation {
            is_match: self.is_match,
            confidence: self.confidence.filter(|p| !p.is_nan()).map_or(0.0, |p| p.clamp(0.0, 1.0)),
            method,
            version: self.version.unwrap_or("unknown").to_owned().into(),
            reason: self.reason.and_then(Reason::by_code).unwrap_or(own),
        })
    }
}

#[cfg(test)]
mod tests;
