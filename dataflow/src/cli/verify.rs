//! `lsie verify`: content hashes of result tables.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use lsie_sinks::Catalog;
use lsie_sinks::verify::{compare, summarize};

/// State hash and history hash of every table, independent of file layout and row order. With two
/// directories: whether they are equal, and if not, the first row that differs. Exit code 1: they differ.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// A result directory.
    dir: PathBuf,
    /// Another one to compare with.
    other: Option<PathBuf>,
}

impl Verify {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let catalog = Catalog::all();
        let Some(other) = self.other else {
            let summary = summarize(&self.dir, &catalog)?;
            print!("{summary}");
            return Ok(ExitCode::from(u8::from(summary.violations().next().is_some())));
        };
        let comparison = compare(&self.dir, &other, &catalog)?;
        println!("{}", self.dir.display());
        print!("{}", comparison.left);
        println!("{}", other.display());
        print!("{}", comparison.right);
        for difference in &comparison.differences {
            println!("{difference}");
        }
        if comparison.differences.is_empty() {
            println!("equal: state and history of every table");
        }
        Ok(ExitCode::from(u8::from(!comparison.differences.is_empty())))
    }
}
