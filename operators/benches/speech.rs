//! Time per unit of work of the models of speech and meaning: `cargo bench --locked --workspace --bench speech`.
//!
//! Prints one line per model: the best of a few runs, in processor time of this thread, so that busy
//! neighbours count less.

#![allow(clippy::disallowed_methods, reason = "a bench may read its environment and measures time")]

use std::path::{Path, PathBuf};

use lsie_operators::runtime::{RUNTIME_FILE, Runtime};
use lsie_operators::semantic::{MiniLm, Scorer};
use lsie_operators::speech::activity::VoiceActivity;
use lsie_operators::speech::{DemoSpeech, LogMel, SAMPLE_HZ, Transcriber, Whisper, WhisperSettings};

/// Seconds of sound that are measured at once: a segment.
const SECONDS: usize = 30;

fn main() {
    let folder =
        PathBuf::from(std::env::var("LSIE_MODELS").unwrap_or_else(|_| {
            format!("{}/.cache/lsie/models/v5", std::env::var("HOME").unwrap_or_default())
        }));
    let sound = sound();
    let mut mel = LogMel::new(80);
    real_time("mel, 80 bands", || {
        assert_eq!(mel.frames(&sound, sound.len()).len(), SECONDS * 100 * 80);
    });
    let mut activity = VoiceActivity::load(&folder).unwrap_or_else(|error| panic!("{error}"));
    real_time("voice activity", || {
        assert!(!activity.probabilities(&sound).expect("measured").is_empty());
    });
    real_time("mel and voice activity", || {
        assert!(!mel.frames(&sound, sound.len()).is_empty());
        assert!(!activity.probabilities(&sound).expect("measured").is_empty());
    });
    let mut speech = DemoSpeech::load(&folder).unwrap_or_else(|error| panic!("{error}"));
    real_time("demo speech model, mel and decoding included", || {
        assert!(!speech.transcribe(&sound).expect("heard").text.is_empty());
    });
    let mut meaning = MiniLm::load(&folder).unwrap_or_else(|error| panic!("{error}"));
    let ms = milliseconds(|| {
        let p =
            meaning.score("thank you for the wonderful stream you are amazing", "thank you you are amazing");
        assert!(p.is_ok());
    });
    println!("{ms:9.3} ms    a sentence of five words, the greeting being known");
    whisper(&folder, &sound);
}

/// Steps of the decoder per second on the tiny directory, of random weights.
fn whisper(folder: &Path, sound: &[i16]) {
    let runtime = Runtime::load(&folder.join(RUNTIME_FILE)).unwrap_or_else(|error| panic!("{error}"));
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/whisper/tiny");
    let settings = WhisperSettings { language: Some("en".into()), beams: 1 };
    let mut model = Whisper::load(runtime, &directory, &settings).unwrap_or_else(|error| panic!("{error}"));
    // The same window with and without the steps: the difference is theirs.
    let tokens = vec![17; 36];
    let prompt = model.tokens(sound).expect("tokens")[..4].to_vec();
    let without = milliseconds(|| assert!(model.logits(sound, &prompt, &[]).is_ok()));
    let with = milliseconds(|| assert!(model.logits(sound, &prompt, &tokens).is_ok()));
    let per_second = 1e3 * tokens.len() as f64 / (with - without);
    println!(
        "{per_second:9.0} /s    steps of the tiny Whisper's decoder; {without:.1} ms for mel, encoder and prompt"
    );
}

/// Half a minute of the tests' voices.
fn sound() -> Vec<i16> {
    let load = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/speech/{name}.s16.zst"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let bytes = zstd::decode_all(&bytes[..]).expect("zstd");
        bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect::<Vec<i16>>()
    };
    let voices: Vec<i16> = ["greeting", "noisy", "two_voices"].into_iter().flat_map(load).collect();
    voices.into_iter().cycle().take(SECONDS * SAMPLE_HZ).collect()
}

/// Prints how many seconds of sound `work` does in one second.
fn real_time(what: &str, work: impl FnMut()) {
    println!("{:9.0} ×     real time: {what}", SECONDS as f64 * 1e3 / milliseconds(work));
}

/// The best of a few runs.
fn milliseconds(mut work: impl FnMut()) -> f64 {
    let mut best = u64::MAX;
    for _ in 0..9 {
        let start = processor_ns();
        work();
        best = best.min(processor_ns() - start);
    }
    best as f64 / 1e6
}

/// Time this thread has spent on a processor, as Linux counts it.
fn processor_ns() -> u64 {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a Linux system");
    line.split(' ').next().and_then(|ns| ns.parse().ok()).expect("a number")
}
