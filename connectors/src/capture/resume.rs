//! Where a capture goes on after it was restarted within a session: behind the numbers that the topics hold.

use std::collections::BTreeMap;

use lsie_schemas::log::{Log, LogError};
use lsie_schemas::record::{Record, StartSession, Stream};
use lsie_schemas::topic::partition_of;
use lsie_schemas::{LogTime, Topic, codec};

use crate::clock::wall_ms;
use crate::reading::{self, Stretch};

/// How far back is looked first; each further look goes eight times as far.
const FIRST_LOOK_MS: u64 = 60_000;

/// The next sequence number of each stream of a session that began then.
pub(super) fn next_seqs(
    log: &dyn Log,
    start: &StartSession,
    began: LogTime,
) -> Result<BTreeMap<Stream, u64>, LogError> {
    let next = |stream: &Stream| next_seq(log, start, *stream, began).map(|seq| (*stream, seq));
    start.streams.iter().map(next).collect()
}

fn next_seq(log: &dyn Log, start: &StartSession, stream: Stream, began: LogTime) -> Result<u64, LogError> {
    let topic = match stream {
        Stream::Audio => Topic::AvAudio,
        Stream::Video => Topic::AvVideo,
    };
    let state = log.topic(topic)?.ok_or_else(|| LogError::Missing(topic.to_string()))?;
    let key = start.session_id.to_string();
    let whole = reading::whole(log, topic)?;
    let partition = partition_of(key.as_bytes(), state.partitions);
    let Some(mut stretch) = whole.into_iter().find(|stretch| stretch.at.partition == partition) else {
        return Ok(0);
    };
    let mut back_ms = FIRST_LOOK_MS;
    loop {
        let since = wall_ms().saturating_sub(back_ms);
        let from = log.offset_at(stretch.at, LogTime(since.max(began.0)))?.unwrap_or(stretch.to);
        let found = newest(log, Stretch { from, ..stretch }, key.as_bytes())?;
        if let Some(seq) = found {
            return Ok(seq + 1);
        }
        if since <= began.0 {
            return Ok(0);
        }
        stretch.to = from;
        back_ms = back_ms.saturating_mul(8);
    }
}

/// The highest number of a session in a stretch of a media topic.
fn newest(log: &dyn Log, stretch: Stretch, key: &[u8]) -> Result<Option<u64>, LogError> {
    let mut newest = None;
    reading::read(log, &[stretch], |record| {
        if record.key.as_deref() == Some(key) {
            let seq = match codec::decode(&record) {
                Ok(Record::Audio(chunk)) => Some(chunk.seq),
                Ok(Record::Video(unit)) => Some(unit.seq),
                _ => None,
            };
            newest = newest.max(seq);
        }
    })?;
    Ok(newest)
}
