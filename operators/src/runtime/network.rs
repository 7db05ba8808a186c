//! A graph of any inputs and outputs: its session, what identifies it, and one run of it.

use std::path::Path;

use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session, SessionInputValue, SessionOutputs};
use ort::value::{Outlet, ValueType};

use super::{ModelError, ModelInfo, Provider, Runtime, gpu, text};
use crate::models;

/// A loaded graph.
pub(crate) struct Network {
    session: Session,
    info: ModelInfo,
}

impl Network {
    /// Loads a graph that the user supplies: its hash is recorded, not checked. Weights may lie beside it.
    pub(crate) fn load(runtime: &Runtime, name: &'static str, file: &Path) -> Result<Network, ModelError> {
        let foreign = |reason: String| ModelError::Foreign { path: file.to_path_buf(), reason };
        let sha256 = super::hash_of(file).map_err(|error| foreign(text(error)))?;
        let session = builder(runtime, runtime.provider)
            .and_then(|mut builder| builder.commit_from_file(file).map_err(text))
            .map_err(foreign)?;
        let runtime_version = runtime.version(runtime.provider);
        Ok(Network { session, info: ModelInfo { name, sha256, runtime_version } })
    }

    /// Loads `file` of `folder`, whose bytes must be those of the committed manifest.
    pub(crate) fn pinned(
        runtime: &Runtime,
        name: &'static str,
        folder: &Path,
        file: &str,
    ) -> Result<Network, ModelError> {
        Network::pinned_on(runtime, runtime.provider, name, folder, file)
    }

    /// The same on the processor, also where a GPU runs the others: for graphs of many small steps (docs/MODELS.md).
    pub(crate) fn pinned_on_processor(
        runtime: &Runtime,
        name: &'static str,
        folder: &Path,
        file: &str,
    ) -> Result<Network, ModelError> {
        Network::pinned_on(runtime, Provider::Cpu, name, folder, file)
    }

    fn pinned_on(
        runtime: &Runtime,
        provider: Provider,
        name: &'static str,
        folder: &Path,
        file: &str,
    ) -> Result<Network, ModelError> {
        let bytes = models::read(folder, file)?;
        let mismatch = |reason: String| ModelError::Mismatch { path: folder.join(file), reason };
        let session = builder(runtime, provider)
            .and_then(|mut builder| builder.commit_from_memory(&bytes).map_err(text))
            .map_err(mismatch)?;
        let sha256 = super::hex_hash(&bytes);
        let runtime_version = runtime.version(provider);
        Ok(Network { session, info: ModelInfo { name, sha256, runtime_version } })
    }

    /// What identifies the graph.
    pub(crate) fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Its inputs.
    pub(crate) fn inputs(&self) -> &[Outlet] {
        self.session.inputs()
    }

    /// Its outputs.
    pub(crate) fn outputs(&self) -> &[Outlet] {
        self.session.outputs()
    }

    /// Runs it and hands the outputs to `read`, whose error is a failure of the graph.
    pub(crate) fn run<R>(
        &mut self,
        inputs: Vec<(&str, SessionInputValue<'_>)>,
        read: impl FnOnce(SessionOutputs<'_>) -> Result<R, String>,
    ) -> Result<R, ModelError> {
        let failed = |reason: String| ModelError::Failed { model: self.info.name, reason };
        let outputs = self.session.run(inputs).map_err(|error| failed(text(error)))?;
        read(outputs).map_err(failed)
    }
}

/// Shape of the tensor `name` among `outlets`; a free dimension is −1.
pub(crate) fn shape<'a>(outlets: &'a [Outlet], name: &str) -> Result<&'a [i64], String> {
    let outlet = outlets.iter().find(|outlet| outlet.name() == name);
    match outlet.map(Outlet::dtype) {
        Some(ValueType::Tensor { shape, .. }) => Ok(shape),
        Some(other) => Err(format!("`{name}` is no tensor: {other}")),
        None => Err(format!("the model has no tensor `{name}`")),
    }
}

/// The elements of the output `name`.
pub(crate) fn floats<'a>(
    outputs: &'a SessionOutputs<'_>,
    name: &str,
) -> Result<(&'a [i64], &'a [f32]), String> {
    let value = outputs.get(name).ok_or_else(|| format!("no output {name}"))?;
    let (shape, data) = value.try_extract_tensor::<f32>().map_err(text)?;
    Ok((shape, data))
}

fn builder(runtime: &Runtime, provider: Provider) -> Result<SessionBuilder, String> {
    // One thread, and only optimisations that do not depend on timing: the same input gives the same bits.
    let builder = Session::builder(&runtime.environment).map_err(text)?;
    let builder = builder.with_optimization_level(GraphOptimizationLevel::Level3).map_err(text)?;
    let builder = builder.with_intra_threads(1).map_err(text)?;
    let builder = builder.with_inter_threads(1).map_err(text)?;
    let builder = builder.with_deterministic_compute(true).map_err(text)?;
    match provider {
        Provider::Cpu => Ok(builder),
        Provider::Cuda => gpu::onto(builder),
    }
}
