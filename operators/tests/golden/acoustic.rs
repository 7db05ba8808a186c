//! Acoustics against Praat 6.1.38: frames, candidates, pulses, islands and the fields of a segment.
//!
//! One departure: the original counts the nearest pulse outside of an island on either side too; the rule
//! (mathematics §12.2, DM-8) counts those inside. Both counts are compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lsie_operators::acoustics::{Acoustics, Analyzer, Island, MIN_PULSES, Voice, perturbation};
use lsie_operators::reward::{BASELINE_S, MEASURE_S};
use serde::de::DeserializeOwned;

use crate::read::{assert_absolute, assert_relative, cases};

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
        }
        assert_eq!(voice.pulses.len(), track.pulses_s.len(), "{name}");
        for (ours, theirs) in voice.pulses.iter().zip(track.pulses_s) {
            assert_absolute(*ours, theirs, 1e-8, &name);
        }
        let ours = voice.acoustics(0.0, 0.0);
        assert_option(ours.pitch_f0, track.whole_file.pitch_f0_mean_hz, |theirs| 1e-6 * theirs, &name);
        assert_option(ours.jitter, track.whole_file.jitter_local, |_| 1e-6, &name);
        assert_option(ours.shimmer, track.whole_file.shimmer_local, |_| 1e-6, &name);
    }
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

#[derive(serde::Deserialize)]
struct Input {
    wav: String,
    segment_start_time_s: f64,
    stimulus_time_s: Option<f64>,
}

#[derive(serde::Deserialize)]
struct Expected {
    outputs: Outputs,
    analysis_error: bool,
    windows: Option<Windows>,
    #[serde(default)]
    dither_spread: BTreeMap<String, f64>,
}

#[derive(serde::Deserialize)]
struct Outputs {
    f0_valid_measure: bool,
    f0_valid_baseline: bool,
    perturbation_valid_measure: bool,
    perturbation_valid_baseline: bool,
    voiced_coverage_measure_s: f64,
    voiced_coverage_baseline_s: f64,
    f0_mean_measure_hz: Option<f64>,
    f0_mean_baseline_hz: Option<f64>,
    f0_delta_semitones: Option<f64>,
    jitter_mean_measure: Option<f64>,
    jitter_mean_baseline: Option<f64>,
    jitter_delta: Option<f64>,
    shimmer_mean_measure: Option<f64>,
    shimmer_mean_baseline: Option<f64>,
    shimmer_delta: Option<f64>,
}

#[derive(serde::Deserialize)]
struct Windows {
    measure: Window,
    baseline: Window,
}

#[derive(serde::Deserialize)]
struct Window {
    n_frames: usize,
    first_frame_index: Option<usize>,
    n_voiced: usize,
    longest_island_s: f64,
    n_islands: usize,
    islands_longest_first: Vec<ExpectedIsland>,
    selected_island: Option<usize>,
}

#[derive(serde::Deserialize)]
struct ExpectedIsland {
    start_s: f64,
    end_s: f64,
    duration_s: f64,
    points_inside: usize,
    points_bracketed: usize,
    jitter_local: Option<f64>,
    shimmer_local: Option<f64>,
}

#[test]
fn golden_acoustic_fields_are_those_of_the_original() {
    let mut analyzer = Analyzer::default();
    let mut islands = 0;
    for case in cases("acoustic/acoustic", 169) {
        let (input, expected): (Input, Expected) = (case.input(), case.expected());
        let samples = samples(&input.wav);
        let start_s = input.segment_start_time_s;
        let ours = analyzer.analyze(&samples, start_s, input.stimulus_time_s);
        check_outputs(&ours, &expected, &case.name);
        if input.stimulus_time_s.is_none() || expected.analysis_error {
            assert_eq!(ours, Acoustics::default(), "{}", case.name);
        }
        let voice = analyzer.voice(&samples);
        assert_eq!(voice.is_err(), expected.analysis_error, "{}", case.name);
        let (Some(windows), Some(stimulus_s), Ok(voice)) = (expected.windows, input.stimulus_time_s, voice)
        else {
            continue;
        };
        for (offsets, window) in [(MEASURE_S, windows.measure), (BASELINE_S, windows.baseline)] {
            let span = (stimulus_s + offsets.0, stimulus_s + offsets.1);
            islands += check_window(&voice, start_s, span, &window, &case.name);
        }
    }
    assert!(islands > 0);
}

/// The tolerances of a faithful implementation. The vectors say how far noise of one unit in the last place of
/// the samples moves an output; three times that is allowed where it is more.
fn check_outputs(ours: &Acoustics, expected: &Expected, case: &str) {
    let theirs = &expected.outputs;
    let noise = |name: &str| 3.0 * expected.dither_spread.get(name).copied().unwrap_or(0.0);
    let flags = (
        (ours.f0_valid_measure, ours.f0_valid_baseline),
        (ours.perturbation_valid_measure, ours.perturbation_valid_baseline),
    );
    let expected_flags = (
        (theirs.f0_valid_measure, theirs.f0_valid_baseline),
        (theirs.perturbation_valid_measure, theirs.perturbation_valid_baseline),
    );
    assert_eq!(flags, expected_flags, "{case}");
    assert_absolute(ours.voiced_coverage_measure_s, theirs.voiced_coverage_measure_s, 1e-9, case);
    assert_absolute(ours.voiced_coverage_baseline_s, theirs.voiced_coverage_baseline_s, 1e-9, case);
    let check = |name: &str, ours, theirs, absolute: f64, relative: f64| {
        let tolerance = |theirs: f64| absolute.max(relative * theirs).max(noise(name));
        assert_option(ours, theirs, tolerance, &format!("{case}, {name}"));
    };
    check("f0_mean_measure_hz", ours.f0_mean_measure_hz, theirs.f0_mean_measure_hz, 0.0, 1e-6);
    check("f0_mean_baseline_hz", ours.f0_mean_baseline_hz, theirs.f0_mean_baseline_hz, 0.0, 1e-6);
    check("f0_delta_semitones", ours.f0_delta_semitones, theirs.f0_delta_semitones, 1e-4, 0.0);
    check("jitter_mean_measure", ours.jitter_mean_measure, theirs.jitter_mean_measure, 1e-6, 0.0);
    check("jitter_mean_baseline", ours.jitter_mean_baseline, theirs.jitter_mean_baseline, 1e-6, 0.0);
    check("jitter_delta", ours.jitter_delta, theirs.jitter_delta, 1e-6, 0.0);
    check("shimmer_mean_measure", ours.shimmer_mean_measure, theirs.shimmer_mean_measure, 1e-6, 0.0);
    check("shimmer_mean_baseline", ours.shimmer_mean_baseline, theirs.shimmer_mean_baseline, 1e-6, 0.0);
    check("shimmer_delta", ours.shimmer_delta, theirs.shimmer_delta, 1e-6, 0.0);
}

/// Frames and islands of a window; returns how many islands were compared.
fn check_window(voice: &Voice<'_>, start_s: f64, span: (f64, f64), expected: &Window, case: &str) -> usize {
    let centres = (0..voice.pitch.len()).map(|frame| start_s + voice.pitch.time_s(frame));
    let inside: Vec<usize> = centres
        .enumerate()
        .filter_map(|(frame, centre)| (span.0 <= centre && centre <= span.1).then_some(frame))
        .collect();
    assert_eq!(inside.len(), expected.n_frames, "{case}");
    assert_eq!(inside.first().copied(), expected.first_frame_index, "{case}");
    let islands = voice.islands(start_s, span);
    assert_eq!(islands.len(), expected.n_islands, "{case}");
    let voiced: f64 = islands.iter().map(|island| island.duration_s / voice.pitch.step_s()).sum();
    assert_eq!(voiced.round() as usize, expected.n_voiced, "{case}");
    assert_absolute(islands.first().map_or(0.0, |it| it.duration_s), expected.longest_island_s, 1e-9, case);
    for (ours, theirs) in islands.iter().zip(&expected.islands_longest_first) {
        assert_absolute(ours.start_s, theirs.start_s, 1e-9, case);
        assert_absolute(ours.end_s, theirs.end_s, 1e-9, case);
        assert_absolute(ours.duration_s, theirs.duration_s, 1e-9, case);
        assert_eq!(voice.pulses_inside(ours), theirs.points_inside, "{case}");
        assert_eq!(bracketed(voice.pulses, ours), theirs.points_bracketed, "{case}");
        let (jitter, shimmer) = perturbation(voice.sound, voice.pulses, (theirs.start_s, theirs.end_s));
        assert_option(jitter, theirs.jitter_local, |_| 1e-9, case);
        assert_option(shimmer, theirs.shimmer_local, |_| 1e-9, case);
    }
    // The rule selects the first island by its count of pulses inside, as the original by its own count.
    let of_rule = expected.islands_longest_first.iter().position(|island| {
        island.points_inside >= MIN_PULSES && island.jitter_local.is_some() && island.shimmer_local.is_some()
    });
    if let Some(selected) = expected.selected_island {
        assert_eq!(Some(selected), of_rule, "{case}");
    }
    expected.islands_longest_first.len()
}

/// The original's count: from the last pulse at or before the start to the first at or after the end.
fn bracketed(pulses: &[f64], island: &Island) -> usize {
    let low = pulses.partition_point(|pulse| *pulse <= island.start_s);
    let high = pulses.partition_point(|pulse| *pulse < island.end_s) + 1;
    high + 1 - low
}
