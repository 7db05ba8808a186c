//! The sections of what brings records in, of its health, and of the vault.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

/// Section `[capture]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureConfig {
    /// URI of the source.
    pub source: String,
    /// Folder of the pipes.
    pub dir: PathBuf,
    /// The streams that are captured.
    pub streams: Vec<String>,
    /// Producer of the sound; empty: somebody else writes to the pipe.
    pub audio: Vec<String>,
    /// Producer of the pictures; empty: somebody else writes to the pipe.
    pub video: Vec<String>,
    /// The program `adb`; empty: no device.
    pub adb: String,
    /// Serial number of the device; empty: the only one.
    pub serial: String,
    /// Media that wait for the log, MiB.
    pub buffer_mib: usize,
    /// Silence that a producer may keep, s; 0: any.
    pub silence_s: u64,
}

/// Section `[ingest]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestConfig {
    /// Address of `lsie ingest`.
    pub listen: SocketAddr,
    /// File of the bearer token; empty: none is wanted.
    pub token_file: PathBuf,
    /// File of the provider's webhook secret; empty: no notification is let in.
    pub oura_secret_file: PathBuf,
}

/// Section `[hydrate]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HydrateConfig {
    /// Base URL of the provider's resources.
    pub base_url: String,
    /// Where tokens are refreshed.
    pub token_url: String,
    /// The client's id; empty: hydration is disabled.
    pub client_id: String,
    /// File of the client's secret.
    pub client_secret_file: PathBuf,
    /// Folder of the subjects' tokens.
    pub tokens_dir: PathBuf,
}

/// Section `[live]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveConfig {
    /// The watched account.
    pub account: String,
    /// `webcast` or `json`.
    pub mode: String,
    /// The signature service.
    pub sign_url: String,
    /// Where to connect without one.
    pub url: String,
}

/// Section `[enrich]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrichConfig {
    /// Hosts whose pages may be visited; none: enrichment is disabled.
    pub hosts: Vec<String>,
    /// Hosts that may lead into private networks.
    pub private_hosts: Vec<String>,
    /// The program Chromium.
    pub browser: String,
    /// Whether its renderers are confined.
    pub sandbox: bool,
    /// Visits at a time.
    pub browsers: usize,
}

/// Section `[health]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthConfig {
    /// Where a connector writes its newest report; empty: nowhere.
    pub file: PathBuf,
}

/// Section `[vault]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultConfig {
    /// Folders of debug media.
    pub dirs: Vec<PathBuf>,
    /// Hours between two shreddings.
    pub shred_hours: u64,
}
