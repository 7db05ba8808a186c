//! Settings of the file log, and their names in a configuration.

use std::collections::BTreeMap;

use lsie_schemas::log::LogError;

/// When appended records are forced to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// With each append to `epochs`, everything before it included; and when a segment is closed.
    Epochs,
    /// Only when a segment is closed.
    Segments,
}

/// Settings of the file log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLogOptions {
    /// A segment is closed when it reaches this size.
    pub segment_bytes: u64,
    /// Whether topics other than media are compressed.
    pub compress: bool,
    /// When records are forced to the disk.
    pub sync: Sync,
}

impl Default for FileLogOptions {
    fn default() -> Self {
        FileLogOptions { segment_bytes: 64 << 20, compress: true, sync: Sync::Epochs }
    }
}

impl FileLogOptions {
    /// Reads `file.segment.bytes`, `file.compress` and `file.sync`; any other key is refused.
    pub fn from_properties(properties: &BTreeMap<String, String>) -> Result<FileLogOptions, LogError> {
        let mut options = FileLogOptions::default();
        for (key, value) in properties {
            let refused = |wanted: &str| LogError::Refused(format!("{key} = {value:?}: {wanted}"));
            match key.as_str() {
                "file.segment.bytes" => {
                    let bytes = value.parse().ok().filter(|bytes| *bytes > 0);
                    options.segment_bytes = bytes.ok_or_else(|| refused("a number of bytes is wanted"))?;
                }
                "file.compress" => {
                    options.compress = value.parse().map_err(|_| refused("true or false is wanted"))?;
                }
                "file.sync" => {
                    options.sync = match value.as_str() {
                        "epochs" => Sync::Epochs,
                        "segments" => Sync::Segments,
                        _ => return Err(refused("epochs or segments is wanted")),
                    }
                }
                _ => return Err(refused("the file log has no such setting")),
            }
        }
        Ok(options)
    }
}
