//! Time of the voice acoustics of one segment: `cargo bench --locked --workspace --bench acoustics`.
//!
//! Prints the best of a few runs on the committed 30 s segment, in processor time of this thread, a run being
//! many analyses because Linux counts in ticks. Given a file `*.wav` (16 kHz, mono, 16 bits, a header of 44 bytes),
//! prints time and numbers as JSON instead, which `tests/peers/acoustics.py` compares with those of Praat.

#![allow(clippy::disallowed_methods, reason = "a bench may read its environment and measures time")]

use std::path::Path;

use lsie_operators::acoustics::{Acoustics, Analyzer};

/// Stimulus within the segment, s.
const STIMULUS_S: f64 = 10.445;
/// Analyses of a run.
const ANALYSES: u32 = 20;

fn main() {
    match std::env::args().skip(1).find(|argument| argument.ends_with(".wav")) {
        Some(wav) => compare(&std::fs::read(&wav).unwrap_or_else(|error| panic!("{wav}: {error}"))),
        None => {
            let packed = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../tests/golden/acoustic/wav/segment_30s.wav.zst");
            let packed = std::fs::read(packed).expect("the committed segment");
            let samples = samples(&zstd::decode_all(packed.as_slice()).expect("a zstd file"));
            let (ms, _) = measure(&samples, &mut Analyzer::default());
            println!("{ms:8.3} ms  acoustics, per segment of {} s", samples.len() / 16_000);
        }
    }
}

fn compare(wav: &[u8]) {
    let mut analyzer = Analyzer::default();
    let samples = samples(wav);
    let (ms, acoustics) = measure(&samples, &mut analyzer);
    let voice = analyzer.voice(&samples).expect("long enough");
    let selected: Vec<(f64, f64)> = (0..voice.pitch.len())
        .map(|frame| voice.pitch.selected(frame))
        .map(|candidate| (candidate.frequency_hz, candidate.strength))
        .collect();
    let numbers = serde_json::json!({
        "ms": ms,
        "first_s": voice.pitch.first_s(),
        "selected": selected,
        "pulses_s": voice.pulses,
        "pitch_f0": acoustics.pitch_f0,
        "jitter": acoustics.jitter,
        "shimmer": acoustics.shimmer,
    });
    println!("{numbers}");
}

fn samples(wav: &[u8]) -> Vec<i16> {
    wav[44..].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// Best time of the whole analysis, ms.
fn measure(samples: &[i16], analyzer: &mut Analyzer) -> (f64, Acoustics) {
    let (mut best, mut acoustics) = (u64::MAX, Acoustics::default());
    for _ in 0..9 {
        let start = processor_ns();
        for _ in 0..ANALYSES {
            acoustics = analyzer.analyze(samples, 0.0, Some(STIMULUS_S));
        }
        best = best.min(processor_ns() - start);
    }
    (best as f64 / 1e6 / f64::from(ANALYSES), acoustics)
}

/// Time this thread has spent on a processor, as Linux counts it.
fn processor_ns() -> u64 {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a Linux system");
    line.split(' ').next().and_then(|ns| ns.parse().ok()).expect("a number")
}
