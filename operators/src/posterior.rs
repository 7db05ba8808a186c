//! Beta posteriors of arms from fixed-point reward sums (mathematics §6, §7; design §4).
//!
//! Rewards are counted in units of 1e-12 in an `i128`. Integer sums do not depend on order, grouping or
//! retractions, so a posterior is the same in any run.

use std::ops::{Add, AddAssign, Neg, Sub};

use serde::{Deserialize, Serialize};

/// Units per reward of 1.
pub const UNITS_PER_REWARD: i128 = 1_000_000_000_000;

/// A reward outside [0, 1], NaN included: no state changes.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("reward {0} is outside [0, 1]")]
pub struct RewardOutOfRange(pub f64);

/// Sum and number of rewards; a group under addition, so it can be the diff of a collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RewardSum {
    /// Sum of rewards in units of 1e-12.
    pub sum: i128,
    /// Number of rewards.
    pub n: i64,
}

impl RewardSum {
    /// One reward, rounded half to even to the nearest unit (an error of at most 5e-13).
    ///
    /// ```
    /// use lsie_operators::posterior::{Posterior, RewardSum};
    /// let sum = RewardSum::of(0.85).unwrap();
    /// assert_eq!(Posterior { alpha: 5.0, beta: 3.0 }.after(sum), Posterior { alpha: 5.85, beta: 3.15 });
    /// assert!(RewardSum::of(1.01).is_err());
    /// ```
    pub fn of(reward: f64) -> Result<Self, RewardOutOfRange> {
        if !(0.0..=1.0).contains(&reward) {
            return Err(RewardOutOfRange(reward));
        }
        Ok(RewardSum { sum: (reward * UNITS_PER_REWARD as f64).round_ties_even() as i128, n: 1 })
    }

    /// The sum as a double.
    pub fn total(&self) -> f64 {
        add_units(0.0, self.sum)
    }

    /// Mean reward; `None` without rewards.
    pub fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.total() / self.n as f64)
    }
}

/// Parameters of a Beta distribution, both positive.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Posterior {
    /// α: prior plus rewards.
    pub alpha: f64,
    /// β: prior plus what the rewards lacked to 1.
    pub beta: f64,
}

impl Posterior {
    /// The prior of an arm that was never observed: (1, 1).
    pub const UNIFORM: Posterior = Posterior { alpha: 1.0, beta: 1.0 };

    /// Taking `self` as the prior: α + Σ r, β + n − Σ r.
    pub fn after(&self, rewards: RewardSum) -> Posterior {
        let missing = i128::from(rewards.n) * UNITS_PER_REWARD - rewards.sum;
        Posterior { alpha: add_units(self.alpha, rewards.sum), beta: add_units(self.beta, missing) }
    }

    /// Variance of the expected reward, αβ / ((α + β)²(α + β + 1)), computed when read (DM-25).
    pub fn evaluation_variance(&self) -> f64 {
        let total = self.alpha + self.beta;
        self.alpha * self.beta / (total * total * (total + 1.0))
    }

    /// Both parameters are finite and positive.
    pub fn is_proper(&self) -> bool {
        [self.alpha, self.beta].iter().all(|value| value.is_finite() && *value > 0.0)
    }
}

/// A double plus units. Whole rewards are added apart from the fraction, so that for a prior of whole numbers
/// only two roundings happen however long the sum is: the fraction's and the last one.
fn add_units(base: f64, units: i128) -> f64 {
    let (whole, rest) = (units / UNITS_PER_REWARD, units % UNITS_PER_REWARD);
    (base + whole as f64) + rest as f64 / UNITS_PER_REWARD as f64
}

impl Add for RewardSum {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        RewardSum { sum: self.sum + other.sum, n: self.n + other.n }
    }
}

impl AddAssign for RewardSum {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Neg for RewardSum {
    type Output = Self;
    fn neg(self) -> Self {
        RewardSum { sum: -self.sum, n: -self.n }
    }
}

impl Sub for RewardSum {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl std::iter::Sum for RewardSum {
    fn sum<I: Iterator<Item = Self>>(rewards: I) -> Self {
        rewards.fold(RewardSum::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum_of(rewards: &[f64]) -> RewardSum {
        rewards.iter().map(|reward| RewardSum::of(*reward).expect("a reward in [0, 1]")).sum()
    }

    #[test]
    fn vectors_of_the_mathematics_page() {
        let after = |alpha, beta, reward| Posterior { alpha, beta }.after(sum_of(&[reward]));
        assert_eq!(after(5.0, 3.0, 0.85), Posterior { alpha: 5.85, beta: 3.15 });
        assert_eq!(after(1.0, 1.0, 0.0), Posterior { alpha: 1.0, beta: 2.0 });
    }

    #[test]
    fn rewards_outside_the_unit_interval_are_refused() {
        for reward in [-1e-300, 1.0 + f64::EPSILON, 1e9, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(RewardSum::of(reward).is_err(), "{reward}");
        }
        assert_eq!(RewardSum::of(-0.0), Ok(RewardSum { sum: 0, n: 1 }));
        assert_eq!(RewardSum::of(1.0), Ok(RewardSum { sum: UNITS_PER_REWARD, n: 1 }));
    }

    #[test]
    fn variance_of_the_uniform_prior() {
        assert_eq!(Posterior::UNIFORM.evaluation_variance(), 1.0 / 12.0);
    }

    #[test]
    fn a_million_rewards_are_as_exact_as_one() {
        let million = RewardSum { sum: 100_000_000_000_000_000, n: 1_000_000 };
        assert_eq!((0..1_000_000).map(|_| RewardSum::of(0.1).expect("a reward")).sum::<RewardSum>(), million);
        assert_eq!(Posterior::UNIFORM.after(million), Posterior { alpha: 100_001.0, beta: 900_001.0 });
    }

    proptest! {
        #[test]
        fn sums_do_not_depend_on_order_or_grouping(
            rewards in prop::collection::vec(0.0..=1.0f64, 0..40),
            at in any::<prop::sample::Index>(),
        ) {
            let mut shuffled = rewards.clone();
            shuffled.sort_by(f64::total_cmp);
            prop_assert_eq!(sum_of(&rewards), sum_of(&shuffled));
            let (left, right) = rewards.split_at(at.index(rewards.len() + 1));
            prop_assert_eq!(sum_of(&rewards), sum_of(left) + sum_of(right));
            prop_assert_eq!(sum_of(&rewards) - sum_of(right), sum_of(left));
        }

        #[test]
        fn a_retraction_restores_every_bit(
            rewards in prop::collection::vec(0.0..=1.0f64, 0..10),
            wrong in 0.0..=1.0f64,
        ) {
            let sum = sum_of(&rewards);
            let wrong = RewardSum::of(wrong).expect("a reward");
            prop_assert_eq!(Posterior::UNIFORM.after(sum + wrong - wrong), Posterior::UNIFORM.after(sum));
        }

        #[test]
        fn mass_grows_by_one_per_reward(rewards in prop::collection::vec(0.0..=1.0f64, 0..100)) {
            let Posterior { alpha, beta } = Posterior::UNIFORM.after(sum_of(&rewards));
            prop_assert!((alpha + beta - 2.0 - rewards.len() as f64).abs() < 1e-12);
            prop_assert!(alpha >= 1.0 && beta >= 1.0);
            let sum = sum_of(&rewards);
            let text = serde_json::to_string(&sum).expect("a text");
            prop_assert_eq!(serde_json::from_str::<RewardSum>(&text).expect("the sum"), sum);
        }
    }
}
