//! What the words of the inference pool are to the rest of the graph.

use lsie_operators::align::Classified;
use lsie_operators::measure::Input;
use lsie_schemas::LogTime;
use lsie_schemas::record::DeadLetter;

use super::change;
use crate::commit::Written;
use crate::pool::Inferred;
use crate::view::Note;

pub(super) fn measured(inferred: &Inferred) -> Option<Input> {
    match inferred {
        Inferred::Face(row) => Some(Input::Face(row.clone())),
        Inferred::Voice(voice) => Some(Input::Voice(*voice.clone())),
        Inferred::Classified(_) | Inferred::Dead(_) => None,
    }
}

pub(super) fn class(inferred: &Inferred) -> Option<Classified> {
    match inferred {
        Inferred::Classified(class) => Some(class.clone()),
        _ => None,
    }
}

pub(super) fn dead(inferred: &Inferred) -> Option<DeadLetter> {
    match inferred {
        Inferred::Dead(letter) => Some(letter.clone()),
        _ => None,
    }
}

pub(super) fn filed(inferred: &Inferred) -> Option<Note> {
    match inferred {
        Inferred::Dead(letter) => Some(Note::filed(letter)),
        _ => None,
    }
}

pub(super) fn changed(epoch: LogTime, inferred: &Inferred) -> Option<Written> {
    match inferred {
        Inferred::Face(row) => Some(Written::Change(change(row, epoch, 1))),
        _ => None,
    }
}
