//! Where somebody speaks: Silero's voice activity model, one probability for every 32 ms, and the ranges of
//! speech that follow from them (mathematics §10, the filter before transcription).

use std::ops::Range;
use std::path::Path;

use ort::value::TensorRef;

use super::SAMPLE_HZ;
use crate::runtime::{ModelError, ModelInfo, Network, RUNTIME_FILE, Runtime, network};

/// File of the model in the folder of the models.
const FILE: &str = "silero_vad.onnx";
/// Samples of one probability.
pub const STEP: usize = 512;
/// Samples before them that the model sees too.
const CONTEXT: usize = 64;
/// Elements of the model's memory.
const STATE: usize = 2 * 128;

/// The model, loaded. It remembers nothing from one sound to the next.
pub struct VoiceActivity {
    network: Network,
}

impl VoiceActivity {
    /// Loads `libonnxruntime.so` and `silero_vad.onnx` from `folder`, and runs the model once on a known input.
    pub fn load(folder: &Path) -> Result<VoiceActivity, ModelError> {
        VoiceActivity::load_with(Runtime::load(&folder.join(RUNTIME_FILE))?, folder)
    }

    /// The same with a runtime that lies elsewhere.
    pub fn load_with(runtime: &Runtime, folder: &Path) -> Result<VoiceActivity, ModelError> {
        let mut model =
            VoiceActivity { network: Network::pinned_on_processor(runtime, "silero_vad", folder, FILE)? };
        // A decaying ring 160 times a second: enough of a voice to the model.
        let known: Vec<i16> = (0..SELF_TEST.len() * STEP)
            .map(|i| (i % 100) as i16)
            .map(|phase| (100 - phase) * if phase * 7 / 100 % 2 == 0 { 100 } else { -100 })
            .collect();
        let got = model.probabilities(&known)?;
        let equal = got.iter().zip(SELF_TEST).all(|(got, value)| (got - value).abs() <= 0.02);
        if !equal {
            let reason = format!("the self-test gives {got:?}, not {SELF_TEST:?}");
            return Err(ModelError::Mismatch { path: folder.join(FILE), reason });
        }
        Ok(model)
    }

    /// What identifies the model.
    pub fn info(&self) -> &ModelInfo {
        self.network.info()
    }

    /// How probable speech is in each stretch of [`STEP`] samples; the last one is filled up with silence.
    pub fn probabilities(&mut self, samples: &[i16]) -> Result<Vec<f32>, ModelError> {
        let mut state = [0.0; STATE];
        let mut input = [0.0; CONTEXT + STEP];
        let mut probabilities = Vec::with_capacity(samples.len().div_ceil(STEP));
        for chunk in samples.chunks(STEP) {
            input.copy_within(STEP.., 0);
            let rest = &mut input[CONTEXT..];
            rest.fill(0.0);
            for (value, sample) in rest.iter_mut().zip(chunk) {
                *value = f32::from(*sample) / 32_768.0;
            }
            probabilities.push(self.step(&input, &mut state)?);
        }
        Ok(probabilities)
    }

    fn step(&mut self, input: &[f32], state: &mut [f32; STATE]) -> Result<f32, ModelError> {
        let failed =
            |error: ort::Error| ModelError::Failed { model: "silero_vad", reason: error.to_string() };
        let before = *state;
        let rate = [SAMPLE_HZ as i64];
        let no_dimensions: [i64; 0] = [];
        let inputs = vec![
            ("input", TensorRef::from_array_view(([1, input.len()], input)).map_err(failed)?.into()),
            ("state", TensorRef::from_array_view(([2, 1, STATE / 2], &before[..])).map_err(failed)?.into()),
            ("sr", TensorRef::from_array_view((no_dimensions, &rate[..])).map_err(failed)?.into()),
        ];
        self.network.run(inputs, |outputs| {
            let (_, next) = network::floats(&outputs, "stateN")?;
            let next: &[f32; STATE] = next.try_into().map_err(|_| "a state of another size".to_string())?;
            state.copy_from_slice(next);
            match network::floats(&outputs, "output")?.1 {
                [probability] if (0.0..=1.0).contains(probability) => Ok(*probability),
                other => Err(format!("{other:?} is no probability")),
            }
        })
    }
}

/// What the known input gives, from the pinned file.
const SELF_TEST: [f32; 6] = [0.598_2, 0.853_5, 0.882_3, 0.866_4, 0.816_6, 0.745_1];

/// How probabilities become ranges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Speech begins at this probability.
    pub enter: f32,
    /// It may end below this one.
    pub leave: f32,
    /// Silence of fewer samples does not end it.
    pub silence: usize,
    /// Speech of no more samples than this is none.
    pub speech: usize,
    /// Samples added on both sides; where two ranges would meet, they share what lies between.
    pub pad: usize,
}

impl Rule {
    /// The filter of the original (faster-whisper's `vad_filter`): 2 s of silence end speech, 0.4 s are added.
    pub const FILTER: Rule =
        Rule { enter: 0.5, leave: 0.35, silence: 2 * SAMPLE_HZ, speech: 0, pad: SAMPLE_HZ * 2 / 5 };
}

/// The ranges of speech in a sound of `samples`, in order, apart, and inside the sound.
pub fn ranges(probabilities: &[f32], samples: usize, rule: &Rule) -> Vec<Range<usize>> {
    let mut ranges = spoken(probabilities, samples, rule);
    let mut before = 0;
    for index in 0..ranges.len() {
        let after = ranges.get(index + 1).map_or(usize::MAX, |next| next.start);
        let range = &mut ranges[index];
        // Half of the silence where it does not suffice for both neighbours.
        let end = match after.saturating_sub(range.end) {
            gap if after != usize::MAX && gap < 2 * rule.pad => range.end + gap / 2,
            _ => (range.end + rule.pad).min(samples),
        };
        let start = match range.start - before {
            gap if index > 0 && gap < 2 * rule.pad => range.start - gap / 2,
            _ => range.start.saturating_sub(rule.pad),
        };
        before = range.end;
        *range = start..end;
    }
    ranges
}

/// The ranges before anything is added to them.
fn spoken(probabilities: &[f32], samples: usize, rule: &Rule) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut keep = |range: Range<usize>| {
        if range.len() > rule.speech {
            ranges.push(range);
        }
    };
    let mut start = None;
    let mut quiet_from = None;
    for (index, probability) in probabilities.iter().enumerate() {
        let now = index * STEP;
        if *probability >= rule.enter {
            quiet_from = None;
            start = start.or(Some(now));
            continue;
        }
        let Some(from) = start else { continue };
        if *probability < rule.leave {
            let quiet = *quiet_from.get_or_insert(now);
            if now - quiet >= rule.silence {
                keep(from..quiet);
                (start, quiet_from) = (None, None);
            }
        }
    }
    if let Some(from) = start {
        keep(from..samples.max(from));
    }
    ranges
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHORT: Rule = Rule { silence: 2 * STEP, speech: STEP, pad: STEP / 2, ..Rule::FILTER };

    #[test]
    fn nothing_is_no_range() {
        assert!(ranges(&[], 0, &Rule::FILTER).is_empty());
        assert!(ranges(&[0.0, 0.49, 0.4], 3 * STEP, &Rule::FILTER).is_empty());
    }

    #[test]
    fn a_dip_above_the_lower_threshold_does_not_end_speech() {
        let dip = [0.9, 0.9, 0.4, 0.4, 0.4, 0.4, 0.9, 0.1, 0.1, 0.1, 0.0];
        assert_eq!(ranges(&dip, 11 * STEP, &SHORT), vec![0..7 * STEP + STEP / 2]);
    }

    #[test]
    fn what_is_still_spoken_at_the_end_ends_with_the_sound() {
        assert_eq!(ranges(&[0.0, 0.9, 0.9], 2 * STEP + 7, &SHORT), vec![STEP / 2..2 * STEP + 7]);
        // One step alone is not more than one step.
        assert!(ranges(&[0.0, 0.0, 0.9], 2 * STEP + 7, &SHORT).is_empty());
    }

    #[test]
    fn neighbours_share_the_silence_between_them() {
        let rule = Rule { pad: 10 * STEP, ..SHORT };
        let two = [0.9, 0.9, 0.0, 0.0, 0.0, 0.9, 0.9, 0.9];
        assert_eq!(
            ranges(&two, 8 * STEP, &rule),
            vec![0..3 * STEP + STEP / 2, 3 * STEP + STEP / 2..8 * STEP]
        );
    }

    proptest! {
        #[test]
        fn ranges_are_in_order_apart_and_inside(
            probabilities in proptest::collection::vec(0.0..=1.0f32, 0..60),
            missing in 0..STEP,
            pad in 0..4_000usize,
            silence in 0..4_000usize,
        ) {
            let samples = (probabilities.len() * STEP).saturating_sub(missing);
            let rule = Rule { pad, silence, ..Rule::FILTER };
            let mut end = 0;
            for range in ranges(&probabilities, samples, &rule) {
                prop_assert!(end <= range.start && range.start <= range.end && range.end <= samples);
                end = range.end;
            }
        }
    }
}
