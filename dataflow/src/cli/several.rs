//! `--process` and `--hosts`: which process of a run of several this one is.

use std::path::PathBuf;

use clap::Args;

use crate::cluster::Cluster;
use crate::config::Config;

/// A run of several processes: each has the same settings and the same number of workers. Start all of them;
/// the first (0) has the tables, the database and the API, and the run begins when all are there.
#[derive(Debug, Default, Args)]
pub(super) struct Several {
    /// This process, counted from 0.
    #[arg(long, value_name = "NUMBER", requires = "hosts")]
    process: Option<usize>,
    /// A file with a line `host:port` for each process, in their order.
    #[arg(long, value_name = "FILE", requires = "process")]
    hosts: Option<PathBuf>,
}

impl Several {
    /// The processes of the run, if it has several.
    pub(super) fn cluster(&self, config: &Config) -> anyhow::Result<Option<Cluster>> {
        let (Some(process), Some(hosts)) = (self.process, &self.hosts) else { return Ok(None) };
        let settings = format!("{}, {} workers", config.results_hash(), config.engine.workers);
        Cluster::read(process, hosts, settings).map(Some)
    }
}
