//! What every command of a connector shares: it starts, says how it does, and stops at a signal.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use lsie_connectors::{Health, Stop};
use lsie_schemas::log::Log;

use super::running::{on_signal, open_log};
use crate::config::Config;

/// How often a connector's health is printed.
pub(super) const HEALTH: Duration = Duration::from_secs(30);

/// What a connector is given.
pub(super) struct Given<'g> {
    pub(super) log: &'g dyn Log,
    pub(super) health: &'g Health,
    pub(super) stop: &'g Stop,
}

/// Runs a connector until a signal, with a line of health as JSON every 30 s and one at the end. `at_signal` says what is done
/// about the signal.
pub(super) fn connect(
    config: &Config,
    subsystem: &'static str,
    at_signal: &'static str,
    run: impl FnOnce(Given) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let (health, stop, over) = (Health::new(subsystem), stop_on_signal(at_signal)?, Stop::default());
    let log = open_log(config)?;
    let reporter = std::thread::Builder::new().name("health".into()).spawn({
        let (health, over) = (health.clone(), over.clone());
        let file = config.health.file.clone();
        move || print_health(&health, &over, &file)
    })?;
    let result = run(Given { log: &*log, health: &health, stop: &stop });
    over.stop();
    let _ = reporter.join();
    result?;
    Ok(ExitCode::SUCCESS)
}

/// A wish to stop that a signal makes.
pub(super) fn stop_on_signal(what: &'static str) -> anyhow::Result<Stop> {
    let stop = Stop::default();
    on_signal(what, {
        let stop = stop.clone();
        move || stop.stop()
    })?;
    Ok(stop)
}

/// Prints a connector's health, a line of JSON every 30 s and one at the end, until it shall stop. With a file, what is
/// printed stands in it, too, from the beginning on.
pub(super) fn print_health(health: &Health, stop: &Stop, file: &Path) {
    let report = || serde_json::to_string(&health.report()).unwrap_or_default();
    write(file, &report());
    while !stop.wait(HEALTH) {
        println!("{}", report());
        write(file, &report());
    }
    println!("{}", report());
    write(file, &report());
}

/// Replaces a file as a whole; a report that could not be written is an old one to whoever looks.
fn write(file: &Path, report: &str) {
    if file.as_os_str().is_empty() {
        return;
    }
    let partial = file.with_extension("partial");
    if let Err(why) = std::fs::write(&partial, report).and_then(|()| std::fs::rename(&partial, file)) {
        tracing::warn!(%why, file = %file.display(), "the report of health could not be written");
    }
}
