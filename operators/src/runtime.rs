//! ONNX Runtime, once per process, and models whose files and signatures are checked before they are used.
//!
//! Strict tier (DESIGN §4): the library and every model are known by hash, one intra-op thread, fixed shapes.
//! Missing or foreign files stop the start; the message names the file and the command that mends it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{Outlet, TensorElementType, TensorRef, ValueType};
use serde::Serialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// File name of the runtime in the folder of the models.
pub const RUNTIME_FILE: &str = "libonnxruntime.so";

/// Why a runtime or a model cannot be used. None of these is the fault of an input: the process should stop.
#[derive(Debug, Error)]
pub enum ModelError {
    /// A file cannot be read.
    #[error("{}: {source}; `make models` fetches it", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is there but is not what this program expects.
    #[error("{}: {reason}; `make models` fetches the right one", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// The runtime failed while it ran a model.
    #[error("model {model} failed: {reason}")]
    Failed {
        /// Name of the model.
        model: &'static str,
        /// What the runtime said.
        reason: String,
    },
}

/// What identifies a model's results: put it beside every recorded one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelInfo {
    /// Name of the model.
    pub name: &'static str,
    /// SHA-256 of the model file, lower-case hex.
    pub sha256: String,
    /// Build of the runtime and SHA-256 of its library.
    pub runtime_version: String,
}

/// The loaded ONNX Runtime. All engines of a process share one, since the library allows no second.
pub struct Runtime {
    environment: Environment,
    path: PathBuf,
    sha256: String,
}

/// Never taken down: sessions in any thread may still use it at exit.
static RUNTIME: OnceLock<Runtime> = OnceLock::new();
static LOADING: Mutex<()> = Mutex::new(());

impl Runtime {
    /// Loads the library, or returns the one loaded before. Another library than that is refused.
    pub fn load(library: &Path) -> Result<&'static Runtime, ModelError> {
        let _guard = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = RUNTIME.get() {
            return runtime.check_same(library);
        }
        let sha256 = file_and_hash(library)?.1;
        let mismatch = |reason: String| ModelError::Mismatch { path: library.to_path_buf(), reason };
        // An absolute path, since the loader would look beside the executable for any other.
        let absolute = fs::canonicalize(library).map_err(|source| missing(library, source))?;
        let environment = ort::init_from(absolute)
            .map_err(|error| mismatch(text(error)))?
            .with_name("lsie")
            .with_telemetry(false)
            .build()
            .map_err(|error| mismatch(text(error)))?;
        environment.set_log_level(LogLevel::Error);
        Ok(RUNTIME.get_or_init(|| Runtime { environment, path: library.to_path_buf(), sha256 }))
    }

    /// Build of the runtime and SHA-256 of its library.
    pub fn version(&self) -> String {
        let build = ort::info();
        let commit = build.split("git-commit-id=").nth(1).and_then(|rest| rest.split(',').next());
        format!("onnxruntime {} sha256:{}", commit.unwrap_or(build), self.sha256)
    }

    fn check_same(&'static self, library: &Path) -> Result<&'static Runtime, ModelError> {
        if library == self.path || file_and_hash(library)?.1 == self.sha256 {
            return Ok(self);
        }
        let reason = format!("this process runs another library already, {}", self.path.display());
        Err(ModelError::Mismatch { path: library.to_path_buf(), reason })
    }
}

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
    session: Session,
    signature: &'static Signature,
    info: ModelInfo,
}

impl Model {
    /// Loads the model from `file` and checks that it has the `signature`.
    pub fn load(
        runtime: &Runtime,
        name: &'static str,
        file: &Path,
        signature: &'static Signature,
    ) -> Result<Model, ModelError> {
        let (bytes, sha256) = file_and_hash(file)?;
        let mismatch = |reason: String| ModelError::Mismatch { path: file.to_path_buf(), reason };
        let session = open(&runtime.environment, &bytes).map_err(mismatch)?;
        check_outlet(session.inputs(), signature.input.0, |shape| shape == signature.input.1)
            .map_err(mismatch)?;
        for &(output, elements) in signature.outputs {
            let fits = |shape: &[i64]| shape.iter().product::<i64>() == elements as i64;
            check_outlet(session.outputs(), output, fits).map_err(mismatch)?;
        }
        Ok(Model { session, signature, info: ModelInfo { name, sha256, runtime_version: runtime.version() } })
    }

    /// What identifies the model.
    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Runs the model on `input` and hands its outputs, in the order of the signature, to `read`.
    pub fn run<const N: usize, R>(
        &mut self,
        input: &[f32],
        read: impl FnOnce([&[f32]; N]) -> R,
    ) -> Result<R, ModelError> {
        let Model { session, signature, info } = self;
        let failed = |reason: String| ModelError::Failed { model: info.name, reason };
        let (name, shape) = signature.input;
        let tensor =
            TensorRef::from_array_view((shape.to_vec(), input)).map_err(|error| failed(text(error)))?;
        let outputs = session.run(ort::inputs![name => tensor]).map_err(|error| failed(text(error)))?;
        let mut slices: [&[f32]; N] = [&[]; N];
        for (slice, &(output, elements)) in slices.iter_mut().zip(signature.outputs) {
            let value = outputs.get(output).ok_or_else(|| failed(format!("no output {output}")))?;
            let (_, data) = value.try_extract_tensor().map_err(|error| failed(text(error)))?;
            if data.len() != elements {
                return Err(failed(format!("output {output} has {} elements, not {elements}", data.len())));
            }
            *slice = data;
        }
        Ok(read(slices))
    }
}

fn open(environment: &Environment, model: &[u8]) -> Result<Session, String> {
    // One thread, and only optimisations that do not depend on timing: the same input gives the same bits.
    let builder = Session::builder(environment).map_err(text)?;
    let builder = builder.with_optimization_level(GraphOptimizationLevel::Level3).map_err(text)?;
    let builder = builder.with_intra_threads(1).map_err(text)?;
    let builder = builder.with_inter_threads(1).map_err(text)?;
    let mut builder = builder.with_deterministic_compute(true).map_err(text)?;
    builder.commit_from_memory(model).map_err(text)
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

fn check_outlet(outlets: &[Outlet], name: &str, fits: impl Fn(&[i64]) -> bool) -> Result<(), String> {
    let outlet = outlets.iter().find(|outlet| outlet.name() == name);
    let Some(outlet) = outlet else { return Err(format!("the model has no tensor `{name}`")) };
    match outlet.dtype() {
        ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } if fits(shape) => Ok(()),
        other => Err(format!("tensor `{name}` is of another type or shape: {other}")),
    }
}

fn file_and_hash(path: &Path) -> Result<(Vec<u8>, String), ModelError> {
    let bytes = fs::read(path).map_err(|source| missing(path, source))?;
    let hash = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((bytes, hash))
}

fn missing(path: &Path, source: io::Error) -> ModelError {
    ModelError::Missing { path: path.to_path_buf(), source }
}
