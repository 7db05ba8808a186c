//! How far the log's partitions go, for those who would rather have no answer than wait for it.

use std::collections::BTreeMap;
use std::time::Duration;

use lsie_schemas::log::{Log, LogError, TopicPartition};

/// How long the log may take to answer for all of them.
const LIMIT: Duration = Duration::from_secs(3);

/// Asks for the ends of partitions.
pub(crate) fn ends(
    log: &dyn Log,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, i64>, LogError> {
    let known = log.bounds_within(partitions, LIMIT)?;
    Ok(known.into_iter().map(|(at, (_, end))| (at, end)).collect())
}
