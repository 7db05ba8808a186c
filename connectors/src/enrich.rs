//! Enrichment (module F): pages that requests of topic `requests` name, visited by a browser; what is kept of them goes
//! to topic `answers`.
//!
//! Politeness and safety are one boundary each: a page is visited only if its host is named and its robots.txt allows
//! it, and the browser reaches nothing but through a proxy that judges every address. Nothing is hidden: the
//! browser says what it is.

mod browser;
mod guard;
mod proxy;
mod robots;
mod visit;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Scope, scope};
use std::time::Duration;

use aes_gcm::aead::OsRng;
use aes_gcm::aead::rand_core::RngCore;
use lsie_schemas::log::{Log, LogError, LogRecord};
use lsie_schemas::record::{Answered, EnrichAnswer, EnrichRequest, PageData, Request};
use lsie_schemas::{EventTime, LogTime, Topic};
use uuid::{Builder, Uuid};

pub use browser::Chromium;
pub use guard::Hosts;
pub use robots::Robots;

use crate::clock::wall_us;
use crate::health::State;
use crate::requests::Requests;
use crate::retry::{log_is_lost, retry};
use crate::{Backoff, Health, Stop};

/// How long is waited for news.
const POLL: Duration = Duration::from_millis(100);

/// What an enrichment connector is to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The browser.
    pub chromium: Chromium,
    /// How it names itself.
    pub agent: String,
    /// Whom it may talk to.
    pub hosts: Hosts,
    /// Visits at a time.
    pub browsers: usize,
    /// Tries after a crash (behaviour §1: twice more, 5 s apart).
    pub crashes: Backoff,
}

impl Settings {
    /// With the times of the specification.
    pub fn new(chromium: Chromium, hosts: Hosts, browsers: usize) -> Settings {
        let wait = Duration::from_secs(5);
        let agent = format!("{}/{} (headless; enrichment)", robots::NAME, env!("CARGO_PKG_VERSION"));
        let crashes = Backoff { first: wait, longest: wait, give_up_after: Some(3) };
        Settings { chromium, agent, hosts, browsers, crashes }
    }
}

/// Why there is no page.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Failure {
    /// The browser ended, or its page did: another one may fare better.
    Crashed(String),
    /// For a reason that another try would not mend.
    Because(&'static str),
    /// The connector ends.
    Stopped,
}

/// What is to be done, by the records of two topics.
#[derive(Debug, Default)]
struct Work {
    open: BTreeMap<Uuid, (LogTime, EnrichRequest)>,
    answered: BTreeSet<Uuid>,
    visiting: BTreeSet<Uuid>,
}

impl Work {
    fn observe(&mut self, record: &LogRecord) {
        if record.at.topic == Topic::Requests {
            if let Ok(Request::Enrich(request)) = Request::decode(record)
                && !self.answered.contains(&request.unique_id)
            {
                self.open.entry(request.unique_id).or_insert((record.log_time, request));
            }
        } else if let Ok(Answered::Enriched(answer)) = Answered::decode(record) {
            self.open.remove(&answer.unique_id);
            self.answered.insert(answer.unique_id);
        }
    }

    /// The request that has waited for the longest time, from now on under way.
    fn next(&mut self) -> Option<EnrichRequest> {
        let waiting = self.open.values().filter(|(_, request)| !self.visiting.contains(&request.unique_id));
        let (_, request) = waiting.min_by_key(|(since, request)| (*since, request.unique_id))?;
        let request = request.clone();
        self.visiting.insert(request.unique_id);
        Some(request)
    }
}

/// A page that is wanted.
#[derive(Clone, Debug)]
pub struct Page {
    /// The session it is for, if any.
    pub session: Option<Uuid>,
    /// Its address.
    pub url: String,
    /// What it is about.
    pub kind: String,
    /// What a visit may take, s.
    pub timeout_s: u32,
}

/// Writes a request for a page; gives its identity.
pub fn ask(log: &dyn Log, page: Page) -> Result<Uuid, LogError> {
    let mut bits = [0; 16];
    OsRng.fill_bytes(&mut bits);
    let unique_id = Builder::from_random_bytes(bits).into_uuid();
    let Page { session: session_id, url: target_url, kind: scrape_type, timeout_s: timeout_seconds } = page;
    let request = EnrichRequest { unique_id, session_id, target_url, scrape_type, timeout_seconds };
    log.append(vec![Request::Enrich(request).encode(None)])?;
    Ok(unique_id)
}

/// Answers requests for pages until the wish to stop. What is not answered by then is the next run's.
pub fn enrich(log: &dyn Log, settings: &Settings, health: &Health, stop: &Stop) -> Result<(), LogError> {
    let away = |error: &LogError| health.set("log", State::Recovering, error.to_string());
    let topics = [Topic::Answers, Topic::Requests];
    let mut requests = retry(Backoff::LOG, stop, log_is_lost, away, || Requests::open(log, &topics))?;
    let (sender, ended) = channel();
    scope(|scope| {
        let result = attend(log, &mut requests, (scope, &sender, &ended), settings, health, stop);
        // Visits under way are broken off.
        stop.stop();
        result
    })
}

/// What of a visit comes back: its request, and the page if it was not broken off.
type Visited = (EnrichRequest, Result<PageData, Failure>);

fn attend<'scope>(
    log: &dyn Log,
    requests: &mut Requests,
    (scope, sender, ended): (&'scope Scope<'scope, '_>, &Sender<Visited>, &Receiver<Visited>),
    settings: &'scope Settings,
    health: &'scope Health,
    stop: &'scope Stop,
) -> Result<(), LogError> {
    let away = |error: &LogError| health.set("log", State::Recovering, error.to_string());
    let mut work = Work::default();
    while !stop.is_stopped() {
        let records = match retry(Backoff::LOG, stop, log_is_lost, away, || requests.poll(POLL)) {
            Err(LogError::Unavailable(_)) => break,
            records => records?,
        };
        records.iter().for_each(|record| work.observe(record));
        if !requests.caught_up() {
            continue;
        }
        health.set("log", State::Ok, "");
        while let Ok((request, result)) = ended.try_recv() {
            work.visiting.remove(&request.unique_id);
            let Some(answer) = answer(&request, result, health) else { continue };
            let record = answer.encode(None);
            match retry(Backoff::LOG, stop, log_is_lost, away, || log.append(vec![record.clone()])) {
                Err(LogError::Unavailable(_)) => return Ok(()),
                appended => appended?,
            };
            // What was written comes back by the topic; until then it is not done again.
            work.answered.insert(request.unique_id);
            work.open.remove(&request.unique_id);
        }
        while work.visiting.len() < settings.browsers {
            let Some(request) = work.next() else { break };
            let sender = sender.clone();
            let visiting = request.clone();
            let started =
                std::thread::Builder::new().name("enrich-visit".into()).spawn_scoped(scope, move || {
                    let result = tried(settings, &visiting, health, stop);
                    // Whoever no longer waits does not want to know.
                    let _ = sender.send((visiting, result));
                });
            if let Err(why) = started {
                work.visiting.remove(&request.unique_id);
                health.set("browser", State::Recovering, format!("no thread: {why}"));
                break;
            }
        }
    }
    Ok(())
}

/// A visit, and another browser when one crashes.
fn tried(
    settings: &Settings,
    request: &EnrichRequest,
    health: &Health,
    stop: &Stop,
) -> Result<PageData, Failure> {
    let for_good = |failure: &Failure| !matches!(failure, Failure::Crashed(_));
    let crashed = |failure: &Failure| {
        health.count("browser_crashes", 1);
        if let Failure::Crashed(why) = failure {
            health.set("browser", State::Recovering, why.clone());
        }
    };
    let visited = retry(settings.crashes, stop, for_good, crashed, || visit::visit(settings, request, stop));
    match visited {
        // The wait for the next try was cut short.
        Err(Failure::Crashed(_)) if stop.is_stopped() => Err(Failure::Stopped),
        visited => visited,
    }
}

/// What is written of a visit; none of one that was broken off.
fn answer(request: &EnrichRequest, result: Result<PageData, Failure>, health: &Health) -> Option<Answered> {
    let (data, reason) = match result {
        Ok(page) => (Some(page), None),
        Err(Failure::Because(reason)) => (None, Some(reason)),
        Err(Failure::Crashed(why)) => {
            health.count("browser_crashes", 1);
            health.set("browser", State::Error, why);
            (None, Some("crash"))
        }
        Err(Failure::Stopped) => return None,
    };
    if reason != Some("crash") {
        health.set("browser", State::Ok, "");
    }
    let success = data.is_some();
    health.count(if success { "pages" } else { "pages_not_had" }, 1);
    Some(Answered::Enriched(EnrichAnswer {
        unique_id: request.unique_id,
        session_id: request.session_id,
        source_url: request.target_url.clone(),
        scraped_at_utc: EventTime(wall_us()),
        scrape_type: request.scrape_type.clone(),
        data,
        success,
        reason: reason.map(str::to_owned),
    }))
}
