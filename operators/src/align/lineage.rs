//! Which records of a stream went into which segment: their offsets and event times, until the segment closes.

use std::collections::BTreeMap;

use lsie_schemas::EventTime;
use lsie_schemas::log::LogRecord;
use serde::{Deserialize, Serialize};

use crate::segment_id::SEGMENT_US;

/// What of a stream went into one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fed {
    pub(super) partition: i32,
    pub(super) records: i64,
    /// First and last offset.
    pub(super) offsets: (i64, i64),
    /// Earliest start and latest end, corrected.
    pub(super) times: (EventTime, EventTime),
}

/// The open segments of a stream, by ordinal: as many as the guard against future times lets in.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Lineage {
    open: BTreeMap<i64, Fed>,
}

impl Lineage {
    /// Notes a record that was used, whose samples lie from `start` to `end`; `next` is the first open segment.
    pub(super) fn note(
        &mut self,
        anchor: EventTime,
        next: i64,
        raw: &LogRecord,
        (start, end): (EventTime, EventTime),
    ) {
        let ordinal = |at: EventTime| (at.0 - anchor.0).div_euclid(SEGMENT_US) + 1;
        let last = ordinal(end.plus_us(-1).max(start));
        for ordinal in ordinal(start).max(next)..=last {
            let (partition, offset) = (raw.at.partition, raw.offset);
            let new = Fed { partition, records: 0, offsets: (offset, offset), times: (start, end) };
            let fed = self.open.entry(ordinal).or_insert(new);
            fed.records += 1;
            fed.offsets = (fed.offsets.0.min(offset), fed.offsets.1.max(offset));
            fed.times = (fed.times.0.min(start), fed.times.1.max(end));
        }
    }

    /// What went into a segment that closes.
    pub(super) fn close(&mut self, ordinal: i64) -> Option<Fed> {
        self.open.remove(&ordinal)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use lsie_schemas::log::TopicPartition;
    use lsie_schemas::{LogTime, Topic};

    use super::*;

    #[test]
    fn a_chunk_across_the_border_went_into_both_segments() {
        let at = TopicPartition { topic: Topic::AvAudio, partition: 3 };
        let (log_time, value) = (LogTime(0), Bytes::new());
        let record =
            |offset| LogRecord { at, offset, log_time, key: None, value: value.clone(), headers: vec![] };
        let s = |seconds: i64| EventTime(seconds * 1_000_000);
        let mut lineage = Lineage::default();
        lineage.note(s(0), 1, &record(7), (s(-1), s(1)));
        lineage.note(s(0), 1, &record(9), (s(29), s(31)));
        lineage.note(s(0), 1, &record(10), (s(59), s(60)));
        let fed = |records, offsets, times| Some(Fed { partition: 3, records, offsets, times });
        assert_eq!(lineage.close(1), fed(2, (7, 9), (s(-1), s(31))));
        assert_eq!(lineage.close(2), fed(2, (9, 10), (s(29), s(60))));
        assert_eq!(lineage.close(3), None);
    }
}
