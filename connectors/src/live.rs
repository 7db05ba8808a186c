//! Live events: a WebSocket connection to a platform, for the sessions whose start record names the watched account.
//!
//! A connection is signed anew each time. When it breaks it is made again by [`Backoff::CONNECTION`]; after ten
//! failures in a row the connector gives up until the next session. Without signatures there are no events,
//! and nothing else is touched. A follow becomes an outcome in the engine, not here.

mod generic;
mod queue;
mod room;
mod sign;
pub mod webcast;

use std::sync::Arc;
use std::thread::{Builder, scope};
use std::time::Duration;

use lsie_schemas::log::{Log, LogError};
use tokio::sync::watch;
use uuid::Uuid;

use crate::follow::{self, Change, Of, Tail};
use crate::health::State;
use crate::retry::{log_is_lost, retry};
use crate::{Backoff, Health, Stop};
use room::Room;
pub use sign::{Fixed, Service, Sign, SignError, Signed};

/// How messages of the platform are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The platform's binary frames.
    Webcast,
    /// One JSON object, or a list of them, in each text message.
    Json,
}

/// What a live connector is to do.
pub struct Settings {
    /// The watched account, by which start records name it.
    pub account: String,
    /// How messages are written.
    pub mode: Mode,
    /// What makes addresses to connect to.
    pub sign: Arc<dyn Sign>,
    /// How long to wait between connections.
    pub backoff: Backoff,
    /// Between two signs of life that are sent.
    pub heartbeat: Duration,
    /// A connection on which nothing comes for so long is taken for broken.
    pub silence: Duration,
}

impl Settings {
    /// For an account, with the times of behaviour §7.
    pub fn new(account: impl Into<String>, mode: Mode, sign: Arc<dyn Sign>) -> Settings {
        Settings {
            account: account.into(),
            mode,
            sign,
            backoff: Backoff::CONNECTION,
            heartbeat: Duration::from_secs(10),
            silence: Duration::from_secs(60),
        }
    }
}

/// Why a live connector could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Threads or the runtime.
    #[error("cannot run: {0}")]
    Run(#[from] std::io::Error),
}

/// Follows the watched account until the wish to stop.
pub fn live(log: &dyn Log, settings: &Settings, health: &Health, stop: &Stop) -> Result<(), LiveError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let of = Of::Account(settings.account.clone());
    let away = |error: &LogError| health.set("log", State::Recovering, error.to_string());
    let caught_up = retry(Backoff::LOG, stop, log_is_lost, away, || follow::catch_up(log, &of, None))?;
    let running = caught_up.follow.running().map(|(start, _)| start.session_id);
    let (session, sessions) = watch::channel(running);
    let (events, queue) = queue::new();
    let abandon = Stop::default();
    scope(|scope| {
        let appender = Builder::new()
            .name("live-append".into())
            .spawn_scoped(scope, || queue.append_all(log, health, &abandon).inspect_err(|_| stop.stop()))?;
        let follower = Builder::new().name("live-follow".into()).spawn_scoped(scope, || {
            let result = follow_sessions(log, caught_up, &session, health, stop).inspect_err(|_| stop.stop());
            // Without a session, and without whoever could begin one, the rooms end.
            drop(session);
            result
        })?;
        runtime.block_on(Room { settings, health, events, sessions }.attend());
        stop.stop();
        let followed = follower.join().unwrap_or(Ok(()));
        queue::last_words(&appender, &abandon);
        appender.join().unwrap_or(Ok(()))?;
        Ok(followed?)
    })
}

/// Follows topic `control`, and says which session runs.
fn follow_sessions(
    log: &dyn Log,
    caught_up: follow::CaughtUp,
    session: &watch::Sender<Option<Uuid>>,
    health: &Health,
    stop: &Stop,
) -> Result<(), LogError> {
    let follow::CaughtUp { mut follow, positions, .. } = caught_up;
    let away = |error: &LogError| health.set("control", State::Recovering, error.to_string());
    let mut tail = retry(Backoff::LOG, stop, log_is_lost, away, || Tail::new(log, &positions))?;
    while !stop.is_stopped() {
        for change in tail.changes(&mut follow, stop, away)? {
            let running = match change {
                Change::Begin(start, _) => Some(start.session_id),
                Change::End(..) => None,
            };
            session.send_replace(running);
        }
        health.set("control", State::Ok, "");
    }
    Ok(())
}
