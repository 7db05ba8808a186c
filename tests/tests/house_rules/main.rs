//! Rules of the house that a compiler does not check: who may know whom, lints, and the length of files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// Lines that a source file may have.
const MOST_LINES: usize = 800;

/// Of each crate, the crates of the workspace it may know (DESIGN §7).
const KNOWS: [(&str, &[&str]); 6] = [
    ("lsie-schemas", &[]),
    ("lsie-operators", &["lsie-schemas"]),
    ("lsie-connectors", &["lsie-schemas"]),
    ("lsie-sinks", &["lsie-schemas"]),
    ("lsie-dataflow", &["lsie-schemas", "lsie-operators", "lsie-connectors", "lsie-sinks"]),
    ("lsie-tests", &["lsie-schemas", "lsie-operators", "lsie-connectors", "lsie-sinks", "lsie-dataflow"]),
];

/// Of each foreign crate, the crates of the workspace that may build on it, directly or through others of the
/// workspace. `lsie-tests` comes last in the chain and may use everything.
const RESERVED: [(&str, &[&str]); 9] = [
    ("timely", &["lsie-dataflow"]),
    ("differential-dataflow", &["lsie-dataflow"]),
    ("rdkafka", &["lsie-connectors", "lsie-dataflow"]),
    ("tokio", &["lsie-connectors", "lsie-sinks", "lsie-dataflow"]),
    ("axum", &["lsie-connectors", "lsie-sinks", "lsie-dataflow"]),
    ("parquet", &["lsie-sinks", "lsie-dataflow"]),
    ("ort", &["lsie-operators", "lsie-dataflow"]),
    ("ffmpeg-next", &["lsie-operators", "lsie-dataflow"]),
    ("clap", &["lsie-dataflow"]),
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lies in the workspace").to_owned()
}

fn metadata() -> Metadata {
    MetadataCommand::new().current_dir(workspace()).no_deps().exec().expect("cargo metadata")
}

/// Non-development dependencies of each crate of the workspace, by name.
fn dependencies(metadata: &Metadata) -> BTreeMap<String, BTreeSet<String>> {
    let of = |package: &cargo_metadata::Package| {
        let used = package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development);
        (package.name.to_string(), used.map(|d| d.name.clone()).collect())
    };
    metadata.workspace_packages().into_iter().map(of).collect()
}

/// The same with what the workspace's crates among them depend on.
fn with_transitive(direct: &BTreeMap<String, BTreeSet<String>>, name: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut open = vec![name.to_string()];
    while let Some(next) = open.pop() {
        for dependency in direct.get(&next).into_iter().flatten() {
            if all.insert(dependency.clone()) {
                open.push(dependency.clone());
            }
        }
    }
    all
}

#[test]
fn no_crate_knows_one_it_must_not() {
    let direct = dependencies(&metadata());
    let listed: BTreeSet<&str> = KNOWS.iter().map(|(name, _)| *name).collect();
    let present: BTreeSet<&str> = direct.keys().map(String::as_str).collect();
    assert_eq!(listed, present, "every crate of the workspace has its line in KNOWS");
    for (name, allowed) in KNOWS {
        let known = with_transitive(&direct, name);
        let ours = known.iter().filter(|other| present.contains(other.as_str()));
        let forbidden: Vec<&String> = ours.filter(|other| !allowed.contains(&other.as_str())).collect();
        assert!(forbidden.is_empty(), "{name} must not know {forbidden:?} (DESIGN §7)");
    }
}

#[test]
fn foreign_crates_stay_where_they_belong() {
    let direct = dependencies(&metadata());
    for (foreign, allowed) in RESERVED {
        for name in direct.keys().filter(|name| *name != "lsie-tests" && !allowed.contains(&name.as_str())) {
            let known = with_transitive(&direct, name);
            assert!(!known.contains(foreign), "{name} must not depend on {foreign} (DESIGN §7)");
        }
    }
    for (foreign, users) in [("timely", "lsie-dataflow"), ("differential-dataflow", "lsie-dataflow")] {
        let found: Vec<&String> =
            direct.iter().filter(|(_, d)| d.contains(foreign)).map(|(n, _)| n).collect();
        assert_eq!(found, [users], "only {users} names {foreign}");
    }
}

#[test]
fn every_crate_takes_the_workspace_s_lints() {
    for package in metadata().workspace_packages() {
        let manifest = std::fs::read_to_string(&package.manifest_path).expect("a manifest");
        let mut lines = manifest.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
        let inherits = lines.any(|line| line == "workspace = true");
        assert!(inherits, "{}: `[lints] workspace = true` is missing", package.name);
        for (key, wanted) in
            [("edition", "edition.workspace = true"), ("publish", "publish.workspace = true")]
        {
            assert!(manifest.contains(wanted), "{}: {key} is not the workspace's", package.name);
        }
    }
}

#[test]
fn source_files_are_short_and_say_what_they_are() {
    let mut faults = Vec::new();
    for file in tracked() {
        let source = ["rs", "py", "sh"].iter().any(|ext| file.extension().is_some_and(|e| e == *ext));
        // A file that is tracked and deleted in the working tree is no longer a source file.
        let (true, Ok(text)) = (source, std::fs::read_to_string(workspace().join(&file))) else { continue };
        let lines = text.lines().count();
        if lines > MOST_LINES {
            faults.push(format!("{}: {lines} lines, at most {MOST_LINES}", file.display()));
        }
        if file.extension().is_some_and(|e| e == "rs") && !text.starts_with("//!") {
            faults.push(format!("{}: does not open with a `//!` sentence", file.display()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The files that git knows.
fn tracked() -> Vec<PathBuf> {
    let listed = Command::new("git").arg("ls-files").current_dir(workspace()).output().expect("git");
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).expect("names that are text");
    let files: Vec<PathBuf> = names.lines().map(PathBuf::from).collect();
    assert!(files.len() > 50, "git lists the repository's files");
    files
}
