//! The demo model of speech: 80 mel bands in, letters out, by connectionist temporal classification (CTC).
//!
//! It knows the voices of one synthesiser and some 360 words, and nothing else: `models/demo-speech` says how
//! it was trained and what it cannot do. Decoding takes the best letter of each frame, without a language
//! model.

use std::path::Path;

use ort::value::TensorRef;

use super::mel::{FRAME_SAMPLES, LogMel};
use super::{Heard, SpeechError, Transcriber, Word, check_length};
use crate::runtime::{ModelError, Network, RUNTIME_FILE, Runtime, network};

/// File of the model in the folder of the models.
const FILE: &str = "demo_speech.onnx";
/// Bands of the front end.
const BANDS: usize = 80;
/// Mel frames that the model turns into one output frame.
const STRIDE: usize = 3;
/// Samples of one output frame.
const STEP: usize = STRIDE * FRAME_SAMPLES;
/// Output frames without a letter that part words as a space does: 0.48 s.
const PAUSE: usize = 16;
/// What the outputs mean, from the second on; the first is "no letter".
const LETTERS: [char; 28] = [
    ' ', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't',
    'u', 'v', 'w', 'x', 'y', 'z', '\'',
];
/// Outputs per frame.
const CLASSES: usize = LETTERS.len() + 1;

/// The demo model, loaded.
pub struct DemoSpeech {
    network: Network,
    mel: LogMel,
    model: String,
}

impl DemoSpeech {
    /// Loads `libonnxruntime.so` and `demo_speech.onnx` from `folder`, and runs the model once on a known
    /// input.
    pub fn load(folder: &Path) -> Result<DemoSpeech, ModelError> {
        DemoSpeech::load_with(Runtime::load(&folder.join(RUNTIME_FILE))?, folder)
    }

    /// The same with a runtime that lies elsewhere.
    pub fn load_with(runtime: &Runtime, folder: &Path) -> Result<DemoSpeech, ModelError> {
        let network = Network::pinned(runtime, "demo_speech", folder, FILE)?;
        let hash = network.info().sha256.get(..16).unwrap_or_default();
        let model = format!("demo_speech:2:{hash} {}", runtime.fingerprint());
        let mut speech = DemoSpeech { network, mel: LogMel::new(BANDS), model };
        speech.self_test(folder)?;
        Ok(speech)
    }

    /// One run on a known input, compared with what the pinned file gives.
    fn self_test(&mut self, folder: &Path) -> Result<(), ModelError> {
        let frames: Vec<f32> = (0..60 * BANDS).map(|i| ((i * i) % 251) as f32 / 125.0 - 1.0).collect();
        let outputs = self.run(&frames)?;
        for (at, value) in SELF_TEST {
            let got = outputs.get(at).copied().unwrap_or(f32::NAN);
            // Another processor may move the last digits; a wrong model differs by far more.
            let equal = (got - value).abs() <= 0.02;
            if !equal {
                let reason = format!("the self-test gives {got} for element {at}, not {value}");
                return Err(ModelError::Mismatch { path: folder.join(FILE), reason });
            }
        }
        Ok(())
    }

    /// Logarithms of the probabilities of each class in each output frame. `frames` is whole output frames.
    fn run(&mut self, frames: &[f32]) -> Result<Vec<f32>, ModelError> {
        let shape = [1, frames.len() / BANDS, BANDS];
        let failed =
            |error: ort::Error| ModelError::Failed { model: "demo_speech", reason: error.to_string() };
        let input = TensorRef::from_array_view((shape, frames)).map_err(failed)?;
        let wanted = frames.len() / BANDS / STRIDE * CLASSES;
        self.network.run(vec![("mel", input.into())], |outputs| {
            let (_, logs) = network::floats(&outputs, "logprobs")?;
            if logs.len() != wanted || logs.iter().any(|log| log.is_nan()) {
                return Err(format!("{} outputs, not {wanted} numbers", logs.len()));
            }
            Ok(logs.to_vec())
        })
    }
}

impl Transcriber for DemoSpeech {
    fn transcribe(&mut self, samples: &[i16]) -> Result<Heard, SpeechError> {
        check_length(samples)?;
        let mut frames = self.mel.frames(samples, samples.len());
        if frames.is_empty() {
            return Ok(Heard { language: "en".into(), ..Heard::default() });
        }
        // Trained so: a sound is filled up to whole output frames with the middle of the scale.
        let filled = (frames.len() / BANDS).next_multiple_of(STRIDE) * BANDS;
        frames.resize(filled, 0.0);
        let words = words(&self.run(&frames)?, samples.len());
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        Ok(Heard { text: texts.join(" "), language: "en".into(), words })
    }

    fn model(&self) -> &str {
        &self.model
    }
}

/// A word in the making.
#[derive(Default)]
struct Open {
    text: String,
    from: usize,
    to: usize,
    /// Sum of the logarithms of its letters' probabilities.
    log: f64,
}

/// The best class of each frame; repeats without a break between them are one letter, spaces and
/// pauses part words.
fn words(logs: &[f32], samples: usize) -> Vec<Word> {
    let mut words = Vec::new();
    let mut open = Open::default();
    let mut last = 0;
    for (frame, logs) in logs.chunks_exact(CLASSES).enumerate() {
        let (best, log) = best(logs);
        match best.checked_sub(1).map(|letter| LETTERS[letter]) {
            Some(' ') => close(&mut open, samples, &mut words),
            Some(letter) => {
                if frame * STEP > open.to + PAUSE * STEP - STEP {
                    close(&mut open, samples, &mut words);
                }
                if open.text.is_empty() {
                    open.from = frame * STEP;
                }
                if best != last {
                    open.text.push(letter);
                    open.log += f64::from(log);
                }
                open.to = (frame + 1) * STEP;
            }
            None => {}
        }
        last = best;
    }
    close(&mut open, samples, &mut words);
    words
}

/// Ends the word in the making, if there is one. Its confidence is the geometric mean of its letters'.
fn close(open: &mut Open, samples: usize, words: &mut Vec<Word>) {
    let Open { text, from, to, log } = std::mem::take(open);
    if text.is_empty() {
        return;
    }
    let confidence = (log / text.chars().count() as f64).exp().clamp(0.0, 1.0);
    words.push(Word { text, from, to: to.min(samples), confidence });
}

/// The first of the most probable classes, and the logarithm of its probability.
fn best(logs: &[f32]) -> (usize, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    for (class, log) in logs.iter().enumerate() {
        if *log > best.1 {
            best = (class, *log);
        }
    }
    best
}

/// Elements of the output of the self-test, from the pinned file.
const SELF_TEST: [(usize, f32); 4] = [(0, -0.238_28), (100, -3.788_85), (300, -6.774_54), (579, -8.731_42)];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Frames whose best classes are the letters of `path`; `_` is none. Probability one half each.
    fn spelled(path: &str) -> Vec<f32> {
        let mut logs = Vec::new();
        for letter in path.chars() {
            let class = LETTERS.iter().position(|l| *l == letter).map_or(0, |at| at + 1);
            logs.extend((0..CLASSES).map(|c| if c == class { 0.5f32.ln() } else { -9.0 }));
        }
        logs
    }

    #[test]
    fn repeats_are_one_letter_and_spaces_part_words() {
        let heard = words(&spelled("__hheel_lo_  _ yyo'"), 19 * STEP - 100);
        let texts: Vec<&str> = heard.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(texts, ["hello", "yo'"]);
        assert_eq!((heard[0].from, heard[0].to), (2 * STEP, 10 * STEP));
        assert_eq!((heard[1].from, heard[1].to), (15 * STEP, 19 * STEP - 100));
        assert!((heard[0].confidence - 0.5).abs() < 1e-6);
    }

    #[test]
    fn pauses_part_words() {
        let count = |pause: usize| words(&spelled(&format!("a{}b", "_".repeat(pause))), 99 * STEP).len();
        assert_eq!((count(PAUSE - 1), count(PAUSE)), (1, 2));
    }

    #[test]
    fn nothing_is_no_word() {
        assert!(words(&spelled("____"), 4 * STEP).is_empty());
        assert!(words(&spelled("   _ "), 5 * STEP).is_empty());
        assert!(words(&[], 0).is_empty());
    }

    proptest! {
        #[test]
        fn words_lie_in_order_inside_the_sound(path in "[a-c _]{0,40}", missing in 0..STEP) {
            let samples = (path.len() * STEP).saturating_sub(missing);
            let words = words(&spelled(&path), samples);
            let mut end = 0;
            for word in &words {
                prop_assert!(end <= word.from && word.from < word.to && word.to <= samples);
                prop_assert!((0.0..=1.0).contains(&word.confidence));
                prop_assert!(!word.text.is_empty() && !word.text.contains(' '));
                end = word.to;
            }
        }
    }
}
