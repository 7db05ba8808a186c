//! `lsie replay`: the same graph over recorded epochs, into a fresh directory.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::ensure;
use clap::Args;
use lsie_schemas::LogTime;

use super::running::{
    add_postgres, engine, follow, open_archive, open_log, parquet, report_postgres, run_with_progress,
};
use super::several::Several;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::engine::{Engine, Range, Run};

/// Replay the topics, whole or a range of log time. With the epoch table of a live run, the result is the live
/// run's, byte for byte; topics without a table get one by rule.
///
/// With --from, sessions that began before it are left out, and named; posteriors start from their priors.
#[derive(Debug, Args)]
pub(super) struct Replay {
    /// Directory of the result tables; it must not hold any yet.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Read the records from an archive that `lsie record` made. The log is then only asked for the keys of sealed
    /// media, with log.key_file.
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
    /// Log time from which to take epochs, ms since the Unix epoch; default: the first of the table.
    #[arg(long, value_name = "MS")]
    from: Option<u64>,
    /// Log time of the last epoch to take, ms since the Unix epoch; default: the last of the table.
    #[arg(long, value_name = "MS")]
    until: Option<u64>,
    #[command(flatten)]
    several: Several,
}

impl Replay {
    pub(super) fn run(self, config: Config) -> anyhow::Result<ExitCode> {
        let cluster = self.several.cluster(&config)?;
        let is_member = cluster.as_ref().is_some_and(Cluster::is_member);
        let empty = is_member || !self.out.exists() || std::fs::read_dir(&self.out)?.next().is_none();
        ensure!(empty, "{} is not empty; a replay goes into a fresh directory", self.out.display());
        let (log, without) = match &self.archive {
            Some(dir) => open_archive(&config, dir)?,
            None => (open_log(&config)?, Default::default()),
        };
        for topic in &without {
            println!("the archive is without {topic}: so is this replay");
        }
        if is_member {
            return follow(Engine { cluster, ..engine(&config, log, 0)? }, &config, false);
        }
        let mut sinks = vec![parquet(&config, &self.out)?];
        let watch = add_postgres(&mut sinks, &config, &self.out, false)?;
        let tail_ms = config.session.max_wait_ms;
        let range = Range {
            from: self.from.map_or(Range::ALL.from, LogTime),
            until: self.until.map_or(Range::ALL.until, LogTime),
        };
        ensure!(range.from <= range.until, "--from is later than --until: the range holds nothing");
        let engine = Engine { without, cluster, ..engine(&config, log, tail_ms)? };
        let replayed = run_with_progress(engine, Run::Bounded(range), sinks, Arc::default())?;
        println!("{replayed}");
        println!("tables in {}; `lsie verify` gives their hashes", self.out.display());
        Ok(ExitCode::from(u8::from(!report_postgres(watch.as_ref()))))
    }
}
