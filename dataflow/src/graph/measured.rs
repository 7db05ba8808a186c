//! What the words of the operator that measures reactions are to the rest of the graph.

use lsie_operators::measure::{Fact, Measured};
use lsie_schemas::LogTime;
use lsie_schemas::row::StimulusRow;

use super::{change, facts};
use crate::commit::Written;
use crate::view::{Handle, StimulusKey};

pub(super) fn reaction(fact: &Fact) -> Option<(StimulusKey, Handle<Measured>)> {
    match fact {
        Fact::Measured(session, action, measured) => Some(((*session, *action), measured.clone().into())),
        _ => None,
    }
}

pub(super) fn stimulus(fact: &Fact) -> Option<StimulusRow> {
    match fact {
        Fact::Stimulus(row) => Some(row.clone()),
        _ => None,
    }
}

pub(super) fn changed(epoch: LogTime, fact: &Fact) -> Option<Written> {
    Some(Written::Change(match fact {
        Fact::Au12(row) => change(row, epoch, 1),
        Fact::Segment(row) => change(row, epoch, 1),
        Fact::Metrics(row) => change(row, epoch, 1),
        Fact::Pitch(row) => change(row, epoch, 1),
        Fact::Stimulus(row) => change(row, epoch, 1),
        Fact::Measured(session, action, measured) => {
            change(&facts::reaction((*session, *action), measured), epoch, 1)
        }
        Fact::Calibrated(..) => return None,
    }))
}
