//! Law 2: neither workers, fetch sizes, budgets nor the pace of a run reach a result.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lsie_connectors::feed::{Pace, session_id};
use lsie_dataflow::Run;
use lsie_schemas::row::{
    AlertRow, ArmSummaryRow, AttributionScoreRow, Au12Row, ContextRow, EncounterRow, EncounterSummaryRow,
    EventOutcomeLinkRow, EventRow, FaceRow, HealthRow, InferenceRow, PhysiologyCurrentRow, PhysiologyRow,
    PosteriorUpdateRow, SegmentRow, SessionRow, SessionSummaryRow, TranscriptRow,
};
use lsie_sinks::MemoryStore;
use lsie_tests::harness::{Settings, TopicSet, assert_law_4, assert_same, now};
use lsie_tests::oracle::summaries;
use lsie_tests::sessions::{RECORDED_AT, recording, records};
use lsie_tests::tables::Tables;
use lsie_tests::telemetry::{telemetry, visits};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Three sessions, one after the other, in three of four partitions; four ways to run them.
#[test]
fn workers_fetch_sizes_and_budgets_change_nothing() {
    let set = TopicSet::recorded("determinism", 4);
    let short = recording("short");
    let mut partitions = BTreeSet::new();
    let mut timelines = Vec::new();
    for number in 0.. {
        let id = session_id("determinism", number);
        if timelines.len() == 3 {
            break;
        }
        if partitions.insert(lsie_schemas::topic::partition_of(id.to_string().as_bytes(), 4)) {
            let start_ms = timelines.len() as u64 * 4_100;
            let mut timeline = records(&short, id, RECORDED_AT, start_ms);
            timeline.extend(telemetry(id, RECORDED_AT, start_ms));
            timeline.extend(visits(id, RECORDED_AT, start_ms));
            timeline.sort_by_key(|timed| timed.at_ms);
            timelines.push(timeline);
        }
    }
    set.feed(timelines, Pace::Max);

    let run = |workers, pool_threads, poll_bytes, budget_bytes| {
        set.replay(Settings { workers, pool_threads, poll_bytes, budget_bytes, ..Settings::WITH_MODELS })
    };
    let first = run(1, 2, 8 * MIB, 64 * MIB);
    assert_worth_comparing(&first.tables, 3);
    let table = set.epochs();
    for (what, other) in [
        ("2 workers, polls of 64 KiB", run(2, 2, 64 * KIB, 64 * MIB)),
        ("4 workers, one pool thread", run(4, 1, 8 * MIB, 64 * MIB)),
        ("1 worker, polls of 64 KiB, a budget of 1 MiB", run(1, 1, 64 * KIB, MIB)),
    ] {
        assert_same(first.path(), other.path(), what);
    }
    assert_eq!(table, set.epochs(), "the epoch table is made once");
}

/// A session fed in real time while the engine runs live; then a replay by the epoch table it left.
#[test]
fn a_replay_of_a_live_run_is_the_live_run() {
    let set = TopicSet::live("live", 4);
    let (id, begin) = (session_id("live", 0), now());
    let mut timeline = records(&recording("short"), id, begin, 0);
    timeline.extend(telemetry(id, begin, 0));
    timeline.extend(visits(id, begin, 0));
    timeline.sort_by_key(|timed| timed.at_ms);
    let ending = Arc::new(AtomicBool::new(false));
    let settings = Settings { workers: 2, pool_threads: 1, ..Settings::WITH_MODELS };
    let live = set.run(settings, Run::Live(ending.clone()), |store| {
        set.feed(vec![timeline], Pace::RealTime);
        wait_for_end(store);
        ending.store(true, Ordering::SeqCst);
    });
    assert_law_4(set.log(), &live.tables);
    assert_worth_comparing(&live.tables, 1);

    let replay = set.replay(Settings { workers: 3, poll_bytes: 64 * KIB, ..Settings::WITH_MODELS });
    assert_same(live.path(), replay.path(), "live and replayed");
}

/// Results that are empty would be equal too.
fn assert_worth_comparing(tables: &Tables, sessions: usize) {
    assert!(!tables.rows::<PhysiologyRow>().is_empty() && !tables.rows::<EventRow>().is_empty());
    assert_eq!(tables.rows::<EventOutcomeLinkRow>().len(), 2 * sessions);
    let (had, not): (Vec<_>, Vec<_>) = tables
        .rows::<ContextRow>()
        .into_iter()
        .partition(|row| row.data.as_str().contains("sings on Fridays"));
    assert_eq!((had.len(), not.len()), (sessions, sessions));
    assert!(not.iter().all(|row| row.data.as_str() == "{}" && row.session_id.is_some()));
    assert_eq!(tables.rows::<AttributionScoreRow>().len(), 6 * sessions);
    assert_eq!(tables.rows::<SessionRow>().iter().filter(|row| row.ended_at.is_some()).count(), sessions);
    assert_eq!(tables.rows::<SegmentRow>().len(), 2 * sessions);
    assert_eq!(tables.rows::<EncounterRow>().len(), sessions);
    assert_eq!(tables.rows::<TranscriptRow>().len(), sessions);
    // Speech in the first segment of two, and the greeting in it.
    assert!(tables.rows::<InferenceRow>().iter().filter(|row| row.what == "speech").count() == sessions);
    assert_eq!(tables.rows::<FaceRow>().len(), 1_050 * sessions);
    assert!(tables.rows::<FaceRow>().iter().all(|face| face.present));
    assert!(tables.rows::<Au12Row>().len() > 800 * sessions);
    assert_eq!(tables.rows::<SessionSummaryRow>().len(), sessions);
    assert_eq!(tables.rows::<EncounterSummaryRow>().len(), sessions);
    assert_eq!(tables.rows::<PhysiologyCurrentRow>().len(), 2 * sessions);
    assert!(!tables.rows::<ArmSummaryRow>().is_empty() && !tables.rows::<PosteriorUpdateRow>().is_empty());
    assert!(tables.rows::<HealthRow>().len() == 9 && !tables.rows::<AlertRow>().is_empty());
    summaries::check(tables);
}

/// Waits until the session has ended in the tables, and some epochs more.
fn wait_for_end(store: &MemoryStore) {
    let ended = || Tables::new(store.changes()).rows::<SessionRow>().iter().any(|row| row.ended_at.is_some());
    let waited = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        ended()
    });
    assert!(waited, "the session has not ended a minute after its last record");
    std::thread::sleep(Duration::from_secs(1));
}
