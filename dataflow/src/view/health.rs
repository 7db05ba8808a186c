//! View `health`: the subsystems that the log tells of, and how each state follows (`math.md` §15).

use lsie_schemas::row::HealthRow;
use lsie_schemas::{EventTime, LogTime};
use serde::{Deserialize, Serialize};

use super::watch::Known;

/// Every active session writes once a segment, which closes up to some seconds after its 30 s.
const ON_TIME_MS: u64 = 35_000;
/// An age up to this is recovering.
const RECOVERING_MS: u64 = 120_000;
/// An age up to this is degraded; beyond it is an error.
const DEGRADED_MS: u64 = 600_000;
/// From a stimulus to its encounter: the window, and the segment in which the answer is heard.
const ENCOUNTER_DUE_MS: u64 = 40_000;
/// How long a filed record counts.
const FILED_MS: u64 = 30_000;

/// A subsystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Subsystem {
    Metrics,
    Physiology,
    Comodulation,
    Encounters,
    Capture,
    Drift,
    Asr,
    Semantic,
    Ingest,
}

/// How a subsystem does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Ok,
    Recovering,
    Degraded,
    Error,
    Unknown,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Recovering => "recovering",
            State::Degraded => "degraded",
            State::Error => "error",
            State::Unknown => "unknown",
        }
    }

    fn of_age(ms: u64) -> State {
        match ms {
            _ if ms <= ON_TIME_MS => State::Ok,
            _ if ms <= RECOVERING_MS => State::Recovering,
            _ if ms <= DEGRADED_MS => State::Degraded,
            _ => State::Error,
        }
    }
}

impl Subsystem {
    pub(crate) const ALL: [Subsystem; 9] = [
        Subsystem::Metrics,
        Subsystem::Physiology,
        Subsystem::Comodulation,
        Subsystem::Encounters,
        Subsystem::Capture,
        Subsystem::Drift,
        Subsystem::Asr,
        Subsystem::Semantic,
        Subsystem::Ingest,
    ];

    /// Its state at an epoch, and why where that is more than an age.
    pub(super) fn state(self, known: &Known, epoch: LogTime) -> (State, Option<String>) {
        let Some(active_since) = known.active_since else {
            return (State::Unknown, Some("no session runs".into()));
        };
        let success = known.success.get(&self).copied();
        // Ages count only while a session is active.
        let age_ms = success.map(|at| epoch.0.saturating_sub(at.max(active_since).0));
        let by_age = age_ms.map_or(State::Unknown, State::of_age);
        let after_success = |state| if success.is_some() { state } else { State::Unknown };
        match self {
            Subsystem::Metrics => {
                let waited_ms = epoch.0.saturating_sub(active_since.0);
                let silent = match State::of_age(waited_ms) {
                    state @ (State::Degraded | State::Error) => state,
                    _ => State::Unknown,
                };
                (if success.is_some() { by_age } else { silent }, None)
            }
            Subsystem::Physiology | Subsystem::Comodulation => (by_age, None),
            Subsystem::Encounters => match known.waiting.first() {
                // None is due before an operator sends a stimulus.
                None => (after_success(State::Ok), None),
                Some((at, _)) => {
                    let due_ms = (at.0 / 1_000).max(0) as u64 + ENCOUNTER_DUE_MS;
                    match epoch.0.checked_sub(due_ms) {
                        None | Some(0) => (after_success(State::Ok), None),
                        Some(late_ms) => {
                            let state = State::of_age(late_ms.saturating_add(ON_TIME_MS + 1));
                            (state, Some("a stimulus waits for its encounter".into()))
                        }
                    }
                }
            },
            Subsystem::Capture => match known.gaps.first_key_value() {
                Some((session, stream)) => (State::Degraded, Some(format!("session {session}: no {stream}"))),
                None => (after_success(State::Ok), None),
            },
            Subsystem::Drift => match known.clockless.first() {
                Some(session) => {
                    (State::Recovering, Some(format!("session {session}: its clock does not answer")))
                }
                None => (after_success(State::Ok), None),
            },
            Subsystem::Asr | Subsystem::Semantic => match known.fault.get(&self) {
                Some(reason) => (State::Degraded, Some(reason.clone())),
                None => (after_success(State::Ok), None),
            },
            Subsystem::Ingest => match &known.filed {
                Some((at, what)) if epoch.0.saturating_sub(at.0) < FILED_MS => {
                    (State::Degraded, Some(format!("filed: {what}")))
                }
                _ => (after_success(State::Ok), None),
            },
        }
    }

    pub(super) fn row(
        self,
        state: State,
        since_utc: EventTime,
        last_success_utc: Option<EventTime>,
        detail: Option<String>,
    ) -> HealthRow {
        let Texts { key, label, recovery, hint } = self.texts();
        let recovers = matches!(state, State::Recovering | State::Degraded);
        HealthRow {
            subsystem_key: key.into(),
            label: label.into(),
            state: state.name().into(),
            since_utc,
            last_success_utc,
            detail,
            recovery_mode: recovers.then(|| recovery.into()),
            operator_action_hint: (recovers || state == State::Error).then(|| hint.into()),
        }
    }

    pub(super) fn texts(self) -> Texts {
        let texts = |key, label, recovery, hint| Texts { key, label, recovery, hint };
        match self {
            Subsystem::Metrics => texts(
                "metrics",
                "Metrics",
                "db_retry_buffer",
                "Check that the store is reachable; look at the worker log.",
            ),
            Subsystem::Physiology => texts(
                "physiology",
                "Physiology",
                "physio_adapter_retry",
                "Check provider webhook delivery and the ingress log.",
            ),
            Subsystem::Comodulation => texts(
                "comodulation",
                "Co-modulation",
                "awaiting_alignment",
                "Null is valid until aligned fresh pairs exist.",
            ),
            Subsystem::Encounters => texts(
                "encounters",
                "Encounters",
                "reward_pipeline_retry",
                "Check the stimulus path and posterior updates.",
            ),
            Subsystem::Capture => texts(
                "capture",
                "Capture",
                "capture_device_wait",
                "Check the device and the capture log: a stream of the session is missing.",
            ),
            Subsystem::Drift => texts(
                "drift",
                "Clock correction",
                "clock_poll_retry",
                "Check that the device answers; its times are taken with the last offset, or with none.",
            ),
            Subsystem::Asr => texts("asr", "Speech", "speech_retry", "Check the speech model; see the log."),
            Subsystem::Semantic => {
                texts("semantic", "Semantics", "local_scoring", "Check the scorer; see the log.")
            }
            Subsystem::Ingest => texts(
                "ingest",
                "Ingest",
                "dead_letters",
                "Look at the dead letters: somebody sends records that cannot be used.",
            ),
        }
    }
}

/// What people read of a subsystem.
pub(super) struct Texts {
    pub(super) key: &'static str,
    pub(super) label: &'static str,
    recovery: &'static str,
    hint: &'static str,
}
