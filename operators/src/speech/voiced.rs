//! A transcriber that is given only what voice activity takes for speech, range by range: noise and music lead to no words, and places
//! are right to the range.

use std::path::Path;

use super::activity::{self, Rule, VoiceActivity};
use super::{Heard, SpeechError, Transcriber, check_length};
use crate::runtime::ModelError;

/// A transcriber behind the filter of the original: 2 s of silence end a range, 0.4 s are added on both sides.
pub struct Voiced {
    activity: VoiceActivity,
    inner: Box<dyn Transcriber>,
    model: String,
}

impl Voiced {
    /// Loads voice activity from the folder of the models and puts it before a transcriber.
    pub fn load(folder: &Path, inner: Box<dyn Transcriber>) -> Result<Voiced, ModelError> {
        let activity = VoiceActivity::load(folder)?;
        let hash = activity.info().sha256.get(..16).unwrap_or_default();
        let model = format!("{} silero_vad:{hash}", inner.model());
        Ok(Voiced { activity, inner, model })
    }
}

impl Transcriber for Voiced {
    fn transcribe(&mut self, samples: &[i16]) -> Result<Heard, SpeechError> {
        check_length(samples)?;
        let probabilities = self.activity.probabilities(samples)?;
        let mut whole = Heard::default();
        for range in activity::ranges(&probabilities, samples.len(), &Rule::FILTER) {
            let Some(sound) = samples.get(range.clone()) else { continue };
            let Heard { text, language, words } = self.inner.transcribe(sound)?;
            if whole.language.is_empty() {
                whole.language = language;
            }
            if !text.is_empty() {
                let space = if whole.text.is_empty() { "" } else { " " };
                whole.text.push_str(space);
                whole.text.push_str(&text);
            }
            whole.words.extend(words.into_iter().map(|mut word| {
                (word.from, word.to) = (word.from + range.start, word.to + range.start);
                word
            }));
        }
        Ok(whole)
    }

    fn model(&self) -> &str {
        &self.model
    }
}
