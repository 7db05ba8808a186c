//! Reads vector files: the committed compressed ones, or those of a directory named by `LSIE_GOLDEN`.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// One line of a vector file.
#[derive(serde::Deserialize)]
pub(crate) struct Case {
    #[serde(rename = "case")]
    pub(crate) name: String,
    pub(crate) input: Value,
    pub(crate) expected: Value,
}

impl Case {
    pub(crate) fn kind(&self) -> &str {
        self.input["kind"].as_str().unwrap_or_default()
    }

    pub(crate) fn input<T: DeserializeOwned>(&self) -> T {
        self.typed(&self.input)
    }

    pub(crate) fn expected<T: DeserializeOwned>(&self) -> T {
        self.typed(&self.expected)
    }

    fn typed<T: DeserializeOwned>(&self, value: &Value) -> T {
        T::deserialize(value).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}

/// All cases of `<name>.jsonl`; a wrong count means a wrong file.
#[allow(clippy::disallowed_methods, reason = "a test may read its environment")]
pub(crate) fn cases(name: &str, count: usize) -> Vec<Case> {
    let text = match std::env::var_os("LSIE_GOLDEN") {
        Some(directory) => {
            std::fs::read(Path::new(&directory).join(format!("{name}.jsonl"))).expect("vector file")
        }
        None => {
            let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
            let bytes = std::fs::read(committed.join(format!("{name}.jsonl.zst"))).expect("vector file");
            zstd::decode_all(bytes.as_slice()).expect("a zstd file")
        }
    };
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let cases: Vec<Case> = lines.map(|line| serde_json::from_slice(line).expect("a case")).collect();
    assert_eq!(cases.len(), count, "{name}");
    cases
}

/// Equal within a relative tolerance.
#[track_caller]
pub(crate) fn assert_relative(ours: f64, theirs: f64, tolerance: f64, case: &str) {
    let allowed = tolerance * theirs.abs().max(ours.abs());
    assert!((ours - theirs).abs() <= allowed, "{case}: {ours} is not {theirs}");
}

/// Equal within an absolute tolerance.
#[track_caller]
pub(crate) fn assert_absolute(ours: f64, theirs: f64, tolerance: f64, case: &str) {
    assert!((ours - theirs).abs() <= tolerance, "{case}: {ours} is not {theirs}");
}
