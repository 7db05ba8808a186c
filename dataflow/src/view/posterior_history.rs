//! View `posterior_history`: every step of every arm's posterior, and the encounters that moved it.
//!
//! What moves a posterior at an epoch are the differences of `encounter_log` at that epoch, so this one is no
//! function of a collection but of its changes: a sum for each arm, and a row for each epoch that moved it.

use std::collections::BTreeMap;

use lsie_operators::logic::{Keyed, Logic};
use lsie_operators::posterior::{Posterior, RewardSum};
use lsie_schemas::row::{EncounterRow, PosteriorUpdateRow};
use lsie_schemas::table::Json;
use lsie_schemas::{LogTime, Real};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::handle::Handle;

/// The rewards of each arm so far.
#[derive(Debug, Default)]
pub(crate) struct PosteriorHistory {
    sums: BTreeMap<(String, String), RewardSum>,
}

/// The sums, each with its experiment and arm.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct PosteriorSnapshot(Vec<((String, String), RewardSum)>);

impl Keyed for PosteriorSnapshot {
    type Key = (String, String);

    fn apart(self) -> Vec<(Option<(String, String)>, PosteriorSnapshot)> {
        self.0
            .into_iter()
            .map(|(arm, sum)| (Some(arm.clone()), PosteriorSnapshot(vec![(arm, sum)])))
            .collect()
    }

    fn join(&mut self, piece: PosteriorSnapshot) {
        self.0.extend(piece.0);
    }
}

impl Logic for PosteriorHistory {
    /// An encounter, and how many copies came or went.
    type Record = (Handle<EncounterRow>, i64);
    type Output = PosteriorUpdateRow;
    type Snapshot = PosteriorSnapshot;

    fn on_epoch(
        &mut self,
        epoch: LogTime,
        changes: Vec<(Handle<EncounterRow>, i64)>,
        out: &mut Vec<PosteriorUpdateRow>,
    ) {
        let mut net: BTreeMap<(String, String), BTreeMap<Handle<EncounterRow>, i64>> = BTreeMap::new();
        for (row, diff) in changes {
            let arm = net.entry((row.experiment_id.clone(), row.arm.clone())).or_default();
            *arm.entry(row).or_default() += diff;
        }
        for ((experiment_id, arm), mut changes) in net {
            changes.retain(|_, diff| *diff != 0);
            if changes.is_empty() {
                continue;
            }
            let sum = self.sums.entry((experiment_id.clone(), arm.clone())).or_default();
            for (row, diff) in &changes {
                // A reward outside [0, 1] changes nothing (`contracts.md` §14).
                let RewardSum { sum: units, n } = RewardSum::of(row.gated_reward.0).unwrap_or_default();
                sum.sum += units * i128::from(*diff);
                sum.n += n * diff;
            }
            let posterior = Posterior::UNIFORM.after(*sum);
            out.push(PosteriorUpdateRow {
                experiment_id,
                arm,
                at: epoch.as_event(),
                alpha_param: Real(posterior.alpha),
                beta_param: Real(posterior.beta),
                moved_by: moved_by(&changes),
            });
        }
    }

    fn snapshot(&self) -> PosteriorSnapshot {
        PosteriorSnapshot(self.sums.iter().map(|(arm, sum)| (arm.clone(), *sum)).collect())
    }

    fn restore(&mut self, snapshot: PosteriorSnapshot) {
        self.sums = snapshot.0.into_iter().collect();
    }
}

fn moved_by(changes: &BTreeMap<Handle<EncounterRow>, i64>) -> Json {
    let moved = changes.iter().map(|(row, diff)| {
        json!({
            "session_id": row.session_id.to_string(),
            "segment_id": row.segment_id,
            "stimulus_time": row.stimulus_time.map(|seconds| seconds.0),
            "gated_reward": row.gated_reward.0,
            "diff": diff,
        })
    });
    Json::new(&Value::Array(moved.collect()))
}
