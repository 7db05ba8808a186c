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
use crate::adapter::Time;

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

/// One row per stimulus that was measured and judged; without a judgement there is none (`math.md` §6).
pub(crate) fn encounters<'scope>(
    measured: Rows<'scope, (StimulusKey, Measured)>,
    evaluated: Rows<'scope, (StimulusKey, Evaluated)>,
) -> Rows<'scope, EncounterRow> {
    let measured = measured.map(|(key, measured)| (key, Handle::from(measured)));
    let evaluated = evaluated.map(|(key, judged)| (key, Handle::from(judged)));
    measured.join_map(evaluated, |(session, _), measured, judged| {
        let gate = i64::from(judged.is_match);
        EncounterRow {
            session_id: *session,
            segment_id: measured.segment_id.clone(),
            experiment_id: judged.experiment.clone(),
            arm: judged.arm.clone(),
            timestamp_utc: measured.window_end,
            gated_reward: Real(if judged.is_match { measured.p90.0 } else { 0.0 }),
            p90_intensity: measured.p90,
            semantic_gate: gate,
            is_valid: true,
            n_frames: measured.n_frames,
            baseline_neutral: measured.baseline,
            stimulus_time: Real::finite(measured.at.seconds()),
        }
    })
}

/// Sum and number of rewards per (experiment, arm), in the difference: exact and independent of order.
pub(crate) type Rewards<'scope> = VecCollection<'scope, Time, (String, String), (i128, i64)>;

pub(crate) fn rewards(encounters: Rows<'_, EncounterRow>) -> Rewards<'_> {
    let sums = encounters.inner.map(|(row, time, diff)| {
        // A reward outside [0, 1] changes nothing (`contracts.md` §14); P90 times gate never is.
        let RewardSum { sum, n } = RewardSum::of(row.gated_reward.0).unwrap_or_default();
        let copies = diff as i64;
        ((row.experiment_id, row.arm), time, (sum * i128::from(copies), n * copies))
    });
    sums.as_collection()
}
