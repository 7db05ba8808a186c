//! The topics of the product: name, key, rank in the canonical order, and what their retention may be.

use serde::{Deserialize, Serialize};

/// What a topic's records are keyed and partitioned by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyedBy {
    /// The session id: all session topics of a set have one partition count.
    Session,
    /// The experiment id.
    Experiment,
    /// Nothing: the topic has one partition.
    Nothing,
}

/// How long a topic may keep its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Transient tier: at most this many milliseconds, never compacted.
    AtMost(u64),
    /// Kept without a time limit.
    Unbounded,
}

/// One day in milliseconds: the ceiling of the transient tier (`behaviour.md` §3).
pub const DAY_MS: u64 = 24 * 3_600 * 1_000;

/// Every topic of a topic set, in canonical order: within an epoch, records are taken by this rank,
/// then partition, then offset. Control comes first, so that a poll or a start of an epoch holds for
/// the media of the same epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Topic {
    /// Session start and end, stimuli, clock polls.
    #[serde(rename = "control")]
    Control,
    /// Experiments and arms.
    #[serde(rename = "experiments")]
    Experiments,
    /// Physiological chunks.
    #[serde(rename = "physio")]
    Physio,
    /// Live platform events.
    #[serde(rename = "events")]
    Events,
    /// Delayed outcomes.
    #[serde(rename = "outcomes")]
    Outcomes,
    /// Raw audio chunks.
    #[serde(rename = "av.audio")]
    AvAudio,
    /// Video access units.
    #[serde(rename = "av.video")]
    AvVideo,
    /// Answers of models placed via the log.
    #[serde(rename = "inference")]
    Inference,
    /// Requests to the outside world.
    #[serde(rename = "requests")]
    Requests,
    /// Answers of the outside world.
    #[serde(rename = "answers")]
    Answers,
    /// The epoch table.
    #[serde(rename = "epochs")]
    Epochs,
    /// Records that could not be used, with their reason.
    #[serde(rename = "dead-letters")]
    DeadLetters,
    /// Wrapped data keys.
    #[serde(rename = "keys")]
    Keys,
}

impl Topic {
    /// All topics, in canonical order.
    pub const ALL: [Topic; 13] = [
        Topic::Control,
        Topic::Experiments,
        Topic::Physio,
        Topic::Events,
        Topic::Outcomes,
        Topic::AvAudio,
        Topic::AvVideo,
        Topic::Inference,
        Topic::Requests,
        Topic::Answers,
        Topic::Epochs,
        Topic::DeadLetters,
        Topic::Keys,
    ];

    /// The name without the topic set's prefix.
    pub fn name(self) -> &'static str {
        match self {
            Topic::Control => "control",
            Topic::Experiments => "experiments",
            Topic::Physio => "physio",
            Topic::Events => "events",
            Topic::Outcomes => "outcomes",
            Topic::AvAudio => "av.audio",
            Topic::AvVideo => "av.video",
            Topic::Inference => "inference",
            Topic::Requests => "requests",
            Topic::Answers => "answers",
            Topic::Epochs => "epochs",
            Topic::DeadLetters => "dead-letters",
            Topic::Keys => "keys",
        }
    }

    /// The topic of an unprefixed name.
    pub fn by_name(name: &str) -> Option<Topic> {
        Topic::ALL.into_iter().find(|topic| topic.name() == name)
    }

    /// What the topic is keyed by.
    pub fn keyed_by(self) -> KeyedBy {
        match self {
            Topic::Experiments => KeyedBy::Experiment,
            Topic::Epochs => KeyedBy::Nothing,
            _ => KeyedBy::Session,
        }
    }

    /// How long its records may be kept.
    pub fn retention(self) -> Retention {
        match self {
            Topic::AvAudio | Topic::AvVideo | Topic::Physio | Topic::Keys | Topic::Requests => {
                Retention::AtMost(DAY_MS)
            }
            Topic::DeadLetters => Retention::AtMost(7 * DAY_MS),
            _ => Retention::Unbounded,
        }
    }

    /// Whether the topic carries raw media, whose bytes never enter a dead letter.
    pub fn is_media(self) -> bool {
        matches!(self, Topic::AvAudio | Topic::AvVideo)
    }
}

impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The partition of a key: Kafka's default rule (murmur2, sign bit cleared, modulo), so that any
/// ordinary producer agrees with us.
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    let positive = murmur2(key) & 0x7fff_ffff;
    (positive % partitions.max(1) as u32) as i32
}

/// MurmurHash2 with Kafka's seed.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mut h = SEED ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        k = k.wrapping_mul(M);
        h = h.wrapping_mul(M) ^ k;
    }
    let tail = words.remainder();
    if !tail.is_empty() {
        for (i, byte) in tail.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_in_canonical_order_and_names_round_trip() {
        assert!(Topic::ALL.is_sorted());
        for topic in Topic::ALL {
            assert_eq!(Topic::by_name(topic.name()), Some(topic));
            let json = serde_json::to_string(&topic).expect("a unit variant");
            assert_eq!(json, format!("\"{}\"", topic.name()));
        }
    }

    #[test]
    fn the_page_lists_every_topic_with_its_retention() {
        let page = include_str!("../../docs/TOPICS.md");
        let mut listed = Vec::new();
        for line in page.lines().skip_while(|line| !line.starts_with("| topic | key |")).skip(2) {
            let Some(row) = line.strip_prefix('|') else { break };
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            for name in cells[0].split(", ") {
                let topic = Topic::by_name(name.trim_matches('`')).unwrap_or_else(|| panic!("{name}"));
                let kept = match topic.retention() {
                    Retention::Unbounded => "without limit",
                    Retention::AtMost(DAY_MS) => "at most 24 h",
                    Retention::AtMost(_) => "7 days",
                };
                assert_eq!(cells[3], kept, "docs/TOPICS.md, {name}");
                listed.push(topic);
            }
        }
        listed.sort();
        assert_eq!(listed, Topic::ALL, "docs/TOPICS.md lists every topic once");
    }

    /// Vectors of Apache Kafka's own test of `Utils.murmur2`.
    #[test]
    fn murmur2_equals_the_java_client() {
        let cases: [(&[u8], i32); 4] = [
            (b"21", -973932308),
            (b"foobar", -790332482),
            (b"a-little-bit-long-string", -985981536),
            (b"abc", 479470107),
        ];
        for (key, hash) in cases {
            assert_eq!(murmur2(key) as i32, hash);
        }
    }
}
