//! Recovery as a decision: from what is found at a start to what the run does. Pure; [`facts`] finds out.

pub mod facts;

use std::collections::BTreeMap;

use lsie_schemas::log::{Log, TopicPartition};
use lsie_schemas::record::EpochRecord;
use lsie_schemas::{LogTime, Topic};

use crate::checkpoint::manifest::{Manifest, ManifestError, Position};
use crate::checkpoint::{BEGIN_EMPTY, FORMERLY, READ_LATER, VIEWS};
use crate::epochs::{Positions, accept_after};

/// All that a start can know before it touches anything.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The manifests of the store, newest first, by name.
    pub manifests: Vec<(String, Result<Manifest, ManifestError>)>,
    /// The state files that are there: length and hash.
    pub files: BTreeMap<String, (u64, String)>,
    /// The epoch after which a run may begin at the latest, by the sink that is furthest behind; `None` if one
    /// needs everything.
    pub sinks: Option<LogTime>,
    /// First retained and end offset of every input partition.
    pub bounds: BTreeMap<TopicPartition, (i64, i64)>,
    /// Partitions of every input topic.
    pub partitions: BTreeMap<Topic, i32>,
    /// What the log holds where a manifest remembers a record.
    pub witnesses: BTreeMap<(TopicPartition, i64), Witnessed>,
    /// The accepted epochs of the table.
    pub table: Vec<EpochRecord>,
    /// The epoch of the last healing.
    pub healed: Option<LogTime>,
    /// The hash of every setting that a result depends on.
    pub config: String,
    /// The stations of this version's graph.
    pub stations: BTreeMap<String, u32>,
}

/// The record at an offset that a manifest remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witnessed {
    /// It has this log time and length.
    There(LogTime, u64),
    /// It has expired, or the log ends before it.
    Gone,
}

/// What a run does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// There is nothing to go on from, and nothing to replay.
    Fresh,
    /// Go on after this checkpoint.
    Resume {
        /// The checkpoint.
        manifest: Box<Manifest>,
        /// Newer ones that cannot be used, each with the reason.
        passed_over: Vec<String>,
    },
    /// Replay the log from its first epoch on; sinks drop what they hold.
    ReplayFromStart {
        /// The checkpoints that cannot be used, each with the reason.
        passed_over: Vec<String>,
    },
    /// Do nothing: results would be wrong.
    Refuse {
        /// What is missing or contradicts.
        why: String,
        /// What the operator can do.
        mend: String,
    },
}

/// What is to be thought of one manifest.
enum Verdict {
    Usable,
    /// An older one, or the log itself, may do.
    Unusable(String),
    /// No other checkpoint and no replay would be right either.
    Refuse {
        why: String,
        mend: &'static str,
    },
}

const NEW_TARGET: &str = "start a new target directory (--out) with a new checkpoint store";

/// Decides. The newest checkpoint that is whole, that the sinks have come up to, and that belongs to this log
/// and configuration is resumed from; else the log is replayed, if it still has everything.
pub fn plan(facts: &Facts) -> Plan {
    let mut passed_over = Vec::new();
    for (name, manifest) in &facts.manifests {
        let verdict = match manifest {
            Ok(manifest) => judge(manifest, facts),
            Err(why) => Verdict::Unusable(why.to_string()),
        };
        match (verdict, manifest) {
            (Verdict::Usable, Ok(manifest)) => {
                return Plan::Resume { manifest: Box::new(manifest.clone()), passed_over };
            }
            (Verdict::Refuse { why, mend }, _) => {
                return Plan::Refuse { why: format!("{name}: {why}"), mend: mend.into() };
            }
            (Verdict::Unusable(why), _) => passed_over.push(format!("{name}: {why}")),
            (Verdict::Usable, Err(_)) => {}
        }
    }
    if let (Some(healed), Some(_)) = (facts.healed, facts.sinks) {
        return Plan::Refuse {
            why: format!(
                "the log was healed at epoch {}, and no checkpoint from there on can be used ({}); what the tables hold \
                 cannot be computed again by a live run",
                healed.0,
                passed_over.join("; ")
            ),
            mend: format!(
                "`lsie dead-letters heal` finishes a healing and makes the checkpoint; or {NEW_TARGET}"
            ),
        };
    }
    match missing(facts) {
        Some(missing) => Plan::Refuse {
            why: match passed_over.as_slice() {
                [] => format!("there is no checkpoint, and {missing}"),
                reasons => format!("no checkpoint can be used ({}), and {missing}", reasons.join("; ")),
            },
            mend: format!(
                "bring back the checkpoint store or the tables of that run; or replay a later range into a \
                 fresh directory (`lsie replay --from`); or {NEW_TARGET} and a new topic set (--prefix)"
            ),
        },
        None if facts.table.is_empty() && passed_over.is_empty() => Plan::Fresh,
        None => Plan::ReplayFromStart { passed_over },
    }
}

fn judge(manifest: &Manifest, facts: &Facts) -> Verdict {
    let mut stations = facts.stations.clone();
    stations.retain(|name, _| manifest.stations.contains_key(name) || !BEGIN_EMPTY.contains(&name.as_str()));
    if FORMERLY.iter().all(|(name, version)| manifest.stations.get(*name) == Some(version)) {
        stations.retain(|name, _| !VIEWS.contains(&name.as_str()));
        stations.extend(FORMERLY.iter().map(|(name, version)| (name.to_string(), *version)));
    }
    if manifest.stations != stations {
        return Verdict::Unusable(other_stations(&manifest.stations, &stations));
    }
    if let Some(healed) = facts.healed.filter(|healed| manifest.epoch < *healed) {
        return Verdict::Unusable(format!("the log was healed after it, at epoch {}", healed.0));
    }
    if manifest.config != facts.config {
        return Verdict::Refuse {
            why:
                "it was written under other settings of [session], [models] or other versions of the models; \
                  results on both sides of this moment would not be those of one configuration"
                    .into(),
            mend: "run with the settings and models of before, or start a new target directory (--out) with a \
                   new checkpoint store",
        };
    }
    let mut partitions = facts.partitions.clone();
    partitions.retain(|topic, _| manifest.partitions.contains_key(topic) || !READ_LATER.contains(topic));
    if manifest.partitions != partitions {
        return Verdict::Refuse {
            why: format!(
                "its topics had other numbers of partitions ({}; now {}); sessions would move between \
                 partitions in mid-life",
                counts(&manifest.partitions),
                counts(&partitions)
            ),
            mend: "give the topics their number of partitions back, or start a new topic set (--prefix) with a \
                   new target directory",
        };
    }
    if let Some(why) = other_topics(manifest, facts) {
        return Verdict::Refuse {
            why,
            mend: "restore the topics, or start a new target directory (--out) with a new checkpoint store",
        };
    }
    // Only now: what refuses a start does so whatever has become of the files.
    for file in &manifest.files {
        match facts.files.get(&file.name) {
            None => return Verdict::Unusable(format!("{} is missing", file.name)),
            Some((bytes, sha256)) if *bytes != file.bytes || *sha256 != file.sha256 => {
                return Verdict::Unusable(format!("{} is damaged", file.name));
            }
            Some(_) => {}
        }
    }
    if facts.sinks < Some(manifest.epoch) {
        let held = facts.sinks.map_or("nothing".into(), |epoch| format!("epochs to {}", epoch.0));
        return Verdict::Unusable(format!("the result tables hold {held} only"));
    }
    let expired = manifest.positions.iter().find(|p| facts.bounds.get(&p.at).is_some_and(|b| b.0 > p.rewind));
    if let Some(Position { at, rewind, .. }) = expired {
        let first = facts.bounds.get(at).map_or(0, |bounds| bounds.0);
        return Verdict::Unusable(format!("{at} no longer holds the offsets {rewind} to {first}"));
    }
    Verdict::Usable
}

/// Why the topics are not those of the manifest, if they are not.
fn other_topics(manifest: &Manifest, facts: &Facts) -> Option<String> {
    for position in &manifest.positions {
        let Some((_, end)) = facts.bounds.get(&position.at) else {
            return Some(format!("{} does not exist", position.at));
        };
        if *end < position.next {
            return Some(format!(
                "{} ends at offset {end}, but {} had been read: the topic was made anew, or its end was lost",
                position.at, position.next
            ));
        }
        let Some(witness) = position.witness else { continue };
        let found = facts.witnesses.get(&(position.at, witness.offset));
        if let Some(Witnessed::There(log_time, bytes)) = found
            && (*log_time, *bytes) != (witness.log_time, witness.bytes)
        {
            return Some(format!(
                "{} holds another record at offset {} than was read there: the topic was made anew",
                position.at, witness.offset
            ));
        }
    }
    let mut at: Positions = manifest.positions.iter().map(|p| (p.at, p.next)).collect();
    let (mut reached, mut known) = (Positions::new(), false);
    for epoch in facts.table.iter().filter(|epoch| epoch.log_time <= manifest.epoch) {
        reached.extend(epoch.ranges.iter().map(|range| (range.at, range.to)));
        known |= epoch.log_time == manifest.epoch;
    }
    at.retain(|at, next| reached.get(at).is_some_and(|to| to != next));
    let other = at.keys().next();
    match (known, other) {
        (false, _) => {
            Some(format!("topic epochs does not hold epoch {}: it is another table", manifest.epoch.0))
        }
        (true, Some(at)) => Some(format!("topic epochs has other offsets of {at}: it is another table")),
        (true, None) => None,
    }
}

fn other_stations(then: &BTreeMap<String, u32>, now: &BTreeMap<String, u32>) -> String {
    let other = then.iter().find(|(name, version)| now.get(*name) != Some(*version));
    let added = now.keys().find(|name| !then.contains_key(*name));
    match (other, added) {
        (Some((name, version)), _) => {
            format!("it holds state of {name} in version {version}, which is not read")
        }
        (None, Some(name)) => format!("it holds no state of {name}"),
        (None, None) => "it holds other state".into(),
    }
}

fn counts(partitions: &BTreeMap<Topic, i32>) -> String {
    let counts: Vec<String> = partitions.iter().map(|(topic, count)| format!("{topic} {count}")).collect();
    counts.join(", ")
}

/// What a replay from the first epoch would need and the log no longer holds.
fn missing(facts: &Facts) -> Option<String> {
    let starts = facts.bounds.iter().map(|(at, (start, _))| (*at, *start));
    gap(&facts.table, starts)
}

fn gap(table: &[EpochRecord], starts: impl Iterator<Item = (TopicPartition, i64)>) -> Option<String> {
    for (partition, start) in starts {
        let first = table.iter().flat_map(|epoch| &epoch.ranges).find(|range| range.at == partition);
        if let Some(range) = first.filter(|range| range.from < start) {
            return Some(format!(
                "{partition} no longer holds the offsets {} to {start}, which belong to epochs of the table; \
                 without them the results cannot be computed again",
                range.from
            ));
        }
    }
    None
}

/// Refuses a run without checkpoints some of whose records the log no longer holds.
pub fn refuse_gaps(table: &[EpochRecord], from: &[(TopicPartition, i64)]) -> anyhow::Result<()> {
    if let Some(missing) = gap(table, from.iter().copied()) {
        anyhow::bail!(
            "{missing}. Replay a later range (--from), or start a new topic set (--prefix) and a new target \
             directory"
        );
    }
    Ok(())
}

/// Refuses a bounded run whose table names records that the log does not have: it would wait for them.
pub fn refuse_ends(table: &[EpochRecord], log: &dyn Log) -> anyhow::Result<()> {
    let mut wanted = Positions::new();
    wanted.extend(table.iter().flat_map(|epoch| &epoch.ranges).map(|range| (range.at, range.to)));
    let partitions: Vec<TopicPartition> = wanted.keys().copied().collect();
    for (at, (_, end)) in log.bounds_of(&partitions)? {
        let to = wanted.get(&at).copied().unwrap_or(0);
        anyhow::ensure!(
            to <= end,
            "{at} ends at offset {end}, but its epochs go up to {to}: it was made anew, or its end was lost"
        );
    }
    Ok(())
}

/// The first epoch, by its log time, that a run takes which resumes from a checkpoint: the oldest that is seen again, or
/// the first new one.
pub fn seen_from(manifest: &Manifest) -> LogTime {
    let new = manifest.epoch.plus_ms(1);
    manifest.rewind.map_or(new, |rewind| rewind.min(new))
}

/// The epochs that a run takes which resumes from a checkpoint: first those that are seen again.
pub fn epochs_from(manifest: &Manifest, mut table: Vec<EpochRecord>) -> Vec<EpochRecord> {
    table.retain(|epoch| epoch.log_time >= seen_from(manifest));
    table
}

/// The table from the epochs on that are seen again, or from the checkpoint's own on, and where it ends, by the manifest and
/// the entries from there on; `None` if they do not lead from where the manifest reads to where its epoch ended.
pub fn table_behind(manifest: &Manifest, entries: Vec<EpochRecord>) -> Option<(Vec<EpochRecord>, Positions)> {
    let from = seen_from(manifest);
    let before = Some(LogTime(from.0.saturating_sub(1)));
    let reached: Positions =
        manifest.positions.iter().map(|position| (position.at, position.rewind)).collect();
    let own =
        entries.iter().find(|entry| entry.log_time == manifest.epoch && is_own(manifest, entry))?.clone();
    let (mut table, at) = accept_after(before, reached.clone(), entries);
    let mut ends = reached;
    let seen_again = table.iter().take_while(|epoch| epoch.log_time <= manifest.epoch);
    ends.extend(seen_again.flat_map(|epoch| &epoch.ranges).map(|range| (range.at, range.to)));
    let leads = manifest.positions.iter().all(|position| ends.get(&position.at) == Some(&position.next));
    if from > manifest.epoch {
        table.insert(0, own);
    }
    (leads && table.iter().any(|epoch| epoch.log_time == manifest.epoch)).then_some((table, at))
}

/// Whether an entry with the log time of a checkpoint ends where that does.
fn is_own(manifest: &Manifest, entry: &EpochRecord) -> bool {
    let ends =
        |at| manifest.positions.iter().find(|position| position.at == at).map(|position| position.next);
    entry.ranges.iter().all(|range| ends(range.at) == Some(range.to))
}

#[cfg(test)]
mod tests;
