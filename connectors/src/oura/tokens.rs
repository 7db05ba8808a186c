//! OAuth2 tokens of one subject in a file that only its owner may read.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use lsie_schemas::{EventTime, canonical};
use serde::{Deserialize, Serialize};

/// Tokens are refreshed when they end within this, µs.
const SKEW_US: i64 = 60_000_000;
/// The one mode that a token file may have.
const MODE: u32 = 0o600;

/// The stored fields (contracts §6.2).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tokens {
    pub(super) access_token: String,
    pub(super) refresh_token: String,
    pub(super) expires_at_utc: String,
    #[serde(default = "bearer")]
    pub(super) token_type: String,
    #[serde(default)]
    pub(super) scope: Option<String>,
}

fn bearer() -> String {
    "Bearer".into()
}

impl Tokens {
    /// Whether they end too soon to be used; an end that is no instant is now.
    pub(super) fn end_soon(&self, now: EventTime) -> bool {
        !canonical::parse(&self.expires_at_utc).is_ok_and(|end| end.saturating_sub(now.0) > SKEW_US)
    }
}

/// A token file.
#[derive(Clone, Debug)]
pub(super) struct TokenFile(pub(super) PathBuf);

impl TokenFile {
    /// Reads it; says why not, without quoting it.
    pub(super) fn load(&self) -> Result<Tokens, String> {
        let path = self.0.display();
        let found = fs::metadata(&self.0).map_err(|why| format!("{path}: {why}"))?;
        let mode = found.permissions().mode() & 0o777;
        if mode != MODE {
            return Err(format!("{path} has mode {mode:03o}: `chmod 600 {path}`"));
        }
        let text = fs::read(&self.0).map_err(|why| format!("{path}: {why}"))?;
        serde_json::from_slice(&text).map_err(|why| format!("{path}: line {} is wrong", why.line()))
    }

    /// Replaces it whole: whoever reads it has the old or the new tokens.
    pub(super) fn save(&self, tokens: &Tokens) -> Result<(), String> {
        let fault = |why: std::io::Error| format!("{}: {why}", self.0.display());
        let fresh = self.0.with_extension("new");
        let _ = fs::remove_file(&fresh);
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(MODE).open(&fresh).map_err(fault)?;
        let text = serde_json::to_vec_pretty(tokens).unwrap_or_default();
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(fault)?;
        fs::rename(&fresh, &self.0).map_err(fault)?;
        sync_folder(&self.0).map_err(fault)
    }
}

fn sync_folder(file: &Path) -> std::io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_and_a_file_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = TokenFile(dir.path().join("streamer.json"));
        assert!(file.load().is_err(), "not there");
        let tokens = Tokens {
            access_token: "a".into(),
            refresh_token: "r".into(),
            expires_at_utc: "1970-01-01T00:02:00Z".into(),
            token_type: "Bearer".into(),
            scope: None,
        };
        file.save(&tokens).expect("saved");
        file.save(&tokens).expect("replaced");
        assert!(file.load() == Ok(tokens.clone()));
        assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 1);
        fs::set_permissions(&file.0, fs::Permissions::from_mode(0o640)).expect("a mode");
        assert!(file.load().is_err_and(|why| why.contains("mode 640")));
        assert!(!tokens.end_soon(EventTime(59_999_999)) && tokens.end_soon(EventTime(60_000_000)));
    }
}
