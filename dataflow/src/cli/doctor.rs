//! `lsie doctor`: is everything there that a run needs?

use std::process::ExitCode;

use clap::Args;
use lsie_operators::face::FaceModels;
use lsie_sinks::postgres::Reader;

use super::running::{database, open_log};
use super::topics;
use crate::config::Config;

/// Check configuration, log, topics, models, disk and database. Exit code 1: something needs mending.
#[derive(Debug, Args)]
pub(super) struct Doctor {}

impl Doctor {
    pub(super) fn run(self, config: Config) -> anyhow::Result<ExitCode> {
        let checks = [
            ("configuration", Ok("read and consistent".to_string())),
            ("log", log(&config)),
            ("topics", topics_as_they_should(&config)),
            ("models", models(&config)),
            ("disk", disk(&config)),
            ("postgres", postgres(&config)),
        ];
        let mut failed = false;
        for (name, result) in checks {
            match result {
                Ok(text) => println!("ok    {name:14} {text}"),
                Err(mend) => {
                    failed = true;
                    println!("mend  {name:14} {mend:#}");
                }
            }
        }
        Ok(ExitCode::from(u8::from(failed)))
    }
}

fn log(config: &Config) -> anyhow::Result<String> {
    let log = open_log(config)?;
    log.topic(lsie_schemas::Topic::Control)?;
    Ok(config.log.address.clone())
}

fn topics_as_they_should(config: &Config) -> anyhow::Result<String> {
    let log = open_log(config)?;
    let problems = topics::check(&*log, config)?;
    anyhow::ensure!(problems.is_empty(), "{}", problems.join("; "));
    Ok("partitions, timestamps and retention".into())
}

fn models(config: &Config) -> anyhow::Result<String> {
    config.choose_provider()?;
    let models = FaceModels::load(&config.models_folder())?;
    Ok(models.fingerprint())
}

/// The result directory can be written to.
fn disk(config: &Config) -> anyhow::Result<String> {
    let dir = &config.parquet.dir;
    let parent = dir.ancestors().find(|folder| folder.is_dir()).unwrap_or(std::path::Path::new("."));
    let probe = parent.join(".lsie-doctor");
    std::fs::write(&probe, vec![0; 1 << 20])
        .and_then(|()| std::fs::remove_file(&probe))
        .map_err(|why| anyhow::anyhow!("{}: {why}; choose another parquet.dir", parent.display()))?;
    Ok(format!("{} can be written to", parent.display()))
}

/// The database answers, and how far it is.
fn postgres(config: &Config) -> anyhow::Result<String> {
    let Some(database) = database(config)? else {
        return Ok("none; postgres.url or postgres.url_file would name one".into());
    };
    let held = Reader::open(&database)?.committed();
    let held = held.map_or("holds nothing yet".into(), |epoch| {
        format!("holds everything up to {}", epoch.as_event().canonical())
    });
    Ok(format!("{} {held}", database.place()))
}
