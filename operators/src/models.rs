//! The committed manifest of the models: what each file is, where it comes from, and the bytes it must have.
//!
//! Set-up fetches and converts by the same manifest; here every file is verified as it is loaded, so that a
//! missing, truncated or swapped model stops the start and not a session.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::runtime::{ModelError, file_and_hash};

/// The manifest, as committed.
pub const MANIFEST_JSON: &str = include_str!("../models/manifest.json");

/// What the manifest says of one file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What it is called in results and messages; licences have none.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Package that it is taken from, or made from.
    pub source: String,
    /// Licence of its contents.
    pub licence: Option<String>,
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
    /// Length of the file.
    pub bytes: u64,
    /// Inputs of a graph.
    #[serde(default)]
    pub inputs: Vec<Tensor>,
    /// Outputs of a graph.
    #[serde(default)]
    pub outputs: Vec<Tensor>,
}

/// One input or output of a graph.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Type of its elements.
    pub dtype: String,
    /// Its shape; 0 is a free dimension.
    pub shape: Vec<i64>,
}

/// Every file of the folder of the models.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this layout.
    pub schema_version: u32,
    /// What each file is, by its path in the folder.
    pub files: BTreeMap<String, Entry>,
}

static MANIFEST: LazyLock<Manifest> =
    LazyLock::new(|| serde_json::from_str(MANIFEST_JSON).expect("the committed manifest is read"));

/// The committed manifest.
///
/// ```
/// let models = lsie_operators::models::manifest();
/// assert_eq!(models.files["silero_vad.onnx"].licence.as_deref(), Some("MIT"));
/// ```
pub fn manifest() -> &'static Manifest {
    &MANIFEST
}

/// Reads `file` of `folder` and verifies its bytes against the manifest.
pub fn read(folder: &Path, file: &str) -> Result<Vec<u8>, ModelError> {
    let path = folder.join(file);
    let mismatch = |reason: String| ModelError::Mismatch { path: path.clone(), reason };
    let Some(entry) = manifest().files.get(file) else {
        return Err(mismatch("the manifest does not know this file".into()));
    };
    let (bytes, sha256) = file_and_hash(&path)?;
    if bytes.len() as u64 != entry.bytes {
        return Err(mismatch(format!("{} bytes, not {}", bytes.len(), entry.bytes)));
    }
    if sha256 != entry.sha256 {
        return Err(mismatch(format!("SHA-256 {sha256}, not {}", entry.sha256)));
    }
    Ok(bytes)
}
