//! Answers of models that are asked via the log: topic `inference`, keyed by session.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::cell::Real;
use crate::codec::{self, Rejection, session_field};
use crate::log::NewRecord;
use crate::time::{EventTime, LogTime};
use crate::topic::Topic;

/// Words of one answer at most.
pub const MAX_WORDS: usize = 20_000;
/// Bytes of the model's name at most.
const MAX_MODEL_BYTES: usize = 1_000;
/// 9999-12-31T23:59:59.999999Z, the last instant that has a canonical text.
const LAST_US: i64 = 253_402_300_799_999_999;

/// What a model that is asked via the log answered to one request, or why there is no answer: the speech model about a segment
/// (type `speech`), or a language model about an utterance (type `greeting`).
///
/// The request is made by the graph; its id is the hash of what was asked, so that it is the
/// same in every run. The first answer by offset counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Inference {
    /// The session.
    pub session_id: Uuid,
    /// The request: 64 lowercase hex digits.
    pub request_id: String,
    /// The segment whose closing asked, 1 for the first; 0 where no segment did.
    pub ordinal: i64,
    /// SHA-256 of the samples that were given to the model (s16le, 16 kHz) or of the two texts, lowercase hex.
    pub input_sha256: String,
    /// Model, version, hash and runtime fingerprint; of a language model, its version.
    pub model: String,
    /// The answer.
    pub answer: Answer,
}

/// An answer, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Answer {
    /// What was said.
    Heard(Heard),
    /// Nothing will come.
    None(NoAnswer),
    /// What a language model decided.
    Judged(Judgement),
}

/// A decision of a language model: bounded, never free text (contracts §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judgement {
    /// Why.
    pub reasoning: Reasoning,
    /// Whether it is a match; agrees with the reason.
    pub is_match: bool,
    /// How sure, 0 to 1; 0 where it failed.
    pub confidence_score: Real,
}

/// The codes of language models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reasoning {
    /// The fallback of the gray band found a match.
    GrayBandLlmMatch,
    /// It found none.
    GrayBandLlmNonmatch,
    /// The one that judges everything found a match.
    LlmMatch,
    /// It found none.
    LlmNonmatch,
    /// Its last attempt took too long.
    SemanticTimeout,
    /// Its last attempt failed.
    SemanticError,
}

impl Judgement {
    fn is_sound(&self) -> bool {
        let failed = matches!(self.reasoning, Reasoning::SemanticTimeout | Reasoning::SemanticError);
        self.is_match == matches!(self.reasoning, Reasoning::GrayBandLlmMatch | Reasoning::LlmMatch)
            && (0.0..=1.0).contains(&self.confidence_score.0)
            && !(failed && self.confidence_score.0 > 0.0)
    }
}

/// What was said, on the session's time line.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heard {
    /// All of it; empty when nobody spoke.
    pub text: String,
    /// Its language, as the model names it; empty if unknown.
    pub language: String,
    /// Its words (or longer pieces, where the model places no words), in order of their beginning.
    pub words: Vec<HeardWord>,
}

/// A word and when it was said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeardWord {
    /// The word.
    pub text: String,
    /// Its beginning, µs since the Unix epoch on corrected UTC.
    pub from_us: EventTime,
    /// Its end, likewise.
    pub to_us: EventTime,
    /// How sure the model is, 0 to 1.
    pub confidence: Real,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoAnswer {
    /// The model took longer than the pool waits.
    Deadline,
    /// The model failed on this input.
    ModelError,
    /// The sound is gone: it was asked before a restart, and the media topics no longer hold it.
    SoundGone,
}

impl NoAnswer {
    const ALL: [NoAnswer; 3] = [NoAnswer::Deadline, NoAnswer::ModelError, NoAnswer::SoundGone];

    /// The reason of a code.
    pub fn by_code(code: &str) -> Option<NoAnswer> {
        NoAnswer::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// Its code in rows.
    pub fn code(self) -> &'static str {
        match self {
            NoAnswer::Deadline => "deadline",
            NoAnswer::ModelError => "model_error",
            NoAnswer::SoundGone => "sound_gone",
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(with = "session_field")]
    session_id: Uuid,
    request_id: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    ordinal: i64,
    input_sha256: String,
    model: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    heard: Option<Heard>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    none: Option<NoAnswer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    judged: Option<Judgement>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_zero(ordinal: &i64) -> bool {
    *ordinal == 0
}

impl Inference {
    pub(crate) fn decode(value: &Bytes) -> Result<Inference, Rejection> {
        let (kind, body) = codec::envelope(value)?;
        if !["speech", "greeting"].contains(&&*kind) {
            return Err(Rejection::new("unknown_type", "not an answer of a model"));
        }
        let is_speech = kind == "speech";
        let wire: Wire = codec::fields(body)?;
        let bad = |detail: &str| Err(Rejection::new("bad_field", detail));
        let answer = match (wire.heard, wire.none, wire.judged) {
            (Some(heard), None, None) if is_speech => Answer::Heard(heard),
            (None, Some(reason), None) if is_speech => Answer::None(reason),
            (None, None, Some(judgement)) if !is_speech => Answer::Judged(judgement),
            _ if is_speech => return bad("exactly one of `heard` and `none` must be there"),
            _ => return bad("`judged` and nothing else must be there"),
        };
        match &answer {
            _ if !is_hash(&wire.request_id) => bad("`request_id` is not 64 lowercase hex digits"),
            _ if !is_hash(&wire.input_sha256) => bad("`input_sha256` is not 64 lowercase hex digits"),
            _ if is_speech && wire.ordinal < 1 => bad("`ordinal` is below 1"),
            _ if !is_speech && wire.ordinal != 0 => bad("`ordinal` is for speech only"),
            _ if wire.model.trim().is_empty() => bad("`model` is blank"),
            _ if wire.model.len() > MAX_MODEL_BYTES => bad("`model` is too long"),
            Answer::Judged(judgement) if !judgement.is_sound() => {
                bad("the judgement contradicts itself, or its confidence is not between 0 and 1")
            }
            Answer::Heard(heard) if heard.words.len() > MAX_WORDS => bad("`words` are too many"),
            Answer::Heard(heard) if !heard.words.iter().all(HeardWord::is_sound) => {
                bad("a word has no place in time or no confidence between 0 and 1")
            }
            _ => Ok(Inference {
                session_id: wire.session_id,
                request_id: wire.request_id,
                ordinal: wire.ordinal,
                input_sha256: wire.input_sha256,
                model: wire.model,
                answer,
            }),
        }
    }

    /// The record to append.
    pub fn encode(&self, timestamp: Option<LogTime>) -> NewRecord {
        let (kind, heard, none, judged) = match &self.answer {
            Answer::Heard(heard) => ("speech", Some(heard.clone()), None, None),
            Answer::None(reason) => ("speech", None, Some(*reason), None),
            Answer::Judged(judgement) => ("greeting", None, None, Some(*judgement)),
        };
        let wire = Wire {
            session_id: self.session_id,
            request_id: self.request_id.clone(),
            ordinal: self.ordinal,
            input_sha256: self.input_sha256.clone(),
            model: self.model.clone(),
            heard,
            none,
            judged,
        };
        let key = self.session_id.to_string().into();
        let value = codec::write(kind, &wire);
        NewRecord { topic: Topic::Inference, key, value, headers: Vec::new(), timestamp }
    }
}

impl HeardWord {
    fn is_sound(&self) -> bool {
        let placed = 0 <= self.from_us.0 && self.from_us <= self.to_us && self.to_us.0 <= LAST_US;
        placed && (0.0..=1.0).contains(&self.confidence.0)
    }
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
