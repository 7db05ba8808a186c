//! Senders that were told to come again while the log had not answered, and what became of what they sent.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lsie_schemas::log::Appended;

use super::appender::Open;
use crate::clock::now;

/// How long a sender that comes again is known.
const KEPT: Duration = Duration::from_secs(3_600);
/// Most that are known; the oldest is forgotten. What a log can owe at a time fits in many times over.
const MOST: usize = 16_384;

/// What is known of something that is sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// It is not in the log; to be appended.
    New,
    /// The log still owes the answer.
    Open,
    /// It was acknowledged after its sender had left. Said once.
    Stored(Vec<Appended>),
}

/// Appends with open end, by what identifies what was sent.
pub(crate) struct Late<K>(BTreeMap<K, (Instant, Open)>);

impl<K> Default for Late<K> {
    fn default() -> Late<K> {
        Late(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Late<K> {
    /// Keeps an append in mind; forgets those that are too old.
    pub(crate) fn insert(&mut self, key: K, open: Open) {
        let now = now();
        self.0.retain(|_, (at, _)| now.saturating_duration_since(*at) < KEPT);
        if self.0.len() >= MOST {
            let oldest = self.0.iter().min_by_key(|(_, (at, _))| *at).map(|(key, _)| key.clone());
            self.0.retain(|key, _| Some(key) != oldest.as_ref());
        }
        self.0.insert(key, (now, open));
    }

    /// What is known of it.
    pub(crate) fn again(&mut self, key: &K) -> Again {
        let Some((_, open)) = self.0.get(key) else { return Again::New };
        let Some(end) = open.end() else { return Again::Open };
        self.0.remove(key);
        end.map_or(Again::New, Again::Stored)
    }
}
