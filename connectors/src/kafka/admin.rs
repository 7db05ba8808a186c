//! Topics: creating them with what the engine needs, and reading their shape back.

use std::time::Duration;

use lsie_schemas::Topic;
use lsie_schemas::log::{LogError, MAX_RECORD_BYTES, TimestampType, TopicSpec, TopicState};
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};

use super::Shared;
use super::block_on::block_on;
use super::client::Events;
use crate::clock::now;

/// What a topic accepts: twice our limit, so that a foreign producer's oversized record is seen and filed
/// as such instead of being refused where nobody counts it.
const TOPIC_MAX_BYTES: usize = 2 * MAX_RECORD_BYTES;
/// The least that holds a record of the largest size with its envelope.
const TOPIC_LEAST_BYTES: usize = MAX_RECORD_BYTES + (128 << 10);

impl Shared {
    /// The shape of a topic, or `None` if it does not exist.
    pub(super) fn state(&self, topic: Topic) -> Result<Option<TopicState>, LogError> {
        Ok(self.describe(topic)?.map(|described| described.state))
    }

    /// Creates what does not exist; refuses what exists in another shape.
    pub(super) fn create_topics(&self, specs: &[TopicSpec]) -> Result<(), LogError> {
        for spec in specs {
            match self.describe(spec.topic)? {
                Some(found) => self.compare(spec, &found)?,
                None => self.create_topic(spec)?,
            }
        }
        specs.iter().try_for_each(|spec| self.await_topic(spec.topic))
    }

    fn create_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        let name = self.connection.topic(spec.topic);
        let settings = topic_settings(spec);
        let replication = TopicReplication::Fixed(self.connection.config().replication()?);
        let mut new = NewTopic::new(&name, spec.partitions, replication);
        for (key, value) in &settings {
            new = new.set(key, value);
        }
        for (key, value) in self.connection.config().topics() {
            new = new.set(key, value);
        }
        let timeout = self.connection.timeout();
        let options = AdminOptions::new().request_timeout(Some(timeout)).operation_timeout(Some(timeout));
        let doing = format!("create topic {name}");
        let results = self.administer(&doing, |admin| block_on(admin.create_topics([&new], &options)))?;
        for result in results {
            match result {
                Ok(_) => {}
                // Somebody else was faster: then it must be what is wanted.
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {
                    self.await_topic(spec.topic)?;
                    if let Some(found) = self.describe(spec.topic)? {
                        self.compare(spec, &found)?;
                    }
                }
                Err((_, code)) => return Err(self.connection.coded(&doing, code, "")),
            }
        }
        Ok(())
    }

    /// Waits until every partition of the topic has its leader.
    fn await_topic(&self, topic: Topic) -> Result<(), LogError> {
        let deadline = now() + self.connection.timeout();
        let name = self.connection.topic(topic);
        loop {
            let metadata = self.metadata(&name, self.connection.timeout())?;
            let led = metadata.topics().iter().find(|found| found.name() == name).is_some_and(|found| {
                let partitions = found.partitions();
                !partitions.is_empty() && partitions.iter().all(|p| p.leader() >= 0 && p.error().is_none())
            });
            if led {
                return Ok(());
            }
            if now() >= deadline {
                return Err(LogError::Unavailable(format!("topic {name} is created but has no leader")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn describe(&self, topic: Topic) -> Result<Option<Described>, LogError> {
        let Some(partitions) = self.partitions(topic, self.connection.timeout())? else { return Ok(None) };
        let name = self.connection.topic(topic);
        let doing = format!("describe topic {name}");
        let options = AdminOptions::new().request_timeout(Some(self.connection.timeout()));
        let resource = ResourceSpecifier::Topic(&name);
        let mut described =
            self.administer(&doing, |admin| block_on(admin.describe_configs([&resource], &options)))?;
        let Some(config) = described.pop() else {
            return Err(LogError::Unavailable(format!("no answer to: {doing}")));
        };
        let config = config.map_err(|code| self.connection.coded(&doing, code, ""))?;
        Described::read(partitions, &config).map(Some).map_err(|key| {
            LogError::Refused(format!("topic {name}: setting {key} is not told by the broker, or is unknown"))
        })
    }

    fn administer<T>(
        &self,
        doing: &str,
        request: impl FnOnce(&AdminClient<Events>) -> KafkaResult<T>,
    ) -> Result<T, LogError> {
        let admin = self.admin.get()?;
        let answer = request(&admin);
        self.admin.heard(&admin, &answer);
        answer.map_err(|e| self.connection.error(doing, &e))
    }

    fn compare(&self, spec: &TopicSpec, found: &Described) -> Result<(), LogError> {
        let name = self.connection.topic(spec.topic);
        let TopicSpec { partitions, timestamps, retention_ms, .. } = *spec;
        let wanted = TopicState { partitions, timestamps, retention_ms };
        if found.state != wanted {
            let found = found.state;
            return Err(LogError::Refused(format!(
                "topic {name} exists with {found:?}, wanted {wanted:?}; mend: another prefix, or alter the topic"
            )));
        }
        if found.max_bytes < TOPIC_LEAST_BYTES {
            return Err(LogError::Refused(format!(
                "topic {name} has max.message.bytes = {}; mend: set it to {TOPIC_MAX_BYTES}",
                found.max_bytes
            )));
        }
        Ok(())
    }
}

/// What the broker says about a topic.
struct Described {
    state: TopicState,
    max_bytes: usize,
}

impl Described {
    /// Reads the settings; the error is the key of the one that is missing or strange.
    fn read(partitions: i32, config: &ConfigResource) -> Result<Described, &'static str> {
        let value = |key: &'static str| {
            let entry = config.get(key).and_then(|entry| entry.value.as_deref());
            entry.ok_or(key)
        };
        let timestamps = match value("message.timestamp.type")? {
            "LogAppendTime" => TimestampType::LogAppend,
            "CreateTime" => TimestampType::Create,
            _ => return Err("message.timestamp.type"),
        };
        let retention: i64 = value("retention.ms")?.parse().map_err(|_| "retention.ms")?;
        let max_bytes = value("max.message.bytes")?.parse().map_err(|_| "max.message.bytes")?;
        let retention_ms = u64::try_from(retention).ok();
        Ok(Described { state: TopicState { partitions, timestamps, retention_ms }, max_bytes })
    }
}

fn topic_settings(spec: &TopicSpec) -> Vec<(&'static str, String)> {
    let timestamps = match spec.timestamps {
        TimestampType::LogAppend => "LogAppendTime",
        TimestampType::Create => "CreateTime",
    };
    let mut settings = vec![
        ("cleanup.policy", "delete".to_owned()),
        ("max.message.bytes", TOPIC_MAX_BYTES.to_string()),
        ("message.timestamp.type", timestamps.to_owned()),
        ("retention.bytes", "-1".to_owned()),
    ];
    match spec.retention_ms {
        None => settings.push(("retention.ms", "-1".to_owned())),
        Some(retention) => {
            settings.push(("retention.ms", retention.to_string()));
            // The newest segment keeps its records until it is closed: close it in time.
            settings.push(("segment.ms", (retention / 8).max(1_000).to_string()));
        }
    }
    settings
}
