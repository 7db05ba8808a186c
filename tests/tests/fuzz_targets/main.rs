//! The fuzz targets on inputs that are drawn from a seed: all of them compile, and hold on what chance brings. `cargo +nightly
//! fuzz run TARGET` in `fuzz/` looks where the code leads it.

#![allow(
    clippy::type_complexity,
    clippy::too_many_arguments,
    reason = "a target's input is a tuple of everything that it is drawn from"
)]
// Each target says that it brings no main of its own.
#![allow(unused_attributes)]

// Here the targets find what they take from libFuzzer.
extern crate self as libfuzzer_sys;

pub use arbitrary;

use lsie_tests::faults::Chance;

#[path = "../../../fuzz/fuzz_targets/acoustics.rs"]
mod acoustics;
#[path = "../../../fuzz/fuzz_targets/action_combo.rs"]
mod action_combo;
#[path = "../../../fuzz/fuzz_targets/attribution.rs"]
mod attribution;
#[path = "../../../fuzz/fuzz_targets/h264.rs"]
mod h264;
#[path = "../../../fuzz/fuzz_targets/hydration.rs"]
mod hydration;
#[path = "../../../fuzz/fuzz_targets/matroska.rs"]
mod matroska;
#[path = "../../../fuzz/fuzz_targets/payload.rs"]
mod payload;
#[path = "../../../fuzz/fuzz_targets/percentile.rs"]
mod percentile;
#[path = "../../../fuzz/fuzz_targets/physiology.rs"]
mod physiology;
#[path = "../../../fuzz/fuzz_targets/record.rs"]
mod record;
#[path = "../../../fuzz/fuzz_targets/reward.rs"]
mod reward;
#[path = "../../../fuzz/fuzz_targets/robots.rs"]
mod robots;
#[path = "../../../fuzz/fuzz_targets/semantic.rs"]
mod semantic;
#[path = "../../../fuzz/fuzz_targets/wav.rs"]
mod wav;
#[path = "../../../fuzz/fuzz_targets/webcast.rs"]
mod webcast;
#[path = "../../../fuzz/fuzz_targets/webhook.rs"]
mod webhook;

/// Inputs of each target.
const INPUTS: u64 = 100;
/// The longest input, in words of eight bytes.
const MOST_WORDS: u64 = 256;

/// Makes a test of a target.
#[macro_export]
macro_rules! fuzz_target {
    (|$input:ident: $type:ty| $body:block) => {
        #[test]
        fn holds_on_drawn_inputs() {
            let target = |$input: $type| $body;
            $crate::draw(|bytes| {
                let source = $crate::arbitrary::Unstructured::new(bytes);
                if let Ok(input) = <$type as $crate::arbitrary::Arbitrary>::arbitrary_take_rest(source) {
                    target(input);
                }
            });
        }
    };
}

/// Hands on inputs, short ones and long ones.
fn draw(mut target: impl FnMut(&[u8])) {
    for seed in 0..INPUTS {
        let mut chance = Chance(seed);
        let words = chance.between(0, 1 + seed * MOST_WORDS / INPUTS);
        let bytes: Vec<u8> = (0..words).flat_map(|_| chance.draw().to_le_bytes()).collect();
        target(&bytes);
    }
}

/// None is forgotten, here or where libFuzzer's are built.
#[test]
fn these_are_all() {
    let here = include_str!("main.rs");
    let built = include_str!("../../../fuzz/Cargo.toml");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/fuzz_targets");
    for file in std::fs::read_dir(folder).expect("the targets") {
        let file = file.expect("a file").file_name().into_string().expect("a name");
        assert!(here.contains(&format!("fuzz_targets/{file}\"]")), "{file} is no module here");
        assert!(built.contains(&format!("\"fuzz_targets/{file}\"")), "{file} is not in fuzz/Cargo.toml");
    }
}
