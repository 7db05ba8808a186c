//! The analytics: every view over facts, and the ledger. The same whether the facts come from a graph that runs or from
//! the tables of an earlier run.

use differential_dataflow::AsCollection;
use lsie_operators::attribution::link::LedgerRow;
use lsie_operators::measure::Measured;
use lsie_operators::telemetry::Scan;
use lsie_schemas::row::{DecisionRow, EncounterRow, SessionRow, StimulusRow};
use lsie_schemas::{Change, LogTime};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Concat;
use timely::dataflow::operators::vec::Map;
use uuid::Uuid;

use super::{change, changed, changes, facts_out, hash};
use crate::adapter::{Time, at_their_time, collected, stateful};
use crate::checkpoint::Keep;
use crate::commit::Written;
use crate::ledger::{self, Ledger};
use crate::view::{self, ArmText, Evaluated, Handle, Of, Part, PosteriorHistory, Rewards, Rows, StimulusKey};

/// What the analytics are made of.
pub(super) struct Facts<'scope> {
    /// Every epoch, on every worker.
    pub(super) ticks: StreamVec<'scope, Time, ledger::Input>,
    pub(super) sessions: Rows<'scope, SessionRow>,
    pub(super) stimuli: Rows<'scope, StimulusRow>,
    pub(super) decisions: Rows<'scope, DecisionRow>,
    /// What happened after each stimulus, and whether the greeting was said.
    pub(super) measured: Rows<'scope, (StimulusKey, Handle<Measured>)>,
    pub(super) evaluated: Rows<'scope, (StimulusKey, Handle<Evaluated>)>,
    /// The lag scan of each closed segment.
    pub(super) scans: Rows<'scope, ((Uuid, String), Option<Scan>)>,
    /// The arms of all experiments, each with the prior.
    pub(super) texts: Rows<'scope, ArmText>,
    pub(super) outcomes: StreamVec<'scope, Time, ledger::Input>,
    /// What else summaries are made of.
    pub(super) parts: StreamVec<'scope, Time, (Of, Part)>,
}

/// What comes of them.
pub(super) struct Analytics<'scope> {
    /// What selection learns from.
    pub(super) rewards: Rewards<'scope>,
    /// Encounters as they come and go.
    pub(super) moved: StreamVec<'scope, Time, (Handle<EncounterRow>, i64)>,
    /// What the ledger said.
    pub(super) ledgered: StreamVec<'scope, Time, ledger::Output>,
    /// The rows.
    pub(super) written: StreamVec<'scope, Time, Written>,
}

pub(super) fn analytics<'scope>(facts: Facts<'scope>, keep: &Keep) -> Analytics<'scope> {
    let Facts { ticks, sessions, stimuli, decisions, measured, evaluated, scans, texts, outcomes, parts } =
        facts;
    let resumed = keep.resumed;
    let met = view::met(measured, evaluated.clone(), keep);
    let encounters = view::encounters(met.clone());
    let rewards = view::rewards(encounters.clone(), keep);
    let arms = view::arms(texts, rewards.clone());

    // The ledger, by session: what an encounter may be credited with comes days after it.
    let credited = view::ledger_events(met, decisions.clone(), scans, keep);
    let credited = at_their_time(credited.inner).map(|(event, _)| ledger::Input::Event(Box::new(event)));
    let entered = credited.concat(outcomes).concat(ticks);
    let by_session = Exchange::new(ledger::Input::route);
    let ledger = Ledger::new(LogTime(resumed), keep.shared.clone());
    let ledgered =
        stateful(entered, by_session, keep.station("ledger"), ledger, |id: &Uuid| id.as_u64_pair().0);

    // Summaries of what these tables hold, and every step of a posterior.
    let parts = parts.map(|part| (part, 1)).concat(ledgered.clone().flat_map(ledger_part));
    let parts = collected(parts, view::formerly(keep), resumed).inner;
    let parts = parts.map(|((part, diff), epoch, copies)| (part, epoch, copies * diff as isize));
    let evaluations = view::evaluations(evaluated.clone(), keep);
    let summaries = view::summaries(
        view::Sources {
            sessions,
            stimuli,
            decisions,
            evaluated,
            encounters: encounters.clone(),
            parts: parts.as_collection(),
        },
        keep,
    );
    let moved = at_their_time(encounters.clone().inner).map(|(row, diff)| (row, diff as i64));
    let by_arm = Exchange::new(|(row, _): &(Handle<EncounterRow>, i64)| hash(&row.experiment_id));
    let steps = keep.station("posterior_history");
    let history =
        stateful(moved.clone(), by_arm, steps, PosteriorHistory::default(), |(id, _): &(String, String)| {
            hash(id)
        });

    let written = summaries
        .concat(facts_out(history))
        .concat(changes(arms, resumed))
        .concat(changes(encounters, resumed))
        .concat(changes(evaluations, resumed))
        .concat(changed(ledgered.clone(), ledger_change));
    Analytics { rewards, moved, ledgered, written }
}

/// What the ledger says of the stimuli of a segment, as it comes and goes.
fn ledger_part(output: ledger::Output) -> Option<((Of, Part), i64)> {
    match output {
        ledger::Output::Change(session, row, diff) => Some((view::of_ledger(session, *row)?, diff)),
        _ => None,
    }
}

/// The change that a row of the ledger is.
fn ledger_change(epoch: LogTime, output: &ledger::Output) -> Option<Change> {
    let ledger::Output::Change(_, row, diff) = output else { return None };
    Some(match &**row {
        LedgerRow::Event(row) => change(row, epoch, *diff),
        LedgerRow::Outcome(row) => change(row, epoch, *diff),
        LedgerRow::Link(row) => change(row, epoch, *diff),
        LedgerRow::Score(row) => change(row, epoch, *diff),
    })
}
