//! View `sessions`: what is known of each session so far.

use lsie_schemas::EventTime;
use lsie_schemas::row::SessionRow;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Rows;
use super::reduce_total::reduce_total;
use crate::checkpoint::Keep;

/// One thing that became known of a session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum SessionFact {
    /// It began.
    Started {
        /// Where its media come from.
        stream_url: String,
        /// When.
        at: EventTime,
        /// Its experiment.
        experiment: String,
    },
    /// Its first sample.
    Anchored(EventTime),
    /// Its arm and greeting.
    Decided(String, String),
    /// It ended.
    Ended(EventTime),
}

pub(crate) fn sessions<'scope>(
    facts: Rows<'scope, (Uuid, SessionFact)>,
    keep: &Keep,
) -> Rows<'scope, SessionRow> {
    reduce_total(
        facts,
        keep.station("sessions"),
        |session| *session,
        |session, facts, rows| {
            rows.extend(row(*session, facts.iter().map(|(fact, _)| fact)));
        },
    )
}

fn row<'a>(session_id: Uuid, facts: impl Iterator<Item = &'a SessionFact>) -> Option<SessionRow> {
    let mut found = None;
    let (mut anchor_utc, mut decided, mut ended_at) = (None, None, None);
    for fact in facts {
        match fact {
            SessionFact::Started { stream_url, at, experiment } => found = Some((stream_url, at, experiment)),
            SessionFact::Anchored(at) => anchor_utc = Some(*at),
            SessionFact::Decided(arm, greeting) => decided = Some((arm.clone(), greeting.clone())),
            SessionFact::Ended(at) => ended_at = Some(*at),
        }
    }
    let (stream_url, started_at, experiment_id) = found?;
    let (active_arm, expected_greeting) = decided.unzip();
    Some(SessionRow {
        session_id,
        stream_url: stream_url.clone(),
        started_at: *started_at,
        ended_at,
        experiment_id: experiment_id.clone(),
        anchor_utc,
        active_arm,
        expected_greeting,
    })
}
