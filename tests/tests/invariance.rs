//! Reward-path invariance (`behaviour.md` §9): physiology, acoustics, live events, outcomes and with them all of
//! attribution, enrichment, on or off, change no bit of encounters, posteriors and selections.

use lsie_connectors::feed::{Pace, session_id};
use lsie_schemas::TableRow;
use lsie_schemas::record::ExperimentRecord;
use lsie_schemas::row::{
    ArmRow, ArmSummaryRow, AttributionEventRow, Au12Row, ContextRow, DecisionRow, EncounterRow,
    EvaluationRow, EventOutcomeLinkRow, EventRow, MetricsRow, PhysiologyRow, PosteriorUpdateRow, SegmentRow,
};
use lsie_tests::harness::{Settings, TopicSet};
use lsie_tests::sessions::{RECORDED_AT, id_for_arm, recording, records};
use lsie_tests::tables::Tables;
use lsie_tests::telemetry::{flood, telemetry, visits};

/// Two sessions, the second of which draws its arm after the reward of the first.
fn run(name: &str, all_on: bool) -> Tables {
    let short = recording("short");
    let first = id_for_arm(&short, &ExperimentRecord::seed(), RECORDED_AT, true);
    let set = TopicSet::recorded(name, 2);
    let mut timelines = Vec::new();
    for (id, start_ms) in [(first, 0), (session_id("after-rewards", 1), 60_000)] {
        let mut timeline = records(&short, id, RECORDED_AT, start_ms);
        if all_on {
            timeline.extend(telemetry(id, RECORDED_AT, start_ms));
            timeline.extend(visits(id, RECORDED_AT, start_ms));
            timeline.sort_by_key(|timed| timed.at_ms);
        }
        timelines.push(timeline);
    }
    set.feed(timelines, Pace::Max);
    set.replay(Settings { workers: 2, voices: all_on, ..Settings::WITH_MODELS }).tables
}

#[test]
fn what_only_watches_changes_no_reward() {
    let (off, on) = (run("watched-not", false), run("watched", true));
    // Else there would be nothing to compare.
    assert_eq!((on.rows::<ContextRow>().len(), off.rows::<ContextRow>().len()), (4, 0));
    assert!(!on.rows::<PhysiologyRow>().is_empty() && !on.rows::<EventOutcomeLinkRow>().is_empty());
    assert!(on.rows::<MetricsRow>().iter().any(|row| row.pitch_f0.is_some()));
    assert!(off.rows::<PhysiologyRow>().is_empty() && off.rows::<EventOutcomeLinkRow>().is_empty());
    assert!(off.rows::<MetricsRow>().iter().all(|row| row.pitch_f0.is_none()));
    assert_eq!(off.rows::<EncounterRow>().len(), 2);
    assert!(off.rows::<ArmRow>().iter().any(|row| row.alpha_param.0 > 1.5), "a posterior moved");

    equal::<Au12Row>(&off, &on);
    equal::<DecisionRow>(&off, &on);
    equal::<EvaluationRow>(&off, &on);
    equal::<EncounterRow>(&off, &on);
    equal::<ArmRow>(&off, &on);
    equal::<ArmSummaryRow>(&off, &on);
    // With the epochs at which they moved.
    equal::<PosteriorUpdateRow>(&off, &on);
    // The ledger sees the same rewards, too; outcomes are what it adds.
    assert_eq!(off.rows::<AttributionEventRow>().len(), on.rows::<AttributionEventRow>().len());
}

/// Twenty thousand comments at once, and every segment of every session closes at the epoch at which it would have.
#[test]
fn a_flood_of_telemetry_closes_no_segment_later() {
    let run = |name: &str, comments: u64| {
        let set = TopicSet::recorded(name, 2);
        let ids = [0, 1].map(|number| session_id("flooded", number));
        let mut timelines: Vec<_> =
            ids.iter().map(|id| records(&recording("short"), *id, RECORDED_AT, 0)).collect();
        timelines[0].extend(flood(ids[0], RECORDED_AT, 0, comments));
        timelines[0].sort_by_key(|timed| timed.at_ms);
        set.feed(timelines, Pace::Max);
        set.replay(Settings { workers: 2, budget_bytes: 1 << 20, ..Settings::WITHOUT_MODELS }).tables
    };
    let (calm, flooded) = (run("calm", 0), run("flooded", 20_000));
    let events = flooded.rows::<EventRow>();
    let comments = events.iter().filter(|row| row.event_type == "comment");
    assert_eq!(comments.count(), 20_000, "each is taken");
    let closed = calm.changes::<SegmentRow>();
    assert!(closed.len() >= 4, "{} segments", closed.len());
    assert_eq!(closed, flooded.changes::<SegmentRow>());
}

/// Cells compare doubles by their bits.
fn equal<R: TableRow>(off: &Tables, on: &Tables) {
    let cells = |tables: &Tables| tables.rows::<R>().iter().map(TableRow::cells).collect::<Vec<_>>();
    assert_eq!(cells(off), cells(on), "{}", R::TABLE.name);
}
