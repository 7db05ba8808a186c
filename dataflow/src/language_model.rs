//! A language model that judges, outside the graph: threads that ask about what the local scorer left open, or about everything, and
//! write what was decided, or that it failed, into the log of a live run (topic `inference`).

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use lsie_connectors::llm::{Access, AskError, Llm};
use lsie_operators::band::{self, Coming, Expecting, Output};
use lsie_operators::judging::Question;
use lsie_operators::semantic::{Attempt, Evaluation, Role, language_model_version, question};
use lsie_schemas::log::{AppendRecord, LogError};

use crate::answers::Answers;
use crate::ingest::Shared;
use crate::speech::append;

/// How often a thread looks whether the run has stopped.
const LOOK: Duration = Duration::from_millis(100);

/// A language model: where it is, and which version of its interface it speaks.
#[derive(Clone)]
pub struct LanguageModel {
    /// The endpoint.
    pub access: Access,
    /// Version of the interface, as rows name it.
    pub api_version: String,
    /// Questions that may be open there at once.
    pub at_once: usize,
}

/// Where questions go; none ends a thread.
#[derive(Clone)]
pub struct Asker {
    questions: Sender<Option<Question>>,
    threads: usize,
}

impl Asker {
    /// Ends the threads behind what they have been asked.
    pub fn end(&self) {
        for _ in 0..self.threads {
            let _ = self.questions.send(None);
        }
    }
}

/// What the graph needs to know of the language model.
#[derive(Clone)]
pub struct Asking {
    /// What it is asked for.
    pub role: Role,
    /// Whether there is one.
    enabled: bool,
    answers: Arc<Answers>,
    /// Asks, in a live run.
    asker: Option<Asker>,
}

impl Asking {
    /// Of a run: `asker` is there when it is live and has a language model.
    pub fn new(role: Role, enabled: bool, answers: Arc<Answers>, asker: Option<Asker>) -> Asking {
        Asking { role, enabled, answers, asker }
    }

    /// What is known of the answer to a question.
    pub fn expecting(&self) -> Expecting {
        let Asking { role, enabled, answers, asker } = self.clone();
        Arc::new(move |question, epoch| {
            let (id, input) = (band::request_id(role, question), question.input_sha256());
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
                    // The threads are gone only when one has failed and said so: the run is about to end.
                    let _ = asker.questions.send(Some((**question).clone()));
                }
            }
            Output::Answered => shared.count_unanswered(-1),
            _ => {}
        }
    }
}

impl LanguageModel {
    /// The asker and what each of its `at_once` threads does, until it is ended or the run has stopped.
    pub fn start(
        self,
        role: Role,
    ) -> (Asker, impl Fn(&dyn AppendRecord, &Shared) -> Result<(), LogError> + Clone + Send) {
        let (sender, questions) = unbounded();
        let asker = Asker { questions: sender, threads: self.at_once };
        (asker, move |log: &dyn AppendRecord, shared: &Shared| self.work(role, &questions, log, shared))
    }

    fn work(
        &self,
        role: Role,
        questions: &Receiver<Option<Question>>,
        log: &dyn AppendRecord,
        shared: &Shared,
    ) -> Result<(), LogError> {
        let (llm, meter) = (Llm::new(self.access.clone()), shared.metrics.model(role.name()));
        while !shared.stopped() {
            let question = match questions.recv_timeout(LOOK) {
                Ok(Some(question)) => question,
                Err(RecvTimeoutError::Timeout) => continue,
                Ok(None) | Err(RecvTimeoutError::Disconnected) => break,
            };
            meter.asked();
            let timer = meter.begun(1);
            let evaluation = self.decide(role, &llm, &question);
            drop(timer);
            append(&[band::answer(role, &question, &evaluation)], log, shared)?;
        }
        Ok(())
    }

    /// Asks, and once more if that failed.
    fn decide(&self, role: Role, llm: &Llm, of: &Question) -> Evaluation {
        let version = language_model_version(Some(&self.access.model), &self.api_version);
        let (instruction, format) = (role.instruction(), role.answer_format());
        let asked = question(&of.expected_greeting, &of.said.text);
        let mut answers: Vec<Result<String, AskError>> = Vec::new();
        loop {
            answers.push(llm.ask(instruction, &asked, &format));
            let attempts: Vec<Attempt<'_>> = answers.iter().map(attempt).collect();
            // Enough failed attempts are a decision too.
            if let Some(evaluation) = role.resolve(&attempts, &version) {
                return evaluation;
            }
            tracing::warn!(session = %of.session, "an attempt of the language model failed");
        }
    }
}

fn attempt(answer: &Result<String, AskError>) -> Attempt<'_> {
    match answer {
        Ok(text) => Attempt::Answer(text),
        Err(AskError::TimedOut) => Attempt::TimedOut,
        Err(AskError::Failed) => Attempt::Failed,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::sync::Mutex;

    use lsie_operators::utterance::Said;
    use lsie_schemas::EventTime;
    use lsie_schemas::log::{Appended, NewRecord};
    use uuid::Uuid;

    use super::*;

    /// A log that holds what is appended, as text.
    #[derive(Default)]
    struct Kept(Mutex<Vec<String>>);

    impl AppendRecord for Kept {
        fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Appended>, LogError> {
            let texts = records.iter().map(|record| String::from_utf8_lossy(&record.value).into_owned());
            self.0.lock().expect("no panic").extend(texts);
            Ok(Vec::new())
        }
    }

    fn question(action: u128) -> Question {
        Question {
            session: Uuid::from_u128(1),
            action: Uuid::from_u128(action),
            said: Said {
                at: EventTime(0),
                segment_id: "segment".into(),
                window_end: EventTime(0),
                text: format!("hello {action}"),
            },
            experiment: "e".into(),
            arm: "a".into(),
            expected_greeting: "hello".into(),
        }
    }

    /// An endpoint that answers nobody before three are waiting: asked one after the other, all would take too long.
    #[test]
    fn as_many_are_asked_at_once_as_may_be() {
        const CALLS: usize = 3;
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let serve = move || {
            let mut waiting = Vec::new();
            while waiting.len() < CALLS {
                let (stream, _) = listener.accept().expect("a connection");
                let (mut reader, mut head) = (BufReader::new(stream), String::new());
                while reader.read_line(&mut head).expect("a head") > 2 {}
                let head = head.to_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.expect("a length").trim().parse().expect("a number");
                reader.read_exact(&mut vec![0; length]).expect("a body");
                waiting.push(reader.into_inner());
            }
            let content = r#"{\"reasoning\":\"the same\",\"is_match\":true,\"confidence_score\":1}"#;
            let body = format!(r#"{{"choices":[{{"message":{{"content":"{content}"}}}}]}}"#);
            for mut stream in waiting {
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).expect("written");
            }
        };
        std::thread::Builder::new().name("stand-in".into()).spawn(serve).expect("a thread");
        let access = Access { url, model: "m".into(), key: String::new(), limit: Duration::from_secs(20) };
        let model = LanguageModel { access, api_version: "v1".into(), at_once: CALLS };
        let (asker, work) = model.start(Role::Primary);
        (1..=CALLS as u128).for_each(|action| asker.questions.send(Some(question(action))).expect("sent"));
        asker.end();
        let (log, shared) = (Kept::default(), Shared::default());
        std::thread::scope(|scope| {
            let (log, shared) = (&log, &shared);
            for _ in 0..CALLS {
                let work = work.clone();
                scope.spawn(move || work(log, shared).expect("written"));
            }
        });
        let kept = log.0.into_inner().expect("no panic");
        assert_eq!(kept.len(), CALLS);
        assert!(kept.iter().all(|text| text.contains("llm_match") && !text.contains("the same")), "{kept:?}");
    }
}
