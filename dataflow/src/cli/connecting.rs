//! What every command of a connector shares: it starts, says how it does, and stops at a signal.

use std::process::ExitCode;
use std::time::Duration;

use lsie_connectors::{Health, Stop};
use lsie_schemas::log::Log;

use super::running::{on_signal, open_log};
use crate::config::Config;

/// How often a connector's health is printed.
const HEALTH: Duration = Duration::from_secs(30);

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
        move || print_health(&health, &over)
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

/// Prints a connector's health, a line of JSON every 30 s and one at the end, until it shall stop.
pub(super) fn print_health(health: &Health, stop: &Stop) {
    let print = || println!("{}", serde_json::to_string(&health.report()).unwrap_or_default());
    while !stop.wait(HEALTH) {
        print();
    }
    print();
}
