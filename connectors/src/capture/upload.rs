//! From the outbox to the log: media get their capture times on the device's clock, and everything is tried
//! until the log has it.

use lsie_schemas::log::{AppendRecord, LogError, NewRecord};
use lsie_schemas::record::{AudioChunk, ClockPoll, Control, Stream, VideoUnit};
use uuid::Uuid;

use super::outbox::{Item, Media, Outbox};
use crate::health::State;
use crate::retry::{Backoff, log_is_lost, retry};
use crate::{Health, Stop};

/// Appends what the outbox holds until it is closed and empty, the log is lost, or `abandon` is said.
pub(super) fn upload(
    log: &dyn AppendRecord,
    outbox: &Outbox,
    health: &Health,
    abandon: &Stop,
) -> Result<(), LogError> {
    let mut clock = DeviceClock::default();
    while let Some(batch) = outbox.next() {
        let records: Vec<NewRecord> = batch.iter().map(|item| clock.record(item)).collect();
        let away = |error: &LogError| {
            health.set("log", State::Recovering, error.to_string());
            health.count("appends_retried", 1);
        };
        retry(Backoff::LOG, abandon, log_is_lost, away, || log.append(records.clone()))?;
        health.set("log", State::Ok, "");
        health.count("records_appended", batch.len() as u64);
        batch.iter().for_each(|item| clock.observe(item));
    }
    Ok(())
}

/// The device's clock as the newest poll record of a session tells it; without one, the host's.
#[derive(Debug, Default)]
struct DeviceClock {
    newest: Option<(Uuid, i64)>,
}

impl DeviceClock {
    /// Takes note of a poll that the log has.
    fn observe(&mut self, item: &Item) {
        if let Item::Control(Control::ClockPoll(poll)) = item
            && let ClockPoll { session_id, host_before_us, device_us: Some(device_us), .. } = poll
        {
            self.newest = Some((*session_id, device_us.saturating_sub(*host_before_us)));
        }
    }

    fn record(&self, item: &Item) -> NewRecord {
        let media = match item {
            Item::Control(control) => return control.encode(None),
            Item::Media(media) => media,
        };
        let Media { session, seq, key_frame, .. } = *media;
        let ahead_us = self.newest.filter(|(of, _)| *of == session).map_or(0, |(_, ahead_us)| ahead_us);
        let capture_us = media.host_us.saturating_add(ahead_us);
        let bytes = media.bytes.clone();
        match media.stream {
            Stream::Audio => AudioChunk { session_id: session, seq, capture_us, pcm: bytes }.encode(None),
            Stream::Video => {
                VideoUnit { session_id: session, seq, capture_us, key_frame, unit: bytes }.encode(None)
            }
        }
    }
}
