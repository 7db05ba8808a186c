//! From requests to chunks: what the provider has news about is fetched, and written for each session that runs and
//! names that subject.
//!
//! What is open is what `requests` holds and `answers` does not: a restart knows all. A fetch that failed is written
//! to `requests` again with a higher count, and tried later. Between chunks and answer a crash may fetch twice; the
//! engine knows chunks by their id.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use lsie_schemas::log::{Log, LogError, LogRecord, NewRecord};
use lsie_schemas::record::{
    Answered, Control, HydrateAnswer, HydrateRequest, Hydrated, PhysioRecord, Record, Request, StartSession,
    SubjectRole,
};
use lsie_schemas::{EventTime, LogTime, Topic, codec};
use serde_json::{Value, json};
use uuid::Uuid;

use super::provider::{Access, FetchError, Provider};
use super::tokens::TokenFile;
use super::{HydrationRequest, hydrate};
use crate::clock::{wall_ms, wall_us};
use crate::health::State;
use crate::requests::Requests;
use crate::retry::{log_is_lost, retry};
use crate::{Backoff, Health, Stop};

/// How long is waited for news.
const POLL: Duration = Duration::from_millis(100);

/// What a hydration connector is to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The provider.
    pub access: Access,
    /// Folder of the token files, `streamer.json` and `operator.json`.
    pub tokens: PathBuf,
    /// How long a failed fetch waits for its next try, and how often it gets one.
    pub later: Backoff,
}

impl Settings {
    /// Tries again after half a minute, doubling to an hour, eight times.
    pub fn new(access: Access, tokens: PathBuf) -> Settings {
        let (first, longest) = (Duration::from_secs(30), Duration::from_secs(3_600));
        Settings { access, tokens, later: Backoff { first, longest, give_up_after: Some(8) } }
    }
}

/// What is to be done, by the records of three topics.
#[derive(Debug, Default)]
struct Work {
    /// Requests without an answer, and when they are due, ms.
    open: BTreeMap<Uuid, (HydrateRequest, u64)>,
    answered: BTreeSet<Uuid>,
    /// Sessions that run.
    sessions: BTreeMap<Uuid, StartSession>,
}

impl Work {
    fn observe(&mut self, record: &LogRecord, later: Backoff) {
        match record.at.topic {
            Topic::Requests => {
                let Ok(Request::Hydrate(request)) = Request::decode(record) else { return };
                let (id, LogTime(at)) = (request.unique_id, record.log_time);
                let known = self.open.get(&id).map(|(known, _)| known.attempt);
                if self.answered.contains(&id) || known.is_some_and(|attempt| attempt >= request.attempt) {
                    return;
                }
                let wait = later.wait(request.attempt).unwrap_or(later.longest);
                self.open.insert(id, (request, at.saturating_add(wait.as_millis() as u64)));
            }
            Topic::Answers => {
                if let Ok(Answered::Hydrated(answer)) = Answered::decode(record) {
                    self.open.remove(&answer.unique_id);
                    self.answered.insert(answer.unique_id);
                }
            }
            _ => match codec::decode(record) {
                Ok(Record::Control(Control::Start(start))) => {
                    self.sessions.insert(start.session_id, start);
                }
                Ok(Record::Control(Control::End(end))) => {
                    self.sessions.remove(&end.session_id);
                }
                _ => {}
            },
        }
    }

    /// The request that has been due for the longest time.
    fn due(&self, now_ms: u64) -> Option<HydrateRequest> {
        let due = self.open.values().filter(|(_, due)| *due <= now_ms).min_by_key(|(_, due)| *due);
        due.map(|(request, _)| request.clone())
    }

    /// The sessions that name a subject in this role.
    fn sessions_of(&self, role: SubjectRole) -> Vec<Uuid> {
        let names = |start: &&StartSession| match role {
            SubjectRole::Streamer => start.subjects.streamer.is_some(),
            SubjectRole::Operator => start.subjects.operator.is_some(),
        };
        self.sessions.values().filter(names).map(|start| start.session_id).collect()
    }
}

/// Fetches what is requested until the wish to stop.
pub fn hydrate_requests(
    log: &dyn Log,
    settings: &Settings,
    health: &Health,
    stop: &Stop,
) -> Result<(), LogError> {
    let away = |error: &LogError| health.set("log", State::Recovering, error.to_string());
    let topics = [Topic::Control, Topic::Answers, Topic::Requests];
    let mut requests = retry(Backoff::LOG, stop, log_is_lost, away, || Requests::open(log, &topics))?;
    let provider = Provider::new(&settings.access, stop);
    let mut work = Work::default();
    while !stop.is_stopped() {
        let records = match retry(Backoff::LOG, stop, log_is_lost, away, || requests.poll(POLL)) {
            Err(LogError::Unavailable(_)) => break,
            records => records?,
        };
        records.iter().for_each(|record| work.observe(record, settings.later));
        if !requests.caught_up() || !records.is_empty() {
            continue;
        }
        health.set("log", State::Ok, "");
        if let Some(request) = work.due(wall_ms()) {
            let outcome = answer(&work, &provider, settings, &request, health);
            let appended = retry(Backoff::LOG, stop, log_is_lost, away, || log.append(outcome.clone()));
            match appended {
                Err(LogError::Unavailable(_)) => break,
                appended => appended?,
            };
            // What was written comes back by the topics; until then it is not done again.
            work.open.remove(&request.unique_id);
        }
    }
    Ok(())
}

/// Works on a request; what is to be written of it: chunks and an answer, or the request again.
fn answer(
    work: &Work,
    provider: &Provider,
    settings: &Settings,
    request: &HydrateRequest,
    health: &Health,
) -> Vec<NewRecord> {
    let unique_id = request.unique_id;
    let end = |outcome, chunks, refused, reason: Option<String>| {
        Answered::Hydrated(HydrateAnswer { unique_id, outcome, chunks, refused, reason }).encode(None)
    };
    let body = json!({
        "unique_id": unique_id, "subject_role": request.subject_role, "event_type": request.event_type,
        "data_type": request.data_type, "start_datetime": request.start_datetime,
        "end_datetime": request.end_datetime,
    });
    let wanted = match HydrationRequest::read(body.to_string().as_bytes()) {
        Ok(wanted) => wanted,
        Err(rejection) => {
            health.count("requests_refused", 1);
            return vec![end(Hydrated::Refused, 0, 0, Some(rejection.reason))];
        }
    };
    let sessions = work.sessions_of(wanted.subject_role);
    if sessions.is_empty() {
        health.count("requests_without_session", 1);
        return vec![end(Hydrated::NoSession, 0, 0, None)];
    }
    let tokens = TokenFile(settings.tokens.join(format!("{}.json", wanted.subject_role.name())));
    match provider.fetch(&tokens, &wanted) {
        Ok(pages) => {
            health.set("provider", State::Ok, "");
            let (mut records, refused) = chunks(&wanted, &pages, &sessions);
            health.count("chunks", records.len() as u64);
            health.count("items_refused", refused);
            let written = records.len() as u64;
            records.push(end(Hydrated::Done, written, refused, None));
            records
        }
        Err(FetchError::Refused(why)) => {
            health.set("provider", State::Degraded, why);
            health.count("requests_refused", 1);
            vec![end(Hydrated::Refused, 0, 0, Some("provider".into()))]
        }
        Err(FetchError::Later(why)) => {
            health.set("provider", State::Recovering, why);
            let attempt = request.attempt.saturating_add(1);
            if settings.later.wait(attempt).is_none() {
                health.count("requests_given_up", 1);
                return vec![end(Hydrated::GivenUp, 0, 0, Some("tried_too_often".into()))];
            }
            health.count("requests_tried_later", 1);
            vec![Request::Hydrate(HydrateRequest { attempt, ..request.clone() }).encode(None)]
        }
    }
}

/// The chunks of all pages for all sessions, and how many items were of no use.
fn chunks(wanted: &HydrationRequest, pages: &[Value], sessions: &[Uuid]) -> (Vec<NewRecord>, u64) {
    let (mut records, mut refused) = (Vec::new(), 0);
    for page in pages {
        match hydrate(wanted, page, EventTime(wall_us())) {
            Ok(hydrated) => {
                refused += hydrated.refused.len() as u64;
                for chunk in hydrated.chunks {
                    let of =
                        |session_id: &Uuid| PhysioRecord { session_id: *session_id, chunk: chunk.clone() };
                    records.extend(sessions.iter().map(|session| of(session).encode(None)));
                }
            }
            Err(_) => refused += 1,
        }
    }
    (records, refused)
}
