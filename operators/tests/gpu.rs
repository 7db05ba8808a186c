//! The CUDA provider where there is none: the pinned library has no CUDA, so a wish for it falls back, as told. That it is refused
//! otherwise is `gpu_refused.rs`, since a process has one runtime. What a GPU gives is measured by `tests/examples/providers.rs` (docs/MODELS.md).

#![allow(clippy::disallowed_methods, reason = "a test may read its environment")]

#[path = "common/folder.rs"]
mod folder;

use std::path::Path;

use folder::models_folder;
use lsie_operators::runtime::{ModelError, Provider, RUNTIME_FILE, Runtime};
use lsie_operators::speech::{DemoSpeech, Transcriber};

#[test]
fn without_a_gpu_the_processor_works() {
    let missing = Runtime::choose_cuda(Path::new("/nowhere/libonnxruntime.so"), true);
    assert!(
        matches!(missing, Err(ModelError::Missing { .. })),
        "a library that is not there is no fall-back"
    );

    let library = models_folder().join(RUNTIME_FILE);
    let (runtime, why) = Runtime::choose_cuda(&library, true).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(runtime.provider(), Provider::Cpu);
    assert!(why.is_some_and(|why| !why.is_empty()));
    assert!(runtime.fingerprint().contains("provider:cpu"), "{}", runtime.fingerprint());

    // Whoever loads a model later gets the same runtime, and the model works.
    let other =
        Runtime::load(Path::new("/nowhere/libonnxruntime.so")).unwrap_or_else(|error| panic!("{error}"));
    assert!(std::ptr::eq(runtime, other));
    let mut speech = DemoSpeech::load_with(other, &models_folder()).unwrap_or_else(|error| panic!("{error}"));
    assert!(speech.transcribe(&[0; 16_000]).is_ok_and(|heard| heard.text.is_empty()));
}
