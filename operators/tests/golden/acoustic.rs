//! Acoustics against Praat 6.1.38: frames, candidates, pulses, islands and the fields of a segment.
//!
//! One departure: the original counts the nearest pulse outside of an island on either side too; the rule
//! (mathematics §12.2, DM-8) counts those inside. Both counts are compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lsie_operators::acoustics::Analyzer;
use serde::de::DeserializeOwned;

use crate::read::{assert_absolute, assert_relative};

/// The acoustic folder of the vectors, and what its file names end with.
#[allow(clippy::disallowed_methods, reason = "a test may read its environment")]
fn folder() -> (PathBuf, &'static str) {
    match std::env::var_os("LSIE_GOLDEN") {
        Some(directory) => (Path::new(&directory).join("acoustic"), ""),
        None => (Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/acoustic"), ".zst"),
    }
}

/// A file such as `wav/name.wav`, unpacked.
fn file(name: &str) -> Vec<u8> {
    let (folder, end) = folder();
    let path = folder.join(format!("{name}{end}"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if end.is_empty() { bytes } else { zstd::decode_all(bytes.as_slice()).expect("a zstd file") }
}

/// All files of `track/` whose names end so, parsed.
fn tracks<T: DeserializeOwned>(wanted: impl Fn(&str) -> bool) -> BTreeMap<String, T> {
    let (folder, end) = folder();
    let names = std::fs::read_dir(folder.join("track"))
        .expect("tracks")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name").replace(end, ""));
    let parse = |name: String| {
        let text = file(&format!("track/{name}"));
        let track = serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, track)
    };
    names.filter(|name| wanted(name)).map(parse).collect()
}

/// The samples of a WAV file of 16 kHz, one channel, 16 bits.
fn samples(name: &str) -> Vec<i16> {
    let wav = file(name);
    let mut rest = wav.strip_prefix(b"RIFF").expect("a RIFF file").get(8..).expect("chunks");
    loop {
        let size = u32::from_le_bytes(rest[4..8].try_into().expect("four bytes")) as usize;
        let body = &rest[8..];
        match &rest[..4] {
            b"fmt " => assert_eq!(body[..16], *b"\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0", "{name}"),
            b"data" => {
                let pairs = body[..size].chunks_exact(2);
                return pairs.map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
            }
            _ => {}
        }
        rest = &body[size + size % 2..];
    }
}

#[derive(serde::Deserialize)]
struct Track {
    wav: String,
    n_samples: usize,
    pitch: Pitch,
    pulses_s: Vec<f64>,
    whole_file: WholeFile,
}

#[derive(serde::Deserialize)]
struct Pitch {
    x1_s: f64,
    dx_s: f64,
    n_frames: usize,
    f0_hz: Vec<f64>,
    strength: Vec<f64>,
}

#[derive(serde::Deserialize)]
struct WholeFile {
    pitch_f0_mean_hz: Option<f64>,
    jitter_local: Option<f64>,
    shimmer_local: Option<f64>,
}

#[test]
fn golden_acoustic_tracks_are_those_of_praat() {
    let mut analyzer = Analyzer::default();
    let tracks = tracks::<Track>(|name| !name.ends_with(".candidates.json"));
    assert!(!tracks.is_empty());
    let (mut worst_hz, mut worst_strength, mut worst_pulse) = (0.0f64, 0.0f64, 0.0f64);
    for (name, track) in tracks {
        let samples = samples(&track.wav);
        assert_eq!(samples.len(), track.n_samples, "{name}");
        let voice = analyzer.voice(&samples).expect("long enough");
        let pitch = voice.pitch;
        assert_eq!(pitch.len(), track.pitch.n_frames, "{name}");
        assert_absolute(pitch.first_s(), track.pitch.x1_s, 1e-12, &name);
        assert_absolute(pitch.step_s(), track.pitch.dx_s, 1e-12, &name);
        for (frame, (hz, strength)) in track.pitch.f0_hz.into_iter().zip(track.pitch.strength).enumerate() {
            let (ours, case) = (pitch.selected(frame), format!("{name}, frame {frame}"));
            assert_eq!(ours.frequency_hz > 0.0, hz > 0.0, "{case}");
            assert_relative(ours.frequency_hz, hz, 1e-5, &case);
            assert_absolute(ours.strength, strength, 1e-6, &case);
            worst_hz = worst_hz.max(if hz > 0.0 { (ours.frequency_hz / hz - 1.0).abs() } else { 0.0 });
            worst_strength = worst_strength.max((ours.strength - strength).abs());
        }
        assert_eq!(voice.pulses.len(), track.pulses_s.len(), "{name}");
        for (ours, theirs) in voice.pulses.iter().zip(track.pulses_s) {
            assert_absolute(*ours, theirs, 1e-8, &name);
            worst_pulse = worst_pulse.max((ours - theirs).abs());
        }
        let ours = voice.acoustics(0.0, 0.0);
        assert_option(ours.pitch_f0, track.whole_file.pitch_f0_mean_hz, |theirs| 1e-6 * theirs, &name);
        assert_option(ours.jitter, track.whole_file.jitter_local, |_| 1e-6, &name);
        assert_option(ours.shimmer, track.whole_file.shimmer_local, |_| 1e-6, &name);
    }
    println!(
        "largest differences: pitch {worst_hz:e} relative, strength {worst_strength:e}, pulse {worst_pulse:e} s"
    );
}

#[derive(serde::Deserialize)]
struct Candidates {
    wav: String,
    frames: Vec<CandidateFrame>,
}

#[derive(serde::Deserialize)]
struct CandidateFrame {
    index: usize,
    intensity: f64,
    candidates: Vec<(f64, f64)>,
}

#[test]
fn golden_acoustic_candidates_are_those_of_praat() {
    let mut analyzer = Analyzer::default();
    let files = tracks::<Candidates>(|name| name.ends_with(".candidates.json"));
    assert!(!files.is_empty());
    for (name, file) in files {
        let samples = samples(&file.wav);
        let pitch = analyzer.voice(&samples).expect("long enough").pitch;
        for frame in file.frames {
            let case = format!("{name}, frame {}", frame.index);
            assert_absolute(pitch.intensity(frame.index), frame.intensity, 1e-9, &case);
            let ours = pitch.candidates(frame.index);
            assert_eq!(ours.len(), frame.candidates.len(), "{case}");
            for (ours, (hz, strength)) in ours.iter().zip(frame.candidates) {
                assert_relative(ours.frequency_hz, hz, 1e-5, &case);
                assert_absolute(ours.strength, strength, 1e-6, &case);
            }
        }
    }
}

fn assert_option(ours: Option<f64>, theirs: Option<f64>, tolerance: impl Fn(f64) -> f64, case: &str) {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => assert_absolute(ours, theirs, tolerance(theirs), case),
        _ => assert_eq!(ours, theirs, "{case}"),
    }
}
