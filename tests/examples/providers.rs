//! What the models do on one provider: landmarks and segments per second by threads, and how far the numbers are from another
//! provider's.
//!
//!     providers cpu|cuda LIBRARY MODELS DATA SECONDS WRITE [COMPARE]
//!
//! LIBRARY is the ONNX Runtime, MODELS the folder of the models, DATA `operators/tests/data`. Every figure is measured for SECONDS.
//! WRITE gets the outputs as JSON; COMPARE is such a file of another run, from which the largest differences are printed.

#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use lsie_operators::face::{FaceModels, FaceTracker, RgbImage};
use lsie_operators::runtime::Runtime;
use lsie_operators::semantic::{MiniLm, Scorer};
use lsie_operators::speech::{DemoSpeech, Transcriber, Whisper, WhisperSettings};
use serde::{Deserialize, Serialize};

/// Samples of a segment: 30 s.
const SEGMENT: usize = 480_000;
const THREADS: [usize; 5] = [1, 2, 4, 8, 16];

/// Outputs that runs are compared by.
#[derive(Serialize, Deserialize)]
struct Outputs {
    landmarks: Vec<[f64; 3]>,
    text: String,
    confidences: Vec<f64>,
    whisper_logits: Vec<f32>,
    meaning: Vec<f64>,
}

struct Setting {
    runtime: &'static Runtime,
    models: PathBuf,
    data: PathBuf,
    time: Duration,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [provider, library, models, data, seconds, write, compare @ ..] = &arguments[..] else {
        bail!("providers cpu|cuda LIBRARY MODELS DATA SECONDS WRITE [COMPARE]");
    };
    let runtime = match provider.as_str() {
        "cpu" => Runtime::load(Path::new(library))?,
        _ => Runtime::choose_cuda(Path::new(library), false)?.0,
    };
    println!("{}", runtime.fingerprint());
    let time = Duration::from_secs_f64(seconds.parse()?);
    let setting = Arc::new(Setting { runtime, models: models.into(), data: data.into(), time });

    let outputs = outputs(&setting)?;
    std::fs::write(write, serde_json::to_vec(&outputs)?)?;
    if let Some(other) = compare.first() {
        differences(&outputs, &serde_json::from_slice(&std::fs::read(other)?)?);
    }
    table("faces, landmarks of a tracked face /s", &setting, |setting| {
        let ((side, rgb), mut models) = (picture(setting)?, faces(setting)?);
        let mut tracker = FaceTracker::default();
        Ok(move || {
            let image = RgbImage::new(side, side, &rgb).context("a square picture")?;
            tracker.track(&image, &mut models)?.context("a face").map(drop)
        })
    })?;
    table("demo speech, segments of 30 s /s", &setting, |setting| {
        let (sound, mut model) = (sound(setting)?, DemoSpeech::load_with(setting.runtime, &setting.models)?);
        Ok(move || {
            model.transcribe(&sound)?;
            Ok(())
        })
    })?;
    table("tiny Whisper (random weights), segments of 30 s /s", &setting, |setting| {
        let (sound, mut model) = (sound(setting)?, whisper(setting)?);
        Ok(move || {
            model.transcribe(&sound)?;
            Ok(())
        })
    })?;
    table("sentence model, utterances /s", &setting, |setting| {
        let mut model = MiniLm::load_with(setting.runtime, &setting.models)?;
        Ok(move || {
            model.score("hello everyone welcome to the stream", "hello everybody welcome")?;
            Ok(())
        })
    })
}

/// Prints how often a second all threads together do `make`'s work, by the number of threads.
fn table<W: FnMut() -> anyhow::Result<()>>(
    what: &str,
    setting: &Arc<Setting>,
    make: impl Fn(&Setting) -> anyhow::Result<W> + Send + Sync + Copy + 'static,
) -> anyhow::Result<()> {
    let most = thread::available_parallelism().map_or(1, usize::from);
    for threads in THREADS.into_iter().filter(|threads| *threads <= most) {
        let (barrier, done) = (Arc::new(Barrier::new(threads)), Arc::new(AtomicUsize::new(0)));
        let worker = || {
            let (setting, barrier, done) = (setting.clone(), barrier.clone(), done.clone());
            thread::spawn(move || -> anyhow::Result<f64> {
                let mut work = make(&setting)?;
                for _ in 0..3 {
                    work()?;
                }
                barrier.wait();
                let began = Instant::now();
                while began.elapsed() < setting.time {
                    work()?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Ok(began.elapsed().as_secs_f64())
            })
        };
        let workers: Vec<_> = (0..threads).map(|_| worker()).collect();
        let mut longest = 0f64;
        for worker in workers {
            longest = longest.max(worker.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??);
        }
        println!("{what}, {threads:2} threads: {:9.1}", done.load(Ordering::Relaxed) as f64 / longest);
    }
    Ok(())
}

fn faces(setting: &Setting) -> anyhow::Result<FaceModels> {
    Ok(FaceModels::load_with(setting.runtime, &setting.models)?)
}

fn whisper(setting: &Setting) -> anyhow::Result<Whisper> {
    let settings = WhisperSettings { language: Some("en".into()), beams: 1 };
    Ok(Whisper::load(setting.runtime, &setting.data.join("whisper/tiny"), &settings)?)
}

/// The photograph of the tests, a square: its side and its pixels.
fn picture(setting: &Setting) -> anyhow::Result<(u32, Vec<u8>)> {
    let bytes = zstd::decode_all(&std::fs::read(setting.data.join("astronaut.rgb.zst"))?[..])?;
    Ok(((bytes.len() / 3).isqrt() as u32, bytes))
}

/// Half a minute of the tests' voices.
fn sound(setting: &Setting) -> anyhow::Result<Vec<i16>> {
    let mut samples = Vec::new();
    for name in ["greeting", "noisy", "two_voices"] {
        let path = setting.data.join(format!("speech/{name}.s16.zst"));
        let bytes = zstd::decode_all(&std::fs::read(&path).with_context(|| path.display().to_string())?[..])?;
        samples.extend(bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
    }
    ensure!(!samples.is_empty(), "no sound");
    Ok(samples.into_iter().cycle().take(SEGMENT).collect())
}

fn outputs(setting: &Setting) -> anyhow::Result<Outputs> {
    let ((side, rgb), sound) = (picture(setting)?, sound(setting)?);
    let picture = RgbImage::new(side, side, &rgb).context("a square picture")?;
    let face = FaceTracker::default().track(&picture, &mut faces(setting)?)?.context("a face")?;
    let heard = DemoSpeech::load_with(setting.runtime, &setting.models)?.transcribe(&sound)?;
    let mut whisper = whisper(setting)?;
    let prompt = whisper.tokens(&sound)?[..4].to_vec();
    let mut minilm = MiniLm::load_with(setting.runtime, &setting.models)?;
    let mut score = |said| minilm.score("hello everyone welcome to the stream", said);
    Ok(Outputs {
        landmarks: face.points().to_vec(),
        text: heard.text,
        confidences: heard.words.iter().map(|word| word.confidence).collect(),
        whisper_logits: whisper.logits(&sound, &prompt, &[17; 8])?,
        meaning: vec![score("hello everybody welcome")?, score("the weather is cold")?],
    })
}

/// Largest differences between two runs.
fn differences(ours: &Outputs, theirs: &Outputs) {
    let largest =
        |pairs: &mut dyn Iterator<Item = (f64, f64)>| pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let flat = |outputs: &Outputs| outputs.landmarks.iter().flatten().copied().collect::<Vec<f64>>();
    println!(
        "largest difference, landmarks: {:.2e} of the width",
        largest(&mut flat(ours).into_iter().zip(flat(theirs)))
    );
    let words = &mut ours.confidences.iter().copied().zip(theirs.confidences.iter().copied());
    println!("demo speech: text equal {}, confidences {:.2e}", ours.text == theirs.text, largest(words));
    let logits = ours.whisper_logits.iter().zip(&theirs.whisper_logits);
    println!(
        "tiny Whisper's logits: {:.2e}",
        largest(&mut logits.map(|(a, b)| (f64::from(*a), f64::from(*b))))
    );
    let meaning = &mut ours.meaning.iter().copied().zip(theirs.meaning.iter().copied());
    println!("sentence model, probability of a match: {:.2e}", largest(meaning));
}
