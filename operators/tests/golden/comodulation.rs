//! Stored snapshots and a window end to the co-modulation row.

use lsie_operators::comodulation::{Comodulation, ComodulationWindow, WINDOW_MINUTES};
use lsie_schemas::EventTime;
use lsie_schemas::canonical::parse;
use lsie_schemas::record::SubjectRole;

use crate::read::{assert_absolute, assert_relative, cases};

#[derive(serde::Deserialize)]
struct Input {
    session_id: String,
    window_end_utc: String,
    rows: Vec<Row>,
}

#[derive(serde::Deserialize)]
struct Row {
    session_id: String,
    subject_role: String,
    is_valid: Option<bool>,
    is_stale: Option<bool>,
    rmssd_ms: Option<f64>,
    source_timestamp_utc: String,
}

#[derive(serde::Deserialize)]
struct Expected {
    window_start_utc: String,
    window_end_utc: String,
    window_minutes: i64,
    co_modulation_index: Option<f64>,
    n_paired_observations: usize,
    coverage_ratio: f64,
    streamer_rmssd_mean: Option<f64>,
    operator_rmssd_mean: Option<f64>,
}

#[test]
fn golden_comodulation_windows() {
    for case in cases("comodulation", 258) {
        let (input, expected): (Input, Expected) = (case.input(), case.expected());
        let rows: Vec<(SubjectRole, EventTime, f64)> =
            input.rows.iter().filter_map(|row| eligible(row, &input.session_id)).collect();
        let window_end = instant(&input.window_end_utc);
        let ours = evaluate(rows.iter(), window_end);
        // The values of a window have no order of arrival: the same bits.
        assert_eq!(ours, evaluate(rows.iter().rev(), window_end), "{}", case.name);
        check(&ours, &expected, &case.name);
    }
}

/// Null is neither valid nor fresh; other sessions' rows and other roles' are not asked for.
fn eligible(row: &Row, session_id: &str) -> Option<(SubjectRole, EventTime, f64)> {
    let role = SubjectRole::ALL.into_iter().find(|role| role.name() == row.subject_role)?;
    let is_eligible =
        row.session_id == session_id && row.is_valid == Some(true) && row.is_stale == Some(false);
    row.rmssd_ms.filter(|_| is_eligible).map(|rmssd| (role, instant(&row.source_timestamp_utc), rmssd))
}

fn evaluate<'a>(
    rows: impl Iterator<Item = &'a (SubjectRole, EventTime, f64)>,
    window_end: EventTime,
) -> Comodulation {
    let mut window = ComodulationWindow::default();
    rows.for_each(|(role, at, rmssd)| window.push(*role, *at, *rmssd));
    window.evaluate(window_end)
}

fn check(ours: &Comodulation, expected: &Expected, name: &str) {
    assert_eq!(ours.window_start, instant(&expected.window_start_utc), "{name}");
    assert_eq!(ours.window_end, instant(&expected.window_end_utc), "{name}");
    assert_eq!(WINDOW_MINUTES, expected.window_minutes, "{name}");
    assert_eq!(ours.n_paired_observations, expected.n_paired_observations, "{name}");
    assert_eq!(ours.coverage_ratio, expected.coverage_ratio, "{name}");
    match (ours.co_modulation_index, expected.co_modulation_index) {
        // 1e-9: order and form of the sums of products.
        (Some(ours), Some(theirs)) => assert_absolute(ours, theirs, 1e-9, name),
        (ours, theirs) => assert_eq!(ours, theirs, "{name}"),
    }
    let means = [
        (ours.streamer_rmssd_mean, expected.streamer_rmssd_mean),
        (ours.operator_rmssd_mean, expected.operator_rmssd_mean),
    ];
    for means in means {
        match means {
            // 1e-12: order of the sum.
            (Some(ours), Some(theirs)) => assert_relative(ours, theirs, 1e-12, name),
            (ours, theirs) => assert_eq!(ours, theirs, "{name}"),
        }
    }
}

fn instant(text: &str) -> EventTime {
    EventTime(parse(text).expect("a timestamp"))
}
