//! The binary `lsie`: parse, run, exit code.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use lsie_dataflow::cli::{Cli, Messages};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let to_stderr = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_env("LSIE_LOG").unwrap_or_else(|_| "warn".into()))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match cli.messages() {
        Messages::Human => to_stderr.init(),
        Messages::Json => to_stderr.json().init(),
    }
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lsie: {error:#}");
            ExitCode::from(2)
        }
    }
}
