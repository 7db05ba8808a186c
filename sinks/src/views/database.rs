//! How the database does, for health and alerts. No log tells it: it is looked at when health is asked for, and at each
//! epoch for what it has passed into.

use std::collections::VecDeque;

use lsie_schemas::LogTime;
use lsie_schemas::row::{AlertRow, HealthRow};

use crate::follower::Status;

/// Log time by which the database may be behind without being called so, ms.
const LATE_MS: u64 = 10_000;
/// Alerts that are kept: more than an hour's of a database that comes and goes each minute.
const MAX_ALERTS: usize = 200;

/// Its state. It catches up by itself (`behaviour.md` §1), so only a refusal is an error.
fn state(status: &Status) -> &'static str {
    match (&status.away, status.has_failed) {
        (_, true) => "error",
        (Some(_), _) => "recovering",
        (None, _) if status.lag_ms() > LATE_MS => "degraded",
        (None, _) => "ok",
    }
}

fn detail(status: &Status) -> String {
    let behind = status.behind;
    let lag_s = status.lag_ms() as f64 / 1e3;
    format!("{lag_s:.1} s, {} epochs and {} rows behind", behind.epochs, behind.rows)
}

/// Subsystem `sink`; without a database nothing is known of it.
pub(crate) fn row(status: Option<&Status>) -> HealthRow {
    let state = status.map_or("unknown", state);
    let hint = match state {
        "error" => {
            Some("read why the database refuses in the engine's log, mend it, and start the engine again")
        }
        "recovering" => {
            Some("check that the database is reachable; nothing is lost, and it catches up by itself")
        }
        "degraded" => {
            Some("the database takes rows more slowly than they come; look at its load and its disk")
        }
        _ => None,
    };
    HealthRow {
        subsystem_key: "sink".into(),
        label: "PostgreSQL".into(),
        state: state.into(),
        // Not shown.
        since_utc: status.and_then(|status| status.newest).unwrap_or_default().as_event(),
        last_success_utc: status.and_then(|status| status.reached).map(|at| at.as_event()),
        detail: Some(status.map_or_else(|| "no database is configured".into(), detail)),
        recovery_mode: matches!(state, "recovering" | "degraded").then(|| "store_retry".into()),
        operator_action_hint: hint.map(str::to_owned),
    }
}

/// What it has passed into, newest last.
#[derive(Debug, Default)]
pub(crate) struct Transitions {
    state: Option<&'static str>,
    alerts: VecDeque<AlertRow>,
}

impl Transitions {
    /// Looks at it as of an epoch. What it is found in first is no transition, short of an error.
    pub(crate) fn look(&mut self, epoch: LogTime, status: &Status) {
        let state = state(status);
        let before = self.state.replace(state);
        let is_news = before.map_or(state == "error", |before| before != state);
        if !is_news || state == "ok" {
            return;
        }
        if self.alerts.len() == MAX_ALERTS {
            self.alerts.pop_front();
        }
        let kind = format!("subsystem_{state}");
        self.alerts.push_back(AlertRow {
            alert_id: format!("{kind}:sink:{}", epoch.0),
            severity: if state == "error" { "critical" } else { "warning" }.into(),
            kind,
            message: format!("PostgreSQL is now {state} ({})", detail(status)),
            session_id: None,
            subsystem_key: Some("sink".into()),
            emitted_at_utc: epoch.as_event(),
        });
    }

    /// The alerts of them up to an epoch, newest first.
    pub(crate) fn alerts(&self, epoch: LogTime) -> impl Iterator<Item = &AlertRow> {
        self.alerts.iter().rev().filter(move |row| row.emitted_at_utc <= epoch.as_event())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(newest: u64, reached: u64, away: bool) -> Status {
        let away = away.then(|| "a made absence".to_owned());
        Status { newest: Some(LogTime(newest)), reached: Some(LogTime(reached)), away, ..Status::default() }
    }

    #[test]
    fn each_transition_is_said_once() {
        let mut seen = Transitions::default();
        seen.look(LogTime(1_000), &status(1_000, 0, true));
        assert_eq!(seen.alerts(LogTime(9_000)).count(), 0, "what is found first is where it begins");
        seen.look(LogTime(2_000), &status(2_000, 2_000, false));
        seen.look(LogTime(3_000), &status(3_000, 2_000, true));
        seen.look(LogTime(4_000), &status(4_000, 2_000, true));
        seen.look(LogTime(20_000), &status(20_000, 4_000, false));
        let failed = Status { has_failed: true, ..status(21_000, 4_000, true) };
        seen.look(LogTime(21_000), &failed);
        let ids = |epoch| seen.alerts(LogTime(epoch)).map(|row| row.alert_id.clone()).collect::<Vec<_>>();
        assert_eq!(
            ids(21_000),
            ["subsystem_error:sink:21000", "subsystem_degraded:sink:20000", "subsystem_recovering:sink:3000"]
        );
        assert_eq!(ids(20_999).len(), 2, "an earlier epoch knows nothing of it");
        let newest = seen.alerts(LogTime(21_000)).next().map(|row| row.severity.clone());
        assert_eq!(newest.as_deref(), Some("critical"));
    }

    #[test]
    fn nothing_is_known_without_a_database() {
        let row = row(None);
        assert_eq!(
            (row.state.as_str(), row.detail.as_deref()),
            ("unknown", Some("no database is configured"))
        );
        assert_eq!((row.recovery_mode, row.operator_action_hint), (None, None));
    }
}
