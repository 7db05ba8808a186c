//! `lsie health`: how the connector does that writes its reports to a file; what a container's health check asks.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::Value;

use super::connecting::HEALTH;
use crate::config::Config;

/// A report that is older says that nobody writes any more.
const OLDEST: Duration = Duration::from_secs(3 * HEALTH.as_secs());

/// Print the newest report in health.file. Fails when there is none, when it is older than 90 s, or when its state is
/// `error`: then somebody has to act.
#[derive(Debug, Args)]
pub(super) struct Health {}

impl Health {
    pub(super) fn run(self, config: &Config) -> anyhow::Result<ExitCode> {
        let file = &config.health.file;
        ensure!(!file.as_os_str().is_empty(), "health.file names no file");
        println!("{}", report(file, OLDEST)?);
        Ok(ExitCode::SUCCESS)
    }
}

/// The report in a file, if it is not too old and its writer needs nobody.
#[allow(clippy::disallowed_methods, reason = "a report's age is against the machine's clock")]
fn report(file: &Path, oldest: Duration) -> anyhow::Result<String> {
    let name = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("{name}: no connector has written"))?;
    let age = std::fs::metadata(file)?.modified()?.elapsed().unwrap_or_default();
    ensure!(age <= oldest, "{name} was written {} s ago: its connector is gone or hangs", age.as_secs());
    let said: Value = serde_json::from_str(&text).with_context(|| format!("{name} is no report"))?;
    match said.get("state").and_then(Value::as_str) {
        Some("error") => bail!("{text}"),
        Some(_) => Ok(text),
        None => bail!("{name} is no report"),
    }
}

#[cfg(test)]
mod tests {
    use lsie_connectors::{Health, Stop};

    use super::*;
    use crate::cli::connecting::print_health;

    #[test]
    fn a_report_that_is_new_and_no_error_is_well() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("health.json");
        assert!(report(&file, OLDEST).is_err(), "nobody has written");
        let stop = Stop::default();
        stop.stop();
        print_health(&Health::new("vault"), &stop, &file);
        assert!(report(&file, OLDEST).expect("well").contains("vault"));
        assert!(report(&file, Duration::ZERO).is_err(), "too old");
        for (text, why) in
            [(r#"{"state":"error","parts":{}}"#, "parts"), ("{}", "no report"), ("", "no report")]
        {
            std::fs::write(&file, text).expect("written");
            let said = report(&file, OLDEST).expect_err("not well");
            assert!(format!("{said:#}").contains(why), "{said:#}");
        }
    }
}
