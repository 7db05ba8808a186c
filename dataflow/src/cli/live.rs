//! `lsie live`: events of a live platform to the topics.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{bail, ensure};
use clap::Args;
use lsie_connectors::live::{Fixed, Mode, Service, Settings, Sign, live};

use super::connecting::connect;
use crate::config::Config;

/// Follow the live events of an account, for the sessions whose start record names it, until a signal. One line of
/// health as JSON every 30 s.
#[derive(Debug, Args)]
pub(super) struct Live {
    /// The watched account; default: live.account.
    #[arg(long)]
    account: Option<String>,
}

impl Live {
    pub(super) fn run(self, config: Config) -> anyhow::Result<ExitCode> {
        let from = &config.live;
        let account = self.account.unwrap_or_else(|| from.account.clone());
        ensure!(!account.is_empty(), "which account? --account NAME, or live.account");
        let mode = match from.mode.as_str() {
            "webcast" => Mode::Webcast,
            "json" => Mode::Json,
            other => bail!("live.mode is {other:?}; wanted is \"webcast\" or \"json\""),
        };
        let sign: Arc<dyn Sign> = match (from.sign_url.as_str(), from.url.as_str()) {
            ("", "") => bail!("where to connect? live.sign_url or live.url"),
            ("", url) => Arc::new(Fixed(url.to_owned())),
            (service, _) => Arc::new(Service::new(service)),
        };
        let settings = Settings::new(account, mode, sign);
        connect(&config, "live_events", "closing the connection", |given| {
            Ok(live(given.log, &settings, given.health, given.stop)?)
        })
    }
}
