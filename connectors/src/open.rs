//! Opens the log that a setting names.

use std::collections::BTreeMap;
use std::sync::Arc;

use lsie_schemas::log::{Log, LogError};

use crate::file_log::{FileLog, FileLogOptions};
use crate::kafka::{KafkaConfig, KafkaLog};

/// The forms of a log's address, sorted, with what each opens.
pub const SCHEMES: [(&str, &str); 2] = [
    ("file:DIR", "the embedded file log in a directory (one topic set; the prefix is not used)"),
    ("kafka:HOST:PORT[,HOST:PORT...]", "Apache Kafka (the prefix stands in front of every topic's name)"),
];

/// Opens the log at `address`. The topic set's `prefix` and the `properties` are those of the scheme.
pub fn open(
    address: &str,
    prefix: &str,
    properties: &BTreeMap<String, String>,
) -> Result<Arc<dyn Log>, LogError> {
    match address.split_once(':') {
        Some(("file", dir)) if !dir.is_empty() => {
            Ok(Arc::new(FileLog::open(dir, FileLogOptions::from_properties(properties)?)?))
        }
        Some(("kafka", bootstrap)) if !bootstrap.is_empty() => {
            let mut config = KafkaConfig::new(bootstrap, prefix);
            config.properties = properties.clone();
            Ok(Arc::new(KafkaLog::connect(config)?))
        }
        _ => {
            let known: Vec<&str> = SCHEMES.iter().map(|(form, _)| *form).collect();
            Err(LogError::Refused(format!("log {address:?}: wanted is one of {}", known.join(", "))))
        }
    }
}
