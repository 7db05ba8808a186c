//! What the words of telemetry are to the rest of the graph.

use lsie_operators::align::Classified;
use lsie_operators::telemetry::{Scan, Told};
use lsie_schemas::LogTime;
use lsie_schemas::record::DeadLetter;
use uuid::Uuid;

use super::{change, facts};
use crate::commit::Written;
use crate::ledger;

pub(super) fn outcome(told: &Told) -> Option<ledger::Input> {
    match told {
        Told::Outcome(outcome, letter) => Some(ledger::Input::Outcome(outcome.clone(), letter.clone())),
        _ => None,
    }
}

pub(super) fn scanned(told: &Told) -> Option<((Uuid, String), Option<Scan>)> {
    match told {
        Told::Scanned(session, segment, scan) => Some(((*session, segment.clone()), scan.clone())),
        _ => None,
    }
}

pub(super) fn class(told: &Told) -> Option<Classified> {
    match told {
        Told::Classified(classified) => Some(classified.clone()),
        _ => None,
    }
}

pub(super) fn dead(told: &Told) -> Option<DeadLetter> {
    match told {
        Told::Dead(letter) => Some(letter.clone()),
        _ => None,
    }
}

pub(super) fn changed(epoch: LogTime, told: &Told) -> Option<Written> {
    Some(Written::Change(match told {
        Told::Physiology(row) => change(row, epoch, 1),
        Told::Comodulation(row) => change(row, epoch, 1),
        Told::Event(row, diff) => change(row, epoch, *diff),
        Told::Scanned(session, segment, scan) => {
            change(&facts::lag_scan(*session, segment, scan.as_ref()), epoch, 1)
        }
        Told::Outcome(..) | Told::Classified(_) | Told::Dead(_) => return None,
    }))
}
