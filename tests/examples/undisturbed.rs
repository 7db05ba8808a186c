//! One script, fed twice in real time: to an engine that a fault strikes, and to one that is left alone. They are to see the
//! same pictures and hear the same sounds: `undisturbed [FAULT] [SEED]`. On a machine that cannot keep up with the feed,
//! media are late in one of them, and then they do not.

#![allow(clippy::disallowed_methods, reason = "which fault is no part of a configuration")]

use lsie_tests::faults::Fault;
use lsie_tests::faults::round::round;
use lsie_tests::faults::servers::Servers;

fn main() {
    let mut asked = std::env::args().skip(1);
    let name = asked.next().unwrap_or_else(|| "Kill".into());
    // In one round of four there are pictures.
    let seed: u64 = asked.next().map_or(20_260_104, |seed| seed.parse().expect("a number"));
    let fault = Fault::ALL.into_iter().find(|fault| format!("{fault:?}") == name);
    let fault = fault.unwrap_or_else(|| panic!("{name} is none of {:?}", Fault::ALL));
    let servers = Servers::start();
    let [alone, struck] = [Fault::None, fault].map(|fault| round(&servers, fault, seed));
    for outcome in [&alone, &struck] {
        let (faces, sounds) = (outcome.media.faces.len(), outcome.media.sounds.len());
        println!(
            "{:?}: clean {}, {faces} faces, {sounds} segments",
            outcome.fault,
            outcome.verdict.is_clean()
        );
    }
    assert!(
        alone.media == struck.media,
        "they differ: {:#?}\n{:#?}",
        alone.media.sounds,
        struck.media.sounds
    );
    assert!(!alone.media.sounds.is_empty(), "no segment has closed");
    println!("the same was seen and heard");
}
