//! `lsie hydrate`: what the wearable's provider has news about, to the topics.

use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Args;
use lsie_connectors::oura::{Access, Settings, hydrate_requests};

use super::connecting::connect;
use super::running::secret;
use crate::config::Config;

/// Fetch what requests of topic requests ask for, and write chunks to topic physio, until a signal. One line of
/// health as JSON every 30 s.
#[derive(Debug, Args)]
pub(super) struct Hydrate {}

impl Hydrate {
    pub(super) fn run(self, config: Config) -> anyhow::Result<ExitCode> {
        let from = &config.hydrate;
        ensure!(!from.client_id.is_empty(), "hydrate.client_id is empty: hydration is disabled");
        let client_secret = secret(&from.client_secret_file).context("hydrate.client_secret_file")?;
        let client_secret =
            client_secret.context("hydrate.client_secret_file must name the client's secret")?;
        let access = Access::new(&from.base_url, &from.token_url, &from.client_id, &client_secret);
        let settings = Settings::new(access, from.tokens_dir.clone());
        connect(&config, "hydration", "leaving requests to the next run", |given| {
            Ok(hydrate_requests(given.log, &settings, given.health, given.stop)?)
        })
    }
}
