//! Faces against MediaPipe's own figures, with the real models: a portrait, and a short clip in which it
//! moves, goes away and comes back. `data/face_reference.json` names the program that the figures come from.

#![allow(clippy::disallowed_methods, reason = "a test may read its environment and spawn")]

mod common;
#[path = "common/folder.rs"]
mod folder;
#[path = "common/meter.rs"]
mod meter;

use std::path::Path;

use common::{data, units};
use folder::models_folder;
use lsie_operators::au12::raw_ratio;
use lsie_operators::decode::DEFAULT_MAX_PIXELS;
use lsie_operators::face::{FaceModels, FaceTracker, RgbImage};
use lsie_operators::measure_face::{FaceMeter, Measured, NO_FACE};
use lsie_operators::runtime::{ModelError, RUNTIME_FILE, Runtime};
use meter::{measure, models};
use serde_json::Value;

fn reference() -> Value {
    serde_json::from_slice(&data("face_reference.json")).expect("JSON")
}

fn astronaut() -> Vec<u8> {
    zstd::decode_all(&data("astronaut.rgb.zst")[..]).expect("zstd")
}

/// Equality to the last bit.
fn bits(measured: &[Measured]) -> Vec<(i64, Option<u64>, bool, Option<&'static str>)> {
    measured.iter().map(|m| (m.capture_us, m.ratio.map(f64::to_bits), m.present, m.reason)).collect()
}

#[test]
fn the_portrait_has_the_points_and_the_ratio_of_the_reference() {
    let rgb = astronaut();
    let image = RgbImage::new(512, 512, &rgb).expect("complete");
    let landmarks = FaceTracker::default().track(&image, &mut models()).expect("models run").expect("a face");
    let reference = &reference()["astronaut"];
    for (index, point) in reference["points"].as_object().expect("points") {
        let got = landmarks.points()[index.parse::<usize>().expect("an index")];
        for axis in 0..2 {
            let apart = (got[axis] - point[axis].as_f64().expect("a number")).abs() * 512.0;
            assert!(apart < 0.02, "point {index}, axis {axis}: {apart} px");
        }
    }
    let ratio = raw_ratio(&landmarks.au12()).expect("geometry");
    let apart = (ratio - reference["ratio"].as_f64().expect("a number")).abs();
    println!("ratio {ratio}, {apart:.1e} from the reference");
    assert!(apart < 5e-5);
}

#[test]
fn the_clip_is_followed_as_the_reference_follows_it() {
    let measured = measure(&units("face.h264"), &mut models());
    let reference = reference();
    let expected = reference["face"]["ratios"].as_array().expect("ratios");
    assert_eq!(measured.len(), expected.len());
    let mut worst = 0.0f64;
    for (index, (measured, expected)) in measured.iter().zip(expected).enumerate() {
        assert_eq!(measured.capture_us, index as i64 * 33_333);
        assert_eq!(measured.present, expected.is_number(), "frame {index}");
        assert_eq!(measured.reason, (!measured.present).then_some(NO_FACE), "frame {index}");
        if let (Some(ratio), Some(expected)) = (measured.ratio, expected.as_f64()) {
            worst = worst.max((ratio - expected).abs());
        }
    }
    println!("largest difference of a ratio: {worst:.1e}");
    assert!(worst < 5e-3, "{worst}");
}

#[test]
fn the_same_stream_gives_the_same_bits() {
    let units = units("face.h264");
    let mut models = models();
    let first = measure(&units, &mut models);
    assert_eq!(bits(&measure(&units, &mut models)), bits(&first), "the same models again");
    assert_eq!(bits(&measure(&units, &mut self::models())), bits(&first), "models loaded anew");
    let elsewhere = std::thread::spawn({
        let units = units.clone();
        move || measure(&units, &mut self::models())
    });
    assert_eq!(bits(&elsewhere.join().expect("no panic")), bits(&first), "another thread");
}

/// Sessions share the models of a worker: none may see the other.
#[test]
fn interleaved_sessions_do_not_see_each_other() {
    let units = units("face.h264");
    let mut models = models();
    let alone = measure(&units, &mut models);
    let mut meters: Vec<FaceMeter> =
        (0..2).map(|_| FaceMeter::new(DEFAULT_MAX_PIXELS).expect("libavcodec decodes H.264")).collect();
    let mut measured = [Vec::new(), Vec::new()];
    // The second runs 30 units (one group of pictures) behind the first.
    for step in 0..units.len() + 30 {
        for (session, meter) in meters.iter_mut().enumerate() {
            let unit = step.checked_sub(30 * session).and_then(|index| units.get(index));
            let Some(unit) = unit else { continue };
            let pushed = meter.push(&unit.bytes, unit.capture_us, unit.key_frame, &mut models);
            measured[session].extend(pushed.measured);
        }
    }
    assert_eq!(bits(&measured[0]), bits(&alone));
    assert_eq!(bits(&measured[1]), bits(&alone));
}

#[test]
fn a_bad_unit_is_rejected_and_spoils_nothing_before_it_or_after_the_next_key_frame() {
    let mut models = models();
    let units = units("face.h264");
    let mut meter = FaceMeter::new(DEFAULT_MAX_PIXELS).expect("libavcodec decodes H.264");
    let mut measured = Vec::new();
    for (index, unit) in units.iter().enumerate() {
        let bytes = if index == 10 { &b"no video"[..] } else { &unit.bytes };
        let pushed = meter.push(bytes, unit.capture_us, unit.key_frame, &mut models);
        let expected = match index {
            10 => Some("not_annex_b"),
            11..30 => Some("no_key_frame"),
            _ => None,
        };
        assert_eq!(pushed.rejected, expected, "unit {index}");
        measured.extend(pushed.measured);
    }
    let whole = measure(&units, &mut models);
    assert_eq!(bits(&measured[..10]), bits(&whole[..10]));
    // The face is searched anew at the key frame, as in a stream that begins there.
    assert_eq!(bits(&measured[10..]), bits(&measure(&units[30..], &mut models)));
    assert!(measured[10..20].iter().all(|measured| measured.present));
}

/// A picture of 1280 × 720 in which the portrait's face is 8 % wide, with the portrait's upper left corner at a place.
fn far_away(rgb: &[u8], at: [usize; 2]) -> (Vec<u8>, f64) {
    let (width, height, side) = (1280, 720, 573);
    let mut picture = vec![90u8; width * height * 3];
    let scale = 512.0 / side as f64;
    for y in 0..side.min(height - at[1]) {
        for x in 0..side.min(width - at[0]) {
            for channel in 0..3 {
                let [from_x, from_y] = [x, y].map(|place| ((place as f64 + 0.5) * scale) as usize);
                picture[((y + at[1]) * width + x + at[0]) * 3 + channel] =
                    rgb[(from_y * 512 + from_x) * 3 + channel];
            }
        }
    }
    (picture, scale)
}

/// The detector alone finds none of these; after at most a round through the parts the face is where it belongs.
#[test]
fn a_face_of_eight_percent_of_the_width_is_found() {
    let (rgb, mut models) = (astronaut(), models());
    let near = RgbImage::new(512, 512, &rgb).expect("complete");
    let near = FaceTracker::default().track(&near, &mut models).expect("models run").expect("a face");
    let wide = |points: &[[f64; 3]]| {
        let xs = points.iter().map(|point| point[0]);
        xs.clone().fold(f64::MIN, f64::max) - xs.fold(f64::MAX, f64::min)
    };
    let mut waited = 0;
    for at in [[0, 0], [430, 200], [850, 290], [700, 10], [100, 290]] {
        let (picture, scale) = far_away(&rgb, at);
        let image = RgbImage::new(1280, 720, &picture).expect("complete");
        let mut tracker = FaceTracker::default();
        let mut frames = 0;
        let found = loop {
            frames += 1;
            assert!(frames <= 8, "{at:?}: no face in eight frames");
            if let Some(found) = tracker.track(&image, &mut models).expect("models run") {
                break found;
            }
        };
        waited = waited.max(frames);
        println!("{at:?}: frame {frames}, {:.1} % of the width", 100.0 * wide(found.points()));
        assert!((0.07..0.09).contains(&wide(found.points())));
        let there = [1280.0, 720.0];
        for (index, (far, near)) in found.points().iter().zip(near.points()).enumerate() {
            for axis in 0..2 {
                let expected = near[axis] * 512.0 / scale + at[axis] as f64;
                let apart = (far[axis] * there[axis] - expected).abs();
                assert!(apart < 6.0, "{at:?}, point {index}, axis {axis}: {apart} px");
            }
        }
        // The next frame follows it.
        assert!(tracker.track(&image, &mut models).expect("models run").is_some());
    }
    assert!(waited > 1, "the rule was needed");
}

#[test]
fn pictures_of_any_shape_are_measured_without_panic() {
    let mut models = models();
    for (width, height) in [(1, 1), (1, 900), (900, 1), (17, 3), (64, 64)] {
        let rgb: Vec<u8> =
            (0..width * height * 3).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let image = RgbImage::new(width, height, &rgb).expect("complete");
        assert_eq!(FaceTracker::default().track(&image, &mut models).expect("models run"), None);
    }
    assert!(RgbImage::new(2, 2, &[0; 11]).is_none());
    assert!(RgbImage::new(0, 2, &[]).is_none());
    assert!(RgbImage::new(u32::MAX, u32::MAX, &[]).is_none());
}

#[test]
fn models_are_known_by_hash() {
    let models = models();
    let [detector, mesh] = models.info();
    assert_eq!((detector.name, mesh.name), ("face_detection_short_range", "face_landmark_with_attention"));
    assert!([detector, mesh].iter().all(|info| info.sha256.len() == 64));
    assert_ne!(detector.sha256, mesh.sha256);
    assert!(detector.runtime_version.contains("sha256:"), "{}", detector.runtime_version);
    assert_eq!(models.fingerprint(), self::models().fingerprint());
    assert_eq!(models.fingerprint().len(), 16);
}

#[test]
fn missing_and_foreign_files_are_named_with_the_mend() {
    let check = |result: Result<FaceModels, ModelError>, file: &str| {
        let message = result.err().expect("an error").to_string();
        assert!(message.contains(file) && message.contains("make models"), "{message}");
    };
    check(FaceModels::load(Path::new("/nowhere")), RUNTIME_FILE);

    let folder = tempfile::tempdir().expect("a folder");
    let put = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).expect("written");
    let real = |name: &str| std::fs::read(models_folder().join(name)).expect("`make models` was run");
    let (detector, mesh) = ("face_detection_short_range.onnx", "face_landmark_with_attention.onnx");
    put(RUNTIME_FILE, b"no library");
    check(FaceModels::load(folder.path()), RUNTIME_FILE);

    let runtime =
        Runtime::load(&models_folder().join(RUNTIME_FILE)).unwrap_or_else(|error| panic!("{error}"));
    check(FaceModels::load_with(runtime, folder.path()), detector);
    put(detector, &real(detector)[..1_000]);
    check(FaceModels::load_with(runtime, folder.path()), detector);
    put(detector, &real(detector));
    check(FaceModels::load_with(runtime, folder.path()), mesh);
    put(mesh, &real(detector));
    check(FaceModels::load_with(runtime, folder.path()), mesh);
    // The right structure and length with damaged weights.
    let mut damaged = real(mesh);
    let weights = damaged.len() / 2;
    damaged[weights..weights + 40_000].fill(0x3f);
    put(mesh, &damaged);
    check(FaceModels::load_with(runtime, folder.path()), mesh);
    put(mesh, &real(mesh));
    assert!(FaceModels::load_with(runtime, folder.path()).is_ok());
}

#[test]
fn meters_and_models_may_move_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<FaceMeter>();
    is_send::<FaceModels>();
    is_send::<Measured>();
}
