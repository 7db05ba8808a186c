//! `lsie ingest`: telemetry and notifications that others push, to the topics.

use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Args;
use lsie_connectors::Health;
use lsie_connectors::ingest::{Credentials, router};
use lsie_sinks::views::Server;

use super::connecting::{print_health, stop_on_signal};
use super::running::{open_log, secret};
use crate::config::Config;

/// Serve POST /api/v1/ingest/{physio,events,outcomes} and the webhook of the wearable's provider until a signal.
/// One line of health as JSON every 30 s.
#[derive(Debug, Args)]
pub(super) struct Ingest {
    /// Port; 0: any free one.
    #[arg(long)]
    port: Option<u16>,
}

impl Ingest {
    pub(super) fn run(self, config: Config) -> anyhow::Result<ExitCode> {
        let from = &config.ingest;
        let mut listen = from.listen;
        listen.set_port(self.port.unwrap_or(listen.port()));
        let token = secret(&from.token_file).context("ingest.token_file")?;
        ensure!(
            token.is_some() || listen.ip().is_loopback(),
            "{listen} can be reached from elsewhere: ingest.token_file must name a token"
        );
        let oura_secret = secret(&from.oura_secret_file).context("ingest.oura_secret_file")?;
        let oura_secret = oura_secret.unwrap_or_default().into_bytes();
        let (health, stop) = (Health::new("ingest"), stop_on_signal("answering the last requests")?);
        let router = router(open_log(&config)?, &Credentials { token, oura_secret }, health.clone())?;
        let server =
            Server::start(listen, None, |_| router).with_context(|| format!("ingest on {listen}"))?;
        println!("ingest on http://{}/api/v1/ingest/", server.address());
        print_health(&health, &stop, &config.health.file);
        server.stop()?;
        Ok(ExitCode::SUCCESS)
    }
}
