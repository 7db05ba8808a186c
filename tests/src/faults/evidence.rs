//! What a round that is not clean leaves behind to be read: the logs of its engines, and what the servers wrote meanwhile.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::servers::Servers;

/// How long the servers' logs were when a round began.
pub struct Evidence(Vec<(PathBuf, u64)>);

impl Evidence {
    /// Of a round that begins now.
    pub fn begin(servers: &Servers) -> Evidence {
        let length = |path: PathBuf| {
            let length = path.metadata().map_or(0, |log| log.len());
            (path, length)
        };
        Evidence(servers.logs().into_iter().map(length).collect())
    }

    /// Keeps the logs of the round of this name in a folder that stays, and returns it. A log that cannot be read is missing.
    pub fn keep(&self, servers: &Servers, name: &str) -> std::io::Result<PathBuf> {
        let folder = tempfile::Builder::new().prefix(&format!("lsie-{name}-")).tempdir()?.keep();
        for (log, from) in &self.0 {
            if let (Some(name), Ok(written)) = (log.file_name(), since(log, *from)) {
                std::fs::write(folder.join(name), written)?;
            }
        }
        let round = std::fs::read_dir(servers.dir().join(name)).into_iter().flatten().flatten();
        for log in round.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "log"))
        {
            std::fs::copy(&log, folder.join(log.file_name().unwrap_or_default()))?;
        }
        Ok(folder)
    }
}

/// What was written to a file behind its first so many bytes.
fn since(path: &Path, from: u64) -> std::io::Result<Vec<u8>> {
    let (mut file, mut written) = (File::open(path)?, Vec::new());
    file.seek(SeekFrom::Start(from))?;
    file.read_to_end(&mut written)?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_round_wrote_is_its_evidence() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let log = folder.path().join("broker.log");
        std::fs::write(&log, "before\nmeanwhile\n").expect("a file");
        assert_eq!(since(&log, 7).expect("a file"), b"meanwhile\n");
        assert!(since(&folder.path().join("none"), 0).is_err());
    }
}
