//! Requests as they come, with the answers that they may have already: what a connector that answers them follows.

use std::time::Duration;

use lsie_schemas::log::{Fetch, Log, LogError, LogReader, LogRecord, TopicPartition};
use lsie_schemas::{LogTime, Topic};

use crate::clock::wall_ms;
use crate::reading;

/// Requests are kept for a day; no answer to one of them is older.
const ANSWERS_MS: u64 = 48 * 3_600_000;

/// A reader of requests.
pub(crate) struct Requests {
    reader: Box<dyn LogReader>,
    /// Where the topics ended at the opening.
    ends: Vec<(TopicPartition, i64)>,
}

impl Requests {
    /// Opens these topics from their beginning, but of answers only those that can still matter.
    pub(crate) fn open(log: &dyn Log, topics: &[Topic]) -> Result<Requests, LogError> {
        let (mut from, mut ends) = (Vec::new(), Vec::new());
        for topic in topics {
            for stretch in reading::whole(log, *topic)? {
                let first = match topic {
                    Topic::Answers => {
                        let since = LogTime(wall_ms().saturating_sub(ANSWERS_MS));
                        log.offset_at(stretch.at, since)?.unwrap_or(stretch.to)
                    }
                    _ => stretch.from,
                };
                from.push((stretch.at, first));
                if first < stretch.to {
                    ends.push((stretch.at, stretch.to));
                }
            }
        }
        let fetch = Fetch { prefetch_bytes: 4 << 20, poll_bytes: 1 << 20 };
        Ok(Requests { reader: log.reader(&from, fetch)?, ends })
    }

    /// What has come, after so long at the latest.
    pub(crate) fn poll(&mut self, wait: Duration) -> Result<Vec<LogRecord>, LogError> {
        self.reader.poll(wait)
    }

    /// Whether all is read that was there at the opening: before that, a request may have its answer further on.
    pub(crate) fn caught_up(&self) -> bool {
        let is_past = |(at, end): &(TopicPartition, i64)| {
            self.reader.position(*at).is_some_and(|position| position >= *end)
        };
        self.ends.iter().all(is_past)
    }
}
