//! Which session a connector is for, by the records of topic `control`.

use std::collections::BTreeMap;
use std::time::Duration;

use lsie_schemas::log::{Fetch, Log, LogError, LogRecord, TopicPartition};
use lsie_schemas::record::{Control, Record, StartSession};
use lsie_schemas::{LogTime, Topic, codec};
use uuid::Uuid;

use crate::retry::{log_is_lost, retry};
use crate::{Backoff, Stop, reading};

/// How long is waited for changes.
const POLL: Duration = Duration::from_millis(100);

/// A change that concerns the connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A session began.
    Begin(StartSession, LogTime),
    /// The session that ran ended.
    End(Uuid, LogTime),
}

/// Whose sessions are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// Those whose media come from this source.
    Source(String),
    /// Those that watch this account.
    Account(String),
}

impl Of {
    fn is_of(&self, start: &StartSession) -> bool {
        match self {
            Of::Source(url) => start.source_url == *url,
            Of::Account(name) => start.watched_account.as_ref() == Some(name),
        }
    }
}

/// Follows the sessions of one source or account. A start of another session puts an end to the one before.
#[derive(Clone, Debug)]
pub(crate) struct Follow {
    of: Of,
    /// The session that runs, and when it began.
    running: Option<(StartSession, LogTime)>,
}

impl Follow {
    pub(crate) fn new(of: Of) -> Follow {
        Follow { of, running: None }
    }

    /// The session that runs, and when it began.
    pub(crate) fn running(&self) -> Option<&(StartSession, LogTime)> {
        self.running.as_ref()
    }

    /// Takes the next record of the topic.
    pub(crate) fn observe(&mut self, record: &LogRecord) -> Option<Change> {
        let Ok(Record::Control(control)) = codec::decode(record) else { return None };
        let running = self.running.as_ref().map(|(start, _)| start.session_id);
        match control {
            Control::Start(start) if self.of.is_of(&start) => {
                if running == Some(start.session_id) {
                    return None;
                }
                self.running = Some((start.clone(), record.log_time));
                Some(Change::Begin(start, record.log_time))
            }
            Control::End(end) if running == Some(end.session_id) => {
                self.running = None;
                Some(Change::End(end.session_id, record.log_time))
            }
            _ => None,
        }
    }
}

/// What topic `control` says now, and where to read on.
pub(crate) struct CaughtUp {
    pub(crate) follow: Follow,
    /// Whether a session has been ended, of those that were asked about.
    pub(crate) ended: bool,
    pub(crate) positions: BTreeMap<TopicPartition, i64>,
}

/// Reads topic `control` to its end. Sessions are taken in the order of their log times.
pub(crate) fn catch_up(log: &dyn Log, of: &Of, about: Option<Uuid>) -> Result<CaughtUp, LogError> {
    let stretches = reading::whole(log, Topic::Control)?;
    let mut records = Vec::new();
    reading::read(log, &stretches, |record| records.push(record))?;
    records.sort_by_key(|record| (record.log_time, record.at, record.offset));
    let (mut follow, mut ended) = (Follow::new(of.clone()), false);
    for record in &records {
        follow.observe(record);
        let end = || matches!(codec::decode(record), Ok(Record::Control(Control::End(_))));
        ended |= about.is_some() && codec::session_of_key(record) == about && end();
    }
    let positions = stretches.iter().map(|stretch| (stretch.at, stretch.to)).collect();
    Ok(CaughtUp { follow, ended, positions })
}

/// Tails topic `control`.
pub(crate) struct Tail {
    reader: Box<dyn lsie_schemas::log::LogReader>,
}

impl Tail {
    pub(crate) fn new(log: &dyn Log, positions: &BTreeMap<TopicPartition, i64>) -> Result<Tail, LogError> {
        let from: Vec<_> = positions.iter().map(|(at, offset)| (*at, *offset)).collect();
        let fetch = Fetch { prefetch_bytes: 1 << 20, poll_bytes: 1 << 20 };
        Ok(Tail { reader: log.reader(&from, fetch)? })
    }

    /// Changes that have come since; waits a little for some. While the log is away it is tried again, of which
    /// `away` hears.
    pub(crate) fn changes(
        &mut self,
        follow: &mut Follow,
        stop: &Stop,
        away: impl Fn(&LogError),
    ) -> Result<Vec<Change>, LogError> {
        match retry(Backoff::LOG, stop, log_is_lost, away, || self.reader.poll(POLL)) {
            Ok(records) => Ok(records.iter().filter_map(|record| follow.observe(record)).collect()),
            // Stopped while the log was away: there is nothing more to follow.
            Err(LogError::Unavailable(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use lsie_schemas::record::{EndSession, Stream, Subjects};

    use super::*;

    fn logged(control: Control, at_ms: u64) -> LogRecord {
        let new = control.encode(None);
        let at = TopicPartition { topic: Topic::Control, partition: 0 };
        let (key, value, headers) = (Some(new.key), new.value, new.headers);
        LogRecord { at, offset: at_ms as i64, log_time: LogTime(at_ms), key, value, headers }
    }

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(0x0b1f_8f5e_6f0e_4c55_9d3c_6d1d_5bb0_a000 + number)
    }

    fn start(number: u128, source_url: &str) -> StartSession {
        StartSession {
            session_id: id(number),
            streams: vec![Stream::Audio],
            subjects: Subjects::default(),
            watched_account: None,
            source_url: source_url.into(),
            experiment_id: "greeting_line_v1".into(),
            client_action_id: None,
        }
    }

    #[test]
    fn an_account_is_another_way_to_be_concerned() {
        let watching = |account: Option<&str>| StartSession {
            watched_account: account.map(str::to_owned),
            ..start(1, "capture:phone")
        };
        for (account, follows) in [(None, false), (Some("ben"), false), (Some("ana"), true)] {
            let mut follow = Follow::new(Of::Account("ana".into()));
            let change = follow.observe(&logged(Control::Start(watching(account)), 1));
            assert_eq!(change.is_some(), follows, "{account:?}");
        }
    }

    #[test]
    fn only_sessions_of_its_own_source_count() {
        let mut follow = Follow::new(Of::Source("capture:phone".into()));
        let end = |number| Control::End(EndSession { session_id: id(number), client_action_id: None });
        let script = [
            (Control::Start(start(1, "capture:other")), None),
            (
                Control::Start(start(2, "capture:phone")),
                Some(Change::Begin(start(2, "capture:phone"), LogTime(1))),
            ),
            (Control::Start(start(2, "capture:phone")), None),
            (end(1), None),
            (
                Control::Start(start(3, "capture:phone")),
                Some(Change::Begin(start(3, "capture:phone"), LogTime(4))),
            ),
            (end(2), None),
            (end(3), Some(Change::End(id(3), LogTime(6)))),
            (end(3), None),
        ];
        for (at_ms, (control, expected)) in script.into_iter().enumerate() {
            assert_eq!(follow.observe(&logged(control, at_ms as u64)), expected, "{at_ms}");
        }
        assert!(follow.running().is_none());
    }
}
