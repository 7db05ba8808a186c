//! The engine's tables equal those of an independent oracle, over the records that both got from Kafka.

use std::collections::BTreeMap;

use lsie_connectors::feed::{Pace, TimedRecord, session_id};
use lsie_schemas::log::{LogRecord, TopicPartition};
use lsie_schemas::record::{Control, EpochRecord, ExperimentRecord, Record};
use lsie_schemas::row::{ArmRow, DecisionRow, EncounterRow, FaceRow, InferenceRow, MetricsRow};
use lsie_schemas::{Cell, LogTime, TableRow, Topic, codec};
use lsie_tests::harness::{Settings, TopicSet};
use lsie_tests::oracle::{self, Asked, Expected};
use lsie_tests::sessions::{RECORDED_AT, id_for_arm, recording, records};
use lsie_tests::tables::Tables;

/// `math.md`: 1e-12, relative, of values up to 1; posteriors are sums of fixed-point units of 1e-12.
const TOLERANCE: f64 = 1e-11;

/// The default of `speech.answer_delay_ms`.
const ANSWER_DELAY_MS: u64 = 5_000;

/// The demo (a stimulus whose window crosses a border, two seconds without a face) and two short sessions,
/// one with the arm whose greeting is spoken and one with another.
#[test]
fn faces_rewards_and_posteriors() {
    let set = TopicSet::recorded("oracle", 3);
    let (demo, short) = (recording("demo"), recording("short"));
    let seed = ExperimentRecord::seed();
    let at = |ms| RECORDED_AT.plus_ms(ms);
    let spoken = id_for_arm(&demo, &seed, RECORDED_AT, true);
    let matched = id_for_arm(&short, &seed, at(2_300), true);
    let other = id_for_arm(&short, &seed, at(5_017), false);
    let late = session_id("after-rewards", 0);
    set.feed(
        vec![
            records(&demo, spoken, RECORDED_AT, 0),
            records(&short, matched, RECORDED_AT, 2_300),
            records(&short, other, RECORDED_AT, 5_017),
            // Its arm is drawn after rewards of the others.
            records(&short, late, RECORDED_AT, 60_000),
        ],
        Pace::Max,
    );
    let tables = set.replay(Settings { workers: 2, ..Settings::WITH_MODELS }).tables;
    let expected = check(&set, &tables);
    let closed: Vec<&str> = expected.segments.iter().map(|row| row.closed_by.as_str()).collect();
    assert_eq!(closed.iter().filter(|reason| **reason == "ended").count(), 4, "{closed:?}");
    assert_eq!(closed.len(), 4 + 3 * 2, "{closed:?}");
    assert_eq!(expected.encounters.len(), 6);
    assert!(expected.encounters.iter().any(|row| row.semantic_gate == 0));
    assert!(expected.encounters.iter().any(|row| row.gated_reward.0 > 0.85));
    assert!(expected.encounters.iter().all(|row| row.baseline_neutral.is_some()));
}

/// Which records of a session a story keeps.
type Keeps = fn(&Seen) -> bool;

/// Every way in which a session's time line can be fixed and its segments close.
#[test]
fn clocks_and_closing_rules() {
    let set = TopicSet::recorded("closing", 2);
    let stories: [(&str, Keeps); 8] = [
        ("whole", |_| true),
        ("breaks-off", |r| r.at_s() < 9.0),
        ("video-stops", |r| r.topic() != Topic::AvVideo || r.at_s() < 14.0),
        ("no-audio", |r| r.topic() != Topic::AvAudio),
        ("audio-pauses", |r| r.topic() != Topic::AvAudio || !(6.0..19.0).contains(&r.at_s())),
        ("no-end", |r| !matches!(r.control(), Some(Control::End(_)))),
        ("no-polls", |r| !matches!(r.control(), Some(Control::ClockPoll(_)))),
        ("all-stops-early", |r| r.topic() == Topic::Control || r.at_s() < 9.0),
    ];
    let short = recording("short");
    let mut timelines = Vec::new();
    for (number, (name, keeps)) in (0..).zip(&stories) {
        let start_ms = number * 1_713;
        let all = records(&short, session_id(name, 0), RECORDED_AT, start_ms);
        let kept = all.into_iter().filter(|timed| keeps(&Seen { timed, start_ms }));
        timelines.push(kept.collect());
    }
    set.feed(timelines, Pace::Max);
    let tables = set.replay(Settings { workers: 2, ..Settings::WITHOUT_MODELS }).tables;
    let expected = check(&set, &tables);
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &expected.segments {
        *reasons.entry(&row.closed_by).or_default() += 1;
    }
    for reason in ["complete", "ended", "stalled", "max_wait"] {
        assert!(reasons.contains_key(reason), "no segment closed by {reason}: {reasons:?}");
    }
}

/// Sessions that wait for a clock that never answers: all that waited is said in one epoch, in many messages,
/// whose order counts. (Timely's `for_each_stamp` may swap messages of one epoch.)
#[test]
fn many_words_in_one_epoch() {
    let set = TopicSet::recorded("many-words", 2);
    let short = recording("short");
    let has_no_poll =
        |timed: &TimedRecord| !matches!(Seen { timed, start_ms: 0 }.control(), Some(Control::ClockPoll(_)));
    let timeline = |number| {
        let all = records(&short, session_id("many-words", number), RECORDED_AT, 0);
        all.into_iter().filter(has_no_poll).collect()
    };
    set.feed((0..8).map(timeline).collect(), Pace::Max);
    for workers in [1, 2] {
        let tables = set.replay(Settings { workers, ..Settings::WITHOUT_MODELS }).tables;
        check(&set, &tables);
    }
}

/// A record of a timeline, to be kept or left out.
struct Seen<'r> {
    timed: &'r TimedRecord,
    start_ms: u64,
}

impl Seen<'_> {
    fn topic(&self) -> Topic {
        self.timed.record.topic
    }

    fn at_s(&self) -> f64 {
        (self.timed.at_ms - self.start_ms) as f64 / 1e3
    }

    fn control(&self) -> Option<Control> {
        let record = self.timed.record.clone();
        let raw = LogRecord {
            at: TopicPartition { topic: record.topic, partition: 0 },
            offset: 0,
            log_time: LogTime(0),
            key: Some(record.key),
            value: record.value,
            headers: record.headers,
        };
        match codec::decode(&raw) {
            Ok(Record::Control(control)) => Some(control),
            _ => None,
        }
    }
}

/// Compares all tables that the oracle computes.
fn check(set: &TopicSet, tables: &Tables) -> Expected {
    let (records, epochs) = (set.inputs(), set.epochs());
    let (faces, decisions) = (tables.rows::<FaceRow>(), tables.rows::<DecisionRow>());
    let inferences = tables.rows::<InferenceRow>();
    let expected = oracle::compute(&records, &epochs, &faces, &decisions, &inferences);
    assert_asked(tables, &expected, &epochs);
    assert_rows(tables, &expected.sessions);
    assert_rows(tables, &expected.segments);
    assert_rows(tables, &expected.stimuli);
    assert_rows(tables, &expected.au12);
    assert_rows(tables, &expected.encounters);
    assert_rows(tables, &expected.transcripts);
    assert_rows(tables, &expected.evaluations);
    assert_rows(tables, &expected.arms);
    let measured: Vec<(uuid::Uuid, i64, i64)> =
        faces.iter().map(|face| (face.session_id, face.seq, face.capture_utc.0)).collect();
    assert_eq!(measured, expected.frames, "every accepted frame is measured, at its corrected capture time");
    assert_legacy(tables, &expected);
    decisions.iter().for_each(|decision| assert_decision(tables, &expected, decision));
    oracle::summaries::check(tables);
    expected
}

/// Everything was asked that had to be, about exactly that sound, and nothing else; and each answer entered at the
/// first epoch that is the delay after the one that asked.
fn assert_asked(tables: &Tables, expected: &Expected, epochs: &[EpochRecord]) {
    let mut found: Vec<(LogTime, Asked)> = Vec::new();
    for (entered, row, _) in tables.changes::<InferenceRow>() {
        if row.what != "speech" {
            continue;
        }
        let same = |asked: &&Asked| (asked.session, &asked.segment_id) == (row.session_id, &row.segment_id);
        let at_ms = expected.asked.iter().find(same).map_or(0, |asked| asked.at_ms);
        let asked = Asked {
            session: row.session_id,
            segment_id: row.segment_id,
            from: row.from_utc.0,
            until: row.to_utc.0,
            sha256: row.input_sha256,
            at_ms,
        };
        found.push((entered, asked));
    }
    let answered = |asked: &Asked| {
        let due = LogTime(asked.at_ms + ANSWER_DELAY_MS);
        let entered = epochs.iter().map(|epoch| epoch.log_time).find(|log_time| *log_time >= due)?;
        Some((entered, asked.clone()))
    };
    let mut wanted: Vec<(LogTime, Asked)> = expected.asked.iter().filter_map(answered).collect();
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted, "answers of the engine (left) and of the oracle");
}

/// The rows of a table are these; doubles within the tolerance.
fn assert_rows<R: TableRow>(tables: &Tables, expected: &[R]) {
    let table = R::TABLE;
    let found = tables.rows::<R>();
    for (found, expected) in found.iter().zip(expected) {
        let (found_row, expected_row) = (found.cells(), expected.cells());
        for (column, (found, expected)) in table.columns.iter().zip(found_row.iter().zip(&expected_row)) {
            let equal = match (found, expected) {
                (Cell::Real(a), Cell::Real(b)) => (a.0 - b.0).abs() <= TOLERANCE * a.0.abs().max(1.0),
                _ => found == expected,
            };
            assert!(
                equal,
                "{}, {}: engine and oracle have\n{found_row:?}\n{expected_row:?}",
                table.name, column.name
            );
        }
    }
    assert_eq!(found.len(), expected.len(), "{}: rows of the engine and of the oracle", table.name);
}

/// Table `metrics`: the mean legacy score.
fn assert_legacy(tables: &Tables, expected: &Expected) {
    let rows = tables.rows::<MetricsRow>();
    assert_eq!(rows.len(), expected.legacy.len());
    for (row, (session, segment, score)) in rows.iter().zip(&expected.legacy) {
        assert_eq!((&row.session_id, &row.segment_id), (session, segment));
        let difference = row.au12_intensity.map(|r| r.0).unwrap_or(-1.0) - score.unwrap_or(-1.0);
        assert!(difference.abs() <= TOLERANCE, "legacy score of {segment}: {row:?}, oracle {score:?}");
    }
}

/// A decision: seed and arm by the rules, posteriors from rewards of earlier epochs only.
fn assert_decision(tables: &Tables, expected: &Expected, decision: &DecisionRow) {
    let session = expected.sessions.iter().find(|row| row.session_id == decision.session_id);
    let anchor = session.and_then(|row| row.anchor_utc).expect("a decided session has an anchor");
    assert_eq!(decision.selection_time_utc, anchor);
    assert_eq!(decision.random_seed, oracle::seed(decision.session_id, anchor.0).to_string());
    let thetas: BTreeMap<String, f64> =
        serde_json::from_str(decision.sampled_theta_by_arm.as_str()).expect("draws by arm");
    assert!(thetas.keys().eq(&decision.candidate_arm_ids), "one draw per candidate, ascending");
    let chosen = thetas[&decision.selected_arm_id];
    assert!(thetas.values().all(|theta| *theta <= chosen), "the largest draw wins: {decision:?}");
    let posteriors: BTreeMap<String, BTreeMap<String, f64>> =
        serde_json::from_str(decision.posterior_by_arm.as_str()).expect("posteriors by arm");
    let at = tables.changes::<DecisionRow>().into_iter().find(|(_, row, _)| row == decision);
    let (epoch, ..) = at.expect("the epoch of the decision");
    for arm in expected.arms.iter().filter(|arm| arm.experiment_id == decision.experiment_id) {
        let (alpha, beta) = learned(tables, arm, epoch);
        let known = &posteriors[&arm.arm];
        assert!((known["alpha"] - alpha).abs() <= TOLERANCE, "{}: {known:?}, {alpha}", arm.arm);
        assert!((known["beta"] - beta).abs() <= TOLERANCE, "{}: {known:?}, {beta}", arm.arm);
    }
}

/// The posterior of an arm from the encounters before an epoch.
fn learned(tables: &Tables, arm: &ArmRow, before: LogTime) -> (f64, f64) {
    let (mut alpha, mut beta) = (1.0, 1.0);
    for (epoch, row, diff) in tables.changes::<EncounterRow>() {
        if epoch < before && row.experiment_id == arm.experiment_id && row.arm == arm.arm {
            alpha += diff as f64 * row.gated_reward.0;
            beta += diff as f64 * (1.0 - row.gated_reward.0);
        }
    }
    (alpha, beta)
}
