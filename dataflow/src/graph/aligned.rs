//! What the words of alignment are to the rest of the graph.

use lsie_operators::align::{Aligned, Classified};
use lsie_operators::band;
use lsie_operators::context::Visit;
use lsie_operators::measure::{Input, Measure};
use lsie_operators::telemetry::Telemetry;
use lsie_schemas::LogTime;
use lsie_schemas::record::{DeadLetter, ExperimentRecord};
use lsie_schemas::row::{ActionRow, SegmentStreamRow};
use uuid::Uuid;

use crate::pool::Task;
use crate::select::{self, AdminOrder};
use crate::transcribe::Heard;
use crate::view::SessionFact;

pub(super) fn admin(word: &Aligned) -> Option<(AdminOrder, LogTime, ExperimentRecord)> {
    match word {
        Aligned::Experiment { order, at, record } => Some((*order, *at, record.clone())),
        _ => None,
    }
}

pub(super) fn task(word: &Aligned) -> Option<Task> {
    match word {
        Aligned::Frame(job) => Some(Task::Frame(job.clone())),
        Aligned::Voice(job) => Some(Task::Voice(job.clone())),
        Aligned::Ended { session, .. } => Some(Task::End(*session)),
        _ => None,
    }
}

pub(super) fn reaction(word: &Aligned) -> Option<Input> {
    Measure::hears(word).then(|| Input::Aligned(word.clone()))
}

pub(super) fn telling(word: &Aligned) -> Option<Aligned> {
    Telemetry::hears(word).then(|| word.clone())
}

pub(super) fn visited(word: &Aligned) -> Option<Visit> {
    match word {
        Aligned::Visited(visit) => Some(Visit::clone(visit)),
        _ => None,
    }
}

pub(super) fn heard(word: &Aligned) -> Option<Heard> {
    match word {
        Aligned::Anchored { .. }
        | Aligned::Stimulus { .. }
        | Aligned::Speech(_)
        | Aligned::Sound(_)
        | Aligned::Ended { .. } => Some(Heard::Word(word.clone())),
        Aligned::Answer(arrived) if !band::is_judgement(arrived) => Some(Heard::Word(word.clone())),
        _ => None,
    }
}

pub(super) fn judgement(word: &Aligned) -> Option<band::Input> {
    match word {
        Aligned::Answer(arrived) if band::is_judgement(arrived) => Some(band::Input::Answer(arrived.clone())),
        _ => None,
    }
}

pub(super) fn anchored(word: &Aligned) -> Option<select::Input> {
    match word {
        Aligned::Anchored { session, experiment, anchor } => Some(select::Input::Anchored {
            session: *session,
            experiment: experiment.clone(),
            anchor: *anchor,
        }),
        _ => None,
    }
}

pub(super) fn session_fact(word: &Aligned) -> Option<(Uuid, SessionFact)> {
    match word {
        Aligned::Started { start, at } => {
            let (stream_url, experiment) = (start.source_url.clone(), start.experiment_id.clone());
            Some((start.session_id, SessionFact::Started { stream_url, at: *at, experiment }))
        }
        Aligned::Anchored { session, anchor, .. } => Some((*session, SessionFact::Anchored(*anchor))),
        Aligned::Ended { session, at } => Some((*session, SessionFact::Ended(*at))),
        _ => None,
    }
}

pub(super) fn asked(word: &Aligned) -> Option<ActionRow> {
    match word {
        Aligned::Asked(row) => Some(ActionRow::clone(row)),
        _ => None,
    }
}

pub(super) fn segment_streams(word: &Aligned) -> Vec<SegmentStreamRow> {
    match word {
        Aligned::Closed(segment) => segment.streams.clone(),
        _ => Vec::new(),
    }
}

pub(super) fn class(word: &Aligned) -> Option<Classified> {
    match word {
        Aligned::Classified(class) => Some(class.clone()),
        _ => None,
    }
}

pub(super) fn dead(word: &Aligned) -> Option<DeadLetter> {
    match word {
        Aligned::Dead(letter) => Some(letter.clone()),
        _ => None,
    }
}
