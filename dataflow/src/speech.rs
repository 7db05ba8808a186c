//! What was asked about speech, outside the workers: threads that transcribe, and the scribe that writes their
//! answers into the log of a live run.
//!
//! Requests are worked on in the order in which they were made, whoever made them; a session makes one for each of
//! its segments. Live, an answer is a record of topic `inference`; when it is not there by its deadline, the record
//! says that none will come, and what the model says later is left out. A bounded run has no deadline: it waits.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use lsie_operators::runtime::{RUNTIME_FILE, Runtime};
use lsie_operators::speech::{self, DemoSpeech, Transcriber, Voiced, Whisper, WhisperSettings};
use lsie_operators::utterance::Request;
use lsie_schemas::Real;
use lsie_schemas::log::{AppendRecord, LogError};
use lsie_schemas::record::{Answer, Heard, HeardWord, Inference, MAX_WORDS, NoAnswer};
use serde::Deserialize;
use timely::scheduling::SyncActivator;

use crate::ingest::Shared;
use crate::metrics::Meter;
use crate::recorded::Recorded;

/// Makes the transcriber of a thread, given its number; a failure ends the start.
pub type TranscriberFactory = Arc<dyn Fn(usize) -> anyhow::Result<Box<dyn Transcriber>> + Send + Sync>;

/// Transcribers that run the demo model of a folder, behind its voice activity.
pub fn demo(folder: PathBuf) -> TranscriberFactory {
    Arc::new(move |_thread| {
        let speech =
            DemoSpeech::load(&folder).context("the speech model cannot be used; `make models` gets it")?;
        voiced(&folder, Box::new(speech))
    })
}

/// A transcriber behind the voice activity of a folder.
fn voiced(folder: &Path, speech: Box<dyn Transcriber>) -> anyhow::Result<Box<dyn Transcriber>> {
    let voiced =
        Voiced::load(folder, speech).context("voice activity cannot be used; `make models` gets it")?;
    Ok(Box::new(voiced))
}

/// Transcribers that run the Whisper model of a directory, on the runtime and behind the voice activity of a folder.
pub fn whisper(folder: PathBuf, directory: PathBuf, settings: WhisperSettings) -> TranscriberFactory {
    Arc::new(move |_thread| {
        let runtime = Runtime::load(&folder.join(RUNTIME_FILE))?;
        let speech = Whisper::load(runtime, &directory, &settings).context("models.speech")?;
        voiced(&folder, Box::new(speech))
    })
}

/// How often the scribe looks whether a deadline has passed.
const LOOK: Duration = Duration::from_millis(100);
/// Pause between attempts to write while the log is away.
const RETRY: Duration = Duration::from_millis(500);

/// How speech is transcribed: section `[speech]` of the configuration.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpeechSettings {
    /// Threads that transcribe.
    pub threads: usize,
    /// Log time after which the answer to a request enters that a bounded run answers itself, ms.
    pub answer_delay_ms: u64,
    /// Time after which a live run says that no answer will come, ms.
    pub deadline_ms: u64,
}

/// Where an answer goes.
enum ReplyTo {
    /// Into the log, by the scribe.
    Log(Sender<Written>),
    /// To the operator of a bounded run.
    Operator(Sender<Inference>, SyncActivator),
}

impl ReplyTo {
    /// Whoever asked is gone only when the run is over.
    fn send(self, answer: Inference) {
        match self {
            ReplyTo::Log(scribe) => drop(scribe.send(Written::Answer(answer))),
            ReplyTo::Operator(operator, activator) => {
                if operator.send(answer).is_ok() {
                    let _ = activator.activate();
                }
            }
        }
    }
}

struct Job {
    request: Request,
    reply: ReplyTo,
}

/// Who hears.
#[derive(Clone)]
enum Jobs {
    /// Threads with a model.
    Threads(Sender<Job>),
    /// Nobody: an earlier run has heard it. What that did not hear ends the run.
    Recorded(Arc<Recorded>, Arc<Shared>),
}

/// The threads, shared by all workers of a process.
#[derive(Clone)]
pub struct SpeechPool {
    jobs: Jobs,
    model: Arc<str>,
    meter: Meter,
}

impl SpeechPool {
    /// Starts the threads and waits until each has made its transcriber.
    pub fn start(
        threads: usize,
        make: &TranscriberFactory,
        shared: &Arc<Shared>,
    ) -> anyhow::Result<SpeechPool> {
        let (jobs, received) = unbounded::<Job>();
        let mut model: Arc<str> = "".into();
        let meter = shared.metrics.model("speech");
        for index in 0..threads.max(1) {
            let (ready, started) = bounded(1);
            let (make, shared, received) = (make.clone(), shared.clone(), received.clone());
            let meter = meter.clone();
            std::thread::Builder::new().name(format!("speech-{index}")).spawn(move || match make(index) {
                Ok(transcriber) => {
                    let _ = ready.send(Ok(transcriber.model().to_string()));
                    if let Err(why) = work(transcriber, || make(index), &received, &meter) {
                        shared.fail(format!("speech thread {index}: {why:#}"));
                    }
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            })?;
            let name = started.recv().map_err(|_| anyhow::anyhow!("a speech thread died at its start"))??;
            model = name.into();
        }
        Ok(SpeechPool { jobs: Jobs::Threads(jobs), model, meter })
    }

    /// Answers from what an earlier run has recorded.
    pub fn recorded(recorded: Arc<Recorded>, shared: &Arc<Shared>) -> SpeechPool {
        let meter = shared.metrics.model("speech");
        SpeechPool { jobs: Jobs::Recorded(recorded, shared.clone()), model: "".into(), meter }
    }

    /// Asks in a bounded run; the answer comes through the channel, and wakes the operator.
    pub fn ask(&self, request: Request, answers: &Sender<Inference>, activator: &SyncActivator) {
        let reply = ReplyTo::Operator(answers.clone(), activator.clone());
        self.send(Job { request, reply });
    }

    /// That there will be no answer to a request whose sound is gone.
    pub fn sound_gone(&self, request: &Request) -> Inference {
        inference(request, &self.model, Answer::None(NoAnswer::SoundGone))
    }

    fn send(&self, job: Job) {
        self.meter.asked();
        match &self.jobs {
            // The threads are gone only when one has failed and said so: the run is about to end.
            Jobs::Threads(threads) => drop(threads.send(job)),
            Jobs::Recorded(recorded, shared) => match recorded.heard(&job.request) {
                Ok(answer) => job.reply.send(answer),
                Err(why) => shared.fail(format!("{why:#}")),
            },
        }
    }
}

fn work(
    mut transcriber: Box<dyn Transcriber>,
    make: impl Fn() -> anyhow::Result<Box<dyn Transcriber>>,
    jobs: &Receiver<Job>,
    meter: &Meter,
) -> anyhow::Result<()> {
    for Job { request, reply } in jobs {
        let _timer = meter.begun(1);
        let heard = catch_unwind(AssertUnwindSafe(|| transcriber.transcribe(&request.sound)));
        let answer = match heard {
            Ok(Ok(heard)) if heard.words.len() <= MAX_WORDS => Answer::Heard(placed(&request, heard)),
            Ok(Ok(_)) => Answer::None(NoAnswer::ModelError),
            Ok(Err(why)) => {
                tracing::warn!(session = %request.session, %why, "the speech model failed on an input");
                Answer::None(NoAnswer::ModelError)
            }
            Err(_) => {
                // What state it is in nobody knows.
                transcriber = make()?;
                Answer::None(NoAnswer::ModelError)
            }
        };
        reply.send(inference(&request, transcriber.model(), answer));
    }
    Ok(())
}

fn inference(request: &Request, model: &str, answer: Answer) -> Inference {
    Inference {
        session_id: request.session,
        request_id: request.id.clone(),
        ordinal: request.ordinal,
        input_sha256: request.input_sha256.clone(),
        model: model.to_string(),
        answer,
    }
}

/// What was heard, on the session's time line.
fn placed(request: &Request, heard: speech::Heard) -> Heard {
    // 16 samples a millisecond.
    let at = |sample: usize| request.start.plus_us((sample.min(request.sound.len()) as i64 * 1_000) / 16);
    let word = |word: speech::Word| {
        let from_us = at(word.from);
        let confidence = Real(if word.confidence.is_nan() { 0.0 } else { word.confidence.clamp(0.0, 1.0) });
        HeardWord { text: word.text, from_us, to_us: at(word.to).max(from_us), confidence }
    };
    Heard { text: heard.text, language: heard.language, words: heard.words.into_iter().map(word).collect() }
}

/// What the scribe is told.
enum Written {
    /// A request was made.
    Asked(Inference),
    /// It has been answered.
    Answer(Inference),
    /// The run is over.
    End,
}

/// Asks in a live run: the answers go into the log.
#[derive(Clone)]
pub struct Scribe {
    pool: SpeechPool,
    told: Sender<Written>,
}

impl Scribe {
    /// A scribe and what its thread does, until it is ended or the run has stopped.
    pub fn new(
        pool: SpeechPool,
        deadline: Duration,
    ) -> (Scribe, impl FnOnce(&dyn AppendRecord, &Shared) -> Result<(), LogError> + Send) {
        let (told, hears) = unbounded();
        let scribe = Scribe { pool, told };
        (scribe, move |log: &dyn AppendRecord, shared: &Shared| write(&hears, deadline, log, shared))
    }

    /// Asks; the answer, or that none will come, is appended to topic `inference`.
    pub fn ask(&self, request: Request) {
        let none = inference(&request, &self.pool.model, Answer::None(NoAnswer::Deadline));
        let _ = self.told.send(Written::Asked(none));
        self.pool.send(Job { request, reply: ReplyTo::Log(self.told.clone()) });
    }

    /// Ends the scribe's thread, whatever is still worked on.
    pub fn end(&self) {
        let _ = self.told.send(Written::End);
    }

    /// Says that there will be no answer to a request whose sound is gone.
    pub fn give_up(&self, request: &Request) {
        let none = self.pool.sound_gone(request);
        let _ = self.told.send(Written::Asked(none.clone()));
        let _ = self.told.send(Written::Answer(none));
    }
}

/// An unanswered request: until when it is waited for, and what is written then.
type Waiting = BTreeMap<String, (Instant, Inference)>;

#[allow(
    clippy::disallowed_methods,
    reason = "a deadline of the live run becomes a record before it has an effect"
)]
fn write(
    told: &Receiver<Written>,
    deadline: Duration,
    log: &dyn AppendRecord,
    shared: &Shared,
) -> Result<(), LogError> {
    let mut waiting = Waiting::new();
    while !shared.stopped() {
        let mut due = Vec::new();
        match told.recv_timeout(LOOK) {
            Ok(Written::Asked(none)) => {
                waiting.insert(none.request_id.clone(), (Instant::now() + deadline, none));
            }
            Ok(Written::Answer(answer)) => match waiting.remove(&answer.request_id) {
                Some(_) => due.push(answer),
                None => tracing::warn!(session = %answer.session_id, "an answer came after its deadline"),
            },
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Written::End) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        let now = Instant::now();
        let late = waiting.extract_if(.., |_, (until, _)| *until <= now);
        due.extend(late.map(|(_, (_, none))| none));
        append(&due, log, shared)?;
    }
    Ok(())
}

/// Appends answers, waiting while the log is away.
pub(crate) fn append(answers: &[Inference], log: &dyn AppendRecord, shared: &Shared) -> Result<(), LogError> {
    while !answers.is_empty() && !shared.stopped() {
        match log.append(answers.iter().map(|answer| answer.encode(None)).collect()) {
            Err(LogError::Unavailable(why)) => {
                tracing::warn!(%why, "answers cannot be written; trying again");
                std::thread::sleep(RETRY);
            }
            done => return done.map(drop),
        }
    }
    Ok(())
}
