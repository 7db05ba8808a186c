//! Whisper from a directory in the layout of Hugging Face's Optimum, which the user supplies (mathematics §10).
//!
//! `config.json`, `generation_config.json`, `tokenizer.json`, `encoder_model.onnx`, and either
//! `decoder_model_merged.onnx` or `decoder_model.onnx` with `decoder_with_past_model.onnx`; names may end with
//! `_quantized`. Tensors are `f32`, whatever the weights are (int8 by dynamic quantisation, for one).
//!
//! Sound is taken in windows of at most 30 s, without time stamps: a word's place is that of its window. What is
//! longer is cut where the last five seconds of a window are quietest.

mod decoder;
mod search;
mod vocabulary;

use std::ops::Range;
use std::path::Path;

use ort::value::{DynValue, TensorRef};

use self::decoder::Decoder;
use self::search::Found;
use self::vocabulary::{Spelled, Vocabulary};
use super::mel::{FRAME_SAMPLES, LogMel};
use super::{Heard, SAMPLE_HZ, SpeechError, Transcriber, Word, check_length};
use crate::runtime::{ModelError, Network, Runtime};

/// Samples of a window.
const WINDOW: usize = 30 * SAMPLE_HZ;
/// Where, at its end, a window may be cut.
const CUT_WITHIN: usize = 5 * SAMPLE_HZ;
/// Frames of a window.
const FRAMES: usize = WINDOW / FRAME_SAMPLES;

/// How a Whisper directory is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhisperSettings {
    /// ISO 639-1 code of the language that is spoken; none: the model decides for every window.
    pub language: Option<String>,
    /// Transcripts that are followed at once; 1 takes the best token each time.
    pub beams: usize,
}

impl Default for WhisperSettings {
    /// As the original: the language is found out, five beams.
    fn default() -> Self {
        WhisperSettings { language: None, beams: 5 }
    }
}

/// A Whisper model, loaded.
pub struct Whisper {
    encoder: Network,
    decoder: Decoder,
    vocabulary: Vocabulary,
    mel: LogMel,
    /// Token of the language, if it is fixed.
    language: Option<u32>,
    beams: usize,
    model: String,
}

impl Whisper {
    /// Loads the directory and transcribes half a second of silence, which must succeed.
    pub fn load(
        runtime: &Runtime,
        directory: &Path,
        settings: &WhisperSettings,
    ) -> Result<Whisper, ModelError> {
        let foreign = |reason: String| ModelError::Foreign { path: directory.to_path_buf(), reason };
        let vocabulary = Vocabulary::read(directory).map_err(foreign)?;
        let language = match &settings.language {
            Some(code) => {
                let token = vocabulary.language(code);
                Some(token.ok_or_else(|| foreign(format!("the model does not know the language `{code}`")))?)
            }
            None => None,
        };
        if settings.beams == 0 || settings.beams > MOST_BEAMS {
            return Err(foreign(format!("{} beams; 1 to {MOST_BEAMS} can be followed", settings.beams)));
        }
        let encoder = Network::load(runtime, "whisper_encoder", &decoder::file(directory, "encoder_model"))?;
        let decoder = Decoder::load(runtime, directory)?;
        let hash = decoder::joint_hash([encoder.info().sha256.as_str()].into_iter().chain(decoder.hashes()));
        let name = directory.file_name().map_or_else(|| "whisper".into(), |name| name.to_string_lossy());
        let model = format!("whisper:{name}:{hash} beams:{} {}", settings.beams, runtime.fingerprint());
        let mel = LogMel::new(vocabulary.mel_bands);
        let mut whisper =
            Whisper { encoder, decoder, vocabulary, mel, language, beams: settings.beams, model };
        whisper
            .window(&[0; SAMPLE_HZ / 2])
            .map_err(|error| foreign(format!("a trial gives no transcript: {error}")))?;
        Ok(whisper)
    }

    /// What the encoder makes of one window, [1, 1500, width] flattened: for tests against the original.
    pub fn encoded(&mut self, samples: &[i16]) -> Result<Vec<f32>, ModelError> {
        let value = self.encode(samples)?;
        let (_, data) = value.try_extract_tensor::<f32>().map_err(|error| failed(&error))?;
        Ok(data.to_vec())
    }

    /// The tokens of one window, the prompt before them and the end, if it was reached, after them.
    pub fn tokens(&mut self, samples: &[i16]) -> Result<Vec<u32>, ModelError> {
        let (prompt, found) = self.decode(samples)?;
        let end = found.ended.then_some(self.vocabulary.end);
        Ok(prompt.into_iter().chain(found.tokens).chain(end).collect())
    }

    /// Logits after the prompt and `tokens`, each of which is fed alone: for tests against the original.
    pub fn logits(
        &mut self,
        samples: &[i16],
        prompt: &[u32],
        tokens: &[u32],
    ) -> Result<Vec<f32>, ModelError> {
        let encoded = self.encode(samples)?;
        let (mut logits, mut steps) = self.decoder.begin(&encoded, prompt, 1)?;
        for token in tokens {
            let mut next = search::Steps::next(&mut steps, &[0], &[*token])?;
            logits = next.pop().unwrap_or_default();
        }
        Ok(logits)
    }

    fn encode(&mut self, samples: &[i16]) -> Result<DynValue, ModelError> {
        let frames = self.mel.frames(samples, WINDOW);
        let bands = self.mel.bands();
        let mut features = vec![0.0; frames.len()];
        for (at, frame) in frames.chunks_exact(bands).enumerate() {
            for (band, value) in frame.iter().enumerate() {
                features[band * FRAMES + at] = *value;
            }
        }
        let input = TensorRef::from_array_view(([1, bands, FRAMES], &features[..]))
            .map_err(|error| failed(&error))?;
        self.encoder.run(vec![("input_features", input.into())], |mut outputs| {
            outputs.remove("last_hidden_state").ok_or_else(|| "no output `last_hidden_state`".to_string())
        })
    }

    /// The prompt of a window and what follows it.
    fn decode(&mut self, samples: &[i16]) -> Result<(Vec<u32>, Found), ModelError> {
        let encoded = self.encode(samples)?;
        let language = match (self.language, self.vocabulary.has_languages()) {
            (None, true) => Some(self.spoken(&encoded)?),
            (language, _) => language,
        };
        let prompt = self.vocabulary.prompt(language);
        let rules = self.vocabulary.rules(prompt.len());
        let (first, mut steps) = self.decoder.begin(&encoded, &prompt, self.beams)?;
        let found = match self.beams {
            1 => search::greedy(first, &rules, &mut steps)?,
            beams => search::beams(first, beams, &rules, &mut steps)?,
        };
        Ok((prompt, found))
    }

    /// Token of the language that is most probably spoken.
    fn spoken(&mut self, encoded: &DynValue) -> Result<u32, ModelError> {
        let (logits, _) = self.decoder.begin(encoded, &[self.vocabulary.start], 1)?;
        let of = |token: &u32| logits.get(*token as usize).copied().unwrap_or(f32::NEG_INFINITY);
        let mut tokens = self.vocabulary.languages();
        let first = tokens.next().unwrap_or(self.vocabulary.start);
        Ok(tokens.fold(first, |best, token| if of(&token) > of(&best) { token } else { best }))
    }

    /// Language and words of one window; words have their confidence.
    fn window(&mut self, samples: &[i16]) -> Result<(String, Vec<(String, f64)>), ModelError> {
        let (prompt, found) = self.decode(samples)?;
        let language = self.vocabulary.code(&prompt);
        let mut words = Vec::new();
        for Spelled { tokens } in self.vocabulary.words(&found.tokens) {
            let text = self
                .vocabulary
                .text(&found.tokens[tokens.clone()])
                .map_err(|reason| ModelError::Failed { model: "whisper_tokenizer", reason })?;
            let logs = &found.logs[tokens];
            let confidence = (logs.iter().sum::<f64>() / logs.len().max(1) as f64).exp().clamp(0.0, 1.0);
            if !text.is_empty() {
                words.push((text, confidence));
            }
        }
        Ok((language, words))
    }
}

/// Beams that can be followed.
const MOST_BEAMS: usize = 16;

impl Transcriber for Whisper {
    fn transcribe(&mut self, samples: &[i16]) -> Result<Heard, SpeechError> {
        check_length(samples)?;
        let mut heard = Heard::default();
        for range in windows(samples) {
            let (language, words) = self.window(&samples[range.clone()])?;
            if heard.language.is_empty() && !words.is_empty() {
                heard.language = language;
            }
            let (from, to) = (range.start, range.end);
            heard.words.extend(words.into_iter().map(|(text, confidence)| Word {
                text,
                from,
                to,
                confidence,
            }));
        }
        let texts: Vec<&str> = heard.words.iter().map(|word| word.text.as_str()).collect();
        heard.text = texts.join(" ");
        Ok(heard)
    }

    fn model(&self) -> &str {
        &self.model
    }
}

/// The windows of a sound; none of silence's own making: an empty sound has none.
fn windows(samples: &[i16]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while samples.len() - from > WINDOW {
        let search = from + WINDOW - CUT_WITHIN;
        let hundredths = samples[search..search + CUT_WITHIN].chunks_exact(FRAME_SAMPLES);
        let energies = hundredths.map(|some| some.iter().map(|s| i64::from(*s).pow(2)).sum::<i64>());
        // The first of the quietest, and its middle.
        let quietest = energies.enumerate().min_by_key(|(_, energy)| *energy).map_or(0, |(at, _)| at);
        let cut = search + quietest * FRAME_SAMPLES + FRAME_SAMPLES / 2;
        found.push(from..cut);
        from = cut;
    }
    if from < samples.len() {
        found.push(from..samples.len());
    }
    found
}

fn failed(error: &ort::Error) -> ModelError {
    ModelError::Failed { model: "whisper", reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_the_sound_and_are_cut_in_quiet_places() {
        assert!(windows(&[]).is_empty());
        assert_eq!(windows(&[1]), vec![0..1]);
        assert_eq!(windows(&vec![1; WINDOW]), vec![0..WINDOW]);
        let mut loud = vec![1_000; 2 * WINDOW];
        let quiet = WINDOW - 2 * SAMPLE_HZ;
        loud[quiet..quiet + FRAME_SAMPLES].fill(0);
        let cut = quiet + FRAME_SAMPLES / 2;
        let second = cut + WINDOW - CUT_WITHIN + FRAME_SAMPLES / 2;
        assert_eq!(windows(&loud), vec![0..cut, cut..second, second..2 * WINDOW]);
    }
}
