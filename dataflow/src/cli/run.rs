//! `lsie run`: live against the topics.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{bail, ensure};
use clap::Args;
use lsie_sinks::parquet::Reader;
use lsie_sinks::{DeadLetters, Sink};

use super::running::{
    add_postgres, checkpoints, end_on_signal, engine, filled, follow, live_api, open_log, parquet,
    report_postgres, run_with_progress, serve, served, with_ingest,
};
use super::several::Several;
use super::{topics, traces};
use crate::cluster::Cluster;
use crate::config::Config;
use crate::engine::{Engine, Run};
use crate::ingest::Shared;

/// Run live until a signal: epochs of the table first, then new ones. Tables go to Parquet and to
/// PostgreSQL if one is configured, views to HTTP, dead letters to their topic too.
#[derive(Debug, Args)]
pub(super) struct RunLive {
    /// Directory of the result tables.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Port of the views; 0: any free one.
    #[arg(long)]
    port: Option<u16>,
    #[command(flatten)]
    several: Several,
}

impl RunLive {
    pub(super) fn run(self, config: Config) -> anyhow::Result<ExitCode> {
        let cluster = self.several.cluster(&config)?;
        ensure!(
            cluster.is_none() || !config.log.address.starts_with("file:"),
            "the embedded log is for one process: a live run of several takes its records from Kafka. Set log.address, or run one \
             process with --workers"
        );
        let log = open_log(&config)?;
        let problems = topics::check(&*log, &config)?;
        if !problems.is_empty() {
            bail!("the topics are not as they should be:\n  {}", problems.join("\n  "));
        }
        let dir = self.out.unwrap_or_else(|| config.parquet.dir.clone());
        if cluster.as_ref().is_some_and(Cluster::is_member) {
            let checkpoints = checkpoints(&config, &dir)?;
            return follow(Engine { checkpoints, cluster, ..engine(&config, log, 0)? }, &config, true);
        }
        let views = served();
        let letters = Box::new(DeadLetters::open(&*log)?);
        let mut sinks = vec![parquet(&config, &dir)?];
        // The tables are open, and so not another's.
        let held = Reader::open(&dir)?.committed();
        let watch = add_postgres(&mut sinks, &config, &dir, true)?;
        sinks.extend([letters as Box<dyn Sink>, filled(&views, &dir)?]);
        sinks.extend(traces::sink(&config.traces, held)?);
        let shared = Arc::new(Shared::default());
        let api =
            live_api(&views, &config, &log, watch.clone(), &shared).with_console(config.operator.clone());
        let server = serve(with_ingest(api, &config, &log)?, &config.api, self.port)?;
        println!("tables in {}", dir.display());
        let ending = Arc::new(AtomicBool::new(false));
        end_on_signal(ending.clone(), config.checkpoint.stop_timeout_ms)?;
        let engine = Engine { checkpoints: checkpoints(&config, &dir)?, cluster, ..engine(&config, log, 0)? };
        run_with_progress(engine, Run::Live(ending), sinks, shared)?;
        report_postgres(watch.as_ref());
        server.stop()?;
        Ok(ExitCode::SUCCESS)
    }
}
