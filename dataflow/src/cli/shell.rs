//! What a shell and `man` want to know of the command line: completions and the manual page.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::Cli;

/// Print completions: `lsie completions bash > /etc/bash_completion.d/lsie`.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut text = Vec::new();
        generate(self.shell, &mut Cli::command(), "lsie", &mut text);
        std::io::stdout().write_all(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Print the manual page of lsie or of one of its commands: `lsie man run | man -l -`.
#[derive(Debug, Args)]
pub(super) struct Man {
    /// A command; without it, the page of lsie.
    of: Option<String>,
}

impl Man {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut cli = Cli::command();
        cli.build();
        let command = match &self.of {
            None => cli,
            Some(name) => {
                let found = cli.find_subcommand(name).cloned();
                found.ok_or_else(|| anyhow::anyhow!("no command {name}; `lsie --help` lists all"))?
            }
        };
        let mut text = Vec::new();
        clap_mangen::Man::new(command).render(&mut text)?;
        std::io::stdout().write_all(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}
