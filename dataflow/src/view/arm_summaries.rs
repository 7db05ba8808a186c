//! View `arm_summaries`: the encounters of each arm, counted and averaged.
//!
//! A tree of slots keeps a change cheap however many encounters an arm has: 4096 leaves, 64 twigs, one root.
//! Sums are fixed-point integers, so they are exact and do not depend on order.

use lsie_operators::posterior::RewardSum;
use lsie_schemas::row::{ArmSummaryRow, EncounterRow};
use lsie_schemas::{EventTime, Real};
use serde::{Deserialize, Serialize};

use super::summary::{Of, Part, Summed, instant};

/// A slot of the tree, by the bits that lead to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Slot {
    /// One of 4096.
    Leaf(u16),
    /// One of 64.
    Twig(u16),
    /// All encounters of the arm.
    Root,
}

impl Slot {
    fn of(row: &EncounterRow) -> Slot {
        let time = row.stimulus_time.map_or(0, |seconds| seconds.0.to_bits());
        let mixed = (row.session_id.as_u128() as u64 ^ time).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Slot::Leaf((mixed >> 52) as u16)
    }

    /// What spreads the slots of an arm over workers.
    pub(super) fn spread(self) -> u64 {
        let number = match self {
            Slot::Leaf(leaf) => u64::from(leaf) << 2,
            Slot::Twig(twig) => u64::from(twig) << 2 | 1,
            Slot::Root => 2,
        };
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
    }

    fn next(self) -> Slot {
        match self {
            Slot::Leaf(leaf) => Slot::Twig(leaf >> 6),
            Slot::Twig(_) | Slot::Root => Slot::Root,
        }
    }
}

/// Encounters added up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Tally {
    encounters: i64,
    valid: i64,
    rewards: i128,
    valid_rewards: i128,
    valid_p90s: i128,
    gates: i64,
    valid_frames: i64,
    first: EventTime,
    last: EventTime,
    /// Stimulus time and reward of the newest.
    latest: (Option<EventTime>, Real),
}

impl Tally {
    fn of(row: &EncounterRow) -> Tally {
        // What lies outside [0, 1] changes nothing (`contracts.md` §14); neither value ever does.
        let units = |value: Real| RewardSum::of(value.0).unwrap_or_default().sum;
        let if_valid = |units: i128| if row.is_valid { units } else { 0 };
        Tally {
            encounters: 1,
            valid: i64::from(row.is_valid),
            rewards: units(row.gated_reward),
            valid_rewards: if_valid(units(row.gated_reward)),
            valid_p90s: if_valid(units(row.p90_intensity)),
            gates: row.semantic_gate,
            valid_frames: if row.is_valid { row.n_frames } else { 0 },
            first: row.timestamp_utc,
            last: row.timestamp_utc,
            latest: (row.stimulus_time.map(instant), row.gated_reward),
        }
    }

    fn and(self, other: &Tally) -> Tally {
        Tally {
            encounters: self.encounters + other.encounters,
            valid: self.valid + other.valid,
            rewards: self.rewards + other.rewards,
            valid_rewards: self.valid_rewards + other.valid_rewards,
            valid_p90s: self.valid_p90s + other.valid_p90s,
            gates: self.gates + other.gates,
            valid_frames: self.valid_frames + other.valid_frames,
            first: self.first.min(other.first),
            last: self.last.max(other.last),
            latest: self.latest.max(other.latest),
        }
    }
}

/// An encounter as a part of its leaf. Its identity stays with it, so that equal ones are two.
pub(crate) fn of_encounter(row: &EncounterRow) -> (Of, Part) {
    (Of::Arm(row.experiment_id.clone(), row.arm.clone(), Slot::of(row)), Part::Tally(Tally::of(row).into()))
}

/// What a slot adds up to, as a part of the next one.
pub(crate) fn onwards((of, summed): (Of, Summed)) -> Option<(Of, Part)> {
    match (of, summed) {
        (Of::Arm(experiment, arm, slot), Summed::Tally(tally)) => {
            Some((Of::Arm(experiment, arm, slot.next()), Part::Tally(tally)))
        }
        _ => None,
    }
}

/// The row of an arm at its root; what a slot adds up to elsewhere. Equal tallies are there as several copies.
pub(crate) fn row(experiment: &str, arm: &str, slot: Slot, parts: &[(Part, isize)]) -> Option<Summed> {
    let mut total: Option<Tally> = None;
    for (part, copies) in parts {
        let Part::Tally(tally) = part else { continue };
        for _ in 0..*copies {
            total = Some(total.map_or_else(|| Tally::clone(tally), |total| total.and(tally)));
        }
    }
    match slot {
        Slot::Root => total.map(|total| Summed::Arm(summary(experiment, arm, &total).into())),
        Slot::Leaf(_) | Slot::Twig(_) => total.map(|total| Summed::Tally(total.into())),
    }
}

fn summary(experiment: &str, arm: &str, total: &Tally) -> ArmSummaryRow {
    let mean = |sum: i128, n: i64| RewardSum { sum, n }.mean().map(Real);
    let share = |part: i64, of: i64| (of > 0).then(|| Real(part as f64 / of as f64));
    ArmSummaryRow {
        experiment_id: experiment.into(),
        arm: arm.into(),
        encounter_count: total.encounters,
        valid_count: total.valid,
        avg_reward: mean(total.rewards, total.encounters).unwrap_or_default(),
        avg_valid_reward: mean(total.valid_rewards, total.valid),
        avg_p90: mean(total.valid_p90s, total.valid),
        gate_rate: share(total.gates, total.encounters).unwrap_or_default(),
        avg_frames: share(total.valid_frames, total.valid),
        first_encounter: total.first,
        last_encounter: total.last,
        latest_stimulus_utc: total.latest.0,
        latest_reward: total.latest.1,
    }
}
