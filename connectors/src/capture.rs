//! Capture: two producers write sound and pictures of a phone into pipes, and what comes out goes to the topics
//! `av.audio`, `av.video` and `control`.
//!
//! What a capture knows it can rebuild: which session it is for from `control`, where its numbers go on from
//! the media topics. A log that is slow is waited for within a bounded buffer; beyond it media are dropped, and
//! a gap record says how many bytes. [`WavReader`] and [`MatroskaReader`] are pure, the rest is a thin skin.

mod cycle;
mod device;
pub mod matroska;
mod outbox;
mod pipe;
mod placement;
mod program;
mod resume;
mod stream;
mod upload;
mod wav;

use std::path::PathBuf;
use std::thread::{Builder, scope};
use std::time::Duration;

use lsie_schemas::log::{Log, LogError};
use lsie_schemas::record::{StartSession, Stream};
use uuid::Uuid;

use crate::clock::{now, wall_us};
use crate::follow::{self, CaughtUp, Change, Of, Tail};
use crate::health::State;
use crate::retry::{Backoff, log_is_lost, retry};
use crate::{Health, Stop};
use cycle::Cycles;
pub use device::Device;
pub use matroska::MatroskaReader;
use outbox::Outbox;
pub use wav::WavReader;

/// How long what is left is still offered to the log after the wish to stop.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How often it is looked whether a clock poll is due.
const LOOK: Duration = Duration::from_millis(20);

/// What a capture is to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The URI of the source, by which start records name it.
    pub source_url: String,
    /// Folder of the pipes.
    pub dir: PathBuf,
    /// The producers, in the order in which they are started.
    pub producers: Vec<Producer>,
    /// The device whose clock stamps the media; none: it is this machine's.
    pub device: Option<Device>,
    /// A session that this capture starts and ends itself; none: it follows topic `control`.
    pub session: Option<StartSession>,
    /// Most bytes of media that wait for the log.
    pub buffer_bytes: usize,
    /// Times.
    pub timing: Timing,
}

/// What produces a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    /// The stream.
    pub stream: Stream,
    /// Program and arguments; `{pipe}` stands for the pipe it shall write to. Empty: somebody else writes to it.
    pub command: Vec<String>,
}

/// Times of a capture (behaviour §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between the starts of two producers.
    pub stagger: Duration,
    /// From the end of all producers to their next start.
    pub restart: Duration,
    /// Between two looks for a device that is missing.
    pub device_poll: Duration,
    /// After that time without a device the capture ends.
    pub device_wait: Duration,
    /// Between two polls of the device's clock.
    pub clock_poll: Duration,
    /// A producer that writes nothing for so long is taken for hung; none: it may.
    pub silence: Option<Duration>,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            stagger: Duration::from_secs(4),
            restart: Duration::from_secs(2),
            device_poll: Duration::from_secs(2),
            device_wait: Duration::from_secs(60),
            clock_poll: Duration::from_secs(30),
            silence: Some(Duration::from_secs(30)),
        }
    }
}

/// Why a capture could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// No device came within so many seconds.
    #[error("no device for {0} s: connect it, allow debugging on it; `adb devices` lists it as `device`")]
    NoDevice(u64),
    /// A pipe: names it and what is wrong.
    #[error("pipe: {0}")]
    Pipe(String),
    /// A producer's program, and why it cannot be started.
    #[error("producer {0:?} cannot be started: {1}")]
    Producer(String, String),
    /// The session that was to be captured has an end record already.
    #[error("session {0} has ended: choose another id")]
    SessionOver(Uuid),
}

/// Captures until the wish to stop. A session of its own is then ended; one that it follows is left as it is.
pub fn capture(log: &dyn Log, settings: &Settings, health: &Health, stop: &Stop) -> Result<(), CaptureError> {
    let outbox = Outbox::new(settings.buffer_bytes);
    let caught_up = begin(log, settings, &outbox, health, stop)?;
    let abandon = Stop::default();
    scope(|scope| {
        let thread = |name: &str| Builder::new().name(format!("capture-{name}"));
        let no_thread = |why: std::io::Error| CaptureError::Pipe(format!("has no thread: {why}"));
        let uploader = thread("upload").spawn_scoped(scope, || {
            // Without it nothing is of use.
            upload::upload(log, &outbox, health, &abandon).inspect_err(|_| stop.stop())
        });
        let uploader = uploader.map_err(no_thread)?;
        let follower = thread("follow").spawn_scoped(scope, || {
            follow_sessions(log, caught_up, &outbox, health, stop).inspect_err(|_| stop.stop())
        });
        let poller = thread("clock").spawn_scoped(scope, || poll_clock(settings, &outbox, health, stop));
        let mut result = follower.and(poller.map(|_| ())).map_err(no_thread);
        let result = match result {
            Ok(()) => Cycles { settings, outbox: &outbox, health, stop }.run(),
            Err(_) => std::mem::replace(&mut result, Ok(())),
        };
        stop.stop();
        outbox.with(|queue| {
            if result.is_ok() && settings.session.as_ref().map(|own| own.session_id) == queue.session() {
                queue.end();
            }
            queue.close();
        });
        let since = now();
        while !uploader.is_finished() && since.elapsed() < LAST_WORDS {
            std::thread::sleep(LOOK);
        }
        abandon.stop();
        uploader.join().unwrap_or(Ok(()))?;
        result
    })
}

/// Reads topic `control` and takes up the session that runs, or begins the capture's own.
fn begin(
    log: &dyn Log,
    settings: &Settings,
    outbox: &Outbox,
    health: &Health,
    stop: &Stop,
) -> Result<CaughtUp, CaptureError> {
    let own = settings.session.as_ref();
    let away = |error: &LogError| health.set("log", State::Recovering, error.to_string());
    let (caught_up, next) = retry(Backoff::LOG, stop, log_is_lost, away, || {
        let of = Of::Source(settings.source_url.clone());
        let caught_up = follow::catch_up(log, &of, own.map(|own| own.session_id))?;
        let running = caught_up.follow.running();
        let next = running.map(|(start, began)| resume::next_seqs(log, start, *began)).transpose()?;
        Ok((caught_up, next.unwrap_or_default()))
    })?;
    outbox.with(|queue| {
        if let Some((start, _)) = caught_up.follow.running() {
            queue.begin(start, &next, false);
        }
        match own {
            Some(own) if caught_up.ended => Err(CaptureError::SessionOver(own.session_id)),
            Some(own) if queue.session() != Some(own.session_id) => {
                queue.begin(own, &Default::default(), true);
                Ok(())
            }
            _ => Ok(()),
        }
    })?;
    Ok(caught_up)
}

/// Follows topic `control` until the wish to stop.
fn follow_sessions(
    log: &dyn Log,
    caught_up: CaughtUp,
    outbox: &Outbox,
    health: &Health,
    stop: &Stop,
) -> Result<(), LogError> {
    let CaughtUp { mut follow, positions, .. } = caught_up;
    let away = |error: &LogError| health.set("control", State::Recovering, error.to_string());
    let mut tail = retry(Backoff::LOG, stop, log_is_lost, away, || Tail::new(log, &positions))?;
    while !stop.is_stopped() {
        let changes = tail.changes(&mut follow, stop, away)?;
        health.set("control", State::Ok, "");
        for change in changes {
            outbox.with(|queue| match change {
                // Its own start record, or one that it began from.
                Change::Begin(start, _) if queue.session() == Some(start.session_id) => {}
                Change::Begin(start, _) => queue.begin(&start, &Default::default(), false),
                Change::End(session, at) => queue.end_at(session, at.as_event().0),
            });
        }
    }
    Ok(())
}

/// Polls the device's clock for the session that runs: at its beginning, and then at intervals.
fn poll_clock(settings: &Settings, outbox: &Outbox, health: &Health, stop: &Stop) {
    let mut due = now();
    loop {
        let (session, unpolled) = outbox.look(|queue| (queue.session(), queue.unpolled()));
        if session.is_some() && (unpolled.is_some() || now() >= due) {
            let host_before_us = wall_us();
            let device_us = match &settings.device {
                Some(device) => device.clock_us(),
                None => Some(host_before_us),
            };
            let host_after_us = wall_us();
            outbox.with(|queue| queue.poll(host_before_us, host_after_us, device_us));
            due = now() + settings.timing.clock_poll;
            match device_us {
                Some(_) => health.set("clock", State::Ok, ""),
                None => health.set("clock", State::Degraded, "the device's clock does not answer"),
            }
            health.count(if device_us.is_some() { "polls" } else { "polls_failed" }, 1);
        }
        if stop.wait(LOOK) {
            return;
        }
    }
}
