//! Settings of the connection to Kafka.

use std::collections::BTreeMap;
use std::time::Duration;

use lsie_schemas::log::LogError;

/// Settings of librdkafka that the log's promises rest on.
const OURS: [&str; 12] = [
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "check.crcs",
    "enable.auto.commit",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "isolation.level",
    "metadata.broker.list",
    "request.required.acks",
    "transactional.id",
];
/// Properties with this prefix are settings of topics that are created.
const CREATE: &str = "create.";
/// The replication factor among them.
const REPLICATION: &str = "replication.factor";

/// How to reach a cluster, and which topics of it are the topic set.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `HOST:PORT[,HOST:PORT...]`.
    pub bootstrap: String,
    /// What stands in front of the name of every topic.
    pub prefix: String,
    /// Further settings: librdkafka's by their names (security, compression, ...), and those of created
    /// topics behind `create.` (such as `create.replication.factor`, `create.min.insync.replicas`).
    pub properties: BTreeMap<String, String>,
    /// How long a request, or the delivery of a record, may take.
    pub timeout: Duration,
}

impl KafkaConfig {
    /// A configuration with the default time limit of 30 s.
    pub fn new(bootstrap: impl Into<String>, prefix: impl Into<String>) -> KafkaConfig {
        let (bootstrap, prefix) = (bootstrap.into(), prefix.into());
        KafkaConfig { bootstrap, prefix, properties: BTreeMap::new(), timeout: Duration::from_secs(30) }
    }

    /// Refuses settings that would break the log's promises, or topics' names.
    pub(super) fn check(&self) -> Result<(), LogError> {
        if self.bootstrap.trim().is_empty() {
            return Err(LogError::Refused("kafka: no bootstrap address (HOST:PORT) is given".into()));
        }
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if self.prefix.len() > 200 || !self.prefix.chars().all(valid) {
            let text = "a topic's name has letters, digits, '.', '_' and '-' only";
            return Err(LogError::Refused(format!("kafka prefix {:?}: {text}", self.prefix)));
        }
        match self.properties.keys().find(|key| OURS.contains(&key.as_str())) {
            Some(key) => Err(LogError::Refused(format!("kafka property {key} is set by the log itself"))),
            None => Ok(()),
        }
    }

    /// The properties that are librdkafka's.
    pub(super) fn client(&self) -> impl Iterator<Item = (&String, &String)> {
        self.properties.iter().filter(|(key, _)| !key.starts_with(CREATE))
    }

    /// The settings of created topics, without the replication factor.
    pub(super) fn topics(&self) -> impl Iterator<Item = (&str, &str)> {
        let settings = self.properties.iter();
        let settings = settings.filter_map(|(key, value)| Some((key.strip_prefix(CREATE)?, value.as_str())));
        settings.filter(|(key, _)| *key != REPLICATION)
    }

    /// The replication factor of created topics; the broker's default unless it is set.
    pub(super) fn replication(&self) -> Result<i32, LogError> {
        let Some(value) = self.properties.get(&format!("{CREATE}{REPLICATION}")) else { return Ok(-1) };
        let factor = value.parse().ok().filter(|factor| *factor > 0);
        factor.ok_or_else(|| {
            LogError::Refused(format!("{CREATE}{REPLICATION} = {value:?} is no number of brokers"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(key: &str, value: &str) -> KafkaConfig {
        let mut config = KafkaConfig::new("localhost:9092", "lsie.");
        config.properties.insert(key.into(), value.into());
        config
    }

    #[test]
    fn what_would_break_a_promise_is_refused_and_named() {
        let refused = with("acks", "0").check().expect_err("acks are the log's").to_string();
        assert!(refused.contains("acks"), "{refused}");
        assert!(with("security.protocol", "ssl").check().is_ok());
        assert!(KafkaConfig::new("", "lsie.").check().is_err());
        assert!(KafkaConfig::new("localhost:9092", "a/b").check().is_err());
        assert!(OURS.is_sorted());
    }

    #[test]
    fn settings_of_created_topics_are_kept_from_the_client() {
        let config = with("create.min.insync.replicas", "2");
        assert_eq!(config.client().count(), 0);
        assert_eq!(config.topics().collect::<Vec<_>>(), [("min.insync.replicas", "2")]);
        assert_eq!(config.replication().expect("the default"), -1);
        assert_eq!(with("create.replication.factor", "3").replication().expect("a factor"), 3);
        assert!(with("create.replication.factor", "many").replication().is_err());
    }
}
