//! What goes to the operator that waits for a language model's answers, and what its words are to the rest of the graph.

use lsie_operators::align::Classified;
use lsie_operators::band;
use lsie_schemas::Real;
use lsie_schemas::record::DeadLetter;
use lsie_schemas::row::InferenceRow;

use crate::view::{self, Note};

pub(super) fn evaluated(said: band::Output) -> Option<(view::StimulusKey, view::Handle<view::Evaluated>)> {
    let band::Output::Decided(question, evaluation) = said else { return None };
    let evaluated = view::Evaluated {
        said: question.said,
        experiment: question.experiment,
        arm: question.arm,
        is_match: evaluation.is_match,
        confidence: Real(evaluation.confidence),
        reason: evaluation.reason.into(),
        method: evaluation.method.into(),
        version: evaluation.version.into(),
    };
    Some(((question.session, question.action), evaluated.into()))
}

pub(super) fn unjudged(said: band::Output) -> Option<Note> {
    match said {
        band::Output::Failed(_, reason) => Some(Note::Judged(reason.into())),
        _ => None,
    }
}

pub(super) fn class(said: band::Output) -> Option<Classified> {
    match said {
        band::Output::Classified(classified) => Some(classified),
        _ => None,
    }
}

pub(super) fn dead(said: band::Output) -> Option<DeadLetter> {
    match said {
        band::Output::Dead(letter) => Some(letter),
        _ => None,
    }
}

pub(super) fn fact(said: band::Output) -> Option<InferenceRow> {
    match said {
        band::Output::Inference(row) => Some(*row),
        _ => None,
    }
}
