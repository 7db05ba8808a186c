//! A model of one `f32` input and fixed shapes, whose signature is checked when it is loaded.

use std::path::Path;

use ort::value::{Outlet, TensorElementType, TensorRef, ValueType};

use super::{ModelError, ModelInfo, Network, Runtime, text};

/// Names and shapes of a model whose tensors are all `f32`, with one input.
#[derive(Debug)]
pub struct Signature {
    /// Name and shape of the input.
    pub input: (&'static str, &'static [i64]),
    /// Names and numbers of elements of the outputs that are used.
    pub outputs: &'static [(&'static str, usize)],
}

/// A loaded model.
pub struct Model {
    network: Network,
    signature: &'static Signature,
}

impl Model {
    /// Loads `file` of `folder`, whose bytes must be those of the committed manifest, and checks that it has
    /// the `signature`.
    pub fn load(
        runtime: &Runtime,
        name: &'static str,
        folder: &Path,
        file: &str,
        signature: &'static Signature,
    ) -> Result<Model, ModelError> {
        let network = Network::pinned_on_processor(runtime, name, folder, file)?;
        let mismatch = |reason: String| ModelError::Mismatch { path: folder.join(file), reason };
        check_outlet(network.inputs(), signature.input.0, |shape| shape == signature.input.1)
            .map_err(mismatch)?;
        for &(output, elements) in signature.outputs {
            let fits = |shape: &[i64]| shape.iter().product::<i64>() == elements as i64;
            check_outlet(network.outputs(), output, fits).map_err(mismatch)?;
        }
        Ok(Model { network, signature })
    }

    /// What identifies the model.
    pub fn info(&self) -> &ModelInfo {
        self.network.info()
    }

    /// Runs the model on `input` and hands its outputs, in the order of the signature, to `read`.
    pub fn run<const N: usize, R>(
        &mut self,
        input: &[f32],
        read: impl FnOnce([&[f32]; N]) -> R,
    ) -> Result<R, ModelError> {
        let Model { network, signature } = self;
        let (name, shape) = signature.input;
        let tensor = TensorRef::from_array_view((shape.to_vec(), input))
            .map_err(|error| ModelError::Failed { model: network.info().name, reason: text(error) })?;
        network.run(vec![(name, tensor.into())], |outputs| {
            let mut slices: [&[f32]; N] = [&[]; N];
            for (slice, &(output, elements)) in slices.iter_mut().zip(signature.outputs) {
                let (_, data) = super::network::floats(&outputs, output)?;
                if data.len() != elements {
                    return Err(format!("output {output} has {} elements, not {elements}", data.len()));
                }
                *slice = data;
            }
            Ok(read(slices))
        })
    }
}

fn check_outlet(outlets: &[Outlet], name: &str, fits: impl Fn(&[i64]) -> bool) -> Result<(), String> {
    let outlet = outlets.iter().find(|outlet| outlet.name() == name);
    let Some(outlet) = outlet else { return Err(format!("the model has no tensor `{name}`")) };
    match outlet.dtype() {
        ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } if fits(shape) => Ok(()),
        other => Err(format!("tensor `{name}` is of another type or shape: {other}")),
    }
}
