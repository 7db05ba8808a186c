//! The binary `lsie`: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use lsie_dataflow::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("LSIE_LOG").unwrap_or_else(|_| "warn".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    match cli.run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lsie: {error:#}");
            ExitCode::from(2)
        }
    }
}
