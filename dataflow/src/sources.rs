//! Where every source stands, as table `sources` shows it: the partitions of the log, and the live sessions in them. Like
//! the board of operators it follows the pace of the process, so it is no result.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lsie_operators::align::{Aligned, Class};
use lsie_schemas::log::{Log, LogError, TopicPartition};
use lsie_schemas::row::SourceRow;
use lsie_schemas::{LogTime, Topic};
use uuid::Uuid;

use crate::board::Load;
use crate::ends::ends;
use crate::ingest::PartitionStanding;

/// A source of which nothing comes for so long is idle, or, if something should, stalled; ms of log time.
const QUIET_MS: u64 = 5_000;

/// The sources of a process.
#[derive(Debug, Default)]
pub struct Sources {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sessions: BTreeMap<Uuid, Session>,
    /// Where the partitions ended when the log was last asked.
    ends: BTreeMap<TopicPartition, i64>,
    /// The log did not answer then.
    is_away: bool,
    /// How far each partition is fetched, and since when.
    fetched: BTreeMap<TopicPartition, (i64, LogTime)>,
    /// What was shown last.
    shown: BTreeMap<(&'static str, String), (Condition, LogTime)>,
}

/// What is known of a live session.
#[derive(Debug, Default)]
struct Session {
    /// The epoch of the newest record of each of its media.
    heard: BTreeMap<Topic, LogTime>,
    is_over: bool,
}

/// A state and its reason.
type Condition = (&'static str, Option<String>);

const HEALTHY: Condition = ("healthy", None);

fn idle(reason: &str) -> Condition {
    ("idle", Some(reason.to_string()))
}

fn stalled(reason: &str) -> Condition {
    ("stalled", Some(reason.to_string()))
}

impl Sources {
    /// Takes what alignment says in an epoch.
    pub fn hear(&self, epoch: LogTime, words: &[Aligned]) {
        let mut state = self.lock();
        for word in words {
            let (session, topic) = match word {
                Aligned::Started { start, .. } => (start.session_id, None),
                Aligned::Frame(job) => (job.session, Some(Topic::AvVideo)),
                Aligned::Classified(what) if what.class == Class::Used && what.topic == Topic::AvAudio => {
                    let Some(session) = what.session else { continue };
                    (session, Some(Topic::AvAudio))
                }
                _ => continue,
            };
            let known = state.sessions.entry(session).or_default();
            known.heard.extend(topic.map(|topic| (topic, epoch)));
        }
        for word in words {
            if let Aligned::Ended { session, .. } = word
                && let Some(known) = state.sessions.get_mut(session)
            {
                known.is_over = true;
            }
        }
    }

    /// Asks the log where its partitions end.
    pub fn look(&self, log: &dyn Log, partitions: &[TopicPartition]) {
        let ends = ends(log, partitions);
        let mut state = self.lock();
        state.is_away = matches!(ends, Err(LogError::Unavailable(_)));
        state.ends.extend(ends.into_iter().flatten());
    }

    /// A row for every source, as of an epoch.
    pub fn rows(&self, now: LogTime, partitions: impl Iterator<Item = PartitionStanding>) -> Vec<SourceRow> {
        let mut state = self.lock();
        let mut found: Vec<((&'static str, String), Condition, Option<LogTime>)> = Vec::new();
        for standing in partitions {
            let condition = state.partition(&standing, now);
            found.push((("partition", standing.at.to_string()), condition, None));
        }
        for (session, known) in &state.sessions {
            let (condition, since) = known.condition(now);
            found.push((("session", session.hyphenated().to_string()), condition, since));
        }
        state.sessions.retain(|_, known| !known.is_over);
        let mut shown = BTreeMap::new();
        let mut rows = Vec::with_capacity(found.len());
        for (source, condition, since) in found {
            let before = state.shown.get(&source).filter(|(before, _)| *before == condition);
            let since = since.or(before.map(|(_, since)| *since)).unwrap_or(now);
            rows.push(SourceRow {
                kind: source.0.into(),
                source: source.1.clone(),
                state: condition.0.into(),
                reason: condition.1.clone(),
                since_utc: since.as_event(),
            });
            shown.insert(source, (condition, since));
        }
        state.shown = shown;
        rows
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Plain values.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn partition(&mut self, standing: &PartitionStanding, now: LogTime) -> Condition {
        let PartitionStanding { at, fetched, is_held, .. } = *standing;
        let known = self.fetched.entry(at).or_insert((fetched, now));
        if known.0 != fetched {
            *known = (fetched, now);
        }
        let is_quiet = now.0.saturating_sub(known.1.0) >= QUIET_MS;
        let waits = self.ends.get(&at).is_some_and(|end| *end > fetched);
        match (waits, is_quiet) {
            _ if self.is_away => stalled("the log does not answer"),
            (true, _) if is_held => stalled("held back by the byte budget, or for others to catch up"),
            (true, true) => stalled("records wait and are not fetched"),
            (false, true) => idle("no records"),
            _ => HEALTHY,
        }
    }
}

impl Session {
    /// How it does, and since when, if that is known.
    fn condition(&self, now: LogTime) -> (Condition, Option<LogTime>) {
        if self.is_over {
            return (idle("it has ended"), None);
        }
        let silent = self.heard.iter().filter(|(_, last)| now.0.saturating_sub(last.0) >= QUIET_MS);
        match silent.min_by_key(|(_, last)| **last) {
            _ if self.heard.is_empty() => (idle("no media yet"), None),
            Some((topic, last)) => (stalled(&format!("{topic} is silent")), Some(*last)),
            None => (HEALTHY, None),
        }
    }
}

/// The operator that holds the oldest epoch, of a run in which nothing is committed any more: the one with work in hand
/// whose input has come furthest, for what comes after it waits for it. None: they are all through, so it is the sinks.
pub fn holder(loads: &[Load]) -> Option<&Load> {
    let at_work = loads.iter().filter(|load| load.backlog > 0);
    at_work.max_by_key(|load| load.frontier.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lsie_operators::align::Classified;

    use super::*;

    fn at(partition: i32) -> TopicPartition {
        TopicPartition { topic: Topic::AvAudio, partition }
    }

    fn standing(partition: i32, fetched: i64, is_held: bool) -> PartitionStanding {
        PartitionStanding { at: at(partition), fetched, reached: None, is_held }
    }

    fn sound(session: Uuid) -> Aligned {
        let (session, topic) = (Some(session), Topic::AvAudio);
        Aligned::Classified(Classified { session, topic, class: Class::Used, reason: String::new() })
    }

    fn told(rows: &[SourceRow]) -> Vec<(&str, &str, i64)> {
        let told = |row: &SourceRow| row.since_utc.0 / 1_000;
        rows.iter()
            .map(|row| (row.state.as_str(), row.reason.as_deref().unwrap_or_default(), told(row)))
            .collect()
    }

    #[test]
    fn a_partition_is_healthy_idle_or_stalled() {
        let sources = Sources::default();
        let at = |now: u64, fetched, is_held| {
            sources.rows(LogTime(now), [standing(0, fetched, is_held)].into_iter())
        };
        assert_eq!(told(&at(1_000, 0, false)), [("healthy", "", 1_000)]);
        assert_eq!(told(&at(3_000, 5, false)), [("healthy", "", 1_000)]);
        assert_eq!(told(&at(8_000, 5, false)), [("idle", "no records", 8_000)]);
        sources.lock().ends.insert(super::tests::at(0), 9);
        assert_eq!(told(&at(9_000, 5, false)), [("stalled", "records wait and are not fetched", 9_000)]);
        assert_eq!(told(&at(10_000, 5, false)), [("stalled", "records wait and are not fetched", 9_000)]);
        let held = "held back by the byte budget, or for others to catch up";
        assert_eq!(told(&at(11_000, 5, true)), [("stalled", held, 11_000)]);
        assert_eq!(told(&at(12_000, 9, false)), [("healthy", "", 12_000)]);
        sources.lock().is_away = true;
        assert_eq!(told(&at(13_000, 9, false)), [("stalled", "the log does not answer", 13_000)]);
    }

    #[test]
    fn a_session_that_falls_silent_stalls_and_one_that_ends_goes() {
        let sources = Sources::default();
        let id = Uuid::from_u128(1);
        let rows = |now| sources.rows(LogTime(now), std::iter::empty());
        sources.hear(LogTime(1_000), &[sound(id)]);
        assert_eq!(told(&rows(2_000)), [("healthy", "", 2_000)]);
        assert_eq!(told(&rows(7_000)), [("stalled", "av.audio is silent", 1_000)]);
        sources.hear(
            LogTime(8_000),
            &[Aligned::Ended { session: id, at: LogTime(8_000).as_event() }, sound(id)],
        );
        assert_eq!(told(&rows(8_000)), [("idle", "it has ended", 8_000)]);
        assert_eq!(rows(9_000), []);
    }

    #[test]
    fn the_operator_that_holds_an_epoch_is_the_furthest_that_has_work() {
        let load = |operator: &str, frontier, backlog| Load {
            worker: 0,
            operator: operator.into(),
            frontier,
            backlog,
            busy: Duration::ZERO,
        };
        let loads = [load("align", Some(900), 0), load("infer", Some(900), 3), load("measure", Some(500), 2)];
        assert_eq!(holder(&loads).map(|load| load.operator.as_str()), Some("infer"));
        assert!(holder(&loads[..1]).is_none());
    }
}
