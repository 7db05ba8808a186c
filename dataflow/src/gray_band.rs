//! The fallback of the gray band, outside the graph: a thread that asks a language model about what the local scorer left open, and
//! writes what it decided, or that it failed, into the log of a live run (topic `inference`).

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use lsie_connectors::llm::{Access, AskError, Llm};
use lsie_operators::band::{self, Coming, Expecting, Output};
use lsie_operators::judging::Question;
use lsie_operators::semantic::{Attempt, Evaluation, FALLBACK_ATTEMPTS, fallback, fallback_version, resolve};
use lsie_schemas::log::{AppendRecord, LogError};

use crate::answers::Answers;
use crate::ingest::Shared;
use crate::speech::append;

/// How often the thread looks whether the run has stopped.
const LOOK: Duration = Duration::from_millis(100);

/// A fallback: where it is, and which version of its interface it speaks.
#[derive(Clone)]
pub struct GrayBand {
    /// The endpoint.
    pub access: Access,
    /// Version of the interface, as rows name it.
    pub api_version: String,
}

/// Where questions go; none ends the thread.
#[derive(Clone)]
pub struct Asker(Sender<Option<Question>>);

impl Asker {
    /// Ends the thread behind what it has been asked.
    pub fn end(&self) {
        let _ = self.0.send(None);
    }
}

/// What the graph needs to know of the fallback.
#[derive(Clone)]
pub struct Asking {
    /// Whether there is one.
    enabled: bool,
    answers: Arc<Answers>,
    /// Asks, in a live run.
    asker: Option<Asker>,
}

impl Asking {
    /// Of a run: `asker` is there when it is live and has a fallback.
    pub fn new(enabled: bool, answers: Arc<Answers>, asker: Option<Asker>) -> Asking {
        Asking { enabled, answers, asker }
    }

    /// What is known of the answer to a question.
    pub fn expecting(&self) -> Expecting {
        let Asking { enabled, answers, asker } = self.clone();
        Arc::new(move |question, epoch| {
            let (id, input) = (band::request_id(question), question.input_sha256());
            match enabled {
                true if answers.will_come(question.session, &id, &input, epoch) => Coming::Recorded,
                true if asker.is_some() => Coming::ToBeAsked,
                _ => Coming::Never,
            }
        })
    }

    /// Sends off what the band wants to know, and counts what is open.
    pub fn hear(&self, said: &Output, shared: &Shared) {
        match said {
            Output::Asked(question, to_be_asked) => {
                shared.count_unanswered(1);
                if let (true, Some(asker)) = (to_be_asked, &self.asker) {
                    // The thread is gone only when it has failed and said so: the run is about to end.
                    let _ = asker.0.send(Some((**question).clone()));
                }
            }
            Output::Answered => shared.count_unanswered(-1),
            _ => {}
        }
    }
}

impl GrayBand {
    /// The asker and what its thread does, until it is ended or the run has stopped.
    pub fn start(self) -> (Asker, impl FnOnce(&dyn AppendRecord, &Shared) -> Result<(), LogError> + Send) {
        let (asker, questions) = unbounded();
        (Asker(asker), move |log: &dyn AppendRecord, shared: &Shared| self.work(&questions, log, shared))
    }

    fn work(
        &self,
        questions: &Receiver<Option<Question>>,
        log: &dyn AppendRecord,
        shared: &Shared,
    ) -> Result<(), LogError> {
        let (llm, meter) = (Llm::new(self.access.clone()), shared.metrics.model("gray_band"));
        while !shared.stopped() {
            let question = match questions.recv_timeout(LOOK) {
                Ok(Some(question)) => question,
                Err(RecvTimeoutError::Timeout) => continue,
                Ok(None) | Err(RecvTimeoutError::Disconnected) => break,
            };
            meter.asked();
            let timer = meter.begun(1);
            let evaluation = self.decide(&llm, &question);
            drop(timer);
            append(&[band::answer(&question, &evaluation)], log, shared)?;
        }
        Ok(())
    }

    /// Asks, and once more if that failed.
    fn decide(&self, llm: &Llm, question: &Question) -> Evaluation {
        let version = fallback_version(Some(&self.access.model), &self.api_version);
        let asked = fallback::question(&question.expected_greeting, &question.said.text);
        let mut answers: Vec<Result<String, AskError>> = Vec::new();
        for _ in 0..FALLBACK_ATTEMPTS {
            answers.push(llm.ask(fallback::INSTRUCTION, &asked, &fallback::answer_format()));
            let attempts: Vec<Attempt<'_>> = answers.iter().map(attempt).collect();
            if let Some(evaluation) = resolve(&attempts, &version) {
                return evaluation;
            }
            tracing::warn!(session = %question.session, "an attempt of the gray band's fallback failed");
        }
        unreachable!("so many failed attempts are a decision")
    }
}

fn attempt(answer: &Result<String, AskError>) -> Attempt<'_> {
    match answer {
        Ok(text) => Attempt::Answer(text),
        Err(AskError::TimedOut) => Attempt::TimedOut,
        Err(AskError::Failed) => Attempt::Failed,
    }
}
