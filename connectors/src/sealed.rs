//! A log whose media are sealed on the way in and opened on the way out, in memory only (behaviour §3).
//!
//! Each process that appends media makes a key for each session, seals it with the master key, and has the log
//! acknowledge it in topic `keys` before the first record that names it. That topic keeps records for a day: after
//! that every copy of the media is unreadable, wherever it lies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lsie_schemas::log::{
    AppendRecord, Appended, Bounds, Fetch, Header, Log, LogError, LogReader, LogRecord, NewRecord,
    TopicPartition, TopicSpec, TopicState,
};
use lsie_schemas::record::{DataKey, HEADER_KEY_ID, HEADER_SEQ};
use lsie_schemas::topic::partition_of;
use lsie_schemas::{LogTime, Topic, codec};
use uuid::{Builder, Uuid};

use crate::reading;
use crate::seal::{Key, hex, unhex};

/// Opened keys that are remembered; past it all are forgotten and looked up again.
const MOST_KEYS: usize = 10_000;

/// The log, and the keys that a process has come to know.
pub struct SealedLog {
    log: Arc<dyn Log>,
    keys: Arc<Keys>,
}

struct Keys {
    master: Key,
    log: Arc<dyn Log>,
    /// Of each session the key that this process seals with, and its id.
    own: Mutex<BTreeMap<Uuid, (Uuid, Key)>>,
    /// Keys of records that were read; none: topic `keys` does not have it, or not for us.
    known: Mutex<BTreeMap<Uuid, Option<Key>>>,
}

impl SealedLog {
    /// Seals with keys that are sealed with this one.
    pub fn new(log: Arc<dyn Log>, master: Key) -> SealedLog {
        SealedLog::with_keys_of(log.clone(), log, master)
    }

    /// The same, with the keys that another log holds: an archive has none.
    pub fn with_keys_of(keys: Arc<dyn Log>, log: Arc<dyn Log>, master: Key) -> SealedLog {
        let (own, known) = Default::default();
        SealedLog { keys: Arc::new(Keys { master, log: keys, own, known }), log }
    }
}

impl AppendRecord for SealedLog {
    fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Appended>, LogError> {
        let sealed: Result<Vec<NewRecord>, LogError> =
            records.into_iter().map(|record| self.keys.sealed(record)).collect();
        self.log.append(sealed?)
    }
}

impl Log for SealedLog {
    fn create_topics(&self, specs: &[TopicSpec]) -> Result<(), LogError> {
        self.log.create_topics(specs)
    }

    fn topic(&self, topic: Topic) -> Result<Option<TopicState>, LogError> {
        self.log.topic(topic)
    }

    fn bounds_of(&self, partitions: &[TopicPartition]) -> Result<Bounds, LogError> {
        self.log.bounds_of(partitions)
    }

    fn bounds_within(&self, partitions: &[TopicPartition], limit: Duration) -> Result<Bounds, LogError> {
        self.log.bounds_within(partitions, limit)
    }

    fn offset_at(&self, at: TopicPartition, time: LogTime) -> Result<Option<i64>, LogError> {
        self.log.offset_at(at, time)
    }

    fn reader(&self, from: &[(TopicPartition, i64)], fetch: Fetch) -> Result<Box<dyn LogReader>, LogError> {
        let reader = self.log.reader(from, fetch)?;
        Ok(Box::new(Opening { reader, keys: self.keys.clone(), waiting: Vec::new() }))
    }

    fn fenced(&self, id: &str) -> Result<Box<dyn AppendRecord>, LogError> {
        // Carries the epoch table, never media.
        self.log.fenced(id)
    }
}

impl Keys {
    fn sealed(&self, record: NewRecord) -> Result<NewRecord, LogError> {
        if !record.topic.is_media() {
            return Ok(record);
        }
        let session = std::str::from_utf8(&record.key).ok().and_then(codec::session_id);
        let session =
            session.ok_or_else(|| LogError::Refused("media without a session as their key".into()))?;
        let (id, key) = self.own(session)?;
        let value = key.seal(&place(record.topic, &record.key, &record.headers), &record.value).into();
        let mut headers = record.headers;
        headers.push((HEADER_KEY_ID.into(), id.to_string().into()));
        Ok(NewRecord { value, headers, ..record })
    }

    /// The key of a session to seal with. A new one is in the log before it is used.
    fn own(&self, session_id: Uuid) -> Result<(Uuid, Key), LogError> {
        let mut own = lock(&self.own);
        if let Some((id, key)) = own.get(&session_id) {
            return Ok((*id, key.clone()));
        }
        let (key, bytes) = Key::random();
        let (_, random) = Key::random();
        let key_id = Builder::from_random_bytes(random[..16].try_into().unwrap_or_default()).into_uuid();
        let wrapped = hex(&self.master.seal(&wrap_place(session_id, key_id), &bytes[..]));
        self.log.append(vec![DataKey { session_id, key_id, wrapped }.encode(None)])?;
        if own.len() >= MOST_KEYS {
            own.clear();
        }
        own.insert(session_id, (key_id, key.clone()));
        Ok((key_id, key))
    }

    /// A media record with its content, if its key is there and it was not changed; else as it is, which the
    /// codec refuses.
    fn opened(&self, record: &LogRecord) -> Result<LogRecord, LogError> {
        let sealed = record.at.topic.is_media().then(|| record.header(HEADER_KEY_ID)).flatten();
        let Some(id) = sealed.and_then(|id| codec::uuid(std::str::from_utf8(id).ok()?)) else {
            return Ok(record.clone());
        };
        let Some(session) = codec::session_of_key(record) else { return Ok(record.clone()) };
        let Some(key) = self.key(session, id)? else { return Ok(record.clone()) };
        let session_key = record.key.as_deref().unwrap_or_default();
        let opened = key.open(&place(record.at.topic, session_key, &record.headers), &record.value);
        Ok(opened.map_or_else(
            |_| record.clone(),
            |value| {
                let mut record = LogRecord { value: value.into(), ..record.clone() };
                record.headers.retain(|(name, _)| name != HEADER_KEY_ID);
                record
            },
        ))
    }

    fn key(&self, session: Uuid, id: Uuid) -> Result<Option<Key>, LogError> {
        if let Some(known) = lock(&self.known).get(&id) {
            return Ok(known.clone());
        }
        let found = self.look_up(session)?;
        let mut known = lock(&self.known);
        if known.len() >= MOST_KEYS {
            known.clear();
        }
        known.extend(found.into_iter().map(|(id, key)| (id, Some(key))));
        Ok(known.entry(id).or_insert(None).clone())
    }

    /// The keys of a session that topic `keys` holds and the master key opens.
    fn look_up(&self, session: Uuid) -> Result<BTreeMap<Uuid, Key>, LogError> {
        let stretches = reading::whole(&*self.log, Topic::Keys)?;
        let partition = partition_of(session.to_string().as_bytes(), stretches.len() as i32);
        let stretch: Vec<_> = stretches.into_iter().filter(|s| s.at.partition == partition).collect();
        let mut keys = BTreeMap::new();
        reading::read(&*self.log, &stretch, |record| {
            let Ok(DataKey { session_id, key_id, wrapped }) = DataKey::decode(&record) else { return };
            let opened = unhex(&wrapped)
                .and_then(|wrapped| self.master.open(&wrap_place(session_id, key_id), &wrapped).ok())
                .map(zeroize::Zeroizing::new);
            let bytes = opened.as_ref().and_then(|bytes| <&[u8; 32]>::try_from(bytes.as_slice()).ok());
            if let Some(bytes) = bytes.filter(|_| session_id == session) {
                keys.insert(key_id, Key::new(bytes));
            }
        })?;
        Ok(keys)
    }
}

/// What a sealed record is bound to: nobody can put it elsewhere in the stream, or into another one.
fn place(topic: Topic, key: &[u8], headers: &[Header]) -> Vec<u8> {
    let seq = headers.iter().rev().find(|(name, _)| name == HEADER_SEQ).map(|(_, seq)| seq.as_ref());
    [topic.name().as_bytes(), key, seq.unwrap_or_default()].join(&b'/')
}

fn wrap_place(session: Uuid, key: Uuid) -> Vec<u8> {
    format!("{session}/{key}").into_bytes()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens what another reader reads.
struct Opening {
    reader: Box<dyn LogReader>,
    keys: Arc<Keys>,
    /// Records that were read when their keys could not be.
    waiting: Vec<LogRecord>,
}

impl LogReader for Opening {
    fn poll(&mut self, timeout: Duration) -> Result<Vec<LogRecord>, LogError> {
        if self.waiting.is_empty() {
            self.waiting = self.reader.poll(timeout)?;
        }
        let opened =
            self.waiting.iter().map(|record| self.keys.opened(record)).collect::<Result<Vec<_>, _>>()?;
        self.waiting.clear();
        Ok(opened)
    }

    fn pause(&mut self, at: TopicPartition, paused: bool) -> Result<(), LogError> {
        self.reader.pause(at, paused)
    }

    fn position(&self, at: TopicPartition) -> Option<i64> {
        let waiting = self.waiting.iter().find(|record| record.at == at).map(|record| record.offset);
        waiting.or_else(|| self.reader.position(at))
    }
}
