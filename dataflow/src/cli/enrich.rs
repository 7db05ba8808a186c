//! `lsie enrich`: metadata of web pages, by topics `requests` and `answers`.

use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Args;
use lsie_connectors::enrich::{Chromium, Hosts, Page, Settings, ask, enrich};
use uuid::Uuid;

use super::capture::session_id;
use super::connecting::connect;
use super::running::open_log;
use crate::config::Config;

/// Visit the pages that requests of topic requests name, and write what is kept of them to topic answers, until a
/// signal. One line of health as JSON every 30 s. With --url: only write such a request.
#[derive(Debug, Args)]
pub(super) struct Enrich {
    /// Ask for this page, print the request's id, and end.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// With --url: the session it is for.
    #[arg(long, requires = "url", value_parser = session_id)]
    session: Option<Uuid>,
    /// With --url: what the page is about.
    #[arg(long = "type", requires = "url", default_value = "page")]
    kind: String,
    /// With --url: what a visit may take, s.
    #[arg(long, requires = "url", default_value_t = 30)]
    timeout: u32,
}

impl Enrich {
    pub(super) fn run(self, config: Config) -> anyhow::Result<ExitCode> {
        if let Some(url) = self.url {
            let page = Page { session: self.session, url, kind: self.kind, timeout_s: self.timeout };
            println!("{}", ask(&*open_log(&config)?, page)?);
            return Ok(ExitCode::SUCCESS);
        }
        let from = &config.enrich;
        let hosts = Hosts::new(&from.hosts, &from.private_hosts)
            .map_err(anyhow::Error::msg)
            .context("enrich.hosts and enrich.private_hosts")?;
        ensure!(!hosts.is_empty(), "whose pages? enrich.hosts names nobody: enrichment is disabled");
        let chromium = Chromium { program: from.browser.clone(), sandbox: from.sandbox };
        let settings = Settings::new(chromium, hosts, from.browsers);
        connect(&config, "enrichment", "breaking off visits; the next run makes them", |given| {
            Ok(enrich(given.log, &settings, given.health, given.stop)?)
        })
    }
}
