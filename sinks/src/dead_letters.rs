//! The topic `dead-letters`: every filed record of a live run, for whoever watches topics rather than tables.
//!
//! A letter carries the epoch that filed it. All letters of an epoch are one append of a fenced appender, so
//! the newest epoch in the topic says what a restart need not append again.

use std::collections::VecDeque;
use std::time::Duration;

use lsie_schemas::log::{AppendRecord, Fetch, Log, LogError, NewRecord, TopicPartition};
use lsie_schemas::record::DeadLetter;
use lsie_schemas::row::DeadLetterRow;
use lsie_schemas::{Change, LogTime, TableRow, Topic};

use crate::{Error, Sink};

/// Name under which writers of the topic fence each other.
const WRITER: &str = "lsie-dead-letters";
/// How many records before the end of a partition are looked at first for its newest epoch; then twice as many.
const LOOK_BACK: i64 = 64;
/// How long one poll waits while the topic's end is read.
const WAIT: Duration = Duration::from_millis(100);
/// Epochs with letters that may wait for a log that is away.
const MAX_WAITING: usize = 100_000;

/// Appends the letters of complete epochs.
pub struct DeadLetters {
    letters: Box<dyn AppendRecord>,
    /// Newest epoch whose letters the topic holds.
    held: Option<LogTime>,
    /// Letters of the epoch that is being written.
    open: Vec<NewRecord>,
    /// Complete epochs that the log has not acknowledged yet.
    waiting: VecDeque<(LogTime, Vec<NewRecord>)>,
}

impl DeadLetters {
    /// Takes over from an earlier writer, and reads how far it came.
    pub fn open(log: &dyn Log) -> Result<DeadLetters, Error> {
        let letters = log.fenced(WRITER)?;
        let partitions = log.topic(Topic::DeadLetters)?.map_or(0, |state| state.partitions);
        let mut held = None;
        for partition in 0..partitions {
            held = held.max(newest(log, TopicPartition { topic: Topic::DeadLetters, partition })?);
        }
        Ok(DeadLetters { letters, held, open: Vec::new(), waiting: VecDeque::new() })
    }

    /// Appends what waits. A log that is away is no failure: what it does not hold is kept, and after a
    /// restart it is computed again.
    fn append(&mut self) -> Result<(), Error> {
        while let Some((epoch, letters)) = self.waiting.front() {
            match self.letters.append(letters.clone()) {
                Ok(_) => {
                    self.held = Some(*epoch);
                    self.waiting.pop_front();
                }
                Err(LogError::Unavailable(why)) if self.waiting.len() < MAX_WAITING => {
                    tracing::warn!(%why, waiting = self.waiting.len(), "dead letters cannot be appended yet");
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Sink for DeadLetters {
    fn write(&mut self, epoch: LogTime, changes: &[Change]) -> Result<(), Error> {
        for change in changes.iter().filter(|c| c.table == DeadLetterRow::TABLE.name && c.diff > 0) {
            let letter = DeadLetterRow::from_cells(&change.row).and_then(DeadLetter::of_row);
            let letter = letter.ok_or_else(|| Error::Contract("a row that is no dead letter".into()))?;
            self.open.push(letter.encode(epoch));
        }
        Ok(())
    }

    fn commit(&mut self, epoch: LogTime) -> Result<(), Error> {
        if !self.open.is_empty() {
            self.waiting.push_back((epoch, std::mem::take(&mut self.open)));
        }
        self.append()
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.append()
    }

    fn committed(&self) -> Option<LogTime> {
        self.held
    }

    /// Up to the first letter that waits; the topic has no mark for epochs without letters.
    fn resumable_after(&self) -> Option<LogTime> {
        let (waiting, _) = match self.waiting.front() {
            Some(first) => first,
            None => return Some(LogTime(u64::MAX)),
        };
        waiting.0.checked_sub(1).map(LogTime)
    }
}

/// The newest epoch among the letters of a partition.
fn newest(log: &dyn Log, at: TopicPartition) -> Result<Option<LogTime>, LogError> {
    let (first, end) = log.bounds(at)?;
    let mut from = end;
    let mut back = LOOK_BACK;
    // The end may hold marks of transactions only: then look further back.
    loop {
        if from <= first {
            return Ok(None);
        }
        from = (end - back).max(first);
        let mut reader = log.reader(&[(at, from)], Fetch::default())?;
        let mut newest = None;
        while reader.position(at).is_some_and(|position| position < end) {
            newest = reader.poll(WAIT)?.iter().filter_map(DeadLetter::epoch_of).max().max(newest);
        }
        if newest.is_some() {
            return Ok(newest);
        }
        back *= 2;
    }
}
