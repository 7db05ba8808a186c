//! Facts of every kind as one input, and what the views take of it: for their tests and benches.

use lsie_operators::align::Classified;
use lsie_operators::measure::{self, Measured};
use lsie_operators::telemetry::Scan;
use lsie_schemas::row::{ActionRow, DecisionRow, SessionRow, StimulusRow};
use uuid::Uuid;

use super::arms::Admin;
use super::handle::Handle;
use super::{Evaluated, Of, Part, Rows, SessionFact, Sources, StimulusKey, encounters, met, of_fact};
use crate::checkpoint::Keep;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub(crate) enum Fact {
    Session(SessionRow),
    Decision(DecisionRow),
    Stimulus(StimulusRow),
    Measured(Uuid, Uuid, Measured),
    Judged(Uuid, Uuid, Evaluated),
    Part(Of, Part),
    Scanned(Uuid, String, Option<Scan>),
    Admin(Admin),
    Asked(ActionRow),
    Known(Uuid, SessionFact),
    Class(Classified),
}

pub(crate) fn measured(facts: Rows<'_, Fact>) -> Rows<'_, (StimulusKey, Handle<Measured>)> {
    facts.flat_map(|fact| match fact {
        Fact::Measured(session, action, measured) => Some(((session, action), measured.into())),
        _ => None,
    })
}

pub(crate) fn evaluated(facts: Rows<'_, Fact>) -> Rows<'_, (StimulusKey, Handle<Evaluated>)> {
    facts.flat_map(|fact| match fact {
        Fact::Judged(session, action, judged) => Some(((session, action), judged.into())),
        _ => None,
    })
}

pub(crate) fn decisions(facts: Rows<'_, Fact>) -> Rows<'_, DecisionRow> {
    facts.flat_map(|fact| match fact {
        Fact::Decision(row) => Some(row),
        _ => None,
    })
}

/// What the summaries are views over.
pub(crate) fn sources<'scope>(facts: Rows<'scope, Fact>, keep: &Keep) -> Sources<'scope> {
    let evaluated = evaluated(facts.clone());
    Sources {
        sessions: facts.clone().flat_map(|fact| match fact {
            Fact::Session(row) => Some(row),
            _ => None,
        }),
        stimuli: facts.clone().flat_map(|fact| match fact {
            Fact::Stimulus(row) => Some(row),
            _ => None,
        }),
        decisions: decisions(facts.clone()),
        encounters: encounters(met(measured(facts.clone()), evaluated.clone(), keep)),
        evaluated,
        parts: facts.flat_map(|fact| match fact {
            Fact::Part(of, part) => vec![(of, part)],
            Fact::Stimulus(row) => of_fact(&measure::Fact::Stimulus(row)),
            Fact::Measured(session, action, measured) => {
                of_fact(&measure::Fact::Measured(session, action, measured))
            }
            _ => Vec::new(),
        }),
    }
}
