//! What the words of transcription are to the rest of the graph.

use lsie_operators::align::Classified;
use lsie_operators::judging;
use lsie_operators::utterance::Output as Spoken;
use lsie_schemas::LogTime;
use lsie_schemas::record::DeadLetter;

use super::change;
use crate::commit::Written;
use crate::view::Note;

pub(super) fn said(spoken: &Spoken) -> Option<judging::Input> {
    match spoken {
        Spoken::Said(session, action, said) => Some(judging::Input::Said(*session, *action, said.clone())),
        _ => None,
    }
}

pub(super) fn class(spoken: &Spoken) -> Option<Classified> {
    match spoken {
        Spoken::Classified(classified) => Some(classified.clone()),
        _ => None,
    }
}

pub(super) fn dead(spoken: &Spoken) -> Option<DeadLetter> {
    match spoken {
        Spoken::Dead(letter) => Some(letter.clone()),
        _ => None,
    }
}

pub(super) fn filed(spoken: &Spoken) -> Option<Note> {
    match spoken {
        Spoken::Dead(letter) => Some(Note::filed(letter)),
        _ => None,
    }
}

pub(super) fn changed(epoch: LogTime, spoken: &Spoken) -> Option<Written> {
    Some(Written::Change(match spoken {
        Spoken::Transcript(row) => change(row, epoch, 1),
        Spoken::Inference(row) => change(row, epoch, 1),
        _ => return None,
    }))
}
