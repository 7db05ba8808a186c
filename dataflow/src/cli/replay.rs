//! `lsie replay`: the same graph over recorded epochs, into a fresh directory.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::ensure;
use clap::{Args, ValueEnum};
use lsie_schemas::LogTime;
use lsie_schemas::log::Log;
use lsie_sinks::follower::Watch;

use super::running::{
    add_postgres, engine, follow, open_archive, open_log, parquet, report_postgres, run_with_progress,
    with_progress,
};
use super::several::Several;
use crate::backfill::{Backfill, compared};
use crate::cluster::Cluster;
use crate::config::Config;
use crate::engine::{Engine, Range, Run};
use crate::recorded::{Inferring, Other, Recomputed, Recorded, recomputed};

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
    /// Where the results of models come from: `log`: faces and greetings from the models, speech as the log was told;
    /// `recorded`: all from the tables of --facts, with no model; `strict`: all from the models, speech too, at the
    /// epochs of the answers in the log, and what differs is told.
    #[arg(long, value_enum, value_name = "FROM", default_value_t = From::Log)]
    inference: From,
    /// Tables of an earlier run over the same log: what `recorded` takes, and what `strict` compares faces and greetings
    /// with.
    #[arg(long, value_name = "DIR", required_if_eq("inference", "recorded"))]
    facts: Option<PathBuf>,
    /// The analytics alone: facts are taken from the tables of --facts as they are, and encounters, posteriors,
    /// summaries and attribution are computed anew. Of the log only topic epochs is read: media may be gone.
    #[arg(long, requires = "facts", conflicts_with_all = ["from", "until", "inference"])]
    analytics: bool,
    #[command(flatten)]
    several: Several,
}

/// Where the results of models come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum From {
    Log,
    Recorded,
    Strict,
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
        if let Some(facts) = self.facts.as_deref().filter(|_| self.analytics) {
            ensure!(cluster.is_none(), "--analytics is for one process");
            return self.backfill(&config, &*log, facts);
        }
        for topic in &without {
            println!("the archive is without {topic}: so is this replay");
        }
        let recomputed = Arc::new(Recomputed::default());
        let inferring = match (self.inference, &self.facts) {
            (From::Recorded, Some(facts)) => Inferring::Recorded(Arc::new(Recorded::read(facts)?)),
            (From::Strict, _) => Inferring::Strict(recomputed.clone()),
            _ => Inferring::AsLogged,
        };
        ensure!(
            self.inference == From::Log || cluster.is_none(),
            "--inference {} is for one process",
            if self.inference == From::Recorded { "recorded" } else { "strict" }
        );
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
        let engine = Engine { without, cluster, inferring, ..engine(&config, log, tail_ms)? };
        let replayed = run_with_progress(engine, Run::Bounded(range), sinks, Arc::default())?;
        println!("{replayed}");
        if self.inference == From::Strict {
            tell(&recomputed, self.facts.as_deref(), &self.out)?;
        }
        self.end(watch.as_ref())
    }

    fn backfill(&self, config: &Config, log: &dyn Log, facts: &Path) -> anyhow::Result<ExitCode> {
        let backfill = Backfill::open(log, facts)?;
        let mut sinks = vec![parquet(config, &self.out)?];
        let watch = add_postgres(&mut sinks, config, &self.out, false)?;
        let (shared, workers) = (Arc::default(), config.engine.workers);
        let computed = with_progress(false, &shared, || backfill.run(workers, sinks, &shared))?;
        println!("{computed}");
        let differ = compared(facts, &self.out)?;
        if differ.is_empty() {
            println!("every table is as it is in {}", facts.display());
        }
        for (table, rows) in differ {
            let what = match rows {
                Some((came, went)) => format!("{came} rows came and {went} went"),
                None => "other columns".into(),
            };
            println!("{table}: {what}, beside {}", facts.display());
        }
        self.end(watch.as_ref())
    }

    fn end(&self, watch: Option<&Watch>) -> anyhow::Result<ExitCode> {
        println!("tables in {}; `lsie verify` gives their hashes", self.out.display());
        Ok(ExitCode::from(u8::from(!report_postgres(watch))))
    }
}

/// So many differences are listed.
const LISTED: usize = 20;

/// Says how the results of the models compare with those that were recorded.
fn tell(speech: &Recomputed, facts: Option<&Path>, out: &Path) -> anyhow::Result<()> {
    let (same, other) = speech.found();
    println!("speech: {same} answers of the log are the same, {} are others", other.len());
    for Other { session, ordinal, what } in other.iter().take(LISTED) {
        println!("  session {session}, segment {ordinal}: another {what}");
    }
    if other.len() > LISTED {
        println!("  … and {} more", other.len() - LISTED);
    }
    if let Some(facts) = facts {
        for (table, same, other) in recomputed(facts, out)? {
            println!("{table}: {same} rows are the same, {other} are others");
        }
    }
    Ok(())
}
