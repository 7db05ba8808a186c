//! The configuration: one struct, every default in one commented file, checked before anything starts.
//!
//! Four layers, the later one wins: the defaults, a file, the environment (`LSIE_<SECTION>_<KEY>`), flags.

mod connectors;
mod layers;
mod models;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use lsie_operators::align::Limits;
use lsie_operators::runtime::Runtime;
use lsie_schemas::log::Fetch;
use lsie_sinks::views::{Tls, Token};
use serde::Deserialize;

pub use connectors::{
    CaptureConfig, EnrichConfig, HealthConfig, HydrateConfig, IngestConfig, LiveConfig, VaultConfig,
};
pub use models::{GrayBandConfig, LANGUAGE_MODEL, ModelsConfig, Provider, WithoutCuda};

use crate::checkpoint::state_file::sha256;
use crate::checkpoint::store::{Location, NoLocation};
use crate::epochs::Cut;
use crate::speech::SpeechSettings;

/// The commented file of all defaults.
pub const DEFAULTS: &str = include_str!("../lsie.toml");

/// All settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The topics.
    pub log: LogConfig,
    /// The epoch table.
    pub epochs: EpochsConfig,
    /// The limits of alignment.
    pub session: Limits,
    /// Threads and budgets.
    pub engine: EngineConfig,
    /// The models.
    pub models: ModelsConfig,
    /// How speech is transcribed.
    pub speech: SpeechSettings,
    /// Who is asked about what the scorer leaves open.
    pub gray_band: GrayBandConfig,
    /// The result tables.
    pub parquet: ParquetConfig,
    /// The database.
    pub postgres: PostgresConfig,
    /// The checkpoints.
    pub checkpoint: CheckpointConfig,
    /// The served views.
    pub api: ApiConfig,
    /// The capture.
    pub capture: CaptureConfig,
    /// Ingest over HTTP.
    pub ingest: IngestConfig,
    /// The console.
    pub operator: lsie_sinks::console::Settings,
    /// Hydration.
    pub hydrate: HydrateConfig,
    /// Live events.
    pub live: LiveConfig,
    /// Enrichment.
    pub enrich: EnrichConfig,
    /// How connectors do.
    pub health: HealthConfig,
    /// Debug media.
    pub vault: VaultConfig,
    /// Traces of segments.
    pub traces: TracesConfig,
}

/// Section `[traces]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TracesConfig {
    /// Where they are sent; empty: there are none.
    pub endpoint: String,
}

/// Section `[log]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// `kafka:…` or `file:…`.
    pub address: String,
    /// Prefix of the topic set.
    pub prefix: String,
    /// File of the master key of media; empty: they are not sealed.
    pub key_file: PathBuf,
    /// Transient topics that may keep records for more than 24 h.
    pub allow_long_retention: Vec<String>,
    /// Properties of the log's client.
    pub properties: BTreeMap<String, String>,
}

/// Section `[epochs]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochsConfig {
    /// Length of an epoch, ms.
    pub epoch_ms: u64,
    /// Largest step of a recorded clock that moves time on, ms.
    pub max_clock_step_ms: u64,
}

/// Section `[engine]`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineConfig {
    /// Timely workers.
    pub workers: usize,
    /// Inference threads; 0: what the workers leave.
    pub pool_threads: usize,
    /// Byte budget per worker, MiB.
    pub budget_mib: usize,
    /// Bytes of one fetch, KiB.
    pub fetch_kib: usize,
}

/// Section `[parquet]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParquetConfig {
    /// Directory of the tables.
    pub dir: PathBuf,
    /// Log time between flushes, ms.
    pub flush_ms: u64,
    /// Most files of a table.
    pub max_files: usize,
}

/// Section `[postgres]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// URL of the database; empty: none, or the one of `url_file`.
    pub url: Secret,
    /// File that holds the URL; empty: none.
    pub url_file: PathBuf,
    /// File with the certificate of the authority that vouches for the server's; empty: none.
    pub tls_authority: PathBuf,
    /// Megabytes of rows that wait for the database in memory.
    pub queue_mib: usize,
    /// How long the end of a live run waits for the database, ms.
    pub end_wait_ms: u64,
}

impl PostgresConfig {
    /// The file with the authority's certificate, if one is named.
    pub fn tls_authority(&self) -> Option<&Path> {
        Some(self.tls_authority.as_path()).filter(|path| !path.as_os_str().is_empty())
    }

    /// The URL, if a database is configured.
    pub fn url(&self) -> anyhow::Result<Option<Secret>> {
        if self.url_file.as_os_str().is_empty() {
            return Ok(Some(self.url.clone()).filter(|url| !url.0.is_empty()));
        }
        let url = std::fs::read_to_string(&self.url_file)
            .with_context(|| format!("postgres.url_file {}", self.url_file.display()))?;
        Ok(Some(Secret(url.trim().to_string())))
    }
}

/// A setting that is never shown.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "…" })
    }
}

/// Section `[checkpoint]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckpointConfig {
    /// A folder or `s3://BUCKET/PREFIX`; empty: beside the tables.
    pub location: String,
    /// Log time between checkpoints, ms; 0: none.
    pub interval_ms: u64,
    /// Records between checkpoints, MiB.
    pub every_mib: u64,
    /// How many are kept.
    pub keep: usize,
    /// Longest orderly stop, ms.
    pub stop_timeout_ms: u64,
}

/// Section `[api]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiConfig {
    /// Address of the views.
    pub listen: SocketAddr,
    /// Who may ask; none: everyone on this machine.
    pub tokens: Vec<Token>,
    /// Most requests of one address a second; 0: any number.
    pub requests_per_s: u32,
    /// PEM file of the certificate; empty: no TLS.
    pub tls_certificate: PathBuf,
    /// PEM file of its private key.
    pub tls_key: PathBuf,
}

impl ApiConfig {
    /// The certificate and its key, if TLS is wanted.
    pub fn tls(&self) -> Option<Tls> {
        let (certificate, key) = (self.tls_certificate.clone(), self.tls_key.clone());
        (!certificate.as_os_str().is_empty()).then_some(Tls { certificate, key })
    }

    /// Checks that nobody but this machine is served without tokens; for who is about to listen.
    pub fn check_reach(&self) -> anyhow::Result<()> {
        ensure!(
            self.listen.ip().is_loopback() || !self.tokens.is_empty(),
            "api.listen is {}, which others can reach: api.tokens must say who may ask; `lsie token` makes one",
            self.listen
        );
        Ok(())
    }

    /// Checks that tokens and certificate are whole.
    fn check(&self) -> anyhow::Result<()> {
        for (at, token) in self.tokens.iter().enumerate() {
            if let Some(problem) = token.problem() {
                bail!("api.tokens, number {}: {problem}", at + 1);
            }
            let earlier = self.tokens.iter().take(at);
            ensure!(
                earlier.into_iter().all(|t| t.name != token.name),
                "api.tokens names {:?} twice",
                token.name
            );
        }
        let (certificate, key) = (&self.tls_certificate, &self.tls_key);
        let is_whole = certificate.as_os_str().is_empty() == key.as_os_str().is_empty();
        ensure!(is_whole, "api.tls_certificate and api.tls_key belong together");
        Ok(())
    }
}

impl Config {
    /// The defaults, overlaid by a file if one is named or `lsie.toml` is here, and by the environment. Checked.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Config> {
        Config::of(Config::settings(file)?).with_context(|| origin(file))
    }

    /// The settings as they hold, with every key that there is.
    pub fn settings(file: Option<&Path>) -> anyhow::Result<toml::Table> {
        let text = match named(file) {
            Some(path) => {
                std::fs::read_to_string(path).with_context(|| format!("configuration {}", path.display()))?
            }
            None => String::new(),
        };
        let mut settings: toml::Table = DEFAULTS.parse().context("the built-in defaults")?;
        let over = text.parse().with_context(|| origin(file))?;
        layers::overlay(&mut settings, over, "").with_context(|| origin(file))?;
        layers::environment(&mut settings, variables()).context("the environment")?;
        Ok(settings)
    }

    /// The defaults, overlaid by this text.
    pub fn parse(text: &str) -> anyhow::Result<Config> {
        let mut settings: toml::Table = DEFAULTS.parse().context("the built-in defaults")?;
        layers::overlay(&mut settings, text.parse()?, "")?;
        Config::of(settings)
    }

    fn of(settings: toml::Table) -> anyhow::Result<Config> {
        let config: Config = settings.try_into()?;
        config.check()?;
        Ok(config)
    }

    /// Checks values and the relations between them; a message names the key.
    pub fn check(&self) -> anyhow::Result<()> {
        positive("epochs.epoch_ms", self.epochs.epoch_ms)?;
        positive("epochs.max_clock_step_ms", self.epochs.max_clock_step_ms)?;
        positive("engine.workers", self.engine.workers as u64)?;
        positive("engine.budget_mib", self.engine.budget_mib as u64)?;
        positive("engine.fetch_kib", self.engine.fetch_kib as u64)?;
        self.models.check(&self.gray_band)?;
        positive("speech.threads", self.speech.threads as u64)?;
        positive("speech.deadline_ms", self.speech.deadline_ms)?;
        for (key, value) in self.operator.durations() {
            positive(&format!("operator.{key}"), value)?;
        }
        positive("parquet.flush_ms", self.parquet.flush_ms)?;
        positive("parquet.max_files", self.parquet.max_files as u64)?;
        self.api.check()?;
        let hours = self.vault.shred_hours;
        ensure!(
            (1..=24).contains(&hours),
            "vault.shred_hours is {hours}; debug media may lie for 24 h at most"
        );
        // Below it a single large record would never find room.
        ensure!(self.capture.buffer_mib >= 17, "capture.buffer_mib must be 17 or more");
        positive("enrich.browsers", self.enrich.browsers as u64)?;
        positive("postgres.queue_mib", self.postgres.queue_mib as u64)?;
        ensure!(
            self.postgres.url.0.is_empty() || self.postgres.url_file.as_os_str().is_empty(),
            "postgres.url and postgres.url_file are both set; one is enough"
        );
        positive("checkpoint.every_mib", self.checkpoint.every_mib)?;
        self.checkpoint.location.parse::<Location>().context("checkpoint.location")?;
        positive("checkpoint.keep", self.checkpoint.keep as u64)?;
        positive("checkpoint.stop_timeout_ms", self.checkpoint.stop_timeout_ms)?;
        let (session, epoch_ms) = (&self.session, self.epochs.epoch_ms);
        let below = |low: (&str, u64), high: (&str, u64)| {
            ensure!(low.1 < high.1, "{} ({}) must be less than {} ({})", low.0, low.1, high.0, high.1);
            Ok(())
        };
        below(("epochs.epoch_ms", epoch_ms), ("speech.answer_delay_ms", self.speech.answer_delay_ms))?;
        let stall = ("session.stall_timeout_ms", session.stall_timeout_ms);
        below(("epochs.epoch_ms", epoch_ms), stall)?;
        below(("session.allowed_lateness_ms", session.allowed_lateness_ms), stall)?;
        below(stall, ("session.max_wait_ms", session.max_wait_ms))?;
        for topic in &self.log.allow_long_retention {
            if lsie_schemas::Topic::by_name(topic).is_none() {
                bail!("log.allow_long_retention names {topic:?}, which is no topic");
            }
        }
        Ok(())
    }

    /// How epochs are cut; so much log time is added after the last record, and twice as much in longer gaps.
    pub fn cut(&self, tail_ms: u64) -> Cut {
        let EpochsConfig { epoch_ms, max_clock_step_ms } = self.epochs;
        Cut { epoch_ms, max_clock_step_ms, tail_ms }
    }

    /// How readers prefetch.
    pub fn fetch(&self) -> Fetch {
        Fetch { prefetch_bytes: self.engine.budget_mib << 20, poll_bytes: self.engine.fetch_kib << 10 }
    }

    /// SHA-256 over every setting that a result depends on, lowercase hex. Models have hashes of their own in
    /// their results; the folder says which they are.
    pub fn results_hash(&self) -> String {
        let Limits { start_wait_ms, allowed_lateness_ms, stall_timeout_ms, max_wait_ms, future_guard_ms } =
            self.session;
        let mut text = format!(
            "session {start_wait_ms} {allowed_lateness_ms} {stall_timeout_ms} {max_wait_ms} {future_guard_ms}\n\
             models {} {} {:?} {:?} {} {:?}\nspeech {}\n",
            self.models_folder().file_name().unwrap_or_default().display(),
            self.models.max_pixels,
            self.models.speech,
            self.models.language,
            self.models.beams,
            self.models.scorer,
            self.speech.answer_delay_ms
        );
        if !self.gray_band.url.is_empty() {
            text.push_str(&format!(
                "gray band {:?} {:?}\n",
                self.gray_band.model, self.gray_band.api_version
            ));
        }
        if self.models.provider == Provider::Cuda {
            text.push_str("provider cuda\n");
        }
        sha256(text.as_bytes())
    }

    /// Where the checkpoints lie that belong to the tables in a directory, and the folder of the notes that a crash
    /// leaves; none if there are to be none.
    pub fn checkpoints_of(&self, tables: &Path) -> Result<Option<(Location, PathBuf)>, NoLocation> {
        let CheckpointConfig { location, interval_ms, .. } = &self.checkpoint;
        if *interval_ms == 0 {
            return Ok(None);
        }
        let mut name = tables.file_name().unwrap_or_default().to_os_string();
        name.push("-checkpoints");
        let beside = tables.with_file_name(name);
        let location =
            if location.is_empty() { Location::Folder(beside.clone()) } else { location.parse()? };
        let notes = match &location {
            Location::Folder(folder) => folder.join("crashes"),
            Location::Bucket { .. } => beside.join("crashes"),
        };
        Ok(Some((location, notes)))
    }

    /// Inference threads: those asked for, or what the workers leave of the cores.
    pub fn pool_threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        match self.engine.pool_threads {
            0 => cores.saturating_sub(self.engine.workers).max(1),
            asked => asked,
        }
    }

    /// Makes the configured provider the one that runs all models of this process. To be called before the first model is
    /// loaded.
    pub fn choose_provider(&self) -> anyhow::Result<()> {
        let ModelsConfig { provider, cuda_library, without_cuda, .. } = &self.models;
        if *provider == Provider::Cuda {
            let (runtime, refused) = Runtime::choose_cuda(cuda_library, *without_cuda == WithoutCuda::Cpu)?;
            match refused {
                Some(why) => tracing::warn!(%why, "no GPU can be used; the processor runs the models"),
                None => tracing::info!(runtime = runtime.fingerprint(), "a GPU runs the models"),
            }
        }
        Ok(())
    }

    /// The folder of the models.
    pub fn models_folder(&self) -> PathBuf {
        if !self.models.folder.is_empty() {
            return PathBuf::from(&self.models.folder);
        }
        cache_folder().join("models/v5")
    }
}

/// The cache that the set-up scripts fill: `LSIE_CACHE`, else the user's cache folder.
#[allow(clippy::disallowed_methods, reason = "the one place where the environment names the cache")]
fn cache_folder() -> PathBuf {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("LSIE_CACHE")
        .or_else(|| named("XDG_CACHE_HOME").map(|cache| cache.join("lsie")))
        .or_else(|| named("HOME").map(|home| home.join(".cache/lsie")))
        .unwrap_or_else(|| PathBuf::from(".cache/lsie"))
}

/// The configuration file that is taken: the one named, else `lsie.toml` of the current folder.
fn named(file: Option<&Path>) -> Option<&Path> {
    let here = Path::new("lsie.toml");
    file.or_else(|| here.exists().then_some(here))
}

fn origin(file: Option<&Path>) -> String {
    named(file).map_or("built-in configuration".into(), |path| format!("configuration {}", path.display()))
}

/// The variables of the environment that are text.
#[allow(clippy::disallowed_methods, reason = "the environment is a layer of the configuration")]
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn positive(key: &str, value: u64) -> anyhow::Result<()> {
    ensure!(value > 0, "{key} must be greater than 0");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        format!("{:#}", Config::parse(text).expect_err("a bad configuration"))
    }

    #[test]
    fn the_defaults_are_complete_and_agree_with_the_code() {
        let config = Config::parse("").expect("the defaults");
        assert_eq!(config.session, Limits::default());
        assert_eq!(config.operator, lsie_sinks::console::Settings::default());
    }

    #[test]
    fn a_file_overrides_single_keys() {
        let config =
            Config::parse("[engine]\nworkers = 4\n[log.properties]\n\"a.b\" = \"c\"").expect("valid");
        assert_eq!((config.engine.workers, config.engine.budget_mib), (4, 64));
        assert_eq!(config.log.properties["a.b"], "c");
    }

    #[test]
    fn a_secret_is_not_shown() {
        let config = Config::parse("[postgres]\nurl = \"postgresql://me:hunter2@host/db\"").expect("valid");
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(config.postgres.url().expect("a URL").is_some_and(|url| url.0.contains("hunter2")));
        assert!(Config::parse("").expect("the defaults").postgres.url().expect("none").is_none());
    }

    #[test]
    fn without_tokens_only_this_machine_is_served() {
        let reach = |text: &str| Config::parse(text).expect("valid").api.check_reach().is_ok();
        let token = "[[api.tokens]]\nname = \"a\"\nrole = \"viewer\"\nsha256 = ";
        let token = format!("{token}\"{}\"", "0a".repeat(32));
        assert!(reach(""));
        assert!(reach("[api]\nlisten = \"[::1]:8000\""));
        assert!(!reach("[api]\nlisten = \"0.0.0.0:8000\""));
        assert!(reach(&format!("[api]\nlisten = \"0.0.0.0:8000\"\n{token}")));
    }

    #[test]
    fn a_bad_value_names_its_key() {
        assert!(refused("[engine]\nworker = 4").contains("engine.worker"));
        assert!(refused("[engine]\nworkers = \"many\"").contains("engine.workers is a string"));
        assert!(refused("[engine]\nworkers = 0").contains("engine.workers"));
        assert!(refused("[models]\nprovider = \"cuda\"").contains("models.cuda_library"));
        assert!(refused("[models]\nprovider = \"tpu\"").contains("tpu"));
        assert!(refused("[models]\nscorer = \"language_model\"").contains("gray_band.url"));
        assert!(refused("[models]\nshadow = \"language_model\"").contains("models.shadow"));
        assert!(refused("[session]\nstall_timeout_ms = 70000").contains("session.stall_timeout_ms"));
        assert!(refused("[api]\ntls_key = \"k.pem\"").contains("api.tls_certificate"));
        let token = "[[api.tokens]]\nname = \"a\"\nrole = \"viewer\"\nsha256 = \"00\"";
        assert!(refused(token).contains("sha256"));
        assert!(refused("[log]\nallow_long_retention = [\"av.adio\"]").contains("av.adio"));
    }
}
