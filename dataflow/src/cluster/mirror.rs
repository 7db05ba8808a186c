//! What another process has fetched, as the coordinator sees it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lsie_schemas::LogTime;
use lsie_schemas::log::TopicPartition;
use lsie_schemas::record::EpochRecord;

use crate::coordinator::Intake;
use crate::epochs::Positions;
use crate::ingest::News;

/// The inboxes of another process, seen from here: as of its last [`News`].
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    seen: Mutex<Option<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    fetched: Positions,
    /// Offset and log time of what is fetched and in no epoch yet.
    queues: BTreeMap<TopicPartition, VecDeque<(i64, LogTime)>>,
    behind: Option<LogTime>,
    unanswered: i64,
    /// The newest committed epoch it had heard of.
    committed: LogTime,
}

impl Mirror {
    /// Takes in what the process tells.
    pub(crate) fn hear(&self, news: News, unanswered: i64, committed: LogTime) {
        let mut seen = self.lock();
        let seen = seen.get_or_insert_default();
        for (at, offset, log_time) in news.records {
            seen.queues.entry(at).or_default().push_back((offset, log_time));
        }
        *seen = Seen {
            fetched: news.fetched,
            queues: std::mem::take(&mut seen.queues),
            behind: news.behind,
            unanswered,
            committed,
        };
    }

    fn lock(&self) -> MutexGuard<'_, Option<Seen>> {
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
        // Nothing is heard of it yet: how far it has come is not known.
        self.lock().as_ref().map_or(Some(LogTime(0)), |seen| seen.behind)
    }

    fn fetched(&self, until: Option<LogTime>) -> Positions {
        let seen = self.lock();
        let Some(seen) = &*seen else { return Positions::new() };
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
        for range in epoch.ranges {
            let queue = seen.as_mut().and_then(|seen| seen.queues.get_mut(&range.at));
            if let Some(queue) = queue {
                let upto = queue.partition_point(|(offset, _)| *offset < range.to);
                queue.drain(..upto);
            }
        }
    }

    fn finish(&self) {}

    fn waits(&self, committed: LogTime) -> bool {
        // What it said before it heard of that epoch may be without a request of it.
        self.lock().as_ref().is_none_or(|seen| seen.unanswered > 0 || seen.committed < committed)
    }
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
