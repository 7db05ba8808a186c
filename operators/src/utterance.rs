//! What was said, and what of it belongs to a stimulus: asks for a transcript of every closed segment with sound in
//! it, takes the answers, and says of each stimulus which words are its own.
//!
//! **What belongs to a stimulus** at *t*: the words whose middle lies in [*t* − 1 s, *t* + 5 s]: from a moment before
//! it, for a hand is slower than a mouth, to the end of its measurement window. Where an earlier stimulus was less
//! than 6 s before, from the end of that one's window on, so that no word belongs to two. The words are taken as
//! they were heard (mathematics §10, DM-10). It is decided when everything up to *t* + 5 s has been asked about
//! and every answer that touches the span is there, or when the session has ended and these are there. Without a
//! word, or where an answer is none, nothing is said of the stimulus: no transcript, no evaluation, no reward.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lsie_schemas::codec::Rejection;
use lsie_schemas::record::{Answer, AudioChunk, DeadLetter, Heard, HeardWord, Inference, NoAnswer, Record};
use lsie_schemas::row::{InferenceRow, TranscriptRow};
use lsie_schemas::table::Json;
use lsie_schemas::{EventTime, LogTime};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::align::{Aligned, Arrived, Class, Classified, Making, Recipe, SpeechJob, classified};
use crate::logic::{Keyed, Logic, apart, pairs};
use crate::segment_id::{hex, ordinal_at, segment_id, window};

/// Words from so many µs before a stimulus belong to it.
pub const BEFORE_US: i64 = 1_000_000;
/// Words until so many µs after a stimulus belong to it: the end of its measurement window.
pub const AFTER_US: i64 = 5_000_000;
/// How long words are kept behind what has been asked about, for stimuli that arrive late.
const KEEP_US: i64 = 120_000_000;
/// How long a session that has ended is remembered, in ms of log time, to know answers that come twice.
const KEEP_ENDED_MS: u64 = 3_600_000;

/// What the operator is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A word of alignment; words that say nothing about speech are ignored.
    Aligned(Aligned),
    /// An answer that this run has made itself, due at this epoch.
    Answered(Inference),
}

/// A request for a transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The session.
    pub session: Uuid,
    /// Its id: the hash of what is asked, the same in every run.
    pub id: String,
    /// The segment whose closing asks.
    pub ordinal: i64,
    /// SHA-256 of the samples (s16le), lowercase hex.
    pub input_sha256: String,
    /// Time of the first sample.
    pub start: EventTime,
    /// The samples, 16 kHz.
    pub sound: Arc<[i16]>,
}

/// What was said in answer to a stimulus.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Said {
    /// The stimulus' time.
    pub at: EventTime,
    /// The segment that contains the stimulus.
    pub segment_id: String,
    /// That segment's window end.
    pub window_end: EventTime,
    /// The words.
    pub text: String,
}

/// What the operator says.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A request that has no answer yet.
    Ask(Request),
    /// The answer to a request counts.
    Answered(String),
    /// What was said in a segment.
    Transcript(TranscriptRow),
    /// A model's result.
    Inference(InferenceRow),
    /// The words said to the stimulus of this session and action.
    Said(Uuid, Uuid, Said),
    /// What became of a record.
    Classified(Classified),
    /// A record that could not be used.
    Dead(DeadLetter),
}

/// All sessions of one worker.
#[derive(Debug, Default)]
pub struct Utterances {
    sessions: BTreeMap<Uuid, Session>,
    /// The minute of log time at which those that are over last went.
    swept: u64,
}

/// What of utterances a checkpoint may hold: words and open requests, no sound.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct UtterancesSnapshot {
    sessions: BTreeMap<Uuid, Session>,
}

impl Keyed for UtterancesSnapshot {
    type Key = Uuid;

    fn apart(self) -> Vec<(Option<Uuid>, UtterancesSnapshot)> {
        apart(self.sessions, |sessions| UtterancesSnapshot { sessions })
    }

    fn join(&mut self, piece: UtterancesSnapshot) {
        self.sessions.extend(piece.sessions);
    }
}

/// What an epoch holds for one session.
#[derive(Default)]
struct News {
    anchor: Option<EventTime>,
    stimuli: Vec<(EventTime, Uuid)>,
    records: Vec<Arc<Arrived>>,
    answers: Vec<Inference>,
    jobs: Vec<Arc<SpeechJob>>,
    ended: bool,
}

/// Sessions in order of their ids; of each, answers by offset before the requests of the same epoch, for nobody
/// can answer what has not been asked.
impl Logic for Utterances {
    type Record = Input;
    type Output = Output;
    type Snapshot = UtterancesSnapshot;

    fn on_epoch(&mut self, epoch: LogTime, inputs: Vec<Input>, out: &mut Vec<Output>) {
        // When one that is over goes from memory changes nothing: it is not heard any more.
        let minute = epoch.0 / 60_000;
        if std::mem::replace(&mut self.swept, minute) != minute {
            self.sessions.retain(|_, session| !session.is_over(epoch));
        }
        for (id, news) in sorted(inputs) {
            self.hear(id, epoch, news, out);
        }
    }

    fn snapshot(&self) -> UtterancesSnapshot {
        UtterancesSnapshot { sessions: self.sessions.clone() }
    }

    fn restore(&mut self, snapshot: UtterancesSnapshot) {
        self.sessions = snapshot.sessions;
        for asked in self.sessions.values_mut().flat_map(|session| session.open.values_mut()) {
            asked.making = Some(asked.recipe.begin());
        }
    }

    fn rewind(&self) -> Option<LogTime> {
        let open = self.sessions.values().flat_map(|session| session.open.values());
        open.filter_map(|asked| asked.recipe.since()).min()
    }

    fn rebuild(&mut self, epoch: LogTime, inputs: Vec<Input>, _again: &mut Vec<Output>) {
        let mut chunks: Vec<Arc<Arrived>> = Vec::new();
        chunks.extend(inputs.into_iter().filter_map(|input| match input {
            Input::Aligned(Aligned::Sound(arrived)) => Some(arrived),
            Input::Aligned(_) | Input::Answered(_) => None,
        }));
        chunks.sort_by_key(|arrived| (arrived.raw.at, arrived.raw.offset));
        for arrived in chunks {
            let Record::Audio(chunk) = &arrived.record else { continue };
            if let Some(session) = self.sessions.get_mut(&chunk.session_id) {
                session.open.values_mut().for_each(|asked| asked.take(epoch, chunk));
            }
        }
    }
}

fn sorted(inputs: Vec<Input>) -> BTreeMap<Uuid, News> {
    let mut news: BTreeMap<Uuid, News> = BTreeMap::new();
    for input in inputs {
        match input {
            Input::Aligned(Aligned::Anchored { session, anchor, .. }) => {
                news.entry(session).or_default().anchor = Some(anchor);
            }
            Input::Aligned(Aligned::Stimulus { session, action, at, .. }) => {
                news.entry(session).or_default().stimuli.push((at, action));
            }
            Input::Aligned(Aligned::Speech(job)) => news.entry(job.session).or_default().jobs.push(job),
            Input::Aligned(Aligned::Answer(arrived)) => {
                let Some(session) = arrived.record.session() else { continue };
                news.entry(session).or_default().records.push(arrived);
            }
            Input::Aligned(Aligned::Ended { session, .. }) => news.entry(session).or_default().ended = true,
            Input::Answered(answer) => news.entry(answer.session_id).or_default().answers.push(answer),
            Input::Aligned(_) => {}
        }
    }
    for news in news.values_mut() {
        news.records.sort_by_key(|arrived| (arrived.raw.at, arrived.raw.offset));
        news.answers.sort();
        news.jobs.sort_by_key(|job| job.ordinal);
    }
    news
}

impl Utterances {
    /// The requests that a restored value holds unanswered, with the epochs at which they were made, to be sent
    /// again. One whose sound could not be rebuilt has none.
    pub fn unanswered(&mut self) -> Vec<(LogTime, Request)> {
        let mut requests = Vec::new();
        for (session, of) in &mut self.sessions {
            for (id, asked) in &mut of.open {
                requests.push((asked.at, asked.again(*session, id)));
            }
        }
        requests
    }

    fn hear(&mut self, id: Uuid, epoch: LogTime, news: News, out: &mut Vec<Output>) {
        if self.sessions.get(&id).is_some_and(|session| session.is_over(epoch)) {
            self.sessions.remove(&id);
        }
        if news.anchor.is_some() || !news.stimuli.is_empty() || !news.jobs.is_empty() {
            self.sessions.entry(id).or_default();
        }
        let Some(session) = self.sessions.get_mut(&id) else {
            return news.records.iter().for_each(|arrived| file(arrived, unrequested(), out));
        };
        session.anchor = session.anchor.or(news.anchor);
        session.stimuli.extend(news.stimuli.into_iter().map(|stimulus| (stimulus, false)));
        for arrived in news.records {
            session.answer(&arrived, out);
        }
        for answer in news.answers {
            if session.open.contains_key(&answer.request_id) {
                session.take(answer, out);
            }
        }
        for job in news.jobs {
            session.ask(epoch, &job, out);
        }
        if news.ended {
            session.ended = Some(epoch);
        }
        session.decide(id, out);
    }
}

/// One session.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Session {
    anchor: Option<EventTime>,
    /// Whether it has been decided what was said to each.
    #[serde(with = "pairs")]
    stimuli: BTreeMap<(EventTime, Uuid), bool>,
    /// Unanswered requests by id.
    open: BTreeMap<String, Asked>,
    answered: BTreeSet<String>,
    /// What has been asked about, by segment.
    pieces: BTreeMap<i64, Piece>,
    /// Everything before it has been asked about.
    covered: Option<EventTime>,
    /// The epoch of its end.
    ended: Option<LogTime>,
}

/// An unanswered request.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Asked {
    /// The epoch at which it was made.
    at: LogTime,
    ordinal: i64,
    segment_id: String,
    window_end: EventTime,
    input_sha256: String,
    start: EventTime,
    recipe: Recipe,
    #[serde(skip)]
    making: Option<Making>,
}

/// A stretch of the time line that has been asked about.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Piece {
    from: EventTime,
    until: EventTime,
    words: Words,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Words {
    /// The answer is awaited.
    Awaited,
    /// These were said.
    Heard(Vec<HeardWord>),
    /// There will be no answer.
    Unknown,
}

impl Asked {
    fn take(&mut self, epoch: LogTime, chunk: &AudioChunk) {
        if let Some(making) = &mut self.making {
            making.take(epoch, chunk);
        }
    }

    fn again(&mut self, session: Uuid, id: &str) -> Request {
        let sound = self.making.take().map(Making::finish).unwrap_or_default();
        let is_the_same = sha256(&sound) == self.input_sha256;
        Request {
            session,
            id: id.to_string(),
            ordinal: self.ordinal,
            input_sha256: self.input_sha256.clone(),
            start: self.start,
            sound: if is_the_same { sound.into() } else { Arc::new([]) },
        }
    }
}

impl Session {
    fn is_over(&self, epoch: LogTime) -> bool {
        self.open.is_empty() && self.ended.is_some_and(|at| at.plus_ms(KEEP_ENDED_MS) <= epoch)
    }

    fn ask(&mut self, epoch: LogTime, job: &SpeechJob, out: &mut Vec<Output>) {
        let Some(span) = window(job.anchor.0, job.ordinal) else { return };
        self.covered = self.covered.max(Some(job.until));
        let words = if job.sound.is_empty() { Words::Heard(Vec::new()) } else { Words::Awaited };
        self.pieces.insert(job.ordinal, Piece { from: job.from, until: job.until, words });
        if job.sound.is_empty() {
            return;
        }
        let input_sha256 = sha256(&job.sound);
        let id = request_id(job.session, job.ordinal, &input_sha256);
        let asked = Asked {
            at: epoch,
            ordinal: job.ordinal,
            segment_id: segment_id(job.session, span.start_us, span.end_us),
            window_end: EventTime(span.end_us),
            input_sha256: input_sha256.clone(),
            start: job.start,
            recipe: job.recipe.clone(),
            making: None,
        };
        self.open.insert(id.clone(), asked);
        out.push(Output::Ask(Request {
            session: job.session,
            id,
            ordinal: job.ordinal,
            input_sha256,
            start: job.start,
            sound: job.sound.clone(),
        }));
    }

    /// Takes an answer from the log: the first to an open request counts.
    fn answer(&mut self, arrived: &Arrived, out: &mut Vec<Output>) {
        let Record::Inference(answer) = &arrived.record else { return };
        let agrees =
            |asked: &Asked| asked.ordinal == answer.ordinal && asked.input_sha256 == answer.input_sha256;
        match self.open.get(&answer.request_id) {
            Some(asked) if agrees(asked) => {
                out.push(Output::Classified(classified(&arrived.raw, Class::Used, "")));
                self.take(answer.clone(), out);
            }
            Some(_) => file(arrived, Rejection::new("other_input", "it answers about other sound"), out),
            None if self.answered.contains(&answer.request_id) => {
                out.push(Output::Classified(classified(&arrived.raw, Class::Duplicate, "")));
            }
            None => file(arrived, unrequested(), out),
        }
    }

    /// Takes the answer to an open request.
    fn take(&mut self, answer: Inference, out: &mut Vec<Output>) {
        let Some(asked) = self.open.remove(&answer.request_id) else { return };
        self.answered.insert(answer.request_id.clone());
        out.push(Output::Answered(answer.request_id.clone()));
        let piece = self.pieces.get_mut(&asked.ordinal);
        let (from_utc, to_utc) = piece.as_ref().map(|piece| (piece.from, piece.until)).unwrap_or_default();
        let (words, told, reason) = match answer.answer {
            Answer::Heard(heard) => {
                let heard = tidy(heard);
                let told = Json::new(&serde_json::json!(heard));
                out.extend(transcript(answer.session_id, &asked, &heard.text).map(Output::Transcript));
                (Words::Heard(heard.words), Some(told), None)
            }
            Answer::None(reason) => (Words::Unknown, None, Some(reason.code().to_string())),
            // Never said of sound: the graph hands judgements to the gray band.
            Answer::Judged(_) => (Words::Unknown, None, Some(NoAnswer::ModelError.code().to_string())),
        };
        if let Some(piece) = piece {
            piece.words = words;
        }
        out.push(Output::Inference(InferenceRow {
            session_id: answer.session_id,
            request_id: answer.request_id,
            what: "speech".into(),
            segment_id: asked.segment_id,
            from_utc,
            to_utc,
            input_sha256: asked.input_sha256,
            model: answer.model,
            answer: told,
            reason,
        }));
    }

    /// Decides what was said to every stimulus of which everything is known.
    fn decide(&mut self, session: Uuid, out: &mut Vec<Output>) {
        let open: Vec<(EventTime, Uuid)> =
            self.stimuli.iter().filter(|(_, decided)| !**decided).map(|(stimulus, _)| *stimulus).collect();
        for stimulus in open {
            let Some(said) = self.words_of(stimulus) else { continue };
            self.stimuli.insert(stimulus, true);
            let (at, action) = stimulus;
            let text = said.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
            if let (false, Some((segment_id, window_end))) = (text.is_empty(), self.segment_of(session, at)) {
                out.push(Output::Said(session, action, Said { at, segment_id, window_end, text }));
            }
        }
        self.forget();
    }

    /// The words of a stimulus, none when an answer is none; `None` while something is awaited.
    fn words_of(&self, stimulus: (EventTime, Uuid)) -> Option<Vec<HeardWord>> {
        let (at, _) = stimulus;
        let before = self.stimuli.range(..stimulus).next_back().map(|((at, _), _)| at.plus_us(AFTER_US));
        let (from, until) = (at.plus_us(-BEFORE_US).max(before.unwrap_or_default()), at.plus_us(AFTER_US));
        if self.ended.is_none() && self.covered < Some(until) {
            return None;
        }
        let mut said = Vec::new();
        let mut is_known = true;
        for piece in self.pieces.values().filter(|piece| piece.from < until && from < piece.until) {
            match &piece.words {
                Words::Awaited => return None,
                Words::Unknown => is_known = false,
                Words::Heard(words) => said.extend(words.iter().filter(|word| {
                    let middle = word.from_us.plus_us((word.to_us.0 - word.from_us.0) / 2);
                    (from..=until).contains(&middle)
                })),
            }
        }
        said.sort();
        said.sort_by_key(|word| word.from_us);
        Some(if is_known { said.into_iter().cloned().collect() } else { Vec::new() })
    }

    /// Forgets what no stimulus can need any more.
    fn forget(&mut self) {
        let Some(covered) = self.covered else { return };
        let open = self.stimuli.iter().find(|(_, decided)| !**decided).map(|((at, _), _)| *at);
        let limit = covered.min(open.unwrap_or(covered)).plus_us(-KEEP_US);
        self.stimuli.retain(|(at, _), _| *at >= limit);
        self.pieces.retain(|_, piece| piece.until >= limit || matches!(piece.words, Words::Awaited));
    }

    fn segment_of(&self, session: Uuid, at: EventTime) -> Option<(String, EventTime)> {
        let anchor = self.anchor?.0;
        let span = window(anchor, ordinal_at(anchor, at.0)?)?;
        Some((segment_id(session, span.start_us, span.end_us), EventTime(span.end_us)))
    }
}

/// The row of a segment in which something was said.
fn transcript(session_id: Uuid, asked: &Asked, text: &str) -> Option<TranscriptRow> {
    let (segment_id, timestamp_utc) = (asked.segment_id.clone(), asked.window_end);
    (!text.is_empty()).then(|| TranscriptRow { session_id, segment_id, timestamp_utc, text: text.into() })
}

/// The same without control characters, which no table of texts takes, and with single spaces.
fn tidy(heard: Heard) -> Heard {
    let words = heard.words.into_iter().map(|word| HeardWord { text: plain(&word.text), ..word });
    Heard {
        text: plain(&heard.text),
        language: plain(&heard.language),
        words: words.filter(|word| !word.text.is_empty()).collect(),
    }
}

fn plain(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// The id of a request: SHA-256 of what is asked, lowercase hex.
pub fn request_id(session: Uuid, ordinal: i64, input_sha256: &str) -> String {
    hex(&Sha256::digest(format!("speech:{}:{ordinal}:{input_sha256}", session.hyphenated())))
}

fn sha256(samples: &[i16]) -> String {
    let mut hash = Sha256::new();
    samples.iter().for_each(|sample| hash.update(sample.to_le_bytes()));
    hex(&hash.finalize())
}

fn unrequested() -> Rejection {
    Rejection::new("unrequested", "nobody has asked for it")
}

fn file(arrived: &Arrived, why: Rejection, out: &mut Vec<Output>) {
    out.push(Output::Classified(classified(&arrived.raw, Class::Filed, &why.reason)));
    out.push(Output::Dead(DeadLetter::new(&arrived.raw, why)));
}
