//! Speech against independent programs, with the real models: mel frames, voice activity, the demo model.
//! `data/speech/make.py` made the sounds and the figures, and says with what.

#![allow(clippy::disallowed_methods, reason = "a test may read its environment")]

#[path = "common/folder.rs"]
mod folder;

use std::collections::BTreeMap;
use std::path::Path;

use folder::models_folder;
use lsie_operators::models;
use lsie_operators::speech::activity::{self, Rule, VoiceActivity};
use lsie_operators::speech::{DemoSpeech, LogMel, MOST_SAMPLES, SpeechError, Transcriber, Voiced};
use serde::Deserialize;

/// What the programs say of one sound.
#[derive(Deserialize)]
struct Reference {
    samples: usize,
    mel_80: BTreeMap<usize, Vec<f32>>,
    mel_128: BTreeMap<usize, Vec<f32>>,
    mel_own_length: BTreeMap<usize, Vec<f32>>,
    text: String,
    activity: Vec<f32>,
    ranges_of_the_package: Vec<(usize, usize)>,
    ranges_of_the_filter: Vec<(usize, usize)>,
}

fn unpacked(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    zstd::decode_all(&bytes[..]).expect("zstd")
}

/// The sounds with their figures, by name.
fn cases() -> Vec<(String, Vec<i16>, Reference)> {
    let cases: BTreeMap<String, Reference> =
        serde_json::from_slice(&unpacked("speech/reference.json.zst")).expect("JSON");
    assert_eq!(cases.len(), 5);
    let with_sound = |(name, reference): (String, Reference)| {
        let bytes = unpacked(&format!("speech/{name}.s16.zst"));
        let samples: Vec<i16> =
            bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
        assert_eq!(samples.len(), reference.samples, "{name}");
        (name, samples, reference)
    };
    cases.into_iter().map(with_sound).collect()
}

fn demo_speech() -> DemoSpeech {
    DemoSpeech::load(&models_folder()).unwrap_or_else(|error| panic!("{error}"))
}

fn voice_activity() -> VoiceActivity {
    VoiceActivity::load(&models_folder()).unwrap_or_else(|error| panic!("{error}"))
}

/// Sounds that no microphone gives.
fn extremes() -> Vec<Vec<i16>> {
    let alternating = (0..4_000).map(|i| if i % 2 == 0 { i16::MIN } else { i16::MAX }).collect();
    let shifted = (0..8_000).map(|i: i32| ((i * 37) % 256 - 128) as i16 * 256).collect();
    vec![
        vec![],
        vec![1],
        vec![i16::MIN],
        vec![0; 200],
        vec![0; 48_000],
        vec![i16::MAX; 16_001],
        alternating,
        shifted,
    ]
}

#[test]
fn mel_frames_are_those_of_the_python_front_end() {
    for bands in [80, 128] {
        let mut mel = LogMel::new(bands);
        let mut largest = 0f32;
        for (name, samples, reference) in cases() {
            let of_bands = if bands == 80 { &reference.mel_80 } else { &reference.mel_128 };
            let mut compare = |frames: Vec<f32>, expected: &BTreeMap<usize, Vec<f32>>| {
                for (index, row) in expected {
                    let ours = &frames[index * bands..(index + 1) * bands];
                    for (ours, theirs) in ours.iter().zip(row) {
                        largest = largest.max((ours - theirs).abs());
                        assert!((ours - theirs).abs() < 1e-6, "{name} {bands} {index}: {ours} {theirs}");
                    }
                }
            };
            compare(mel.frames(&samples, 480_000), of_bands);
            if bands == 80 {
                compare(mel.frames(&samples, samples.len()), &reference.mel_own_length);
            }
        }
        println!("{bands} bands: largest difference {largest:e}");
    }
}

#[test]
fn the_demo_model_hears_what_python_hears() {
    let mut speech = demo_speech();
    for (name, samples, reference) in cases() {
        let heard = speech.transcribe(&samples).expect("a transcript");
        assert_eq!(heard.text, reference.text, "{name}");
        assert_eq!(heard.language, "en");
        let joined: Vec<&str> = heard.words.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(joined.join(" "), heard.text);
        assert!(heard.words.iter().all(|word| word.from < word.to && word.to <= samples.len()));
    }
}

/// Words stand where they are spoken, to about a tenth of a second: the greeting begins after one second of
/// silence and ends before one, to which the synthesiser adds its own.
#[test]
fn words_have_their_place_in_the_sound() {
    let (_, samples, _) = cases().into_iter().find(|(name, ..)| name == "greeting").expect("the greeting");
    let heard = demo_speech().transcribe(&samples).expect("a transcript");
    let (first, last) = (heard.words.first().expect("a word"), heard.words.last().expect("a word"));
    assert!((14_400..17_600).contains(&first.from), "{first:?}");
    assert!((samples.len() - 26_000..samples.len() - 14_400).contains(&last.to), "{last:?}");
    assert!(heard.words.iter().all(|word| word.confidence > 0.5), "{:?}", heard.words);
}

/// Only where somebody speaks: hum and clicks give nothing, speech the same words, each in its range of the whole sound.
#[test]
fn what_is_no_speech_is_not_transcribed() {
    let mut voiced =
        Voiced::load(&models_folder(), Box::new(demo_speech())).unwrap_or_else(|error| panic!("{error}"));
    assert!(voiced.model().starts_with(demo_speech().model()) && voiced.model().contains(" silero_vad:"));
    for (name, samples, reference) in cases() {
        let heard = voiced.transcribe(&samples).expect("a transcript");
        let within = |from: usize, to: usize| {
            reference.ranges_of_the_filter.iter().any(|(start, end)| *start <= from && to <= *end)
        };
        assert!(heard.words.iter().all(|word| within(word.from, word.to)), "{name}: {:?}", heard.words);
        assert_eq!(
            heard.text,
            if reference.ranges_of_the_filter.is_empty() { "" } else { &reference.text },
            "{name}"
        );
    }
    for sound in extremes() {
        assert!(voiced.transcribe(&sound).is_ok());
    }
}

#[test]
fn voice_activity_is_that_of_the_python_package() {
    let mut model = voice_activity();
    let package = Rule { silence: 1_600, speech: 4_000, pad: 480, ..Rule::FILTER };
    for (name, samples, reference) in cases() {
        let ours = model.probabilities(&samples).expect("probabilities");
        assert_eq!(ours.len(), reference.activity.len(), "{name}");
        for (ours, theirs) in ours.iter().zip(&reference.activity) {
            assert!((ours - theirs).abs() < 1e-4, "{name}: {ours} {theirs}");
        }
        for (rule, expected) in
            [(package, &reference.ranges_of_the_package), (Rule::FILTER, &reference.ranges_of_the_filter)]
        {
            let ranges = activity::ranges(&ours, samples.len(), &rule);
            let ranges: Vec<(usize, usize)> =
                ranges.into_iter().map(|range| (range.start, range.end)).collect();
            assert_eq!(&ranges, expected, "{name} {rule:?}");
        }
    }
}

#[test]
fn sounds_that_no_microphone_gives_are_heard_without_a_fault() {
    let (mut speech, mut activity) = (demo_speech(), voice_activity());
    for sound in extremes() {
        let heard = speech.transcribe(&sound).expect("a transcript");
        assert!(heard.words.iter().all(|word| word.to <= sound.len()));
        assert_eq!(activity.probabilities(&sound).expect("probabilities").len(), sound.len().div_ceil(512));
    }
    let endless = vec![0; MOST_SAMPLES + 1];
    assert!(matches!(speech.transcribe(&endless), Err(SpeechError::TooLong { .. })));
}

#[test]
fn the_same_sound_gives_the_same_bits() {
    let (_, samples, _) = cases().remove(1);
    let (mut speech, mut activity) = (demo_speech(), voice_activity());
    let (text, probabilities) =
        (speech.transcribe(&samples).expect("heard"), activity.probabilities(&samples).expect("measured"));
    let other = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                (demo_speech().transcribe(&samples).expect("heard"), voice_activity().probabilities(&samples))
            })
            .join()
            .expect("no panic")
    });
    for _ in 0..2 {
        assert_eq!(speech.transcribe(&samples).expect("heard"), text);
        assert_eq!(activity.probabilities(&samples).expect("measured"), probabilities);
    }
    assert_eq!((other.0, other.1.expect("measured")), (text, probabilities));
}

#[test]
fn a_model_says_what_its_results_depend_on() {
    let speech = demo_speech();
    for part in ["demo_speech:2:eb2641bf4ef2b611 ", "onnxruntime:", "provider:cpu ", "x86_64"] {
        assert!(speech.model().contains(part), "{}", speech.model());
    }
}

/// A file of the manifest that is missing, cut short, longer, or has one other bit is named with what differs.
#[test]
fn files_that_are_not_those_of_the_manifest_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, good) =
        ("silero_vad.onnx", models::read(&models_folder(), "silero_vad.onnx").expect("the model"));
    let refused = |bytes: Option<&[u8]>, file: &str, wanted: &str| {
        if let Some(bytes) = bytes {
            std::fs::write(folder.path().join(file), bytes).expect("written");
        }
        let message = models::read(folder.path(), file).expect_err("an error").to_string();
        assert!(message.contains(file) && message.contains(wanted), "{message}");
        assert!(message.contains("lsie models fetch"), "{message}");
    };
    refused(None, file, "No such file");
    refused(Some(&good[..good.len() - 1]), file, "bytes, not");
    refused(Some(&[&good[..], &[0]].concat()), file, "bytes, not");
    let mut swapped = good.clone();
    swapped[good.len() / 2] ^= 1;
    refused(Some(&swapped), file, "SHA-256");
    refused(Some(&good), "another.onnx", "does not know");
    std::fs::write(folder.path().join(file), &good).expect("written");
    assert_eq!(models::read(folder.path(), file).expect("the model"), good);
}
