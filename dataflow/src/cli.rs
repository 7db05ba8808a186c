//! The command line: one file per command.

mod audit;
mod capture;
mod config;
mod connecting;
mod dead_letters;
mod demo;
mod doctor;
mod enrich;
mod erase;
mod explain;
mod feed;
mod health;
mod hydrate;
mod ingest;
mod live;
mod models;
mod probes;
mod record;
mod recordings;
mod replay;
mod run;
mod running;
mod several;
mod shell;
mod summary;
mod token;
mod topics;
mod traces;
mod vault;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::config::Config;

/// LSIE, the live stream inference engine: topics in, synchronised 30-second segments, measures, rewards and
/// posteriors out. Results are a pure function of the log.
#[derive(Debug, Parser)]
#[command(name = "lsie", version, arg_required_else_help = true)]
pub struct Cli {
    /// Configuration file; `lsie.toml` of the current folder is taken when there is one.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of the log: kafka:HOST:PORT[,…] or file:DIR.
    #[arg(long, global = true, value_name = "ADDRESS")]
    log: Option<String>,
    /// Prefix of the topic set.
    #[arg(long, global = true)]
    prefix: Option<String>,
    /// Timely workers.
    #[arg(long, global = true)]
    workers: Option<usize>,
    /// How messages are written to standard error; LSIE_LOG says which (a level, or levels by module).
    #[arg(long, global = true, value_name = "FORM", env = "LSIE_MESSAGES", default_value = "human")]
    messages: Messages,
    /// Have the process die at a named place, the N-th time it comes by (NAME[:N]); for the tests of recovery.
    #[arg(long, global = true, hide = true, value_name = "PLACE")]
    die_at: Option<String>,
    #[command(subcommand)]
    command: Command,
}

/// The form of a message, which is one line either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Messages {
    /// For people.
    Human,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compare the database with the Parquet tables.
    Audit(audit::Audit),
    /// Capture sound and pictures of a phone, or of any two programs, to the topics.
    Capture(capture::Capture),
    /// Print completions for a shell.
    Completions(shell::Completions),
    /// Check or show the settings as they hold.
    Config(config::Settings),
    /// Records that could not be used: list, show, heal.
    DeadLetters(dead_letters::DeadLetters),
    /// The whole product on one machine: a made session, the embedded log, tables and views.
    Demo(demo::Demo),
    /// Check log, topics, models, disk and configuration: one line each, with the mend.
    Doctor(doctor::Doctor),
    /// Visit web pages that requests name, and keep their metadata.
    Enrich(enrich::Enrich),
    /// Erase what a session says of persons.
    Erase(erase::Erase),
    /// Say why a result is what it is: `lsie explain segment SESSION K`.
    Explain(explain::Explain),
    /// Publish recorded session directories to the topics.
    Feed(feed::Feed),
    /// Say how the connector does that writes to health.file.
    Health(health::Health),
    /// Fetch what the wearable's provider has news about, to the topics.
    Hydrate(hydrate::Hydrate),
    /// Take telemetry and notifications over HTTP to the topics.
    Ingest(ingest::Ingest),
    /// Print the manual page.
    Man(shell::Man),
    /// Follow the live events of an account to the topics.
    Live(live::Live),
    /// The models: list, fetch or check them.
    Models(models::Models),
    /// Copy the topics into an archive directory.
    Record(record::Record),
    /// Run a recorded range of the topics through the same graph into a fresh directory.
    Replay(replay::Replay),
    /// Run live against the topics.
    Run(run::RunLive),
    /// Make a bearer token for the API.
    Token(token::Token),
    /// Create or check the topics.
    Topics(topics::Topics),
    /// Shred debug media, and watch their age.
    Vault(vault::Vault),
    /// Hash the tables of a result directory, or compare two.
    Verify(verify::Verify),
}

impl Cli {
    /// How messages are to be written.
    pub fn messages(&self) -> Messages {
        self.messages
    }

    /// Runs the command.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if let Some(place) = &self.die_at {
            crate::fault::arm(place)?;
        }
        let file = self.config;
        let mut config = Config::load(file.as_deref())?;
        config.log.address = self.log.unwrap_or(config.log.address);
        config.log.prefix = self.prefix.unwrap_or(config.log.prefix);
        config.engine.workers = self.workers.unwrap_or(config.engine.workers);
        config.check()?;
        match self.command {
            Command::Capture(command) => command.run(config),
            Command::Completions(command) => command.run(),
            Command::Config(command) => command.run(file.as_deref()),
            Command::Audit(command) => command.run(config),
            Command::DeadLetters(command) => command.run(config),
            Command::Demo(command) => command.run(config),
            Command::Doctor(command) => command.run(config),
            Command::Enrich(command) => command.run(config),
            Command::Erase(command) => command.run(config),
            Command::Explain(command) => command.run(config),
            Command::Feed(command) => command.run(config),
            Command::Health(command) => command.run(&config),
            Command::Hydrate(command) => command.run(config),
            Command::Ingest(command) => command.run(config),
            Command::Man(command) => command.run(),
            Command::Live(command) => command.run(config),
            Command::Models(command) => command.run(config),
            Command::Record(command) => command.run(config),
            Command::Replay(command) => command.run(config),
            Command::Run(command) => command.run(config),
            Command::Token(command) => command.run(),
            Command::Topics(command) => command.run(config),
            Command::Vault(command) => command.run(config),
            Command::Verify(command) => command.run(),
        }
    }
}
