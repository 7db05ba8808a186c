//! The CUDA provider of ONNX Runtime: how a session gets onto the GPU, whether that works here, and which GPU it is.
//!
//! The pinned library has no CUDA; a build that has it (PyPI `onnxruntime-gpu`) is named by configuration, and finds CUDA and
//! cuDNN through the system's loader. What the provider cannot do runs on the processor.

use std::fs;
use std::path::Path;

use ort::environment::Environment;
use ort::ep::CUDA;
use ort::ep::cuda::ConvAlgorithmSearch;
use ort::session::Session;
use ort::session::builder::SessionBuilder;

use super::text;

/// A graph of one `Relu`, to try whether a session can be made at all.
const TRIAL: &[u8] = b"\x08\x08\x12\x00:3\x0a\x0c\x0a\x01x\x12\x01y\x22\x04Relu\x12\x01tZ\x0f\x0a\x01x\x12\x0a\x0a\x08\
    \x08\x01\x12\x04\x0a\x02\x08\x01b\x0f\x0a\x01y\x12\x0a\x0a\x08\x08\x01\x12\x04\x0a\x02\x08\x01B\x04\x0a\x00\x10\x11";

/// A builder whose session runs on the first GPU. No TensorFloat-32, and convolutions by an algorithm that is not chosen by
/// timing: as close to the processor's numbers and as repeatable as the provider can be.
pub(super) fn onto(builder: SessionBuilder) -> Result<SessionBuilder, String> {
    let cuda = CUDA::default().with_tf32(false).with_conv_algorithm_search(ConvAlgorithmSearch::Default);
    builder.with_execution_providers([cuda.build().error_on_failure()]).map_err(text)
}

/// Whether a session can be made on the GPU; if not, why.
pub(super) fn works(environment: &Environment) -> Result<(), String> {
    onto(Session::builder(environment).map_err(text)?)?.commit_from_memory(TRIAL).map_err(text)?;
    Ok(())
}

/// Model and driver of the GPU as the driver says them, such as `gpu:NVIDIA_H100_80GB_HBM3 driver:580.159.04`.
pub(super) fn name() -> String {
    let model = fs::read_dir("/proc/driver/nvidia/gpus")
        .ok()
        .and_then(|folder| folder.filter_map(Result::ok).map(|entry| entry.path().join("information")).min())
        .and_then(|file| fs::read_to_string(file).ok())
        .and_then(|text| {
            Some(text.lines().find_map(|line| line.strip_prefix("Model:"))?.trim().replace(' ', "_"))
        });
    let driver = fs::read_to_string(Path::new("/sys/module/nvidia/version")).ok();
    let known = |what: Option<String>| what.map_or("unknown".into(), |text| text.trim().to_string());
    format!("gpu:{} driver:{}", known(model), known(driver))
}
