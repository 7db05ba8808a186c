//! The class of processor, as far as ONNX Runtime chooses its kernels by it: equal inputs give equal bits
//! within one class.

/// Instruction sets of this processor that choose kernels, such as `x86_64+avx2+fma`.
pub fn class() -> String {
    let mut class = std::env::consts::ARCH.to_string();
    for (name, present) in features() {
        if present {
            class.push('+');
            class.push_str(name);
        }
    }
    class
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<(&'static str, bool)> {
    vec![
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ("avxvnni", is_x86_feature_detected!("avxvnni")),
    ]
}

#[cfg(not(target_arch = "x86_64"))]
fn features() -> Vec<(&'static str, bool)> {
    Vec::new()
}
