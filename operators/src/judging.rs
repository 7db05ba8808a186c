//! Which utterance is to be judged against which greeting: what was said to a stimulus, and the arm of its session.

use std::collections::{BTreeMap, BTreeSet};

use lsie_schemas::LogTime;
use lsie_schemas::row::DecisionRow;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::logic::{Keyed, Logic, apart};
use crate::segment_id::hex;
use crate::semantic::reduced;
use crate::utterance::Said;

/// What the operator is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    /// A session has its arm.
    Decided(DecisionRow),
    /// Words were said to the stimulus of this session and action.
    Said(Uuid, Uuid, Said),
}

impl Input {
    /// The session it is about.
    pub fn session(&self) -> Uuid {
        match self {
            Input::Decided(decision) => decision.session_id,
            Input::Said(session, ..) => *session,
        }
    }
}

/// An utterance and the greeting that was expected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Question {
    /// The session.
    pub session: Uuid,
    /// The stimulus' action.
    pub action: Uuid,
    /// What was said.
    pub said: Said,
    /// The experiment's text code.
    pub experiment: String,
    /// The arm.
    pub arm: String,
    /// Its greeting.
    pub expected_greeting: String,
}

impl Question {
    /// SHA-256 of the two texts, lowercase hex: the input hash of a scorer.
    pub fn input_sha256(&self) -> String {
        let (expected, said) = (&self.expected_greeting, &self.said.text);
        // With its length in front, no other pair of texts gives the same bytes.
        hex(&Sha256::digest(format!("{}:{expected}{said}", expected.len())))
    }

    /// The id of the question: SHA-256 of what is asked, lowercase hex.
    pub fn id(&self) -> String {
        let (session, action, input) = (self.session, self.action, self.input_sha256());
        hex(&Sha256::digest(format!("greeting:{}:{}:{input}", session.hyphenated(), action.hyphenated())))
    }

    /// The id of what a shadow scorer says of it.
    pub fn shadow_id(&self) -> String {
        hex(&Sha256::digest(format!("shadow:{}", self.id())))
    }

    /// The same about the utterance without what carries no meaning (mathematics §10), or about itself where nothing of it is left; the
    /// session's arm and everything else stay.
    pub fn reduced(&self) -> Question {
        let mut question = self.clone();
        if let Some(text) = reduced(&self.said.text) {
            question.said.text = text;
        }
        question
    }

    /// The id of what the scorer says of the reduced utterance.
    pub fn reduced_id(&self) -> String {
        hex(&Sha256::digest(format!("reduced:{}", self.id())))
    }
}

/// What a session expects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Expected {
    experiment: String,
    arm: String,
    greeting: String,
}

/// One session: its arm, and what was said before that was known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Session {
    expected: Option<Expected>,
    early: BTreeMap<Uuid, Said>,
}

/// The sessions of one worker.
#[derive(Debug, Default)]
pub struct Judging {
    sessions: BTreeMap<Uuid, Session>,
}

/// What a checkpoint holds of it: all.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct JudgingSnapshot {
    sessions: BTreeMap<Uuid, Session>,
}

impl Keyed for JudgingSnapshot {
    type Key = Uuid;

    fn apart(self) -> Vec<(Option<Uuid>, JudgingSnapshot)> {
        apart(self.sessions, |sessions| JudgingSnapshot { sessions })
    }

    fn join(&mut self, piece: JudgingSnapshot) {
        self.sessions.extend(piece.sessions);
    }
}

/// Questions in order of session and action.
impl Logic for Judging {
    type Record = Input;
    type Output = Question;
    type Snapshot = JudgingSnapshot;

    fn on_epoch(&mut self, _epoch: LogTime, inputs: Vec<Input>, out: &mut Vec<Question>) {
        let mut told = BTreeSet::new();
        for input in inputs {
            told.insert(input.session());
            let session = self.sessions.entry(input.session()).or_default();
            match input {
                Input::Decided(row) => {
                    let (experiment, arm, greeting) =
                        (row.experiment_id, row.selected_arm_id, row.expected_greeting);
                    session.expected.get_or_insert(Expected { experiment, arm, greeting });
                }
                Input::Said(_, action, said) => drop(session.early.insert(action, said)),
            }
        }
        for id in told {
            let Some(Session { expected: Some(expected), early }) = self.sessions.get_mut(&id) else {
                continue;
            };
            out.extend(std::mem::take(early).into_iter().map(|(action, said)| Question {
                session: id,
                action,
                said,
                experiment: expected.experiment.clone(),
                arm: expected.arm.clone(),
                expected_greeting: expected.greeting.clone(),
            }));
        }
    }

    fn snapshot(&self) -> JudgingSnapshot {
        JudgingSnapshot { sessions: self.sessions.clone() }
    }

    fn restore(&mut self, snapshot: JudgingSnapshot) {
        self.sessions = snapshot.sessions;
    }
}
