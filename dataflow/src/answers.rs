//! Which requests have an answer in the log, and when it counts: read once, before a run begins.

use std::collections::{BTreeMap, BTreeSet};

use lsie_schemas::log::{Log, LogError, TopicPartition};
use lsie_schemas::record::{EpochRecord, Record};
use lsie_schemas::topic::partition_of;
use lsie_schemas::{LogTime, Topic, codec};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::epochs::{Positions, read_from};

/// Session, request, input: what an answer must agree with.
type Asked = (Uuid, String, String);

/// The answers in topic `inference`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Answers {
    /// The epochs at which they enter.
    epochs: BTreeMap<Asked, BTreeSet<LogTime>>,
}

/// Where epochs end in the partitions of topic `inference`, and when.
pub struct Ends(BTreeMap<TopicPartition, BTreeMap<i64, LogTime>>);

impl Ends {
    /// Those of a table.
    pub fn of(table: &[EpochRecord]) -> Ends {
        let mut ends: BTreeMap<TopicPartition, BTreeMap<i64, LogTime>> = BTreeMap::new();
        for epoch in table {
            for range in epoch.ranges.iter().filter(|range| range.at.topic == Topic::Inference) {
                ends.entry(range.at).or_default().insert(range.to, epoch.log_time);
            }
        }
        Ends(ends)
    }
}

impl Answers {
    /// Reads the answers that the epochs of a table hold and, for a run that makes new epochs, those that are to
    /// come into one (`beyond`). A run that begins at `from` knows what came before by its state.
    pub fn read(
        log: &dyn Log,
        Ends(ends): &Ends,
        beyond: bool,
        from: &Positions,
    ) -> Result<Answers, LogError> {
        let count = log.topic(Topic::Inference)?.map_or(0, |state| state.partitions);
        let partitions: Vec<TopicPartition> =
            (0..count).map(|partition| TopicPartition { topic: Topic::Inference, partition }).collect();
        let mut answers = Answers::default();
        read_from(log, &partitions, from, |record| {
            let after = ends.get(&record.at).and_then(|ends| ends.range(record.offset + 1..).next());
            let epoch = after.map(|(_, log_time)| *log_time).or(beyond.then_some(LogTime(u64::MAX)));
            // What the graph files does not count here either.
            let belongs = partition_of(record.key.as_deref().unwrap_or_default(), count);
            let epoch = epoch.filter(|_| count == 1 || belongs == record.at.partition);
            if let (Some(epoch), Ok(Record::Inference(answer))) = (epoch, codec::decode(&record)) {
                let asked = (answer.session_id, answer.request_id, answer.input_sha256);
                answers.epochs.entry(asked).or_default().insert(epoch);
            }
        })?;
        Ok(answers)
    }

    /// Whether a request made at an epoch will find its answer in a later one.
    pub fn will_come(&self, session: Uuid, request: &str, input: &str, asked_at: LogTime) -> bool {
        let asked = (session, request.to_string(), input.to_string());
        self.epochs.get(&asked).and_then(|epochs| epochs.last()).is_some_and(|last| *last > asked_at)
    }
}
