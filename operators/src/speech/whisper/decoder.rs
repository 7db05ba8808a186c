//! The decoder of a Whisper directory, token by token, with what it remembers of the tokens before (its keys and
//! values).
//!
//! Optimum writes it either as two graphs, one for the first step and one for the others, or as one that holds
//! both branches.

use std::path::{Path, PathBuf};

use ort::session::{SessionInputValue, SessionOutputs};
use ort::value::{DynValue, Tensor};
use sha2::{Digest, Sha256};

use super::search::Steps;
use crate::runtime::{ModelError, Network, Runtime, network};

/// What names of remembered tensors begin with, as outputs and as inputs.
const PRESENT: &str = "present.";
const PAST: &str = "past_key_values.";

/// The decoder's graphs.
pub(super) enum Decoder {
    /// One graph with a switch.
    Merged(Network),
    /// The first step, and the others.
    Split { first: Network, next: Network },
}

/// A graph of the directory: `NAME.onnx`, or `NAME_quantized.onnx` where there is only that.
pub(super) fn file(directory: &Path, name: &str) -> PathBuf {
    let plain = directory.join(format!("{name}.onnx"));
    let quantized = directory.join(format!("{name}_quantized.onnx"));
    if !plain.exists() && quantized.exists() { quantized } else { plain }
}

/// One hash for several files: 16 hex digits.
pub(super) fn joint_hash<'a>(hashes: impl Iterator<Item = &'a str>) -> String {
    let mut joint = Sha256::new();
    hashes.for_each(|hash| joint.update(hash));
    joint.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl Decoder {
    pub(super) fn load(runtime: &Runtime, directory: &Path) -> Result<Decoder, ModelError> {
        let merged = file(directory, "decoder_model_merged");
        if merged.exists() {
            return Ok(Decoder::Merged(Network::load(runtime, "whisper_decoder", &merged)?));
        }
        let first = Network::load(runtime, "whisper_decoder", &file(directory, "decoder_model"))?;
        let next = file(directory, "decoder_with_past_model");
        Ok(Decoder::Split { first, next: Network::load(runtime, "whisper_decoder_with_past", &next)? })
    }

    /// Hashes of its files.
    pub(super) fn hashes(&self) -> Vec<&str> {
        match self {
            Decoder::Merged(network) => vec![network.info().sha256.as_str()],
            Decoder::Split { first, next } => vec![first.info().sha256.as_str(), next.info().sha256.as_str()],
        }
    }

    /// Feeds the prompt, and returns the logits after it and what continues from there, for `width` transcripts
    /// at once.
    pub(super) fn begin(
        &mut self,
        encoded: &DynValue,
        prompt: &[u32],
        width: usize,
    ) -> Result<(Vec<f32>, Continued<'_>), ModelError> {
        let ids = ids(prompt, 1)?;
        let mut inputs = vec![("input_ids", (&ids).into()), ("encoder_hidden_states", encoded.into())];
        let unused;
        let off;
        let network = match self {
            Decoder::Merged(network) => {
                unused = no_past(network)?;
                off = switch(false)?;
                inputs.extend(unused.iter().map(|(name, value)| (name.as_str(), value.into())));
                inputs.push(("use_cache_branch", (&off).into()));
                network
            }
            Decoder::Split { first, .. } => first,
        };
        let (mut logits, past) = network.run(inputs, |mut outputs| {
            let logits = last_logits(&outputs)?;
            Ok((logits, take_present(&mut outputs, |_| true)))
        })?;
        let encoded = repeated(encoded, width)?;
        let mut remembered = Vec::with_capacity(past.len());
        for (name, value) in past {
            remembered.push((name, repeated(&value, width)?));
        }
        let logits = logits.pop().unwrap_or_default();
        Ok((logits, Continued { decoder: self, encoded, remembered, width, fresh: true }))
    }
}

/// What continues transcripts after a prompt.
pub(super) struct Continued<'d> {
    decoder: &'d mut Decoder,
    encoded: DynValue,
    /// Keys and values, by the name of the input that takes them.
    remembered: Vec<(String, DynValue)>,
    /// Transcripts at once: always so many, whatever is needed, so that the shape cannot reach a result.
    width: usize,
    /// All transcripts are still the prompt.
    fresh: bool,
}

impl Steps for Continued<'_> {
    fn next(&mut self, parents: &[usize], tokens: &[u32]) -> Result<Vec<Vec<f32>>, ModelError> {
        let wanted = tokens.len().min(self.width);
        self.follow(parents)?;
        // Rows that nobody needs repeat the first.
        let mut rows = tokens.to_vec();
        rows.resize(self.width, tokens.first().copied().unwrap_or_default());
        let ids = ids(&rows, self.width)?;
        let on = switch(true)?;
        let mut inputs: Vec<(&str, SessionInputValue<'_>)> = vec![("input_ids", (&ids).into())];
        let network = match self.decoder {
            Decoder::Merged(network) => {
                inputs.push(("use_cache_branch", (&on).into()));
                network
            }
            Decoder::Split { next, .. } => next,
        };
        let takes = |name: &str| network.inputs().iter().any(|input| input.name() == name);
        if takes("encoder_hidden_states") {
            inputs.push(("encoder_hidden_states", (&self.encoded).into()));
        }
        let needed = self.remembered.iter().filter(|(name, _)| takes(name));
        inputs.extend(needed.map(|(name, value)| (name.as_str(), value.into())));
        let (mut logits, present) = network.run(inputs, |mut outputs| {
            let logits = last_logits(&outputs)?;
            // What was heard does not change; the merged graph gives it as an empty tensor.
            Ok((logits, take_present(&mut outputs, |name| name.contains(".decoder."))))
        })?;
        for (name, value) in present {
            if let Some(place) = self.remembered.iter_mut().find(|(other, _)| *other == name) {
                place.1 = value;
            }
        }
        logits.truncate(wanted);
        Ok(logits)
    }
}

impl Continued<'_> {
    /// Puts what is remembered into the order of `parents`.
    fn follow(&mut self, parents: &[usize]) -> Result<(), ModelError> {
        let fresh = std::mem::replace(&mut self.fresh, false);
        let in_order =
            parents.len() == self.width && parents.iter().enumerate().all(|(at, from)| at == *from);
        if fresh || in_order || self.width == 1 {
            return Ok(());
        }
        for (name, value) in self.remembered.iter_mut().filter(|(name, _)| name.contains(".decoder.")) {
            *value = reordered(value, parents, self.width).map_err(|reason| ModelError::Failed {
                model: "whisper_decoder",
                reason: format!("{name}: {reason}"),
            })?;
        }
        Ok(())
    }
}

fn failed(error: ort::Error) -> ModelError {
    ModelError::Failed { model: "whisper_decoder", reason: error.to_string() }
}

/// Tokens as `rows` rows.
fn ids(tokens: &[u32], rows: usize) -> Result<Tensor<i64>, ModelError> {
    let ids: Vec<i64> = tokens.iter().map(|token| i64::from(*token)).collect();
    Tensor::from_array(([rows, ids.len() / rows.max(1)], ids)).map_err(failed)
}

fn switch(on: bool) -> Result<Tensor<bool>, ModelError> {
    Tensor::from_array(([1], vec![on])).map_err(failed)
}

/// What the merged graph wants as its past in the first step, and does not look at.
fn no_past(network: &Network) -> Result<Vec<(String, DynValue)>, ModelError> {
    let mut none = Vec::new();
    for input in network.inputs().iter().filter(|input| input.name().starts_with(PAST)) {
        let shape = network::shape(network.inputs(), input.name())
            .map_err(|reason| ModelError::Failed { model: "whisper_decoder", reason })?;
        // Batch and length are free; one of each.
        let shape: Vec<i64> = shape.iter().map(|size| (*size).max(1)).collect();
        let zeros = vec![0f32; shape.iter().product::<i64>() as usize];
        none.push((input.name().to_string(), Tensor::from_array((shape, zeros)).map_err(failed)?.into_dyn()));
    }
    Ok(none)
}

/// Logits of the last position of every row.
fn last_logits(outputs: &SessionOutputs<'_>) -> Result<Vec<Vec<f32>>, String> {
    let (shape, logits) = network::floats(outputs, "logits")?;
    match shape {
        [rows, length, width] if *rows > 0 && *length > 0 && *width > 0 => {
            let (length, width) = (*length as usize, *width as usize);
            Ok(logits.chunks_exact(length * width).map(|row| row[(length - 1) * width..].to_vec()).collect())
        }
        other => Err(format!("logits of shape {other:?}")),
    }
}

/// The keys and values among the outputs, under the names that inputs have.
fn take_present(outputs: &mut SessionOutputs<'_>, wanted: impl Fn(&str) -> bool) -> Vec<(String, DynValue)> {
    let names: Vec<String> =
        outputs.keys().filter(|name| name.starts_with(PRESENT) && wanted(name)).map(String::from).collect();
    let mut taken = Vec::with_capacity(names.len());
    for name in names {
        if let Some(value) = outputs.remove(&name) {
            taken.push((name.replacen(PRESENT, PAST, 1), value));
        }
    }
    taken
}

/// One row as `width` equal ones.
fn repeated(value: &DynValue, width: usize) -> Result<DynValue, ModelError> {
    let (shape, data) = value.try_extract_tensor::<f32>().map_err(failed)?;
    let mut shape = shape.to_vec();
    if let Some(rows) = shape.first_mut() {
        *rows = width as i64;
    }
    Ok(Tensor::from_array((shape, data.repeat(width))).map_err(failed)?.into_dyn())
}

/// Row `parents[i]` as row `i`; rows beyond those are the first again.
fn reordered(value: &DynValue, parents: &[usize], width: usize) -> Result<DynValue, String> {
    let (shape, data) = value.try_extract_tensor::<f32>().map_err(|error| error.to_string())?;
    let row = data.len() / width;
    let mut rows = Vec::with_capacity(data.len());
    for at in 0..width {
        let parent = parents.get(at).or(parents.first()).copied().unwrap_or(0);
        let from = data.get(parent * row..(parent + 1) * row).ok_or("a parent that is none of the rows")?;
        rows.extend_from_slice(from);
    }
    let shape = shape.to_vec();
    Ok(Tensor::from_array((shape, rows)).map_err(|error| error.to_string())?.into_dyn())
}
