//! ONNX Runtime, once per process, and models whose files and signatures are checked before they are used.
//!
//! Strict tier (DESIGN §4): the library and every model are known by hash, one intra-op thread, fixed shapes.
//! Missing or foreign files stop the start; the message names the file and the command that mends it.

pub mod cpu;
mod gpu;
mod model;
pub(crate) mod network;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;
use serde::Serialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

pub use self::model::{Model, Signature};
pub(crate) use self::network::Network;

/// File name of the runtime in the folder of the models.
pub const RUNTIME_FILE: &str = "libonnxruntime.so";

/// Why a runtime or a model cannot be used. None of these is the fault of an input: the process should stop.
#[derive(Debug, Error)]
pub enum ModelError {
    /// A file cannot be read.
    #[error("{}: {source}; `lsie models fetch` or `make models` fetches it", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is there but is not what this program expects.
    #[error("{}: {reason}; `lsie models fetch` or `make models` fetches the right one", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// A model that the user supplies cannot be used.
    #[error("{}: {reason}; mend the directory, or name another", path.display())]
    Foreign {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No session can be made on a GPU.
    #[error("{}: no GPU can be used: {reason}; set models.without_cuda = \"cpu\" to go on without one", path.display())]
    NoGpu {
        /// The library that was to use it.
        path: PathBuf,
        /// What the runtime said.
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
    /// Build of the runtime and SHA-256 of its library; the GPU, if one runs the model.
    pub runtime_version: String,
}

/// Who runs the graphs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// The processor: equal bits on one class of processor.
    Cpu,
    /// The first GPU, by CUDA: equal only within the tolerances of docs/MODELS.md.
    Cuda,
}

/// The loaded ONNX Runtime. All engines of a process share one, since the library allows no second.
pub struct Runtime {
    environment: Environment,
    path: PathBuf,
    sha256: String,
    provider: Provider,
    /// It was chosen for the whole process: whoever asks for another library gets this one.
    chosen: bool,
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
        let (environment, sha256) = open(library)?;
        let (path, provider) = (library.to_path_buf(), Provider::Cpu);
        Ok(RUNTIME.get_or_init(|| Runtime { environment, path, sha256, provider, chosen: false }))
    }

    /// Loads a library with the CUDA provider for the whole process, before anything else is loaded: every
    /// [`load`](Runtime::load) then returns it. Where no session can be made on a GPU, that is an error, or, if `or_cpu`, the
    /// same library runs the graphs on the processor, and the reason is returned.
    pub fn choose_cuda(
        library: &Path,
        or_cpu: bool,
    ) -> Result<(&'static Runtime, Option<String>), ModelError> {
        let _guard = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = RUNTIME.get() {
            return Ok((runtime.check_same(library)?, None));
        }
        let (environment, sha256) = open(library)?;
        let (provider, refused) = match gpu::works(&environment) {
            Ok(()) => (Provider::Cuda, None),
            Err(reason) if or_cpu => (Provider::Cpu, Some(reason)),
            Err(reason) => return Err(ModelError::NoGpu { path: library.to_path_buf(), reason }),
        };
        let path = library.to_path_buf();
        let runtime = RUNTIME.get_or_init(|| Runtime { environment, path, sha256, provider, chosen: true });
        Ok((runtime, refused))
    }

    /// Who runs the graphs.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// Build of the runtime and SHA-256 of its library; the GPU, if one runs the graph.
    fn version(&self, provider: Provider) -> String {
        let build = ort::info();
        let commit = build.split("git-commit-id=").nth(1).and_then(|rest| rest.split(',').next());
        let provider = match provider {
            Provider::Cpu => String::new(),
            Provider::Cuda => format!(" cuda {}", gpu::name()),
        };
        format!("onnxruntime {} sha256:{}{provider}", commit.unwrap_or(build), self.sha256)
    }

    /// What, beside a model's bytes, decides on the bits of its results: the library, the provider that runs
    /// the graphs, the GPU if there is one, and the class of processor. Belongs into every recorded result.
    pub fn fingerprint(&self) -> String {
        let hash = self.sha256.get(..16).unwrap_or_default();
        match self.provider {
            Provider::Cpu => format!("onnxruntime:{hash} provider:cpu {}", cpu::class()),
            Provider::Cuda => format!("onnxruntime:{hash} provider:cuda {} {}", gpu::name(), cpu::class()),
        }
    }

    fn check_same(&'static self, library: &Path) -> Result<&'static Runtime, ModelError> {
        if self.chosen || library == self.path || file_and_hash(library)?.1 == self.sha256 {
            return Ok(self);
        }
        let reason = format!("this process runs another library already, {}", self.path.display());
        Err(ModelError::Mismatch { path: library.to_path_buf(), reason })
    }
}

/// The environment of a library, and the library's hash.
fn open(library: &Path) -> Result<(Environment, String), ModelError> {
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
    Ok((environment, sha256))
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

pub(crate) fn file_and_hash(path: &Path) -> Result<(Vec<u8>, String), ModelError> {
    let bytes = fs::read(path).map_err(|source| missing(path, source))?;
    let hash = hex_hash(&bytes);
    Ok((bytes, hash))
}

/// SHA-256 of a file that may be larger than memory, and of the weights beside it (`NAME.onnx_data`), if any.
pub(crate) fn hash_of(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(&mut fs::File::open(path)?, &mut hash)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push("_data");
    match fs::File::open(beside) {
        Ok(mut weights) => {
            io::copy(&mut weights, &mut hash)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(hex(&hash.finalize()))
}

fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hex_hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn missing(path: &Path, source: io::Error) -> ModelError {
    ModelError::Missing { path: path.to_path_buf(), source }
}
