//! `lsie vault`: shreds debug media, and watches their age.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use lsie_connectors::{Health, vault};

use super::connecting::{print_health, stop_on_signal};
use crate::config::Config;

/// Shred everything in the folders of debug media, at once and every vault.shred_hours, until a signal. One line of
/// health as JSON every 30 s; a file older than 24 h is an error in it.
#[derive(Debug, Args)]
pub(super) struct Vault {}

impl Vault {
    pub(super) fn run(self, config: Config) -> anyhow::Result<ExitCode> {
        let (health, stop) = (Health::new("vault"), stop_on_signal("leaving the vault")?);
        let every = Duration::from_secs(config.vault.shred_hours * 3_600);
        let keeper = std::thread::Builder::new().name("vault".into()).spawn({
            let (health, stop) = (health.clone(), stop.clone());
            move || vault::keep(&config.vault.dirs, every, &health, &stop)
        })?;
        print_health(&health, &stop);
        let _ = keeper.join();
        Ok(ExitCode::SUCCESS)
    }
}
