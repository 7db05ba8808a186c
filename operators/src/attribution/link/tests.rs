//! The linker beside the naive join of all pairs, and its rules one by one.

use proptest::prelude::*;

use super::*;
use crate::attribution::ledger::tests::encounter;

const SECOND_US: i64 = 1_000_000;

fn horizon() -> Horizon {
    Horizon::new(10 * SECOND_US, 2_000).expect("a horizon")
}

fn event(session: u128, segment: u8, at_us: i64) -> LinkRecord {
    LinkRecord::Event(Box::new(LedgerEvent::of(&encounter(session, segment, at_us)).expect("an event")))
}

fn outcome(session: u128, at_us: i64, reference: &str) -> LinkRecord {
    LinkRecord::Outcome(Outcome {
        session_id: Uuid::from_u128(session),
        outcome_type: "creator_follow".into(),
        outcome_value: Real(1.0),
        outcome_time_utc: EventTime(at_us),
        source_system: "tiktok_webcast".into(),
        source_event_ref: Some(reference.into()),
        confidence: Real(1.0),
    })
}

/// Runs a script; what stands at the end, and what was refused.
fn run(script: &[(u64, Vec<LinkRecord>)]) -> (BTreeSet<LedgerRow>, Vec<LinkOutput>) {
    let mut linker = Linker::new(horizon());
    let (mut state, mut refused) = (BTreeMap::new(), Vec::new());
    for (epoch, records) in script {
        let mut out = Vec::new();
        linker.on_epoch(LogTime(*epoch), records.clone(), &mut out);
        for output in out {
            match output {
                LinkOutput::Change(row, diff) => *state.entry(*row).or_insert(0) += diff,
                other => refused.push(other),
            }
        }
        state.retain(|_, n| *n != 0);
        assert!(state.values().all(|n| *n == 1), "at {epoch}");
        let identities: BTreeSet<Uuid> = state.keys().map(identity_of).collect();
        assert_eq!(identities.len(), state.len(), "one row per identity at {epoch}");
    }
    (state.into_keys().collect(), refused)
}

fn identity_of(row: &LedgerRow) -> Uuid {
    match row {
        LedgerRow::Event(row) => row.event_id,
        LedgerRow::Outcome(row) => row.outcome_id,
        LedgerRow::Link(row) => row.link_id,
        LedgerRow::Score(row) => row.score_id,
    }
}

fn links(rows: &BTreeSet<LedgerRow>) -> Vec<f64> {
    let lag = |row: &LedgerRow| match row {
        LedgerRow::Link(link) => Some(link.lag_s.0),
        _ => None,
    };
    rows.iter().filter_map(lag).collect()
}

fn finalities(rows: &BTreeSet<LedgerRow>) -> BTreeSet<&str> {
    rows.iter()
        .map(|row| match row {
            LedgerRow::Event(row) => row.finality.as_str(),
            LedgerRow::Outcome(row) => row.finality.as_str(),
            LedgerRow::Link(row) => row.finality.as_str(),
            LedgerRow::Score(row) => row.finality.as_str(),
        })
        .collect()
}

#[test]
fn both_ends_of_the_horizon_are_inside() {
    let (rows, _) = run(&[(
        0,
        vec![
            event(1, 1, 5 * SECOND_US),
            outcome(1, 5 * SECOND_US, "a"),
            outcome(1, 15 * SECOND_US, "b"),
            outcome(1, 5 * SECOND_US - 1, "before"),
            outcome(1, 15 * SECOND_US + 1, "after"),
            outcome(2, 6 * SECOND_US, "another session"),
        ],
    )]);
    let mut lags = links(&rows);
    lags.sort_by(f64::total_cmp);
    assert_eq!(lags, [0.0, 10.0]);
}

#[test]
fn the_first_outcome_takes_the_scores_over() {
    let first = |rows: &BTreeSet<LedgerRow>| {
        let scores: Vec<_> = rows
            .iter()
            .filter_map(|row| match row {
                LedgerRow::Score(score) => Some(score.outcome_id),
                _ => None,
            })
            .collect();
        assert_eq!(scores.len(), 6);
        assert!(scores.windows(2).all(|pair| pair[0] == pair[1]));
        scores[0]
    };
    let id = |record: &LinkRecord| match record {
        LinkRecord::Outcome(outcome) => outcome_row(outcome).outcome_id,
        LinkRecord::Event(_) => panic!("an outcome"),
    };
    let (late, early) = (outcome(1, 4 * SECOND_US, "late"), outcome(1, 2 * SECOND_US, "early"));
    let mut script = vec![(1, vec![event(1, 1, SECOND_US)])];
    assert_eq!(first(&run(&script).0), None);
    script.push((2, vec![late.clone()]));
    assert_eq!(first(&run(&script).0), Some(id(&late)));
    script.push((3, vec![early.clone(), late]));
    assert_eq!(first(&run(&script).0), Some(id(&early)));
}

#[test]
fn a_closed_horizon_does_not_reopen() {
    let mut script = vec![
        (1, vec![event(1, 1, 0), outcome(1, SECOND_US, "a")]),
        (11_999, vec![outcome(1, 9 * SECOND_US, "just in time")]),
    ];
    assert_eq!(finalities(&run(&script).0).into_iter().collect::<Vec<_>>(), [ONLINE_PROVISIONAL]);
    script.push((12_000, vec![outcome(1, 9 * SECOND_US + 1, "too late"), event(1, 1, 0)]));
    let (rows, refused) = run(&script);
    assert_eq!(links(&rows).len(), 2);
    assert!(matches!(refused[..], [LinkOutput::Late(_)]));
    script.push((30_000, vec![outcome(1, SECOND_US, "a")]));
    let (rows, refused) = run(&script);
    assert_eq!(finalities(&rows).into_iter().collect::<Vec<_>>(), [OFFLINE_FINAL]);
    assert_eq!(refused.len(), 2);
}

#[test]
fn the_earliest_encounter_holds_the_segment() {
    let later = event(1, 1, 8 * SECOND_US);
    let earlier = event(1, 1, 2 * SECOND_US);
    let (rows, refused) =
        run(&[(1, vec![later.clone()]), (2, vec![earlier.clone()]), (3, vec![later.clone()])]);
    let expected = run(&[(1, vec![earlier, later])]);
    assert_eq!(rows, expected.0);
    assert_eq!((refused.len(), expected.1.len()), (2, 1));
}

#[test]
fn hostile_times() {
    let ends = [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX];
    let events = ends.iter().enumerate().map(|(index, at)| event(1, index as u8, *at));
    let outcomes = ends.iter().map(|at| outcome(1, *at, "x"));
    let records: Vec<LinkRecord> = events.chain(outcomes).collect();
    let (rows, _) = run(&[(0, records.clone()), (1, records.clone()), (u64::MAX, records)]);
    assert!(links(&rows).iter().all(|lag| (0.0..=10.0).contains(lag)));
}

/// Many outcomes on few events: the work of one outcome does not grow with those before it.
#[test]
fn many_outcomes() {
    let mut linker = Linker::new(horizon());
    let mut out = Vec::new();
    linker.on_epoch(LogTime(0), vec![event(1, 1, 0), event(1, 2, 1)], &mut out);
    for index in 0..20_000_i64 {
        out.clear();
        linker.on_epoch(LogTime(1), vec![outcome(1, SECOND_US + index, "o")], &mut out);
        assert_eq!(out.len(), if index == 0 { 27 } else { 3 });
    }
}

/// All pairs, as the rule is said: linked iff same session, lag within the horizon, and both came while
/// the event was open. First arrivals count.
fn naive(script: &[(u64, Vec<LinkRecord>)], now: u64) -> BTreeSet<LedgerRow> {
    let horizon = horizon();
    let (mut events, mut outcomes) = (BTreeMap::new(), BTreeMap::new());
    for (epoch, records) in script {
        for record in records {
            match record {
                LinkRecord::Event(e) if horizon.closes_at(e.row.event_time_utc).0 > *epoch => {
                    events.entry((e.row.event_id, e.row.event_time_utc)).or_insert((*epoch, e.clone()));
                }
                LinkRecord::Outcome(o) if horizon.closes_at(o.outcome_time_utc).0 > *epoch => {
                    let row = outcome_row(o);
                    outcomes.entry(row.outcome_id).or_insert((*epoch, row));
                }
                _ => {}
            }
        }
    }
    let mut rows = BTreeSet::new();
    let finality =
        |at: EventTime| if horizon.closes_at(at).0 <= now { OFFLINE_FINAL } else { ONLINE_PROVISIONAL };
    for (_, outcome) in outcomes.values() {
        let finality = finality(outcome.outcome_time_utc).into();
        rows.insert(LedgerRow::Outcome(OutcomeEventRow { finality, ..outcome.clone() }));
    }
    let linker = Linker::new(horizon);
    for (_, event) in events.values() {
        let time = event.row.event_time_utc;
        let finality = finality(time);
        rows.insert(LedgerRow::Event(AttributionEventRow { finality: finality.into(), ..event.row.clone() }));
        let mut first: Option<(i64, Uuid)> = None;
        for (came, outcome) in outcomes.values() {
            let lag = outcome.outcome_time_utc.0 - time.0;
            let same_session = outcome.session_id == event.row.session_id;
            if same_session && (0..=10 * SECOND_US).contains(&lag) && *came < horizon.closes_at(time).0 {
                rows.insert(LedgerRow::Link(linker.link(event, outcome, finality)));
                let this = (lag, outcome.outcome_id);
                first = Some(first.map_or(this, |first| first.min(this)));
            }
        }
        rows.extend(event.scores(first.map(|first| first.1), finality).map(LedgerRow::Score));
    }
    rows
}

prop_compose! {
    fn record()(
        is_event in any::<bool>(),
        session in 1u128..3,
        quarter in 0i64..80,
    ) -> LinkRecord {
        let at_us = quarter * 250_000;
        // One encounter a segment: the naive one knows nothing of two.
        if is_event { event(session, quarter as u8, at_us) } else { outcome(session, at_us, "r") }
    }
}

proptest! {
    #[test]
    fn equals_all_pairs_at_every_epoch(
        epochs in prop::collection::vec((0u64..6_000, prop::collection::vec(record(), 0..5)), 1..16),
    ) {
        let mut now = 0;
        let script: Vec<(u64, Vec<LinkRecord>)> = epochs
            .into_iter()
            .map(|(gap, records)| {
                now += gap + 1;
                (now, records)
            })
            .collect();
        for length in 1..=script.len() {
            let script = &script[..length];
            let now = script[length - 1].0;
            prop_assert_eq!(run(script).0, naive(script, now));
        }
    }
}
