//! What a Whisper directory says of itself: its tokens, its languages, its prompt, and what it never says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokenizers::Tokenizer;

use super::search::Rules;

/// What the byte-level spelling writes for a space.
const SPACE: char = 'Ġ';

/// The part of `config.json` that is needed.
#[derive(Deserialize)]
struct Config {
    num_mel_bins: usize,
    decoder_start_token_id: u32,
    eos_token_id: u32,
    max_target_positions: usize,
    #[serde(default)]
    suppress_tokens: Option<Vec<i64>>,
    #[serde(default)]
    begin_suppress_tokens: Option<Vec<i64>>,
}

/// The part of `generation_config.json` that is needed; its lists go before those of `config.json`.
#[derive(Deserialize)]
struct Generation {
    #[serde(default)]
    lang_to_id: BTreeMap<String, u32>,
    #[serde(default)]
    task_to_id: BTreeMap<String, u32>,
    no_timestamps_token_id: Option<u32>,
    max_length: Option<usize>,
    #[serde(default)]
    suppress_tokens: Option<Vec<i64>>,
    #[serde(default)]
    begin_suppress_tokens: Option<Vec<i64>>,
}

/// The words of a transcript, as ranges of its tokens.
pub(super) struct Spelled {
    pub(super) tokens: Range<usize>,
}

/// Tokens and what they mean.
pub(super) struct Vocabulary {
    tokenizer: Tokenizer,
    pub(super) mel_bands: usize,
    pub(super) start: u32,
    pub(super) end: u32,
    /// Language codes by their token; empty for a model of one language.
    languages: BTreeMap<u32, String>,
    transcribe: Option<u32>,
    no_timestamps: Option<u32>,
    never: BTreeSet<u32>,
    not_first: BTreeSet<u32>,
    most: usize,
}

impl Vocabulary {
    /// Reads the three files of the directory. The error says what is wrong with which.
    pub(super) fn read(directory: &Path) -> Result<Vocabulary, String> {
        let config: Config = json(directory, "config.json")?;
        let generation: Generation = json(directory, "generation_config.json")?;
        let tokenizer = Tokenizer::from_file(directory.join("tokenizer.json"))
            .map_err(|error| format!("tokenizer.json: {error}"))?;
        let code = |name: &str| name.trim_matches(['<', '|', '>']).to_string();
        let languages = generation.lang_to_id.iter().map(|(name, token)| (*token, code(name))).collect();
        let list = |first: Option<Vec<i64>>, second: Option<Vec<i64>>| {
            let tokens = first.or(second).unwrap_or_default();
            tokens.into_iter().filter_map(|token| u32::try_from(token).ok()).collect()
        };
        let most = generation.max_length.unwrap_or(config.max_target_positions);
        if !(1..=512).contains(&config.num_mel_bins) {
            return Err(format!("config.json: {} mel bands", config.num_mel_bins));
        }
        Ok(Vocabulary {
            tokenizer,
            mel_bands: config.num_mel_bins,
            start: config.decoder_start_token_id,
            end: config.eos_token_id,
            languages,
            transcribe: generation.task_to_id.get("transcribe").copied(),
            no_timestamps: generation.no_timestamps_token_id,
            never: list(generation.suppress_tokens, config.suppress_tokens),
            not_first: list(generation.begin_suppress_tokens, config.begin_suppress_tokens),
            most: most.min(config.max_target_positions),
        })
    }

    /// The token of a language.
    pub(super) fn language(&self, code: &str) -> Option<u32> {
        self.languages.iter().find(|(_, other)| *other == code).map(|(token, _)| *token)
    }

    /// Whether a language is part of the prompt.
    pub(super) fn has_languages(&self) -> bool {
        !self.languages.is_empty()
    }

    /// The tokens of all languages.
    pub(super) fn languages(&self) -> impl Iterator<Item = u32> + '_ {
        self.languages.keys().copied()
    }

    /// The language that a prompt asks for; a model without languages is English (such are those published).
    pub(super) fn code(&self, prompt: &[u32]) -> String {
        let asked = prompt.iter().find_map(|token| self.languages.get(token));
        asked.cloned().unwrap_or_else(|| "en".into())
    }

    /// What a transcript begins with: start, language, task, and that there are no time stamps.
    pub(super) fn prompt(&self, language: Option<u32>) -> Vec<u32> {
        let task = language.and(self.transcribe);
        [Some(self.start), language, task, self.no_timestamps].into_iter().flatten().collect()
    }

    /// What may follow a prompt of so many tokens.
    pub(super) fn rules(&self, prompt: usize) -> Rules {
        Rules {
            end: self.end,
            never: self.never.clone(),
            not_first: self.not_first.clone(),
            prompt,
            most: self.most.saturating_sub(prompt),
        }
    }

    /// The text of tokens, without those that are no text, and without spaces around it.
    pub(super) fn text(&self, tokens: &[u32]) -> Result<String, String> {
        let text = self.tokenizer.decode(tokens, true).map_err(|error| error.to_string())?;
        Ok(text.trim().to_string())
    }

    /// Words: a token that begins with a space begins a word.
    pub(super) fn words(&self, tokens: &[u32]) -> Vec<Spelled> {
        let begins =
            |token: &u32| self.tokenizer.id_to_token(*token).is_some_and(|text| text.starts_with(SPACE));
        let mut starts: Vec<usize> = (1..tokens.len()).filter(|at| begins(&tokens[*at])).collect();
        starts.insert(0, 0);
        let ends = starts.iter().skip(1).copied().chain([tokens.len()]);
        starts.iter().zip(ends).map(|(from, to)| Spelled { tokens: *from..to }).collect()
    }
}

fn json<T: DeserializeOwned>(directory: &Path, name: &str) -> Result<T, String> {
    let bytes = fs::read(directory.join(name)).map_err(|error| format!("{name}: {error}"))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("{name}: {error}"))
}
