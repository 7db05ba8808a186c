//! Physiological snapshots: what the wearables said of each role when a segment closed (mathematics §8).
//!
//! A snapshot is *as of* the epoch at which its segment closed: it uses the chunks known then, a later chunk
//! serves later segments only. Chunks carry inter-beat intervals, so a checkpoint names the ones that are held
//! and they are read again.

use std::collections::BTreeMap;

use lsie_schemas::record::{DerivationMethod, PhysiologicalChunk, Provider, SourceKind, SubjectRole};
use lsie_schemas::row::PhysiologyRow;
use lsie_schemas::{EventTime, LogTime, Real};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::align::Class;
use crate::logic::Logic;
use crate::round::to_decimals;

/// Chunks that are taken into account per closed segment; what is beyond waits for the next (behaviour §6).
pub const CHUNKS_PER_SEGMENT: usize = 100;
/// How long the identity of a chunk is remembered, ms of log time since it first came: the time of the
/// webhook's key (contracts §6.1).
pub const REMEMBER_MS: u64 = 3_600_000;

/// What a snapshot is made by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameters {
    /// Chunks whose window ended longer ago than this are dropped, s.
    pub retention_s: i64,
    /// Chunks whose window ended at most this long ago contribute, s.
    pub derive_window_s: i64,
    /// Least share of valid samples.
    pub min_validity: f64,
    /// Sources older than this are stale, s.
    pub stale_after_s: i64,
}

impl Default for Parameters {
    fn default() -> Parameters {
        Parameters { retention_s: 900, derive_window_s: 300, min_validity: 0.80, stale_after_s: 600 }
    }
}

/// The physiological snapshot of one role; contracts §6.4.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhysiologicalSnapshot {
    /// RMSSD, ms, to 3 decimals; none when invalid, not derivable or not finite.
    pub rmssd_ms: Option<f64>,
    /// Mean heart rate, beats per minute, rounded half to even.
    pub heart_rate_bpm: Option<i64>,
    /// Newest window end of the chunks it rests on.
    pub source_timestamp: EventTime,
    /// Age of the source, s, to 1 decimal, at least 0.
    pub freshness_s: f64,
    /// The age, before rounding, is above `stale_after_s`.
    pub is_stale: bool,
    /// Provider of the latest chunk it rests on.
    pub provider: Provider,
    /// Kind of the chunks it rests on.
    pub source_kind: SourceKind,
    /// Who derived the RMSSD.
    pub derivation_method: DerivationMethod,
    /// Derivation window, s.
    pub window_s: i64,
    /// Valid over expected samples, 0 to 1 (DM-7).
    pub validity_ratio: f64,
    /// The ratio is at least `min_validity`.
    pub is_valid: bool,
}

impl PhysiologicalSnapshot {
    /// The row of this snapshot.
    pub fn row(&self, session_id: Uuid, segment_id: &str, role: SubjectRole) -> PhysiologyRow {
        PhysiologyRow {
            session_id,
            segment_id: segment_id.to_owned(),
            subject_role: role.name().to_owned(),
            rmssd_ms: self.rmssd_ms.and_then(Real::finite),
            heart_rate_bpm: self.heart_rate_bpm,
            freshness_s: Real(self.freshness_s),
            is_stale: self.is_stale,
            provider: self.provider.name().to_owned(),
            source_kind: self.source_kind.name().to_owned(),
            derivation_method: self.derivation_method.name().to_owned(),
            window_s: self.window_s,
            validity_ratio: Real(self.validity_ratio),
            is_valid: self.is_valid,
            source_timestamp_utc: self.source_timestamp,
        }
    }
}

/// The canonical order of chunks: window start, window end, identity. The rule of mathematics §8 where the
/// original took them as they arrived.
pub fn canonical_order(chunk: &PhysiologicalChunk) -> (EventTime, EventTime, Uuid) {
    (chunk.window_start_utc, chunk.window_end_utc, chunk.unique_id)
}

/// The snapshot of one role at `now`, from its distinct chunks in [`canonical_order`]; none when all of them
/// are older than the retention. "Latest" means last in that order.
///
/// Intervals are concatenated over chunks, so the difference across a boundary counts. Only a chunk's end
/// decides whether it contributes; then the whole chunk does.
pub fn snapshot(
    chunks: &[&PhysiologicalChunk],
    now: EventTime,
    parameters: &Parameters,
) -> Option<PhysiologicalSnapshot> {
    let within = |chunk: &PhysiologicalChunk, s: i64| chunk.window_end_utc >= seconds_before(now, s);
    let kept = chunks.iter().copied().filter(|chunk| within(chunk, parameters.retention_s));
    let latest = kept.clone().next_back()?;
    let overlapping = kept.filter(|chunk| within(chunk, parameters.derive_window_s));
    let of_kind = |kind| -> Vec<&PhysiologicalChunk> {
        overlapping.clone().filter(|chunk| chunk.source_kind == kind).collect()
    };
    let contributing = match of_kind(SourceKind::Ibi) {
        intervals if !intervals.is_empty() => intervals,
        _ => of_kind(SourceKind::Session),
    };
    let Some(last) = contributing.last() else {
        return Some(PhysiologicalSnapshot {
            rmssd_ms: None,
            heart_rate_bpm: None,
            validity_ratio: 0.0,
            is_valid: false,
            ..of_source(latest, latest.window_end_utc, now, parameters)
        });
    };

    let total = |count: fn(&PhysiologicalChunk) -> i64| {
        contributing.iter().fold(0i64, |sum, chunk| sum.saturating_add(count(chunk)))
    };
    let valid = total(|chunk| chunk.payload.valid_sample_count);
    let expected = total(|chunk| chunk.payload.expected_sample_count);
    let validity_ratio = (valid as f64 / expected.max(1) as f64).min(1.0);
    let is_valid = validity_ratio >= parameters.min_validity;

    let source = contributing.iter().map(|chunk| chunk.window_end_utc).max().unwrap_or(last.window_end_utc);
    let metadata = of_source(last, source, now, parameters);
    let (rmssd_ms, derivation_method) = match metadata.source_kind {
        SourceKind::Ibi => match rmssd_of_intervals(&contributing) {
            Some(rmssd) => (Some(rmssd), DerivationMethod::Server),
            None => (None, metadata.derivation_method),
        },
        SourceKind::Session => (mean_of_rmssds(&contributing), metadata.derivation_method),
    };
    Some(PhysiologicalSnapshot {
        rmssd_ms: rmssd_ms.filter(|rmssd| is_valid && rmssd.is_finite()).map(|rmssd| to_decimals(rmssd, 3)),
        heart_rate_bpm: mean_heart_rate(&contributing),
        derivation_method,
        validity_ratio,
        is_valid,
        ..metadata
    })
}

/// What a snapshot says of its source alone; the measures are left empty.
fn of_source(
    chunk: &PhysiologicalChunk,
    source: EventTime,
    now: EventTime,
    parameters: &Parameters,
) -> PhysiologicalSnapshot {
    PhysiologicalSnapshot {
        rmssd_ms: None,
        heart_rate_bpm: None,
        source_timestamp: source,
        // Stored: the difference of the epoch seconds in doubles (mathematics, head). Judged: the exact one.
        freshness_s: to_decimals((now.seconds() - source.seconds()).max(0.0), 1),
        is_stale: source < seconds_before(now, parameters.stale_after_s),
        provider: chunk.provider,
        source_kind: chunk.source_kind,
        derivation_method: chunk.payload.derivation_method,
        window_s: parameters.derive_window_s,
        validity_ratio: 0.0,
        is_valid: false,
    }
}

fn seconds_before(now: EventTime, s: i64) -> EventTime {
    now.plus_us(s.saturating_mul(-1_000_000))
}

/// sqrt(Σ (x[i+1] − x[i])² / (N − 1)) over the concatenated intervals; none for fewer than two.
fn rmssd_of_intervals(chunks: &[&PhysiologicalChunk]) -> Option<f64> {
    let intervals = || chunks.iter().flat_map(|chunk| chunk.payload.ibi_ms_items.iter().flatten().copied());
    let squares = intervals().zip(intervals().skip(1)).map(|(a, b)| (b - a) * (b - a));
    let (sum, n) = squares.fold((0.0, 0u64), |(sum, n), square| (sum + square, n + 1));
    (n > 0).then(|| (sum / n as f64).sqrt())
}

fn mean_of_rmssds(chunks: &[&PhysiologicalChunk]) -> Option<f64> {
    let items = chunks.iter().flat_map(|chunk| chunk.payload.rmssd_items_ms.iter().flatten());
    let (sum, n) = items.fold((0.0, 0u64), |(sum, n), item| (sum + item, n + 1));
    (n > 0).then(|| sum / n as f64)
}

fn mean_heart_rate(chunks: &[&PhysiologicalChunk]) -> Option<i64> {
    let items = chunks.iter().flat_map(|chunk| chunk.payload.heart_rate_items_bpm.iter().flatten());
    let (sum, n) = items.fold((0i64, 0i64), |(sum, n), item| (sum.saturating_add(*item), n + 1));
    (n > 0).then(|| (sum as f64 / n as f64).round_ties_even() as i64)
}

/// What moves the physiology of a session.
#[derive(Clone, Debug, PartialEq)]
pub enum PhysiologyRecord {
    /// A chunk of topic `physio`.
    Chunk {
        /// Its offset in the partition of its session: the order in which chunks came.
        offset: i64,
        /// The chunk.
        chunk: PhysiologicalChunk,
    },
    /// A segment closed at this epoch. Segments of a session close in order.
    SegmentClosed {
        /// The segment.
        segment_id: String,
        /// Its `timestamp_utc`: the end of its window.
        timestamp_utc: EventTime,
    },
}

/// What the physiology of a session has to say.
#[derive(Clone, Debug, PartialEq)]
pub enum PhysiologyOutput {
    /// What became of a chunk: `Used`; `Duplicate` when its identity is remembered; `Late` when its window
    /// ended more than the retention before the newest closed segment, so that no snapshot can use it.
    Classified {
        /// The chunk's offset.
        offset: i64,
        /// Its class.
        class: Class,
    },
    /// The snapshots of a closed segment; none when no role has one.
    Snapshots(SegmentSnapshots),
}

/// The physiological context of a segment: at least one snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentSnapshots {
    /// The segment.
    pub segment_id: String,
    /// Its `timestamp_utc`.
    pub timestamp_utc: EventTime,
    /// The streamer's snapshot.
    pub streamer: Option<PhysiologicalSnapshot>,
    /// The operator's snapshot.
    pub operator: Option<PhysiologicalSnapshot>,
}

/// The chunks of one session, both roles.
///
/// An identity is remembered for [`REMEMBER_MS`] since it first came, and as long as its chunk is held. A chunk
/// that comes again later than that is older than the retention, and late, unless its window ended more than
/// 45 minutes after it first came. What is held is bounded by the retention: by the distinct chunks whose
/// windows end after it.
#[derive(Clone, Debug, Default)]
pub struct Physiology {
    parameters: Parameters,
    remembered: BTreeMap<Uuid, FirstCame>,
    /// By offset.
    held: BTreeMap<i64, Held>,
    /// Held chunks that a restored value has not read again yet: offset, epoch.
    awaited: BTreeMap<i64, LogTime>,
    /// Chunks up to this offset are taken into account, those beyond it wait.
    taken_to: Option<i64>,
    /// `timestamp_utc` of the newest closed segment.
    closed_to: Option<EventTime>,
}

#[derive(Clone, Debug)]
struct Held {
    epoch: LogTime,
    chunk: PhysiologicalChunk,
}

/// Where a chunk first stood.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct FirstCame {
    epoch: LogTime,
    offset: i64,
}

/// Derived state of [`Physiology`]: identities and places of chunks, nothing that was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PhysiologyState {
    remembered: BTreeMap<Uuid, FirstCame>,
    held: BTreeMap<i64, LogTime>,
    taken_to: Option<i64>,
    closed_to: Option<EventTime>,
}

impl Physiology {
    /// A session without chunks.
    pub fn new(parameters: Parameters) -> Physiology {
        Physiology { parameters, ..Physiology::default() }
    }

    fn take(&mut self, epoch: LogTime, offset: i64, chunk: PhysiologicalChunk) -> Class {
        if self.remembered.get(&chunk.unique_id).is_some_and(|first| self.remembers(first, epoch)) {
            return Class::Duplicate;
        }
        self.remembered.insert(chunk.unique_id, FirstCame { epoch, offset });
        if self.closed_to.is_some_and(|now| self.is_expired(&chunk, now)) {
            return Class::Late;
        }
        self.held.insert(offset, Held { epoch, chunk });
        Class::Used
    }

    fn remembers(&self, first: &FirstCame, epoch: LogTime) -> bool {
        epoch < first.epoch.plus_ms(REMEMBER_MS)
            || self.held.contains_key(&first.offset)
            || self.awaited.contains_key(&first.offset)
    }

    fn is_expired(&self, chunk: &PhysiologicalChunk, now: EventTime) -> bool {
        chunk.window_end_utc < seconds_before(now, self.parameters.retention_s)
    }

    fn close(&mut self, epoch: LogTime, segment_id: String, now: EventTime) -> Option<SegmentSnapshots> {
        let waiting = self.held.keys().filter(|offset| self.taken_to.is_none_or(|to| **offset > to));
        self.taken_to = waiting.take(CHUNKS_PER_SEGMENT).last().copied().or(self.taken_to);
        self.closed_to = Some(now);
        let expired: Vec<i64> = self
            .held
            .iter()
            .filter_map(|(offset, held)| self.is_expired(&held.chunk, now).then_some(*offset))
            .collect();
        for offset in expired {
            self.held.remove(&offset);
        }
        let mut remembered = std::mem::take(&mut self.remembered);
        remembered.retain(|_, first| self.remembers(first, epoch));
        self.remembered = remembered;

        let taken = self.taken_to.iter().flat_map(|to| self.held.range(..=to));
        let mut taken: Vec<&PhysiologicalChunk> = taken.map(|(_, held)| &held.chunk).collect();
        taken.sort_unstable_by_key(|chunk| canonical_order(chunk));
        let of_role = |role| {
            let chunks: Vec<&PhysiologicalChunk> =
                taken.iter().copied().filter(|chunk| chunk.subject_role == role).collect();
            snapshot(&chunks, now, &self.parameters)
        };
        let (streamer, operator) = (of_role(SubjectRole::Streamer), of_role(SubjectRole::Operator));
        (streamer.is_some() || operator.is_some()).then_some(SegmentSnapshots {
            segment_id,
            timestamp_utc: now,
            streamer,
            operator,
        })
    }
}

/// Chunks in order of their offsets, then closed segments in order of time: a chunk of an epoch is known to
/// a segment that closes at it.
impl Logic for Physiology {
    type Record = PhysiologyRecord;
    type Output = PhysiologyOutput;
    type Snapshot = PhysiologyState;

    fn on_epoch(&mut self, epoch: LogTime, records: Vec<PhysiologyRecord>, out: &mut Vec<PhysiologyOutput>) {
        let (mut chunks, mut closed) = (Vec::new(), Vec::new());
        for record in records {
            match record {
                PhysiologyRecord::Chunk { offset, chunk } => chunks.push((offset, chunk)),
                PhysiologyRecord::SegmentClosed { segment_id, timestamp_utc } => {
                    closed.push((timestamp_utc, segment_id));
                }
            }
        }
        chunks.sort_by_key(|(offset, _)| *offset);
        closed.sort_unstable();
        for (offset, chunk) in chunks {
            let class = self.take(epoch, offset, chunk);
            out.push(PhysiologyOutput::Classified { offset, class });
        }
        for (timestamp_utc, segment_id) in closed {
            if self.closed_to.is_none_or(|newest| timestamp_utc > newest) {
                out.extend(self.close(epoch, segment_id, timestamp_utc).map(PhysiologyOutput::Snapshots));
            }
        }
    }

    fn snapshot(&self) -> PhysiologyState {
        let mut held = self.awaited.clone();
        held.extend(self.held.iter().map(|(offset, held)| (*offset, held.epoch)));
        PhysiologyState {
            remembered: self.remembered.clone(),
            held,
            taken_to: self.taken_to,
            closed_to: self.closed_to,
        }
    }

    fn restore(&mut self, snapshot: PhysiologyState) {
        *self = Physiology {
            parameters: self.parameters,
            remembered: snapshot.remembered,
            held: BTreeMap::new(),
            awaited: snapshot.held,
            taken_to: snapshot.taken_to,
            closed_to: snapshot.closed_to,
        };
    }

    fn rewind(&self) -> Option<LogTime> {
        let held = self.held.values().map(|held| held.epoch);
        held.chain(self.awaited.values().copied()).min()
    }

    fn rebuild(
        &mut self,
        epoch: LogTime,
        records: Vec<PhysiologyRecord>,
        _again: &mut Vec<PhysiologyOutput>,
    ) {
        for record in records {
            if let PhysiologyRecord::Chunk { offset, chunk } = record
                && self.awaited.remove(&offset).is_some()
            {
                self.held.insert(offset, Held { epoch, chunk });
            }
        }
    }
}

#[cfg(test)]
mod tests;
