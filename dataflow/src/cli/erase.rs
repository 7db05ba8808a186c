//! `lsie erase`: what a session says of persons goes from the tables.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use lsie_schemas::Topic;
use lsie_schemas::log::Log;
use lsie_schemas::topic::KeyedBy;
use lsie_sinks::{Catalog, PostgresSink};
use uuid::Uuid;

use super::capture::session_id;
use super::running::{database, open_log, parquet_sink};
use crate::config::Config;
use crate::erasing::{Touched, erase};

/// Erase a session that has ended, with the engine stopped: its rows go from the Parquet tables and the database, and a record
/// in topic epochs keeps every later run, replay and healing from bringing them back. Counts, selections of arms and the
/// posteriors stay. After a crash the same command finishes.
#[derive(Debug, Args)]
pub(super) struct Erase {
    /// The session, a UUID v4.
    #[arg(value_parser = session_id)]
    session: Uuid,
    /// Directory of the result tables; default: that of the configuration.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Erase {
    pub(super) fn run(self, config: Config) -> anyhow::Result<ExitCode> {
        let dir = self.dir.unwrap_or_else(|| config.parquet.dir.clone());
        let mut tables = parquet_sink(&config, &dir)?;
        let open = |database| PostgresSink::open(&database, Catalog::database());
        let mut database = database(&config)?.map(open).transpose().context("the database")?;
        let log = open_log(&config)?;
        // Events are taken until then, and what was heard last is answered by then.
        let answered_ms = config.session.allowed_lateness_ms + config.speech.deadline_ms;
        let settle_ms = config.session.max_wait_ms.max(answered_ms);
        let done = erase(&*log, self.session, settle_ms, &mut tables, database.as_mut())?;
        println!("{} {}", self.session, if done.was_known { "was erased before" } else { "is erased" });
        tell("lines of the changelogs", &done.parquet);
        done.postgres.iter().for_each(|rows| tell("rows of the database", rows));
        println!("its records stay in the topics, of which no run makes rows any more:");
        println!("  {}", kept(&*log)?.join(", "));
        Ok(ExitCode::SUCCESS)
    }
}

/// How long the topics of sessions keep their records.
fn kept(log: &dyn Log) -> anyhow::Result<Vec<String>> {
    let mut kept = Vec::new();
    for topic in Topic::ALL.into_iter().filter(|topic| topic.keyed_by() == KeyedBy::Session) {
        let Some(state) = log.topic(topic)? else { continue };
        kept.push(match state.retention_ms {
            Some(ms) => format!("{topic} for {} h", ms.div_ceil(3_600_000)),
            None => format!("{topic} for good"),
        });
    }
    Ok(kept)
}

fn tell(what: &str, touched: &Touched) {
    println!("{} {what} went or lost what they said", touched.values().sum::<u64>());
    for (table, count) in touched {
        println!("  {table:24} {count:>8}");
    }
}
