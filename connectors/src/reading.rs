//! Reading stretches of a log: what connectors rebuild their state from.

use std::collections::BTreeMap;
use std::time::Duration;

use lsie_schemas::Topic;
use lsie_schemas::log::{Fetch, Log, LogError, LogRecord, TopicPartition};

/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);

/// A stretch of a partition: from this offset to before that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) at: TopicPartition,
    pub(crate) from: i64,
    pub(crate) to: i64,
}

/// All partitions of a topic, from their first record to what is there now.
pub(crate) fn whole(log: &dyn Log, topic: Topic) -> Result<Vec<Stretch>, LogError> {
    let state = log.topic(topic)?.ok_or_else(|| LogError::Missing(topic.to_string()))?;
    let all: Vec<_> = (0..state.partitions).map(|partition| TopicPartition { topic, partition }).collect();
    Ok(log.bounds_of(&all)?.into_iter().map(|(at, (from, to))| Stretch { at, from, to }).collect())
}

/// Reads stretches; records of a partition come in order.
pub(crate) fn read(
    log: &dyn Log,
    stretches: &[Stretch],
    mut each: impl FnMut(LogRecord),
) -> Result<(), LogError> {
    let ends: BTreeMap<TopicPartition, i64> =
        stretches.iter().filter(|stretch| stretch.from < stretch.to).map(|s| (s.at, s.to)).collect();
    let from: Vec<_> =
        stretches.iter().filter(|s| ends.contains_key(&s.at)).map(|s| (s.at, s.from)).collect();
    if from.is_empty() {
        return Ok(());
    }
    let mut reader = log.reader(&from, Fetch::default())?;
    while ends.iter().any(|(at, end)| reader.position(*at).is_none_or(|position| position < *end)) {
        for record in reader.poll(POLL)? {
            if ends.get(&record.at).is_some_and(|end| record.offset < *end) {
                each(record);
            }
        }
    }
    Ok(())
}
