//! Wearables, live events and outcomes through the whole engine on a real broker: the rows they lead to, and how
//! late records correct them.

use lsie_connectors::feed::{Pace, session_id};
use lsie_schemas::row::{
    AttributionEventRow, AttributionScoreRow, ComodulationRow, EncounterRow, EventOutcomeLinkRow, EventRow,
    OutcomeEventRow, PhysiologyRow, RecordClassRow, SegmentRow,
};
use lsie_schemas::{LogTime, Real};
use lsie_tests::harness::{Settings, TopicSet};
use lsie_tests::sessions::{RECORDED_AT, recording, records};
use lsie_tests::tables::Tables;
use lsie_tests::telemetry::telemetry;

fn tables() -> Tables {
    let set = TopicSet::recorded("telemetry", 2);
    let id = session_id("telemetry", 0);
    let mut timeline = records(&recording("short"), id, RECORDED_AT, 0);
    timeline.extend(telemetry(id, RECORDED_AT, 0));
    timeline.sort_by_key(|timed| timed.at_ms);
    set.feed(vec![timeline], Pace::Max);
    set.replay(Settings::WITHOUT_MODELS).tables
}

#[test]
fn telemetry_reaches_its_tables() {
    let tables = tables();
    let segments: Vec<SegmentRow> = tables.rows();
    physiology(&tables, &segments);
    events(&tables);
    ledger(&tables);
    let mut classes: Vec<(String, String, i64)> = tables
        .rows::<RecordClassRow>()
        .into_iter()
        .filter(|row| ["physio", "events", "outcomes"].contains(&row.topic.as_str()))
        .map(|row| (row.topic, row.class, row.records))
        .collect();
    classes.sort();
    let expected = [
        ("events", "duplicate", 1),
        ("events", "used", 5),
        ("outcomes", "duplicate", 1),
        ("outcomes", "used", 1),
        ("physio", "duplicate", 1),
        ("physio", "used", 2),
    ];
    let classes: Vec<(&str, &str, i64)> =
        classes.iter().map(|(t, c, n)| (t.as_str(), c.as_str(), *n)).collect();
    assert_eq!(classes, expected);
}

fn physiology(tables: &Tables, segments: &[SegmentRow]) {
    let rows: Vec<PhysiologyRow> = tables.rows();
    assert_eq!(rows.len(), 2 * segments.len(), "both roles at every segment: {rows:?}");
    for segment in segments {
        let of = |role: &str| {
            let mine =
                |row: &&PhysiologyRow| row.segment_id == segment.segment_id && row.subject_role == role;
            rows.iter().find(mine).expect("a snapshot of each role")
        };
        // sqrt((10² + 20² + 15²) / 3), and the mean of 72 and 75 rounded half to even.
        let streamer = of("streamer");
        assert_eq!((streamer.rmssd_ms, streamer.heart_rate_bpm), (Some(Real(15.546)), Some(74)));
        let operator = of("operator");
        assert_eq!((operator.rmssd_ms, operator.heart_rate_bpm), (Some(Real(40.0)), Some(62)));
        let age_s = (segment.window_end_utc.0 - RECORDED_AT.as_event().0) as f64 / 1e6 + 30.0;
        assert!((streamer.freshness_s.0 - age_s).abs() <= 0.05, "{} of {age_s}", streamer.freshness_s.0);
        assert!(streamer.is_valid && !streamer.is_stale);
    }
    let rows: Vec<ComodulationRow> = tables.rows();
    assert_eq!(rows.len(), segments.len());
    for row in rows {
        assert_eq!((row.n_paired_observations, row.coverage_ratio), (1, Real(1.0)));
        assert_eq!(row.co_modulation_index, None, "four pairs at least");
        assert_eq!(row.operator_rmssd_mean, Some(Real(40.0)));
    }
}

fn events(tables: &Tables) {
    let of =
        |row: &EventRow| ((row.timestamp_utc.0 - RECORDED_AT.as_event().0) / 1_000, row.event_type.clone());
    let mut rows: Vec<(i64, String)> = tables.rows::<EventRow>().iter().map(of).collect();
    rows.sort();
    let expected = [
        (6_000, "like"),
        (7_500, "gift"),
        // The group ends with the event that came last and late.
        (8_000, "Action_Combo"),
        (8_000, "share"),
        (12_000, "comment"),
        (20_000, "follow"),
    ];
    let rows: Vec<(i64, &str)> = rows.iter().map(|(at, kind)| (*at, kind.as_str())).collect();
    assert_eq!(rows, expected);

    let mut combos: Vec<(LogTime, i64, i64)> = tables
        .changes::<EventRow>()
        .into_iter()
        .filter(|(_, row, _)| row.is_combo == Some(true))
        .map(|(epoch, row, diff)| (epoch, of(&row).0, diff))
        .collect();
    combos.sort();
    let changes: Vec<(i64, i64)> = combos.iter().map(|(_, at, diff)| (*at, *diff)).collect();
    assert_eq!(changes, [(7_500, 1), (7_500, -1), (8_000, 1)], "it came at the comment, and grew later");
    assert_eq!(combos[1].0, combos[2].0, "one epoch corrects it");
}

fn ledger(tables: &Tables) {
    let encounters: Vec<EncounterRow> = tables.rows();
    let events: Vec<AttributionEventRow> = tables.rows();
    assert_eq!(encounters.len(), 1);
    assert_eq!(events.len(), 1);
    assert!(events[0].finality == "online_provisional", "its horizon is open for days");
    let (stimulus, event) = (encounters[0].stimulus_time.expect("a time").0, events[0].event_time_utc);
    assert_eq!(event.seconds(), stimulus);

    // The follow among the events is an outcome, too.
    let mut outcomes: Vec<OutcomeEventRow> = tables.rows();
    outcomes.sort_by_key(|row| row.outcome_time_utc);
    let sources: Vec<&str> = outcomes.iter().map(|row| row.source_system.as_str()).collect();
    assert_eq!(sources, ["tiktok_webcast", "shop"]);
    let mut links: Vec<EventOutcomeLinkRow> = tables.rows();
    links.sort_by_key(|row| row.lag_s);
    let lags: Vec<f64> = links.iter().map(|row| row.lag_s.0).collect();
    let expected: Vec<f64> =
        outcomes.iter().map(|row| row.outcome_time_utc.seconds() - event.seconds()).collect();
    assert_eq!(lags.len(), 2);
    assert!(lags.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{lags:?} {expected:?}");

    let scores: Vec<AttributionScoreRow> = tables.rows();
    assert_eq!(scores.len(), 6);
    assert!(scores.iter().all(|row| row.outcome_id == Some(outcomes[0].outcome_id)), "the first one counts");
    // Before the follow came there was none: those scores are taken back.
    let taken_back =
        tables.changes::<AttributionScoreRow>().into_iter().filter(|(_, _, diff)| *diff < 0).count();
    assert_eq!(taken_back % 6, 0);
}
