//! What another process has fetched, as the coordinator sees it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lsie_schemas::LogTime;
use lsie_schemas::log::TopicPartition;
use lsie_schemas::record::EpochRecord;

use crate::coordinator::Intake;
use crate::epochs::Positions;
use crate::ingest::News;

/// A process that is not heard of for so long holds log time back; it speaks several times as often.
const SILENCE: Duration = Duration::from_secs(1);

/// The inboxes of another process, seen from here: as of its last [`News`].
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// When the process was last heard of.
    heard: Option<Instant>,
    fetched: Positions,
    /// What is in an epoch already, and the newest of those.
    released: Positions,
    released_at: LogTime,
    /// Offset and log time of what is fetched and in no epoch yet.
    queues: BTreeMap<TopicPartition, VecDeque<(i64, LogTime)>>,
    behind: Option<LogTime>,
    unanswered: i64,
    /// The newest committed epoch it had heard of.
    committed: LogTime,
}

impl Mirror {
    /// A mirror of a process, where so much of the log is in epochs.
    pub(crate) fn new(released: Positions) -> Mirror {
        Mirror { seen: Mutex::new(Seen { released, ..Seen::default() }) }
    }

    /// Takes in what the process tells.
    pub(crate) fn hear(&self, news: News, unanswered: i64, committed: LogTime) {
        let mut seen = self.lock();
        for (at, offset, log_time) in news.records {
            if seen.released.get(&at).is_none_or(|released| *released <= offset) {
                seen.queues.entry(at).or_default().push_back((offset, log_time));
            }
        }
        seen.heard = Some(now());
        seen.fetched = news.fetched;
        seen.behind = news.behind;
        (seen.unanswered, seen.committed) = (unanswered, committed);
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        // Plain values.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intake for Mirror {
    fn has_released_all(&self) -> bool {
        // An epoch goes there when it has entered here.
        true
    }

    fn behind(&self) -> Option<LogTime> {
        let seen = self.lock();
        match seen.heard {
            // How far it has come is not known.
            None => Some(LogTime(0)),
            // What it has fetched since then is not known: time waits for its word.
            Some(heard) if heard.elapsed() > SILENCE => Some(seen.behind.unwrap_or(seen.released_at)),
            Some(_) => seen.behind,
        }
    }

    fn fetched(&self, until: Option<LogTime>) -> Positions {
        let seen = self.lock();
        let mut fetched = seen.fetched.clone();
        for (at, queue) in seen.queues.iter().filter(|_| until.is_some()) {
            if let Some((offset, _)) = queue.iter().find(|(_, log_time)| Some(*log_time) > until) {
                fetched.insert(*at, *offset);
            }
        }
        fetched
    }

    fn release(&self, epoch: EpochRecord) {
        let mut seen = self.lock();
        seen.released_at = epoch.log_time;
        for range in epoch.ranges {
            seen.released.insert(range.at, range.to);
            if let Some(queue) = seen.queues.get_mut(&range.at) {
                let upto = queue.partition_point(|(offset, _)| *offset < range.to);
                queue.drain(..upto);
            }
        }
    }

    fn finish(&self) {}

    fn waits(&self, committed: LogTime) -> bool {
        // What it said before it heard of that epoch may be without a request of it.
        let seen = self.lock();
        seen.heard.is_none() || seen.unanswered > 0 || seen.committed < committed
    }
}

#[allow(clippy::disallowed_methods, reason = "how long a process is silent is no result")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use lsie_schemas::Topic;
    use lsie_schemas::record::EpochRange;

    use super::*;

    const AUDIO: TopicPartition = TopicPartition { topic: Topic::AvAudio, partition: 3 };

    fn news(records: &[(i64, u64)], behind: Option<u64>) -> News {
        let to = records.last().map_or(0, |(offset, _)| offset + 1);
        News {
            fetched: Positions::from([(AUDIO, to)]),
            records: records.iter().map(|(offset, time)| (AUDIO, *offset, LogTime(*time))).collect(),
            behind: behind.map(LogTime),
        }
    }

    #[test]
    fn what_is_not_heard_of_holds_time_back() {
        let mirror = Mirror::default();
        assert_eq!(mirror.behind(), Some(LogTime(0)));
        assert!(mirror.waits(LogTime(0)));
        mirror.hear(news(&[], None), 0, LogTime(0));
        assert_eq!((mirror.behind(), mirror.waits(LogTime(0))), (None, false));
    }

    #[test]
    fn an_epoch_takes_what_is_not_later_than_it() {
        let mirror = Mirror::default();
        mirror.hear(news(&[(0, 100), (1, 200), (2, 300)], Some(300)), 0, LogTime(0));
        assert_eq!(mirror.fetched(Some(LogTime(200))), Positions::from([(AUDIO, 2)]));
        let range = EpochRange { at: AUDIO, from: 0, to: 2 };
        mirror.release(EpochRecord { log_time: LogTime(200), ranges: vec![range] });
        mirror.hear(news(&[(3, 400)], Some(400)), 0, LogTime(0));
        assert_eq!(mirror.fetched(Some(LogTime(300))), Positions::from([(AUDIO, 3)]));
        assert_eq!(mirror.fetched(None), Positions::from([(AUDIO, 4)]));
    }

    #[test]
    fn what_is_in_the_table_already_is_not_kept() {
        let mirror = Mirror::new(Positions::from([(AUDIO, 2)]));
        mirror.hear(news(&[(0, 100), (1, 200), (2, 300)], None), 0, LogTime(0));
        assert_eq!(mirror.lock().queues[&AUDIO], [(2, LogTime(300))]);
    }

    #[test]
    fn answers_are_waited_for_until_a_later_word_says_there_are_none() {
        let mirror = Mirror::default();
        mirror.hear(news(&[], None), 0, LogTime(500));
        assert!(mirror.waits(LogTime(750)), "it may have asked at 750");
        mirror.hear(news(&[], None), 1, LogTime(750));
        assert!(mirror.waits(LogTime(750)));
        mirror.hear(news(&[], None), 0, LogTime(750));
        assert!(!mirror.waits(LogTime(750)));
    }
}
