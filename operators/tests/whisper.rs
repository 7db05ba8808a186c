//! Whisper directories against `transformers`, on two tiny models of random weights. `data/whisper/make.py` made
//! them and the figures, and says with what.

#![allow(clippy::disallowed_methods, reason = "a test may read its environment")]

#[path = "common/folder.rs"]
mod folder;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use folder::models_folder;
use lsie_operators::runtime::{ModelError, RUNTIME_FILE, Runtime};
use lsie_operators::speech::{Heard, Transcriber, Whisper, WhisperSettings};
use serde::Deserialize;
use tokenizers::Tokenizer;

/// What `transformers` says of one window.
#[derive(Deserialize)]
struct Window {
    samples: usize,
    encoded: Vec<f32>,
    logits_of_every_11th: BTreeMap<usize, Vec<f32>>,
    greedy: Vec<u32>,
    beams: Vec<u32>,
    language: String,
    text: String,
}

/// By directory and sound.
type Reference = BTreeMap<String, BTreeMap<String, Vec<Window>>>;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn unpacked(name: &str) -> Vec<u8> {
    let path = file(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    zstd::decode_all(&bytes[..]).expect("zstd")
}

fn reference() -> Reference {
    serde_json::from_slice(&unpacked("whisper/reference.json.zst")).expect("JSON")
}

/// The sounds of the reference, made as the script makes them.
fn sounds() -> BTreeMap<String, Vec<i16>> {
    let load = |name: &str| {
        let bytes = unpacked(&format!("speech/{name}.s16.zst"));
        bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect::<Vec<i16>>()
    };
    let names = ["clipped", "greeting", "no_speech", "noisy", "two_voices"];
    let mut sounds: BTreeMap<String, Vec<i16>> = names.map(|name| (name.to_string(), load(name))).into();
    let several: Vec<i16> =
        ["greeting", "noisy", "clipped"].iter().flat_map(|name| sounds[*name].clone()).collect();
    sounds.insert("long".into(), several.into_iter().cycle().take(31 * 16_000).collect());
    sounds.insert("short".into(), sounds["clipped"][8_000..9_600].to_vec());
    sounds.insert("silence".into(), vec![0; 16_000]);
    sounds
}

fn runtime() -> &'static Runtime {
    Runtime::load(&models_folder().join(RUNTIME_FILE)).unwrap_or_else(|error| panic!("{error}"))
}

fn settings(beams: usize, language: Option<&str>) -> WhisperSettings {
    WhisperSettings { language: language.map(String::from), beams }
}

fn load(directory: &Path, beams: usize) -> Whisper {
    Whisper::load(runtime(), directory, &settings(beams, None)).unwrap_or_else(|error| panic!("{error}"))
}

/// The directory `tiny` without the files in `left_out`.
fn part_of_tiny(left_out: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in std::fs::read_dir(file("whisper/tiny")).expect("the fixture") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a name");
        if !left_out.contains(&name.as_str()) {
            std::fs::copy(entry.path(), folder.path().join(&name)).expect("copied");
        }
    }
    folder
}

/// Runs `check` on every window of every sound of both directories.
fn for_all_windows(mut check: impl FnMut(&str, &str, &[i16], &Window)) {
    let sounds = sounds();
    for (directory, by_sound) in reference() {
        assert_eq!(by_sound.len(), sounds.len());
        for (name, windows) in by_sound {
            let mut rest = &sounds[&name][..];
            for window in windows {
                let (now, later) = rest.split_at(window.samples);
                check(&directory, &name, now, &window);
                rest = later;
            }
            assert!(rest.is_empty(), "{name}: the windows are the whole sound");
        }
    }
}

#[test]
fn the_encoder_s_output_is_that_of_transformers() {
    let mut models = BTreeMap::new();
    let mut largest = 0f32;
    for_all_windows(|directory, name, samples, window| {
        let model = models
            .entry(directory.to_string())
            .or_insert_with(|| load(&file(&format!("whisper/{directory}")), 1));
        let ours = model.encoded(samples).expect("encoded");
        for (ours, theirs) in ours.iter().step_by(997).zip(&window.encoded) {
            largest = largest.max((ours - theirs).abs());
            assert!((ours - theirs).abs() < 1e-4, "{directory} {name}: {ours} {theirs}");
        }
    });
    println!("largest difference {largest:e}");
}

#[test]
fn logits_are_those_of_transformers() {
    let mut models = BTreeMap::new();
    let mut largest = 0f32;
    for_all_windows(|directory, name, samples, window| {
        let model = models
            .entry(directory.to_string())
            .or_insert_with(|| load(&file(&format!("whisper/{directory}")), 1));
        for (row, theirs) in &window.logits_of_every_11th {
            let prompt = &window.greedy[..(row + 1).min(4)];
            let tokens = &window.greedy[prompt.len()..=*row];
            let ours = model.logits(samples, prompt, tokens).expect("logits");
            let scale = theirs.iter().fold(1f32, |scale, logit| scale.max(logit.abs()));
            for (ours, theirs) in ours.iter().step_by(11).zip(theirs) {
                let difference = (ours - theirs).abs() / scale;
                largest = largest.max(difference);
                assert!(difference < 1e-4, "{directory} {name} {row}: {ours} {theirs} of {scale}");
            }
        }
    });
    println!("largest difference {largest:e} of the largest logit");
}

#[test]
fn tokens_languages_and_texts_are_those_of_transformers() {
    let split = part_of_tiny(&["decoder_model_merged.onnx"]);
    let merged = part_of_tiny(&["decoder_model.onnx", "decoder_with_past_model.onnx"]);
    let mut models: BTreeMap<&str, Vec<[Whisper; 2]>> = BTreeMap::new();
    let both = |directory: &Path| [load(directory, 1), load(directory, 5)];
    models.insert("tiny", vec![both(split.path()), both(merged.path())]);
    models.insert("tiny128", vec![both(&file("whisper/tiny128"))]);
    let mut windows = 0;
    for_all_windows(|directory, name, samples, window| {
        for [greedy, beams] in models.get_mut(directory).expect("loaded") {
            assert_eq!(greedy.tokens(samples).expect("tokens"), window.greedy, "{directory} {name} greedy");
            assert_eq!(beams.tokens(samples).expect("tokens"), window.beams, "{directory} {name} 5 beams");
            let heard = greedy.transcribe(samples).expect("a transcript");
            let words = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
            assert_eq!(words(&heard.text), words(&window.text), "{directory} {name}");
            assert!(heard.words.is_empty() || heard.language == window.language, "{directory} {name}");
        }
        windows += 1;
    });
    assert_eq!(windows, 2 * 9);
}

/// 31 s are two windows, and each word has that of its window.
#[test]
fn long_sounds_are_cut_where_the_reference_cuts_them() {
    let sound = &sounds()["long"];
    let heard = load(&file("whisper/tiny"), 1).transcribe(sound).expect("a transcript");
    let reference = &reference()["tiny"]["long"];
    let places: Vec<(usize, usize)> = heard.words.iter().map(|word| (word.from, word.to)).collect();
    let (first, second) = (reference[0].samples, sound.len());
    assert!(places.contains(&(0, first)) && places.contains(&(first, second)), "{places:?}");
    assert!(places.iter().all(|place| [(0, first), (first, second)].contains(place)), "{places:?}");
    assert!(heard.words.iter().all(|word| word.confidence > 0.0 && word.confidence <= 1.0));
}

#[test]
fn a_fixed_language_is_asked_for() {
    let directory = file("whisper/tiny");
    let sound = &sounds()["greeting"];
    let mut german = Whisper::load(runtime(), &directory, &settings(1, Some("de")))
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(german.transcribe(sound).expect("a transcript").language, "de");
    let found_out = load(&directory, 1).tokens(sound).expect("tokens");
    assert_ne!(german.tokens(sound).expect("tokens")[1], found_out[1]);
}

#[test]
fn the_same_sound_gives_the_same_bits() {
    let directory = file("whisper/tiny");
    let sounds = sounds();
    let all = |model: &mut Whisper| -> Vec<Heard> {
        sounds.values().map(|sound| model.transcribe(sound).expect("a transcript")).collect()
    };
    let mut model = load(&directory, 5);
    let first = all(&mut model);
    assert_eq!(all(&mut model), first);
    let elsewhere =
        std::thread::scope(|scope| scope.spawn(|| all(&mut load(&directory, 5))).join().expect("no panic"));
    assert_eq!(elsewhere, first);
}

#[test]
fn sounds_that_no_microphone_gives_are_heard_without_a_fault() {
    let mut model = load(&file("whisper/tiny128"), 2);
    let clipped = (0..4_000).map(|i| if i % 2 == 0 { i16::MIN } else { i16::MAX }).collect();
    let shifted = (0..8_000).map(|i: i32| ((i * 37) % 256 - 128) as i16 * 256).collect();
    for sound in
        [vec![], vec![1], vec![0; 48_000], vec![i16::MIN; 399], vec![i16::MAX; 480_001], clipped, shifted]
    {
        let heard = model.transcribe(&sound).expect("a transcript");
        assert!(heard.words.iter().all(|word| word.from < word.to && word.to <= sound.len()));
        assert!(!sound.is_empty() || heard == Heard::default());
    }
}

#[test]
fn directories_that_are_no_whisper_are_refused_with_the_mend() {
    let refused = |directory: &Path, settings: &WhisperSettings, wanted: &str| {
        let error = Whisper::load(runtime(), directory, settings).err().expect("an error");
        assert!(matches!(error, ModelError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains(wanted) && error.to_string().contains("name another"), "{error}");
    };
    let default = settings(1, None);
    refused(Path::new("/nowhere"), &default, "config.json");
    for missing in ["config.json", "generation_config.json", "tokenizer.json", "encoder_model.onnx"] {
        refused(part_of_tiny(&[missing]).path(), &default, missing);
    }
    let no_decoder = part_of_tiny(&["decoder_model_merged.onnx", "decoder_with_past_model.onnx"]);
    refused(no_decoder.path(), &default, "decoder_with_past_model.onnx");
    let whole = part_of_tiny(&[]);
    refused(whole.path(), &settings(1, Some("xx")), "language `xx`");
    refused(whole.path(), &settings(0, None), "beams");
    let put = |name: &str, bytes: &[u8]| std::fs::write(whole.path().join(name), bytes).expect("written");
    put("decoder_model_merged.onnx", b"no graph");
    refused(whole.path(), &default, "decoder_model_merged.onnx");
    // The wrong number of bands is found by the trial.
    let other = part_of_tiny(&[]);
    std::fs::copy(file("whisper/tiny128/encoder_model.onnx"), other.path().join("encoder_model.onnx"))
        .expect("copied");
    refused(other.path(), &default, "trial");
}

#[test]
fn ten_thousand_strings_come_back_from_their_tokens() {
    let tokenizer = Tokenizer::from_file(file("whisper/tiny/tokenizer.json")).expect("a tokenizer");
    let alphabet: Vec<char> =
        "abcdefgh  eeettt.,!?'\n\tÄéñßЖды你好مرحبا\u{1F600}\u{200D}\u{FE0F}0123".chars().collect();
    let mut state = 1u64;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..10_000 {
        let text: String = (0..draw(40)).map(|_| alphabet[draw(alphabet.len())]).collect();
        let encoded = tokenizer.encode(text.as_str(), false).expect("tokens");
        assert_eq!(tokenizer.decode(encoded.get_ids(), false).expect("text"), text);
    }
}
