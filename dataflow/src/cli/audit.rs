//! `lsie audit`: does the database hold what the Parquet tables say?

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use lsie_sinks::Catalog;
use lsie_sinks::audit::audit;

use super::running::database;
use crate::config::Config;

/// Compare the configured database with the Parquet tables, table by table, as of the epoch that the database
/// holds: rows, state hash, ids and times, and the first rows that differ. Exit code 1: they differ.
#[derive(Debug, Args)]
pub(super) struct Audit {
    /// The result directory; default: that of the configuration.
    dir: Option<PathBuf>,
}

impl Audit {
    pub(super) fn run(self, config: Config) -> anyhow::Result<ExitCode> {
        let database = database(&config)?.context("no database: set postgres.url or postgres.url_file")?;
        let dir = self.dir.unwrap_or_else(|| config.parquet.dir.clone());
        // A live run writes its files once in `flush_ms` of log time.
        let wait = Duration::from_millis(config.parquet.flush_ms.saturating_mul(2));
        let found = audit(&dir, &database, &Catalog::database(), wait)?;
        print!("{found}");
        Ok(ExitCode::from(u8::from(!found.is_clean())))
    }
}
