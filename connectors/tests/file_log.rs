//! The file log passes the suite that Kafka passes, and survives what only files can suffer.

use std::path::Path;
use std::sync::Arc;

use lsie_connectors::conformance::Subject;
use lsie_connectors::file_log::{FileLog, FileLogOptions};
use lsie_schemas::log::Log;

struct FileSubject {
    dir: tempfile::TempDir,
    options: FileLogOptions,
}

impl Subject for FileSubject {
    fn open(&self) -> Arc<dyn Log> {
        Arc::new(FileLog::open(self.dir.path(), self.options).expect("a log"))
    }
}

fn with(options: FileLogOptions) -> impl Fn(&str) -> FileSubject {
    move |name| {
        let dir = tempfile::Builder::new().prefix(name).tempdir().expect("a directory");
        FileSubject { dir, options }
    }
}

mod with_defaults {
    use super::*;
    lsie_connectors::conformance!(with(FileLogOptions::default()));
}

/// Segments so small that everything crosses their borders.
mod with_tiny_segments {
    use super::*;
    lsie_connectors::conformance!(with(FileLogOptions { segment_bytes: 700, ..FileLogOptions::default() }));
}

#[test]
fn nothing_is_created_by_opening_and_reading() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = FileLog::open(dir.path().join("set"), FileLogOptions::default()).expect("a log");
    assert_eq!(log.topic(lsie_schemas::Topic::Control).expect("an answer"), None);
    assert!(!dir.path().join("set").exists());
    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("a file");
    assert!(FileLog::open(Path::new(&file), FileLogOptions::default()).is_err());
}
