//! Opens the log that a setting names.

use std::collections::BTreeMap;
use std::sync::Arc;

use lsie_schemas::log::{Log, LogError};

use crate::file_log::{FileLog, FileLogOptions};

/// The forms of a log's address, sorted, with what each opens.
pub const SCHEMES: [(&str, &str); 1] =
    [("file:DIR", "the embedded file log in a directory (one topic set; the prefix is not used)")];

/// Opens the log at `address`. The topic set's `prefix` and the `properties` are those of the scheme.
pub fn open(
    address: &str,
    _prefix: &str,
    properties: &BTreeMap<String, String>,
) -> Result<Arc<dyn Log>, LogError> {
    match address.split_once(':') {
        Some(("file", dir)) if !dir.is_empty() => {
            Ok(Arc::new(FileLog::open(dir, FileLogOptions::from_properties(properties)?)?))
        }
        _ => {
            let known: Vec<&str> = SCHEMES.iter().map(|(form, _)| *form).collect();
            Err(LogError::Refused(format!("log {address:?}: wanted is one of {}", known.join(", "))))
        }
    }
}
