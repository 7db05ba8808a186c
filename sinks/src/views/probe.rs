//! Probes: short read-only looks at what the engine stands on. They say how things are now, and change nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::views::act::received;

/// How long a probe may take.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long what was found is told again, so that many readers are one look.
const FRESH: Duration = Duration::from_secs(1);
/// Longest detail, in characters.
const MAX_DETAIL: usize = 240;

/// A look: what it found, or what is wrong. It may block for a while; neither text holds a secret.
pub type Look = Arc<dyn Fn() -> Result<String, String> + Send + Sync>;

/// One thing to look at.
#[derive(Clone)]
pub struct Probe {
    key: &'static str,
    label: &'static str,
    look: Option<Look>,
}

impl Probe {
    /// A probe of something that is there.
    pub fn new(
        key: &'static str,
        label: &'static str,
        look: impl Fn() -> Result<String, String> + Send + Sync + 'static,
    ) -> Probe {
        Probe { key, label, look: Some(Arc::new(look)) }
    }

    /// A probe of something that the configuration leaves out.
    pub fn not_configured(key: &'static str, label: &'static str) -> Probe {
        Probe { key, label, look: None }
    }

    /// What it finds now; none if it is not configured.
    pub fn found(&self) -> Option<Result<String, String>> {
        self.look.as_ref().map(|look| look())
    }
}

/// What a probe found.
#[derive(Clone, Serialize, JsonSchema)]
pub(crate) struct HealthSubsystemProbe {
    subsystem_key: &'static str,
    label: &'static str,
    /// `ok`, `error`, `timeout` or `not_configured`.
    state: &'static str,
    latency_ms: Option<f64>,
    detail: Option<String>,
    checked_at_utc: String,
}

/// What the probes found, by their keys.
pub(crate) type Found = BTreeMap<&'static str, HealthSubsystemProbe>;

/// All probes.
#[derive(Clone, Default)]
pub(crate) struct Probes {
    probes: Arc<[Probe]>,
    /// And when.
    found: Arc<Mutex<Option<(Instant, Found)>>>,
}

impl Probes {
    pub(crate) fn new(probes: Vec<Probe>) -> Probes {
        Probes { probes: probes.into(), found: Arc::default() }
    }

    /// Looks at everything at the same time; at most one second.
    pub(crate) async fn look(&self) -> Found {
        let mut found = self.found.lock().await;
        if let Some((at, known)) = &*found
            && at.elapsed() < FRESH
        {
            return known.clone();
        }
        let looks = futures::future::join_all(self.probes.iter().cloned().map(look)).await;
        let looks: Found = looks.into_iter().map(|probe| (probe.subsystem_key, probe)).collect();
        *found = Some((Instant::now(), looks.clone()));
        looks
    }
}

async fn look(probe: Probe) -> HealthSubsystemProbe {
    let found = |state, latency_ms, detail: Option<String>| HealthSubsystemProbe {
        subsystem_key: probe.key,
        label: probe.label,
        state,
        latency_ms,
        detail: detail.map(|text| text.chars().take(MAX_DETAIL).collect()),
        checked_at_utc: received().canonical(),
    };
    let Some(look) = probe.look.clone() else { return found("not_configured", None, None) };
    let started = Instant::now();
    let looked = tokio::time::timeout(TIMEOUT, tokio::task::spawn_blocking(move || look())).await;
    let latency_ms = Some(started.elapsed().as_secs_f64() * 1e3);
    match looked {
        Ok(Ok(Ok(detail))) => found("ok", latency_ms, Some(detail)),
        Ok(Ok(Err(why))) => found("error", latency_ms, Some(why)),
        Ok(Err(_)) => found("error", latency_ms, Some("the probe failed".into())),
        Err(_) => found("timeout", latency_ms, None),
    }
}
