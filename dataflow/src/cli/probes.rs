//! What a live engine stands on, looked at when somebody asks for its health: short, read-only, and without a secret in what is told.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lsie_connectors::llm::{Access, Llm};
use lsie_schemas::Topic;
use lsie_schemas::log::Log;
use lsie_sinks::follower::Watch;
use lsie_sinks::views::Probe;

use super::running::language_model;
use crate::config::Config;
use crate::ingest::Shared;

/// An engine that commits no epoch for so long is not well.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// What a look at the language model may take: a probe has a second.
const LOOK: Duration = Duration::from_millis(900);

/// All probes, in the order in which they are shown.
pub(super) fn all(
    config: &Config,
    log: &Arc<dyn Log>,
    database: Option<Watch>,
    shared: &Arc<Shared>,
) -> Vec<Probe> {
    let (broker, heard) = (log.clone(), shared.metrics.model("speech"));
    let metadata = move || match broker.topic(Topic::Control) {
        Ok(Some(_)) => Ok("the broker answers".to_owned()),
        Ok(None) => Err("topic control is missing".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    vec![
        database.map_or(Probe::not_configured("postgres", "PostgreSQL"), postgres_probe),
        Probe::new("redis", "Kafka", metadata),
        language_model_probe(config),
        // An engine whose model of speech cannot be used does not start.
        Probe::new("whisper_worker", "Speech recognition", move || {
            Ok(format!("the model is loaded, {} requests wait", heard.waiting()))
        }),
        heartbeat(shared.clone()),
    ]
}

/// Whether the database takes what it is sent.
fn postgres_probe(watch: Watch) -> Probe {
    Probe::new("postgres", "PostgreSQL", move || {
        let status = watch.status();
        let (lag_s, behind) = (status.lag_ms() as f64 / 1e3, status.behind);
        let lag = format!("{lag_s:.1} s, {} epochs and {} rows behind", behind.epochs, behind.rows);
        // What the database says could name it; that it is away is enough here, the log has the rest.
        if status.away.is_some() { Err(format!("away, {lag}")) } else { Ok(lag) }
    })
}

fn language_model_probe(config: &Config) -> Probe {
    let (key, label) = ("azure_openai", "Language model");
    match language_model(config) {
        Ok(None) => Probe::not_configured(key, label),
        Ok(Some(model)) => {
            let llm = Llm::new(Access { limit: LOOK, ..model.access });
            Probe::new(key, label, move || llm.look())
        }
        Err(why) => {
            let why = format!("{why:#}");
            Probe::new(key, label, move || Err(why.clone()))
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a heartbeat is about the engine itself")]
fn heartbeat(shared: Arc<Shared>) -> Probe {
    let last = Mutex::new((0, Instant::now()));
    Probe::new("orchestrator", "Engine", move || {
        let now = shared.committed.load(Ordering::SeqCst);
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if now != last.0 {
            *last = (now, Instant::now());
        }
        match last.1.elapsed() {
            silent if silent > HEARTBEAT => Err(format!("no epoch since {} s", silent.as_secs())),
            _ => Ok("epochs are committed".to_owned()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contracts of the console: without configuration it is `not_configured`, with one it is looked at.
    #[test]
    fn the_language_model_is_looked_at_where_there_is_one() {
        let probe = |text: &str| language_model_probe(&Config::parse(text).expect("valid"));
        assert_eq!(probe("").found(), None);
        let nobody = "[gray_band]\nurl = \"http://127.0.0.1:1/v1\"\nmodel = \"m\"";
        assert!(matches!(probe(nobody).found(), Some(Err(why)) if why.contains("cannot be reached")));
        let no_key = format!("{nobody}\nkey_file = \"/nowhere\"");
        assert!(matches!(probe(&no_key).found(), Some(Err(why)) if why.contains("gray_band.key_file")));
    }
}
