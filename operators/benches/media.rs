//! Time per unit of work of the media operators: `cargo bench --locked --workspace --bench media`.
//!
//! Prints one line per kernel: the best of a few runs, in processor time of this thread, so that busy
//! neighbours count less.

#![allow(clippy::disallowed_methods, reason = "a bench may read its environment and measures time")]

use std::path::PathBuf;

use lsie_operators::decode::{DEFAULT_MAX_PIXELS, Frame, H264Decoder};
use lsie_operators::face::{FaceModels, FaceTracker, RgbImage};
use lsie_operators::measure_face::FaceMeter;
use lsie_operators::resample::Resampler;

#[path = "../tests/common/mod.rs"]
mod common;

fn main() {
    let samples: Vec<i16> =
        (0..48_000u32 * 60).map(|i| (i.wrapping_mul(2_654_435_761) >> 16) as i16).collect();
    let mut out = Vec::with_capacity(samples.len() / 3 + 1);
    report("resample, per second of audio", 60, || {
        out.clear();
        let mut resampler = Resampler::default();
        samples.chunks(4_800).for_each(|chunk| resampler.push(chunk, &mut out));
        resampler.finish(&mut out);
    });

    let units = common::units("face.h264");
    let mut frames = Vec::new();
    report("decode 320 × 240 to RGB, per frame", units.len(), || frames = decode(&units));
    let large = common::units("face_640.h264");
    report("decode 640 × 480 to RGB, per frame", large.len(), || frames = decode(&large));

    let folder =
        PathBuf::from(std::env::var("LSIE_MODELS").unwrap_or_else(|_| {
            format!("{}/.cache/lsie/models/v5", std::env::var("HOME").unwrap_or_default())
        }));
    let mut models = FaceModels::load(&folder).unwrap_or_else(|error| panic!("{error}"));
    let faces: Vec<RgbImage> = frames[..40].iter().map(image).collect();
    let blank = image(&frames[42]);
    report("detect without a face, 640 × 480, per frame", 40, || {
        let mut tracker = FaceTracker::default();
        for _ in 0..40 {
            assert!(tracker.track(&blank, &mut models).expect("models run").is_none());
        }
    });
    report("landmarks of a tracked face, 640 × 480, per frame", 40, || {
        let mut tracker = FaceTracker::default();
        for face in &faces {
            assert!(tracker.track(face, &mut models).expect("models run").is_some());
        }
    });
    report("whole: decode and measure 640 × 480, per frame", large.len(), || {
        let mut meter = FaceMeter::new(DEFAULT_MAX_PIXELS).expect("libavcodec decodes H.264");
        for unit in &large {
            meter.push(&unit.bytes, unit.capture_us, unit.key_frame, &mut models);
        }
    });
}

fn decode(units: &[common::Unit]) -> Vec<Frame> {
    let mut decoder = H264Decoder::new(DEFAULT_MAX_PIXELS).expect("libavcodec decodes H.264");
    units
        .iter()
        .flat_map(|unit| decoder.decode(&unit.bytes, unit.capture_us, unit.key_frame).expect("a good stream"))
        .collect()
}

fn image(frame: &Frame) -> RgbImage<'_> {
    RgbImage::new(frame.width, frame.height, &frame.rgb).expect("complete")
}

/// Runs `work` a few times and prints the best time divided by `parts`.
fn report(what: &str, parts: usize, mut work: impl FnMut()) {
    let mut best = u64::MAX;
    for _ in 0..9 {
        let start = processor_ns();
        work();
        best = best.min(processor_ns() - start);
    }
    println!("{:8.3} ms  {what}", best as f64 / 1e6 / parts as f64);
}

/// Time this thread has spent on a processor, as Linux counts it.
fn processor_ns() -> u64 {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a Linux system");
    line.split(' ').next().and_then(|ns| ns.parse().ok()).expect("a number")
}
