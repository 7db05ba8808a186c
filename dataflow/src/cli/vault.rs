//! `lsie vault`: shreds debug media, watches their age, and keeps those of sessions that somebody names.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use lsie_connectors::{Health, vault};
use uuid::Uuid;

use super::capture::session_id;
use super::connecting::{connect, print_health, stop_on_signal};
use crate::config::Config;

/// Shred everything in the folders of debug media, at once and every vault.shred_hours, until a signal. One line of
/// health as JSON every 30 s; a file older than 24 h is an error in it.
#[derive(Debug, Args)]
pub(super) struct Vault {
    /// Keep the media of this session meanwhile, sealed with a key that only this process has; may be given several times.
    #[arg(long, value_name = "UUID", value_parser = session_id, requires = "socket")]
    session: Vec<Uuid>,
    /// With --session: the Unix socket to ask for them; an empty line brings the list, a line of it that file.
    #[arg(long, value_name = "PATH", requires = "session")]
    socket: Option<PathBuf>,
}

impl Vault {
    pub(super) fn run(self, config: Config) -> anyhow::Result<ExitCode> {
        let every = Duration::from_secs(config.vault.shred_hours * 3_600);
        if let Some(socket) = self.socket {
            let (sessions, dirs) = (self.session.into_iter().collect(), config.vault.dirs.clone());
            let settings = vault::Settings { sessions, dirs, every, socket };
            return connect(
                &config,
                "vault",
                "leaving the vault; what it kept can no longer be read",
                |given| Ok(vault::keep_media(given.log, &settings, given.health, given.stop)?),
            );
        }
        let (health, stop) = (Health::new("vault"), stop_on_signal("leaving the vault")?);
        let keeper = std::thread::Builder::new().name("vault".into()).spawn({
            let (health, stop, dirs) = (health.clone(), stop.clone(), config.vault.dirs.clone());
            move || vault::keep(&dirs, every, &health, &stop)
        })?;
        print_health(&health, &stop, &config.health.file);
        let _ = keeper.join();
        Ok(ExitCode::SUCCESS)
    }
}
