//! Chunk events to snapshots: by the rules, and literally where a rule is switched off.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lsie_operators::logic::Logic;
use lsie_operators::physiology::{
    CHUNKS_PER_SEGMENT, Parameters, PhysiologicalSnapshot, Physiology, PhysiologyOutput, PhysiologyRecord,
    canonical_order, snapshot,
};
use lsie_schemas::canonical::{from_epoch_s, parse};
use lsie_schemas::record::{PhysiologicalChunk, SubjectRole};
use lsie_schemas::{EventTime, LogTime};
use serde_json::Value;

use crate::read::of_kind;

const RETENTION_US: i64 = 900_000_000;

#[derive(serde::Deserialize)]
struct Input {
    now_s: f64,
    drain_at_s: Option<f64>,
    events: Vec<Value>,
}

#[derive(serde::Deserialize)]
struct Expected {
    snapshots: Roles,
    snapshots_if_ordered: Option<Roles>,
    snapshots_if_deduplicated: Option<Roles>,
    snapshots_under_rules: Option<Roles>,
    context_attached: bool,
    context_schema_valid: Option<bool>,
}

#[derive(Clone, serde::Deserialize)]
struct Roles {
    streamer: Option<Row>,
    operator: Option<Row>,
}

/// A snapshot as the original wrote it.
#[derive(Clone, serde::Deserialize)]
struct Row {
    rmssd_ms: Option<f64>,
    heart_rate_bpm: Option<i64>,
    source_timestamp_utc: String,
    freshness_s: f64,
    is_stale: bool,
    provider: String,
    source_kind: String,
    derivation_method: String,
    window_s: i64,
    validity_ratio: f64,
    is_valid: bool,
}

#[test]
fn golden_physiology_snapshots() {
    for case in of_kind("physiology", 294, "snapshot", 282) {
        let (input, expected): (Input, Expected) = (case.input(), case.expected());
        let events: Vec<PhysiologicalChunk> =
            input.events.iter().map(|event| read(&event.to_string()).expect("an event")).collect();
        let now = instant(input.now_s);

        // The rules: order, identity, retention wherever a chunk stands, and a ratio of at most 1.
        let ours = by_the_logic(&events, now);
        let rules = expected.snapshots_under_rules.as_ref().unwrap_or(&expected.snapshots);
        check(&ours, rules, &case.name);
        let attached = ours.iter().any(Option::is_some);
        assert!(!attached || expected.context_attached, "{}", case.name);
        // DM-7: a ratio above 1 is the one way in which the original broke its own contract.
        let above_one = expected.snapshots.rows().any(|row| row.validity_ratio > 1.0);
        assert_eq!(expected.context_schema_valid == Some(false), above_one, "{}", case.name);

        // The same function without the rule of order, of identity, or of both: what the original did.
        let arrived = || Buffer::of(&events, input.drain_at_s.map(instant).unwrap_or(now), now);
        check_literal(arrived(), &expected.snapshots, now, &case.name);
        let deduplicated = expected.snapshots_if_deduplicated.as_ref().unwrap_or(&expected.snapshots);
        check_literal(arrived().deduplicated(), deduplicated, now, &case.name);
        let ordered = expected.snapshots_if_ordered.as_ref().unwrap_or(&expected.snapshots);
        check_literal(arrived().ordered(), ordered, now, &case.name);
    }
}

#[derive(serde::Deserialize)]
struct Cycle {
    at_s: f64,
    #[serde(default)]
    push: Vec<String>,
    derive: bool,
}

#[derive(serde::Deserialize)]
struct ExpectedCycle {
    popped: usize,
    left_in_queue: usize,
    buffer: BTreeMap<String, Vec<ExpectedChunk>>,
    snapshots: Option<Roles>,
}

#[derive(serde::Deserialize)]
struct ExpectedChunk {
    window_end_s: f64,
    source_kind: String,
}

/// At most 100 records are taken in per cycle, and malformed ones stop nothing. Literally, from a queue of texts
/// in the order of arrival; and by the logic, where two rules make the difference: order (mathematics §8), and
/// contracts §14, by which a malformed record is filed when it is decoded and so takes no place in a cycle.
#[test]
fn golden_physiology_drains() {
    for case in of_kind("physiology", 294, "drain", 12) {
        let mut queue: VecDeque<String> =
            serde_json::from_value(case.input["queue"].clone()).expect("a queue");
        let cycles: Vec<Cycle> = serde_json::from_value(case.input["cycles"].clone()).expect("cycles");
        let expected: Vec<ExpectedCycle> =
            serde_json::from_value(case.expected["cycles"].clone()).expect("cycles");
        assert_eq!(cycles.len(), expected.len());

        let (mut buffer, mut logic) = (Buffer::default(), Physiology::default());
        let (mut offset, mut taken) = (0, 0);
        let (mut distinct, mut arriving) = (Buffer::default(), Vec::from(queue.clone()));
        for (number, (cycle, expected)) in cycles.iter().zip(&expected).enumerate() {
            let now = instant(cycle.at_s);
            // A cycle's own records come before it.
            queue.extend(cycle.push.iter().cloned());
            arriving.extend(cycle.push.iter().cloned());
            let popped: Vec<String> = queue.drain(..queue.len().min(CHUNKS_PER_SEGMENT)).collect();
            assert_eq!(
                (popped.len(), queue.len()),
                (expected.popped, expected.left_in_queue),
                "{}",
                case.name
            );
            buffer.chunks.extend(popped.iter().filter_map(|text| read(text)));
            buffer.drop_heads(now);
            for (role, chunks) in &expected.buffer {
                let theirs: Vec<(EventTime, &str)> =
                    chunks.iter().map(|c| (instant(c.window_end_s), c.source_kind.as_str())).collect();
                let ours: Vec<(EventTime, &str)> = buffer
                    .chunks
                    .iter()
                    .filter(|chunk| chunk.subject_role.name() == role)
                    .map(|chunk| (chunk.window_end_utc, chunk.source_kind.name()))
                    .collect();
                assert_eq!(ours, theirs, "{}", case.name);
            }
            assert_eq!(cycle.derive, expected.snapshots.is_some(), "{}", case.name);
            if let Some(theirs) = &expected.snapshots {
                check_literal(buffer.clone(), theirs, now, &case.name);
            }

            let mut records = Vec::new();
            for chunk in arriving.drain(..).filter_map(|text| read(&text)) {
                distinct.chunks.push(chunk.clone());
                records.push(PhysiologyRecord::Chunk { offset, chunk });
                offset += 1;
            }
            distinct = distinct.deduplicated();
            taken = distinct.chunks.len().min(taken + CHUNKS_PER_SEGMENT);
            let rules = Buffer { chunks: distinct.chunks[..taken].to_vec() }.ordered();
            let ours = close(&mut logic, number as u64, records, now);
            assert_eq!(ours, rules.snapshots(now), "{}", case.name);
        }
    }
}

/// A buffer in the order of arrival, as the original kept it: expired chunks go only from the head of a role.
#[derive(Clone, Default)]
struct Buffer {
    chunks: Vec<PhysiologicalChunk>,
}

impl Buffer {
    fn of(events: &[PhysiologicalChunk], drained_at: EventTime, now: EventTime) -> Buffer {
        let mut buffer = Buffer { chunks: events.to_vec() };
        buffer.drop_heads(drained_at);
        buffer.drop_heads(now);
        buffer
    }

    fn drop_heads(&mut self, now: EventTime) {
        for role in SubjectRole::ALL {
            let mut is_head = true;
            self.chunks.retain(|chunk| {
                is_head &= chunk.subject_role != role || is_expired(chunk, now);
                chunk.subject_role != role || !is_head
            });
        }
    }

    fn deduplicated(mut self) -> Buffer {
        let mut seen = BTreeSet::new();
        self.chunks.retain(|chunk| seen.insert(chunk.unique_id));
        self
    }

    fn ordered(mut self) -> Buffer {
        self.chunks.sort_by_key(canonical_order);
        self
    }

    fn of_role(&self, role: SubjectRole) -> Vec<&PhysiologicalChunk> {
        self.chunks.iter().filter(|chunk| chunk.subject_role == role).collect()
    }

    fn snapshots(&self, now: EventTime) -> [Option<PhysiologicalSnapshot>; 2] {
        SubjectRole::ALL.map(|role| snapshot(&self.of_role(role), now, &Parameters::default()))
    }
}

fn is_expired(chunk: &PhysiologicalChunk, now: EventTime) -> bool {
    chunk.window_end_utc < now.plus_us(-RETENTION_US)
}

/// Two rules stand in the function itself, so each role is compared up to them: a ratio above 1 is 1 (DM-7), and
/// a chunk beyond the retention is dropped wherever it stands (§8, step 1). The second can be seen only when an
/// expired chunk is the last of its role and none overlaps: the original then describes that chunk, or has a
/// snapshot of nothing but expired ones.
fn check_literal(buffer: Buffer, theirs: &Roles, now: EventTime, name: &str) {
    let ours = buffer.snapshots(now);
    for ((role, ours), theirs) in SubjectRole::ALL.into_iter().zip(ours).zip(theirs.each()) {
        let last_is_expired = buffer.of_role(role).last().is_some_and(|last| is_expired(last, now));
        let rests_on_last = theirs.as_ref().is_some_and(|row| {
            let last = buffer.of_role(role).last().map(|last| last.window_end_utc);
            Some(instant_of(&row.source_timestamp_utc)) == last && row.validity_ratio == 0.0
        });
        if last_is_expired && rests_on_last {
            let kept = buffer.of_role(role).into_iter().rfind(|chunk| !is_expired(chunk, now));
            assert_eq!(
                ours.map(|ours| ours.source_timestamp),
                kept.map(|chunk| chunk.window_end_utc),
                "{name}"
            );
            continue;
        }
        check_row(ours.as_ref(), theirs.as_ref(), name);
    }
}

fn by_the_logic(events: &[PhysiologicalChunk], now: EventTime) -> [Option<PhysiologicalSnapshot>; 2] {
    let chunk = |(offset, chunk): (usize, &PhysiologicalChunk)| PhysiologyRecord::Chunk {
        offset: offset as i64,
        chunk: chunk.clone(),
    };
    close(&mut Physiology::default(), 0, events.iter().enumerate().map(chunk).collect(), now)
}

/// Hands an epoch to the logic that also closes a segment.
fn close(
    logic: &mut Physiology,
    epoch: u64,
    mut records: Vec<PhysiologyRecord>,
    timestamp_utc: EventTime,
) -> [Option<PhysiologicalSnapshot>; 2] {
    records.push(PhysiologyRecord::SegmentClosed { segment_id: format!("segment {epoch}"), timestamp_utc });
    let mut out = Vec::new();
    logic.on_epoch(LogTime(epoch), records, &mut out);
    let snapshots = out.into_iter().find_map(|output| match output {
        PhysiologyOutput::Snapshots(snapshots) => Some([snapshots.streamer, snapshots.operator]),
        PhysiologyOutput::Classified { .. } => None,
    });
    snapshots.unwrap_or([None, None])
}

fn check(ours: &[Option<PhysiologicalSnapshot>; 2], theirs: &Roles, name: &str) {
    for (ours, theirs) in ours.iter().zip(theirs.each()) {
        check_row(ours.as_ref(), theirs.as_ref(), name);
    }
}

fn check_row(ours: Option<&PhysiologicalSnapshot>, theirs: Option<&Row>, name: &str) {
    assert_eq!(ours.is_some(), theirs.is_some(), "{name}");
    let (Some(ours), Some(theirs)) = (ours, theirs) else { return };
    assert_eq!(ours.rmssd_ms, theirs.rmssd_ms, "{name}");
    assert_eq!(ours.heart_rate_bpm, theirs.heart_rate_bpm, "{name}");
    assert_eq!(ours.source_timestamp, instant_of(&theirs.source_timestamp_utc), "{name}");
    assert_eq!(ours.freshness_s, theirs.freshness_s, "{name}");
    assert_eq!(ours.is_stale, theirs.is_stale, "{name}");
    assert_eq!(ours.provider.name(), theirs.provider, "{name}");
    assert_eq!(ours.source_kind.name(), theirs.source_kind, "{name}");
    assert_eq!(ours.derivation_method.name(), theirs.derivation_method, "{name}");
    assert_eq!(ours.window_s, theirs.window_s, "{name}");
    // DM-7: at most 1.
    assert_eq!(ours.validity_ratio, theirs.validity_ratio.min(1.0), "{name}");
    assert_eq!(ours.is_valid, theirs.is_valid, "{name}");
}

impl Roles {
    fn each(&self) -> [&Option<Row>; 2] {
        [&self.streamer, &self.operator]
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.each().into_iter().flatten()
    }
}

fn read(event: &str) -> Option<PhysiologicalChunk> {
    PhysiologicalChunk::read_event(event.as_bytes()).ok()
}

fn instant(epoch_s: f64) -> EventTime {
    EventTime(from_epoch_s(epoch_s).expect("an instant"))
}

fn instant_of(text: &str) -> EventTime {
    EventTime(parse(text).expect("a timestamp"))
}
