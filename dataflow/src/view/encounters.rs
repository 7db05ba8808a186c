//! View `encounter_log`: what was measured after a stimulus, joined with whether the greeting was said.

use differential_dataflow::{AsCollection, VecCollection};
use lsie_operators::measure::Measured;
use lsie_operators::posterior::RewardSum;
use lsie_operators::utterance::Said;
use lsie_schemas::Real;
use lsie_schemas::row::EncounterRow;
use serde::{Deserialize, Serialize};
use timely::dataflow::operators::vec::Map;
use uuid::Uuid;

use super::Rows;
use super::handle::Handle;
use super::reduce_total::reduce_total;
use crate::adapter::{Time, kept_sums};
use crate::checkpoint::Keep;
use crate::graph::hash;

/// A stimulus: its session and its action.
pub(crate) type StimulusKey = (Uuid, Uuid);

/// The judgement of what was said to one stimulus.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Evaluated {
    pub(crate) said: Said,
    pub(crate) experiment: String,
    pub(crate) arm: String,
    pub(crate) is_match: bool,
    pub(crate) confidence: Real,
    pub(crate) reason: String,
    pub(crate) method: String,
    pub(crate) version: String,
}

/// What happened after a stimulus, and whether the greeting was said.
pub(crate) type Met = (Handle<Measured>, Handle<Evaluated>);

/// One of the two.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Half {
    Measured(Handle<Measured>),
    Judged(Handle<Evaluated>),
}

/// Every stimulus that was measured and judged.
pub(crate) fn met<'scope>(
    measured: Rows<'scope, (StimulusKey, Handle<Measured>)>,
    evaluated: Rows<'scope, (StimulusKey, Handle<Evaluated>)>,
    keep: &Keep,
) -> Rows<'scope, (StimulusKey, Met)> {
    let measured = measured.map(|(key, measured)| (key, Half::Measured(measured)));
    let halves = measured.concat(evaluated.map(|(key, judged)| (key, Half::Judged(judged))));
    reduce_total(
        halves,
        keep.station("met"),
        |(session, _)| *session,
        |key, halves, rows| {
            for (measured, judged) in
                halves.iter().flat_map(|(one, _)| halves.iter().map(move |(other, _)| (one, other)))
            {
                if let (Half::Measured(measured), Half::Judged(judged)) = (measured, judged) {
                    rows.push((*key, (measured.clone(), judged.clone())));
                }
            }
        },
    )
}

/// One row for each; without a judgement there is none (`math.md` §6).
pub(crate) fn encounters<'scope>(
    met: Rows<'scope, (StimulusKey, Met)>,
) -> Rows<'scope, Handle<EncounterRow>> {
    met.map(|((session_id, _), (measured, judged))| {
        Handle::from(EncounterRow {
            session_id,
            segment_id: measured.segment_id.clone(),
            experiment_id: judged.experiment.clone(),
            arm: judged.arm.clone(),
            timestamp_utc: measured.window_end,
            gated_reward: Real(if judged.is_match { measured.p90.0 } else { 0.0 }),
            p90_intensity: measured.p90,
            semantic_gate: i64::from(judged.is_match),
            is_valid: true,
            n_frames: measured.n_frames,
            baseline_neutral: measured.baseline,
            stimulus_time: Real::finite(measured.at.seconds()),
        })
    })
}

/// Sum and number of rewards per (experiment, arm), in the difference: exact and independent of order.
pub(crate) type Rewards<'scope> = VecCollection<'scope, Time, (String, String), (i128, i64)>;

pub(crate) fn rewards<'scope>(
    encounters: Rows<'scope, Handle<EncounterRow>>,
    keep: &Keep,
) -> Rewards<'scope> {
    let sums = encounters.inner.map(|(row, time, diff)| {
        // A reward outside [0, 1] changes nothing (`contracts.md` §14); P90 times gate never is.
        let RewardSum { sum, n } = RewardSum::of(row.gated_reward.0).unwrap_or_default();
        let copies = diff as i64;
        ((row.experiment_id.clone(), row.arm.clone()), time, (sum * i128::from(copies), n * copies))
    });
    kept_sums(sums.as_collection(), keep.station("rewards"), |(experiment, _)| hash(experiment))
}
