//! A transformer encoder on texts: tokens in, one output tensor out.

use ort::value::TensorRef;
use tokenizers::{EncodeInput, ModelWrapper, Tokenizer, TruncationParams};

use super::ScoreError;
use crate::runtime::{ModelError, Network, network};

/// Tokens that are kept of a text, or of a pair.
const MOST_TOKENS: usize = 256;

/// A tokenizer and the graph it feeds.
pub(super) struct Encoder {
    tokenizer: Tokenizer,
    network: Network,
    output: &'static str,
    has_types: bool,
}

impl Encoder {
    /// Puts the two together. The error says what is wrong with the tokenizer.
    pub(super) fn new(network: Network, output: &'static str, tokenizer: &[u8]) -> Result<Encoder, String> {
        let mut tokenizer = Tokenizer::from_bytes(tokenizer).map_err(|error| error.to_string())?;
        if let ModelWrapper::BPE(pairs) = tokenizer.get_model()
            && pairs.dropout.is_some_and(|share| share > 0.0)
        {
            // Law 2: equal texts must be cut into equal tokens.
            return Err("it leaves out merges at random (`dropout`)".into());
        }
        // Nothing is filled up: a text is run at its own length, alone, whatever else is waiting.
        tokenizer.with_padding(None);
        let truncation = TruncationParams { max_length: MOST_TOKENS, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(|error| error.to_string())?;
        let has_types = network.inputs().iter().any(|input| input.name() == "token_type_ids");
        Ok(Encoder { tokenizer, network, output, has_types })
    }

    /// The graph.
    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    /// The output for one text or one pair.
    pub(super) fn run<'t>(&mut self, input: impl Into<EncodeInput<'t>>) -> Result<Vec<f32>, ScoreError> {
        let tokens = self
            .tokenizer
            .encode(input.into(), true)
            .map_err(|error| ScoreError::Tokens(error.to_string()))?;
        let whole = |values: &[u32]| values.iter().map(|value| i64::from(*value)).collect::<Vec<i64>>();
        let (ids, mask, types) =
            (whole(tokens.get_ids()), whole(tokens.get_attention_mask()), whole(tokens.get_type_ids()));
        let name = self.network.info().name;
        let tensor = |values| {
            TensorRef::from_array_view(([1, ids.len()], values))
                .map_err(|error: ort::Error| ModelError::Failed { model: name, reason: error.to_string() })
        };
        let mut inputs =
            vec![("input_ids", tensor(&ids[..])?.into()), ("attention_mask", tensor(&mask[..])?.into())];
        if self.has_types {
            inputs.push(("token_type_ids", tensor(&types[..])?.into()));
        }
        let output = self.output;
        let read = self.network.run(inputs, |outputs| Ok(network::floats(&outputs, output)?.1.to_vec()))?;
        Ok(read)
    }
}
