//! What a language model decides (mathematics §11): a judgement that the local scorer could not make (the gray band, §11.2), or every one
//! where there is no local scorer (§11.1), is held until the model's decision arrives as a record; every other one passes at its epoch.
//!
//! Nothing here waits for a clock. A live run asks, and writes a record in any case: the decision, or that the model failed or took too
//! long. A run over a log that holds no answer leaves the utterance undecided at once: the log alone decides.
//!
//! What stays undecided has the local scorer's bounded code, or the fallback's; of a language model that judges everything it has no
//! evaluation at all (contracts §14: the base is null).

use std::collections::BTreeMap;
use std::sync::Arc;

use lsie_schemas::codec::Rejection;
use lsie_schemas::record::{Answer, DeadLetter, Inference, Judgement, Reasoning, Record};
use lsie_schemas::row::InferenceRow;
use lsie_schemas::table::Json;
use lsie_schemas::{LogTime, Real};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::align::{Arrived, Class, Classified, classified};
use crate::judging::Question;
use crate::logic::{Keyed, Logic, apart};
use crate::segment_id::hex;
use crate::semantic::{Evaluation, Reason, Role};
use crate::utterance::{AFTER_US, BEFORE_US};

/// How long answered questions are remembered, in ms of log time, to know answers that come twice.
const KEEP_MS: u64 = 3_600_000;

/// What the operator is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// What the local scorer says of a question; none where a language model judges everything.
    Opinion(Box<Question>, Option<Evaluation>),
    /// A record with the language model's decision.
    Answer(Arc<Arrived>),
    /// The epoch exists.
    Tick,
}

/// What the operator says.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// The judgement of a question.
    Decided(Box<Question>, Evaluation),
    /// A question has no judgement, for this reason.
    Failed(Box<Question>, Reason),
    /// A question is open; `true` if the model is to be asked, since no answer is in the log.
    Asked(Box<Question>, bool),
    /// An open question is answered.
    Answered,
    /// The language model's result.
    Inference(Box<InferenceRow>),
    /// What became of a record.
    Classified(Classified),
    /// A record that could not be used.
    Dead(DeadLetter),
}

/// What is known of the answer to a question when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coming {
    /// It is in the log, at a later epoch.
    Recorded,
    /// This run has to ask for it.
    ToBeAsked,
    /// There is no language model, or the log is without an answer.
    Never,
}

/// Says what is known of the answer to a question that is asked at an epoch.
pub type Expecting = Arc<dyn Fn(&Question, LogTime) -> Coming + Send + Sync>;

/// The id of a question to a language model: another one than that of the local score, and for each role its own.
pub fn request_id(role: Role, question: &Question) -> String {
    hex(&Sha256::digest(format!("{}:{}", role.name(), question.id())))
}

/// The record of what the language model decided about a question; none of its words are in it.
pub fn answer(role: Role, question: &Question, evaluation: &Evaluation) -> Inference {
    let reasoning = match evaluation.reason {
        Reason::GrayBandLlmMatch => Reasoning::GrayBandLlmMatch,
        Reason::GrayBandLlmNonmatch => Reasoning::GrayBandLlmNonmatch,
        Reason::LlmMatch => Reasoning::LlmMatch,
        Reason::LlmNonmatch => Reasoning::LlmNonmatch,
        Reason::SemanticTimeout => Reasoning::SemanticTimeout,
        _ => Reasoning::SemanticError,
    };
    let Evaluation { is_match, confidence, .. } = *evaluation;
    Inference {
        session_id: question.session,
        request_id: request_id(role, question),
        ordinal: 0,
        input_sha256: question.input_sha256(),
        model: evaluation.version.to_string(),
        answer: Answer::Judged(Judgement { reasoning, is_match, confidence_score: Real(confidence) }),
    }
}

/// Whether an arrived record is for this operator.
pub fn is_judgement(arrived: &Arrived) -> bool {
    matches!(&arrived.record, Record::Inference(Inference { answer: Answer::Judged(_), .. }))
}

/// A question that waits for the language model.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Open {
    question: Box<Question>,
    /// What the local scorer could not decide; none where there is no local scorer.
    undecided: Option<Evaluation>,
    /// The epoch at which it was asked.
    at: LogTime,
}

/// One session.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Session {
    open: BTreeMap<String, Open>,
    /// When each was answered.
    answered: BTreeMap<String, LogTime>,
}

/// The sessions of one worker.
pub struct Band {
    role: Role,
    expecting: Expecting,
    sessions: BTreeMap<Uuid, Session>,
    /// Questions of before a restart have to be asked again.
    ask_again: bool,
}

/// What a checkpoint holds of it: all.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct BandSnapshot {
    sessions: BTreeMap<Uuid, Session>,
}

impl Keyed for BandSnapshot {
    type Key = Uuid;

    fn apart(self) -> Vec<(Option<Uuid>, BandSnapshot)> {
        apart(self.sessions, |sessions| BandSnapshot { sessions })
    }

    fn join(&mut self, piece: BandSnapshot) {
        self.sessions.extend(piece.sessions);
    }
}

impl Band {
    /// Without a question.
    pub fn new(role: Role, expecting: Expecting) -> Band {
        Band { role, expecting, sessions: BTreeMap::new(), ask_again: false }
    }

    /// Holds a question, or leaves it undecided when no answer will come.
    fn ask(&mut self, open: Open, out: &mut Vec<Output>) {
        let coming = (self.expecting)(&open.question, open.at);
        if coming == Coming::Never {
            out.push(match open.undecided {
                Some(undecided) => Output::Decided(open.question, undecided),
                None => Output::Failed(open.question, Reason::SemanticError),
            });
            return;
        }
        out.push(Output::Asked(open.question.clone(), coming == Coming::ToBeAsked));
        let session = self.sessions.entry(open.question.session).or_default();
        session.open.insert(request_id(self.role, &open.question), open);
    }

    fn take(&mut self, epoch: LogTime, arrived: &Arrived, out: &mut Vec<Output>) {
        let Record::Inference(inference) = &arrived.record else { return };
        let Answer::Judged(judgement) = &inference.answer else { return };
        let mut file = |why: Rejection| {
            out.push(Output::Classified(classified(&arrived.raw, Class::Filed, &why.reason)));
            out.push(Output::Dead(DeadLetter::new(&arrived.raw, why)));
        };
        let unrequested = || Rejection::new("unrequested", "nobody has asked for it");
        let Some(session) = self.sessions.get_mut(&inference.session_id) else { return file(unrequested()) };
        match session.open.get(&inference.request_id) {
            Some(open) if open.question.input_sha256() == inference.input_sha256 => {}
            Some(_) => return file(Rejection::new("other_input", "it answers about other texts")),
            None if session.answered.contains_key(&inference.request_id) => {
                return out.push(Output::Classified(classified(&arrived.raw, Class::Duplicate, "")));
            }
            None => return file(unrequested()),
        }
        let Some(evaluation) = evaluation(self.role, judgement, &inference.model) else {
            return file(Rejection::new("other_code", "its code is none of those that were asked for"));
        };
        let Some(Open { question, .. }) = session.open.remove(&inference.request_id) else { return };
        session.answered.insert(inference.request_id.clone(), epoch);
        out.push(Output::Classified(classified(&arrived.raw, Class::Used, "")));
        out.push(Output::Answered);
        out.push(Output::Inference(Box::new(row(self.role, &question, inference, &evaluation))));
        out.push(match self.role {
            Role::Primary if evaluation.is_undecided() => Output::Failed(question, evaluation.reason),
            _ => Output::Decided(question, evaluation),
        });
    }
}

/// Answers by offset before the questions of the same epoch, for nobody can answer what has not been asked.
impl Logic for Band {
    type Record = Input;
    type Output = Output;
    type Snapshot = BandSnapshot;

    fn on_epoch(&mut self, epoch: LogTime, inputs: Vec<Input>, out: &mut Vec<Output>) {
        self.sessions.retain(|_, session| {
            session.answered.retain(|_, at| at.plus_ms(KEEP_MS) > epoch);
            !(session.open.is_empty() && session.answered.is_empty())
        });
        if std::mem::take(&mut self.ask_again) {
            let open: Vec<Open> = self
                .sessions
                .values_mut()
                .flat_map(|s| std::mem::take(&mut s.open))
                .map(|(_, open)| open)
                .collect();
            open.into_iter().for_each(|open| self.ask(open, out));
        }
        let (mut answers, mut opinions) = (Vec::new(), Vec::new());
        for input in inputs {
            match input {
                Input::Answer(arrived) => answers.push(arrived),
                Input::Opinion(question, opinion) => opinions.push((question, opinion)),
                Input::Tick => {}
            }
        }
        answers.sort_by_key(|arrived| (arrived.raw.at, arrived.raw.offset));
        opinions.sort_by(|(a, _), (b, _)| a.cmp(b));
        answers.iter().for_each(|arrived| self.take(epoch, arrived, out));
        for (question, opinion) in opinions {
            match opinion {
                Some(decided) if !decided.is_undecided() => out.push(Output::Decided(question, decided)),
                undecided => self.ask(Open { question, undecided, at: epoch }, out),
            }
        }
    }

    fn snapshot(&self) -> BandSnapshot {
        BandSnapshot { sessions: self.sessions.clone() }
    }

    fn restore(&mut self, snapshot: BandSnapshot) {
        self.sessions = snapshot.sessions;
        self.ask_again = true;
    }
}

/// What the language model decided, as rows carry it; none if that is not in the codes of its role.
fn evaluation(role: Role, judgement: &Judgement, version: &str) -> Option<Evaluation> {
    let reason = match judgement.reasoning {
        Reasoning::GrayBandLlmMatch => Reason::GrayBandLlmMatch,
        Reasoning::GrayBandLlmNonmatch => Reason::GrayBandLlmNonmatch,
        Reasoning::LlmMatch => Reason::LlmMatch,
        Reasoning::LlmNonmatch => Reason::LlmNonmatch,
        Reasoning::SemanticTimeout => Reason::SemanticTimeout,
        Reasoning::SemanticError => Reason::SemanticError,
    };
    let evaluation = Evaluation {
        is_match: judgement.is_match,
        confidence: judgement.confidence_score.0,
        method: role.method(),
        version: version.to_owned().into(),
        reason,
    };
    (evaluation.is_undecided() || reason == role.reason(judgement.is_match)).then_some(evaluation)
}

/// The fact of the language model's decision.
fn row(role: Role, question: &Question, inference: &Inference, evaluation: &Evaluation) -> InferenceRow {
    let failed = evaluation.is_undecided();
    let told =
        serde_json::json!({ "is_match": evaluation.is_match, "confidence_score": evaluation.confidence });
    InferenceRow {
        session_id: question.session,
        request_id: inference.request_id.clone(),
        what: role.name().into(),
        segment_id: question.said.segment_id.clone(),
        from_utc: question.said.at.plus_us(-BEFORE_US),
        to_utc: question.said.at.plus_us(AFTER_US),
        input_sha256: inference.input_sha256.clone(),
        model: inference.model.clone(),
        answer: (!failed).then(|| Json::new(&told)),
        reason: failed.then(|| evaluation.reason.into()),
    }
}
