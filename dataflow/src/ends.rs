//! How far the log's partitions go, for those who would rather have no answer than wait for it.

use std::collections::BTreeMap;
use std::time::Duration;

use lsie_schemas::log::{Log, LogError, TopicPartition};

use crate::metrics::instant;

/// How long the log may take to answer for all of them.
const LIMIT: Duration = Duration::from_secs(3);

/// Asks for the ends of partitions; what is known when the log fails, or has not said in time, and that failure.
pub(crate) fn ends(
    log: &dyn Log,
    partitions: impl IntoIterator<Item = TopicPartition>,
) -> (BTreeMap<TopicPartition, i64>, Result<(), LogError>) {
    let start = instant();
    let mut known = BTreeMap::new();
    for at in partitions {
        match log.bounds_within(at, LIMIT.saturating_sub(start.elapsed())) {
            Ok((_, end)) => drop(known.insert(at, end)),
            // To ask for the others would only take as long again.
            Err(why) => return (known, Err(why)),
        }
    }
    (known, Ok(()))
}
