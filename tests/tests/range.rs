//! A bounded range of the topics on a real broker: the sessions that began in it as in the whole, no others.

use lsie_connectors::feed::{Pace, session_id};
use lsie_dataflow::{Range, Run};
use lsie_schemas::row::{RecordClassRow, SegmentRow, SessionRow};
use lsie_tests::harness::{Settings, TopicSet};
use lsie_tests::sessions::{RECORDED_AT, recording, records};

#[test]
fn a_range_holds_the_sessions_that_began_in_it() {
    let set = TopicSet::recorded("range", 2);
    let (early, late) = (session_id("range", 0), session_id("range", 1));
    let short = recording("short");
    set.feed(
        vec![records(&short, early, RECORDED_AT, 0), records(&short, late, RECORDED_AT, 20_000)],
        Pace::Max,
    );
    let whole = set.replay(Settings::WITHOUT_MODELS).tables;
    assert_eq!(whole.rows::<SessionRow>().len(), 2);

    let range = Range { from: RECORDED_AT.plus_ms(10_000), ..Range::ALL };
    let part = set.run(Settings::WITHOUT_MODELS, Run::Bounded(range), |_| {}).tables;
    let of = |session, rows: Vec<SegmentRow>| -> Vec<SegmentRow> {
        rows.into_iter().filter(|row| row.session_id == session).collect()
    };
    let segments = of(late, part.rows());
    assert_eq!(segments.len(), 2);
    assert_eq!(segments, of(late, whole.rows()), "in the range (left) and in the whole (right)");
    let sessions: Vec<SessionRow> = part.rows();
    assert!(sessions.iter().map(|row| row.session_id).eq([late]), "{sessions:?}");
    let name = early.to_string();
    assert!(
        part.rows::<RecordClassRow>().iter().all(|row| row.session != name),
        "nothing of the other is read"
    );

    let none = Range { until: RECORDED_AT, ..Range::ALL };
    let none = set.run(Settings::WITHOUT_MODELS, Run::Bounded(none), |_| {}).tables;
    assert!(none.rows::<SegmentRow>().is_empty());
}
