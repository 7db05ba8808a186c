//! How a connector does: one report that all of them give.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// The states of a subsystem (console specification §7), the better ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has not done anything yet.
    Unknown,
    /// It does what it shall.
    Ok,
    /// It is coming back by itself.
    Recovering,
    /// It works, but not all of it.
    Degraded,
    /// It needs somebody.
    Error,
}

/// How one part of a connector does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Its state.
    pub state: State,
    /// Why; never content of a record.
    pub detail: String,
}

/// What a connector says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The subsystem's key.
    pub subsystem: &'static str,
    /// That of its worst part.
    pub state: State,
    /// Its parts by name.
    pub parts: BTreeMap<&'static str, Part>,
    /// What it has counted since it started, by name.
    pub counts: BTreeMap<&'static str, u64>,
}

/// The report of a connector that runs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Health(Arc<Mutex<Report>>);

impl Health {
    /// Of a subsystem that has not done anything yet.
    pub fn new(subsystem: &'static str) -> Health {
        let (parts, counts) = (BTreeMap::new(), BTreeMap::new());
        Health(Arc::new(Mutex::new(Report { subsystem, state: State::Unknown, parts, counts })))
    }

    /// What there is to say now.
    pub fn report(&self) -> Report {
        self.lock().clone()
    }

    /// Says how a part does; a change of its state is logged.
    pub(crate) fn set(&self, part: &'static str, state: State, detail: impl Into<String>) {
        let (mut report, detail) = (self.lock(), detail.into());
        if report.parts.get(part).is_none_or(|known| known.state != state) {
            tracing::info!(subsystem = report.subsystem, part, ?state, detail, "state");
        }
        report.parts.insert(part, Part { state, detail });
        let worst = report.parts.values().map(|part| part.state).max();
        report.state = worst.unwrap_or(State::Unknown);
    }

    /// Adds to a count.
    pub(crate) fn count(&self, what: &'static str, more: u64) {
        *self.lock().counts.entry(what).or_default() += more;
    }

    fn lock(&self) -> MutexGuard<'_, Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connector_does_as_its_worst_part() {
        let health = Health::new("capture");
        assert_eq!(health.report().state, State::Unknown);
        health.set("log", State::Ok, "");
        health.set("producers", State::Recovering, "waiting for the device");
        assert_eq!(health.report().state, State::Recovering);
        health.set("producers", State::Ok, "");
        health.count("bytes", 3);
        health.count("bytes", 4);
        let report = health.report();
        assert_eq!((report.state, report.counts["bytes"]), (State::Ok, 7));
    }
}
