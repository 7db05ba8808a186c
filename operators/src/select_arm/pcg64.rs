//! The generator: PCG64 (XSL-RR) seeded from one integer through numpy's SeedSequence, and its uniforms.
//!
//! The output function is `rand_pcg`'s; only the seeding is ours. State, increment, raw outputs and uniforms
//! equal numpy's `PCG64(seed)`.

use rand_core::RngCore as _;
use rand_pcg::Pcg64;

const XSHIFT: u32 = 16;

/// A stream of draws that depends on the seed alone.
#[derive(Clone, Debug)]
pub struct Generator(Pcg64);

impl Generator {
    /// The stream of one seed.
    pub fn from_seed(seed: u64) -> Self {
        let (state, stream) = initial_state(seed);
        Generator(Pcg64::new(state, stream))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform on [0, 1) with 53 bits.
    pub fn next_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }
}

/// Initial state and stream number: four 64-bit words of the seed sequence, high word first.
fn initial_state(seed: u64) -> (u128, u128) {
    let words = seed_sequence(seed);
    let join = |high: u64, low: u64| (u128::from(high) << 64) | u128::from(low);
    (join(words[0], words[1]), join(words[2], words[3]))
}

/// numpy's `SeedSequence(seed).generate_state(4, uint64)`: four words, mixed all with all, hashed out.
fn seed_sequence(seed: u64) -> [u64; 4] {
    let mut hash = Hash { constant: 0x43b0_d7e5, multiplier: 0x931e_8875 };
    // Low word first; a missing high word and an empty pool place both count as 0.
    let mut pool = [seed as u32, (seed >> 32) as u32, 0, 0].map(|word| hash.mix_in(word));
    for source in 0..pool.len() {
        for target in 0..pool.len() {
            if source != target {
                pool[target] = mix(pool[target], hash.mix_in(pool[source]));
            }
        }
    }
    let mut hash = Hash { constant: 0x8b51_f9dd, multiplier: 0x58f3_8ded };
    let mut next_word = |i: usize| u64::from(hash.mix_in(pool[i % pool.len()]));
    std::array::from_fn(|i| next_word(2 * i) | (next_word(2 * i + 1) << 32))
}

struct Hash {
    constant: u32,
    multiplier: u32,
}

impl Hash {
    fn mix_in(&mut self, word: u32) -> u32 {
        let keyed = word ^ self.constant;
        self.constant = self.constant.wrapping_mul(self.multiplier);
        let spread = keyed.wrapping_mul(self.constant);
        spread ^ (spread >> XSHIFT)
    }
}

fn mix(x: u32, y: u32) -> u32 {
    let mixed = x.wrapping_mul(0xca01_f9dd).wrapping_sub(y.wrapping_mul(0x4973_f715));
    mixed ^ (mixed >> XSHIFT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_stream_outputs_and_uniforms_are_numpys() {
        let (state, stream) = initial_state(9_932_479_212_442_387_892);
        let increment = (stream << 1) | 1;
        assert_eq!(increment, 69_791_196_528_891_636_318_277_731_533_447_556_473);
        // What numpy reports as the state is the one after seeding: two steps of the congruence.
        let multiplier = 0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645;
        let seeded = increment.wrapping_add(state).wrapping_mul(multiplier).wrapping_add(increment);
        assert_eq!(seeded, 33_928_335_095_611_237_642_765_990_832_214_637_018);

        let mut generator = Generator::from_seed(9_932_479_212_442_387_892);
        assert_eq!(generator.next_u64(), 12_167_268_683_289_874_114);
        assert_eq!(generator.next_f64(), 0.9583872452536055);
    }
}
