//! The dataflow of a backfill: the analytics over the facts that an earlier run's tables hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::Sender;
use differential_dataflow::AsCollection;
use lsie_operators::measure::Fact;
use lsie_operators::telemetry::Told;
use lsie_schemas::row::{
    ActionRow, ArmRow, ArmSummaryRow, AttributionEventRow, AttributionScoreRow, DecisionRow, EncounterRow,
    EncounterSummaryRow, EvaluationRow, EventOutcomeLinkRow, JudgementRow, LagScanRow, MetricsRow,
    OutcomeEventRow, PhysiologyCurrentRow, PhysiologyRow, PosteriorUpdateRow, ReactionRow, SegmentRow,
    SessionRow, SessionSummaryRow, StimulusRow,
};
use lsie_schemas::{Change, TableRow};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::probe::Handle;
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{Concat, Probe};
use uuid::Uuid;

use super::analytics::{Analytics, Facts, analytics};
use super::facts;
use crate::adapter::{Time, per_epoch};
use crate::checkpoint::Keep;
use crate::commit::{self, Message, Written};
use crate::ingest::Shared;
use crate::ledger;
use crate::view::{self, Rows};

/// The tables that are computed anew; all others are facts, or tell of the run, and go on as they are.
pub(crate) const COMPUTED: [&str; 12] = [
    ArmRow::TABLE.name,
    ArmSummaryRow::TABLE.name,
    AttributionEventRow::TABLE.name,
    AttributionScoreRow::TABLE.name,
    EncounterRow::TABLE.name,
    EncounterSummaryRow::TABLE.name,
    EvaluationRow::TABLE.name,
    EventOutcomeLinkRow::TABLE.name,
    OutcomeEventRow::TABLE.name,
    PhysiologyCurrentRow::TABLE.name,
    PosteriorUpdateRow::TABLE.name,
    SessionSummaryRow::TABLE.name,
];

/// The tables that the analytics are made of. What an arm says, whether it was deleted, that an outcome came, and how far a
/// calibration is have no table of their own: of these rows only that is taken.
pub(crate) const READ: [&str; 13] = [
    ActionRow::TABLE.name,
    ArmRow::TABLE.name,
    DecisionRow::TABLE.name,
    JudgementRow::TABLE.name,
    LagScanRow::TABLE.name,
    MetricsRow::TABLE.name,
    OutcomeEventRow::TABLE.name,
    PhysiologyRow::TABLE.name,
    ReactionRow::TABLE.name,
    SegmentRow::TABLE.name,
    SessionRow::TABLE.name,
    SessionSummaryRow::TABLE.name,
    StimulusRow::TABLE.name,
];

/// Builds the dataflow of one worker. `ticks` has every epoch, on every worker; `rows` are changes of the tables that are
/// [`READ`], `others` those of the tables that go on as they are.
pub(crate) fn build<'scope>(
    ticks: StreamVec<'scope, Time, Written>,
    rows: StreamVec<'scope, Time, Change>,
    others: StreamVec<'scope, Time, Written>,
    keep: &Keep,
    epochs: Sender<Message>,
) -> Handle<Time> {
    let shared = &keep.shared;
    let segments = came(&rows, shared).map(Fact::Segment);
    let metrics = came(&rows, shared).map(Fact::Metrics);
    let stimuli = came(&rows, shared).map(Fact::Stimulus);
    let calibrated = came(&rows, shared).flat_map(calibrated);
    let measured = came(&rows, shared).map(|row| {
        let ((session, action), measured) = facts::measured(row);
        Fact::Measured(session, action, measured)
    });
    let reactions = segments.concat(metrics).concat(stimuli).concat(calibrated).concat(measured);
    let physiology = came(&rows, shared).map(Told::Physiology);
    let parts = reactions
        .flat_map(|fact| view::of_fact(&fact))
        .concat(physiology.flat_map(|told| view::of_told(&told)));
    let tell = ledger::Input::tick(keep.worker);
    let Analytics { written, .. } = analytics(
        Facts {
            ticks: ticks.clone().flat_map(move |tick| tell(&tick)),
            sessions: table(&rows, shared),
            stimuli: table(&rows, shared),
            decisions: table(&rows, shared),
            measured: table(&rows, shared).map(facts::measured).map(|(key, measured)| (key, measured.into())),
            evaluated: table(&rows, shared).map(facts::evaluated),
            scans: table(&rows, shared).map(facts::scanned),
            texts: view::arm_texts_told(table(&rows, shared), table(&rows, shared)),
            outcomes: outcomes(&rows, shared),
            parts,
        },
        keep,
    );
    let written = ticks.concat(others).concat(written);
    let (probe, written) = written.probe();
    commit::gather(written, epochs);
    probe
}

/// The rows of a table as they come and go.
fn table<'scope, R: TableRow + Clone + Ord + 'static>(
    rows: &StreamVec<'scope, Time, Change>,
    shared: &Arc<Shared>,
) -> Rows<'scope, R> {
    let shared = shared.clone();
    let rows = rows.clone().flat_map(move |change| {
        let row = row(&change, &shared)?;
        Some((row, change.epoch.0, change.diff as isize))
    });
    rows.as_collection()
}

/// The rows of a table that came, at their epochs.
fn came<'scope, R: TableRow + Clone + 'static>(
    rows: &StreamVec<'scope, Time, Change>,
    shared: &Arc<Shared>,
) -> StreamVec<'scope, Time, R> {
    let shared = shared.clone();
    rows.clone().flat_map(move |change| if change.diff > 0 { row(&change, &shared) } else { None })
}

/// The row of a change of this table; one of another layout ends the run.
fn row<R: TableRow>(change: &Change, shared: &Shared) -> Option<R> {
    if change.table != R::TABLE.name {
        return None;
    }
    let row = R::from_cells(&change.row);
    if row.is_none() {
        shared.fail(format!("table {} has another layout than this version knows", R::TABLE.name));
    }
    row
}

fn calibrated(row: SessionSummaryRow) -> Option<Fact> {
    let frames = row.calibration_frames_accumulated;
    (frames > 0).then_some(Fact::Calibrated(row.session_id, frames))
}

/// Outcomes when they were first known: later their rows only become final.
fn outcomes<'scope>(
    rows: &StreamVec<'scope, Time, Change>,
    shared: &Arc<Shared>,
) -> StreamVec<'scope, Time, ledger::Input> {
    let changed = table::<OutcomeEventRow>(rows, shared).inner.map(|(row, _, diff)| (row, diff));
    let by_session = Exchange::new(|(row, _): &(OutcomeEventRow, isize)| row.session_id.as_u64_pair().0);
    per_epoch(changed, by_session, "outcomes", |_, changed, out| {
        let mut net: BTreeMap<Uuid, (isize, OutcomeEventRow)> = BTreeMap::new();
        for (row, diff) in changed {
            net.entry(row.outcome_id).or_insert_with(|| (0, row)).0 += diff;
        }
        let new = net.into_values().filter(|(diff, _)| *diff > 0);
        out.extend(new.map(|(_, row)| ledger::Input::Outcome(facts::outcome(row), None)));
    })
}
