//! Reads vector files: the committed compressed ones, or those of a directory named by `LSIE_GOLDEN`.

use std::path::{Path, PathBuf};

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

/// All cases of `<name>.jsonl`, of which the committed file has `count`. Another directory may hold any number
/// of cases; no file, or one without a case, is an error anywhere.
pub(crate) fn cases(name: &str, count: usize) -> Vec<Case> {
    let text = text(&format!("{name}.jsonl"));
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let case = |line| serde_json::from_slice(line).unwrap_or_else(|error| panic!("{name}: {error}"));
    let cases: Vec<Case> = lines.map(case).collect();
    assert!(!cases.is_empty(), "{name} has no case");
    assert_committed(cases.len() == count, &format!("{name}: {} cases, not {count}", cases.len()));
    cases
}

/// The cases of one kind, of which the committed file has `count`; another directory may hold none.
pub(crate) fn of_kind(name: &str, total: usize, kind: &str, count: usize) -> Vec<Case> {
    let mut cases = cases(name, total);
    cases.retain(|case| case.kind() == kind);
    assert_committed(cases.len() == count, &format!("{name}: {} cases of {kind}, not {count}", cases.len()));
    cases
}

/// A vector file's text.
pub(crate) fn text(file: &str) -> Vec<u8> {
    if let Some(directory) = elsewhere() {
        return std::fs::read(directory.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let packed = std::fs::read(committed.join(format!("{file}.zst")));
    let packed = packed.unwrap_or_else(|error| panic!("{file}.zst: {error}"));
    zstd::decode_all(packed.as_slice()).expect("a zstd file")
}

/// What holds for the committed files as a whole, such as that a departure occurs in them at all; another
/// directory may hold other cases.
#[track_caller]
pub(crate) fn assert_committed(holds: bool, what: &str) {
    assert!(holds || elsewhere().is_some(), "{what}");
}

#[allow(clippy::disallowed_methods, reason = "a test may read its environment")]
fn elsewhere() -> Option<PathBuf> {
    std::env::var_os("LSIE_GOLDEN").map(PathBuf::from)
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
