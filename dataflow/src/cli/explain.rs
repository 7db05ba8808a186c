//! `lsie explain segment`: why a result is what it is.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use lsie_sinks::parquet::Reader;
use uuid::Uuid;

use super::running::open_log;
use crate::config::Config;
use crate::{epochs, explain};

/// Say why a result is what it is, down to the records it came from.
#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Why a segment closed when it did, which records went into it, what was late, and which models measured it.
    Segment {
        /// The session.
        session: Uuid,
        /// The segment's number in the session, 1 for the first.
        ordinal: i64,
        /// Directory of the result tables; default: that of the configuration.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Read the epoch table from the log, too: which epochs brought the records.
        #[arg(long)]
        epochs: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

impl Explain {
    pub(super) fn run(self, config: Config) -> anyhow::Result<ExitCode> {
        let What::Segment { session, ordinal, out, epochs, json } = self.what;
        let tables = Reader::open(&out.unwrap_or_else(|| config.parquet.dir.clone()))?;
        let table = match epochs {
            true => {
                let entries = epochs::read_table(&*open_log(&config)?)?;
                Some(epochs::accept(entries.context("the log has no topic epochs")?.entries).0)
            }
            false => None,
        };
        let found = explain::segment(&tables, session, ordinal, &config.session, table.as_deref())?;
        match json {
            true => println!("{}", serde_json::to_string_pretty(&found)?),
            false => print!("{found}"),
        }
        Ok(ExitCode::SUCCESS)
    }
}
