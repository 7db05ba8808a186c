//! The CUDA provider where there is none, and no fall-back is wanted: the start is refused, and the message says what to do.

#![allow(clippy::disallowed_methods, reason = "a test may read its environment")]

#[path = "common/folder.rs"]
mod folder;

use std::path::Path;

use folder::models_folder;
use lsie_operators::runtime::{ModelError, RUNTIME_FILE, Runtime};

#[test]
fn without_a_gpu_the_start_is_refused() {
    let missing = Runtime::choose_cuda(Path::new("/nowhere/libonnxruntime.so"), false);
    assert!(matches!(missing, Err(ModelError::Missing { .. })));
    let refused = Runtime::choose_cuda(&models_folder().join(RUNTIME_FILE), false);
    let Err(error @ ModelError::NoGpu { .. }) = refused else { panic!("there is no CUDA in it") };
    assert!(error.to_string().contains("without_cuda"), "{error}");
}
