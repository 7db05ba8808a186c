//! `lsie token`: a bearer token for the API.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use lsie_sinks::views::{Role, Token as Kept};

/// Make a bearer token and print the line of the configuration that lets its holder in. The token itself is kept
/// nowhere.
#[derive(Debug, Args)]
pub(super) struct Token {
    /// Who will hold it; stands in the audit trail.
    #[arg(long)]
    name: String,
    /// What they may do.
    #[arg(long)]
    role: RoleName,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleName {
    /// Read.
    Viewer,
    /// Read, and act.
    Operator,
    /// Hand in records, and nothing else.
    Ingest,
}

impl Token {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let (role, word) = match self.role {
            RoleName::Viewer => (Role::Viewer, "viewer"),
            RoleName::Operator => (Role::Operator, "operator"),
            RoleName::Ingest => (Role::Ingest, "ingest"),
        };
        let (token, kept) = Kept::fresh(&self.name, role)?;
        if let Some(problem) = kept.problem() {
            anyhow::bail!("--name: {problem}");
        }
        println!("token, for its holder only:\n  {token}\n");
        println!("in lsie.toml:\n  [[api.tokens]]");
        println!(
            "  name = \"{}\"\n  role = \"{word}\"\n  sha256 = \"{}\"",
            kept.name.escape_default(),
            kept.sha256
        );
        Ok(ExitCode::SUCCESS)
    }
}
