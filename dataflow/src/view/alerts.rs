//! View `alerts`: what an operator should know of. An id follows from what happened, so that it is said once.

use lsie_schemas::LogTime;
use lsie_schemas::row::AlertRow;
use uuid::Uuid;

use super::health::{State, Subsystem};

/// Why a stimulus is refused.
pub(super) const STIMULUS_REASONS: [&str; 3] = ["measurement_open", "before_anchor", "after_end"];

/// A subsystem passed into a state that is not well.
pub(super) fn transition(
    epoch: LogTime,
    subsystem: Subsystem,
    state: State,
    detail: Option<&str>,
) -> AlertRow {
    let texts = subsystem.texts();
    let (severity, kind) = match state {
        State::Error => ("critical", "subsystem_error"),
        State::Recovering => ("warning", "subsystem_recovering"),
        State::Ok | State::Degraded | State::Unknown => ("warning", "subsystem_degraded"),
    };
    let why = detail.map_or_else(String::new, |detail| format!(" ({detail})"));
    let message = format!("{} is now {}{why}", texts.label, state.name());
    let row = alert(epoch, severity, kind, &format!("{}:{}", texts.key, epoch.0), message);
    AlertRow { subsystem_key: Some(texts.key.into()), ..row }
}

/// The snapshots of a role became stale.
pub(super) fn stale(epoch: LogTime, session: Uuid, role: &str, age_ms: i64) -> AlertRow {
    let message = format!("Physiology of the {role} is stale: {} s old", age_ms / 1_000);
    let subject = format!("{session}:{role}:{}", epoch.0);
    let row = alert(epoch, "warning", "physiology_stale", &subject, message);
    AlertRow { session_id: Some(session), subsystem_key: Some("physiology".into()), ..row }
}

/// A stimulus was refused.
pub(super) fn stimulus_failed(
    epoch: LogTime,
    session_id: Option<Uuid>,
    reason: &str,
    offset: i64,
) -> AlertRow {
    let session = session_id.map_or_else(|| "unattributed".to_owned(), |id| id.to_string());
    let why = match reason {
        "measurement_open" => "the reaction to an earlier one is still being measured",
        "before_anchor" => "the session has no picture and sound yet",
        "after_end" => "the session has ended",
        other => other,
    };
    let message = format!("A stimulus was not accepted: {why}");
    let row = alert(epoch, "warning", "stimulus_failed", &format!("{session}:{offset}"), message);
    AlertRow { session_id, ..row }
}

/// A segment closed without a stream.
pub(super) fn gap(epoch: LogTime, session: Uuid, ordinal: i64, segment: &str, stream: &str) -> AlertRow {
    let message = format!("Segment {ordinal} closed without all of its {stream}");
    let row = alert(epoch, "warning", "data_gap", segment, message);
    AlertRow { session_id: Some(session), subsystem_key: Some("capture".into()), ..row }
}

/// A session ended.
pub(super) fn session_ended(epoch: LogTime, session: Uuid) -> AlertRow {
    let row = alert(epoch, "info", "session_ended", &session.to_string(), "The session ended".into());
    AlertRow { session_id: Some(session), ..row }
}

fn alert(epoch: LogTime, severity: &str, kind: &str, subject: &str, message: String) -> AlertRow {
    AlertRow {
        alert_id: format!("{kind}:{subject}"),
        severity: severity.into(),
        kind: kind.into(),
        message,
        session_id: None,
        subsystem_key: None,
        emitted_at_utc: epoch.as_event(),
    }
}
