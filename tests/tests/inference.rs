//! Speech via the log: models that fail or never answer, runs that break off with a question open, and answers that
//! are in the log before anybody hears them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lsie_connectors::feed::{Pace, TimedRecord, session_id};
use lsie_dataflow::recorded::{Inferring, Recomputed};
use lsie_dataflow::{Engine, Run};
use lsie_schemas::record::{Answer, Control, EndSession, ExperimentRecord, Heard, Inference, Record};
use lsie_schemas::row::{
    EncounterRow, EvaluationRow, InferenceRow, RecordClassRow, SessionRow, TranscriptRow,
};
use lsie_schemas::{LogTime, Topic, codec};
use lsie_tests::harness::{
    Ears, Finished, Settings, TopicSet, assert_law_4, assert_same, now, read_all, wait_for,
};
use lsie_tests::sessions::{RECORDED_AT, id_for_arm, recording, records};
use lsie_tests::tables::Tables;
use uuid::Uuid;

/// Length of the session that is fed in real time: one greeting, at 8 s.
const SHORTENED_MS: u64 = 13_000;

/// A session of 13 s with one greeting.
fn shortened(id: Uuid, base: LogTime) -> Vec<TimedRecord> {
    let all = records(&recording("strong"), id, base, 0).into_iter();
    let mut kept: Vec<TimedRecord> = all.filter(|timed| timed.at_ms < SHORTENED_MS).collect();
    let end = Control::End(EndSession { session_id: id, client_action_id: None });
    let record = end.encode(Some(base.plus_ms(SHORTENED_MS)));
    kept.push(TimedRecord { at_ms: SHORTENED_MS, record });
    kept
}

fn speech(tables: &Tables) -> Vec<InferenceRow> {
    tables.rows::<InferenceRow>().into_iter().filter(|row| row.what == "speech").collect()
}

/// A model that fails on an input gives a null result with its reason, and stops nothing.
#[test]
fn a_model_that_fails_stops_nothing() {
    let set = TopicSet::recorded("failing-ears", 2);
    set.feed(vec![records(&recording("short"), session_id("failing-ears", 0), RECORDED_AT, 0)], Pace::Max);
    let tables = set.replay(Settings { ears: Ears::Failing, ..Settings::WITHOUT_MODELS }).tables;
    let [row] = &speech(&tables)[..] else { panic!("one segment has sound in it") };
    assert_eq!((row.answer.as_ref(), row.reason.as_deref()), (None, Some("model_error")));
    assert!(tables.rows::<TranscriptRow>().is_empty() && tables.rows::<EvaluationRow>().is_empty());
    assert!(tables.rows::<EncounterRow>().is_empty(), "without a transcript there is no reward");
    assert!(tables.rows::<SessionRow>().iter().all(|row| row.ended_at.is_some()));
}

/// The sentence model judges what was heard, however the speech model spelt it, and its score is a fact.
#[test]
fn meaning_is_judged_by_the_sentence_model() {
    let set = TopicSet::recorded("meaning", 2);
    let (demo, seed) = (recording("demo"), ExperimentRecord::seed());
    let id = id_for_arm(&demo, &seed, RECORDED_AT, true);
    set.feed(vec![records(&demo, id, RECORDED_AT, 0)], Pace::Max);
    let settings = Settings { meaning: true, ..Settings::WITHOUT_MODELS };
    let first = set.replay(settings);
    let gates: Vec<i64> = by_time(first.tables.rows::<EncounterRow>());
    assert_eq!(gates, [1, 0, 1]);
    for row in first.tables.rows::<EvaluationRow>() {
        assert_eq!(row.semantic_method.as_deref(), Some("bi_encoder_minilm"));
        let sure = row.confidence.map_or(0.0, |confidence| confidence.0);
        match row.reasoning.as_deref() {
            Some("local_high_match") => assert!(sure >= 0.72, "{row:?}"),
            Some("local_high_nonmatch") => assert!(sure < 0.58, "{row:?}"),
            _ => panic!("{row:?}"),
        }
    }
    let scores = first.tables.rows::<InferenceRow>();
    assert_eq!(scores.iter().filter(|row| row.what == "greeting" && row.answer.is_some()).count(), 3);
    let again = set.replay(Settings { workers: 2, ..settings });
    assert_same(first.path(), again.path(), "1 and 2 workers");
}

fn by_time(mut encounters: Vec<EncounterRow>) -> Vec<i64> {
    encounters.sort_by_key(|row| row.stimulus_time);
    encounters.into_iter().map(|row| row.semantic_gate).collect()
}

/// A live run does not wait for a model: that no answer will come is a record, and a replay with a model that
/// answers at once still says the same.
#[test]
fn an_answer_that_never_comes_is_decided_by_a_record() {
    let set = TopicSet::live("slow-ears", 2);
    let (id, begin) = (session_id("slow-ears", 0), now());
    let ending = Arc::new(AtomicBool::new(false));
    let slow = Settings { ears: Ears::Slow(Duration::from_secs(20)), ..Settings::WITHOUT_MODELS };
    let live = set.run(slow, Run::Live(ending.clone()), |store| {
        set.feed(vec![shortened(id, begin)], Pace::RealTime);
        wait_for(store, |tables| !speech(tables).is_empty());
        ending.store(true, Ordering::SeqCst);
    });
    assert_law_4(set.log(), &live.tables);
    let [row] = &speech(&live.tables)[..] else { panic!("one segment has sound in it") };
    assert_eq!(row.reason.as_deref(), Some("deadline"));
    assert!(live.tables.rows::<EncounterRow>().is_empty());
    let replay = set.replay(Settings { workers: 2, ..Settings::WITHOUT_MODELS });
    assert_same(live.path(), replay.path(), "live and replayed");
}

/// A run that breaks off while a question is open leaves it unanswered; the next one asks again under the same id.
#[test]
fn an_open_question_is_asked_again_after_a_restart() {
    let set = TopicSet::live("restart-ears", 2);
    let (id, begin) = (session_id("restart-ears", 0), now());
    let stuck = Settings { ears: Ears::Slow(Duration::from_secs(3_600)), ..Settings::WITHOUT_MODELS };
    set.break_off(stuck, |store| {
        set.feed(vec![shortened(id, begin)], Pace::RealTime);
        wait_for(store, |tables| tables.rows::<SessionRow>().iter().any(|row| row.ended_at.is_some()));
    });
    assert!(read_all(set.log(), &[Topic::Inference]).is_empty(), "nobody has answered");

    let ending = Arc::new(AtomicBool::new(false));
    let live =
        set.run(Settings { workers: 2, ..Settings::WITHOUT_MODELS }, Run::Live(ending.clone()), |store| {
            wait_for(store, |tables| !speech(tables).is_empty());
            ending.store(true, Ordering::SeqCst);
        });
    assert_law_4(set.log(), &live.tables);
    assert_eq!(speech(&live.tables).len(), 1);
    assert_eq!(live.tables.rows::<EncounterRow>().len(), 1, "it was answered the second time");
    let replay = set.replay(Settings::WITHOUT_MODELS);
    assert_same(live.path(), replay.path(), "live after a restart, and replayed");
}

/// What is in the log counts, whatever the model would say now; and only the first of it.
#[test]
fn the_first_answer_in_the_log_counts() {
    let id = session_id("two-answers", 0);
    let timeline = || records(&recording("short"), id, RECORDED_AT, 0);
    let clean = TopicSet::recorded("no-answers", 2);
    clean.feed(vec![timeline()], Pace::Max);
    let clean = clean.replay(Settings::WITHOUT_MODELS).tables;
    assert_eq!(clean.rows::<EncounterRow>().len(), 1);
    let [row] = &speech(&clean)[..] else { panic!("one segment has sound in it") };

    let answer = |heard: Heard| Inference {
        session_id: id,
        request_id: row.request_id.clone(),
        ordinal: 1,
        input_sha256: row.input_sha256.clone(),
        model: row.model.clone(),
        answer: Answer::Heard(heard),
    };
    let heard = row.answer.as_ref().expect("an answer").as_str();
    let heard: Heard = serde_json::from_str(heard).expect("a recorded answer can be read");
    let at = |ms: u64, record: Inference| TimedRecord {
        at_ms: ms,
        record: record.encode(Some(RECORDED_AT.plus_ms(ms))),
    };
    let mut other = answer(heard.clone());
    other.input_sha256 = "0".repeat(64);
    let set = TopicSet::recorded("two-answers", 2);
    let mut all = timeline();
    all.extend([
        // Nobody has asked yet.
        at(20_000, answer(heard.clone())),
        at(33_500, other),
        at(34_000, answer(Heard::default())),
        at(34_500, answer(heard)),
    ]);
    all.sort_by_key(|timed| timed.at_ms);
    set.feed(vec![all], Pace::Max);
    for workers in [1, 2] {
        let tables = set.replay(Settings { workers, ..Settings::WITHOUT_MODELS }).tables;
        let [row] = &speech(&tables)[..] else { panic!("one answer counts") };
        assert!(
            row.answer.as_ref().is_some_and(|answer| answer.as_str().contains(r#""text":"""#)),
            "{row:?}"
        );
        assert!(tables.rows::<EncounterRow>().is_empty(), "nothing was heard");
        let classes: BTreeMap<(String, String), i64> = tables
            .rows::<RecordClassRow>()
            .into_iter()
            .filter(|row| row.topic == Topic::Inference.name())
            .map(|row| ((row.class, row.reason), row.records))
            .collect();
        let expected = [("duplicate", ""), ("filed", "other_input"), ("filed", "unrequested"), ("used", "")];
        let expected = expected.map(|(class, reason)| ((class.to_string(), reason.to_string()), 1));
        assert_eq!(classes, expected.into());
    }
    // Computed once more, it is heard after all, at the epoch of the answer that counts.
    let (strict, recomputed) = strictly(&set);
    let [other] = &recomputed.found().1[..] else { panic!("one answer is another: {recomputed:?}") };
    assert_eq!((other.session, other.ordinal, other.what), (id, 1, "text"));
    assert_eq!(speech(&strict.tables)[0].answer, row.answer);
    assert_eq!(strict.tables.rows::<EncounterRow>().len(), 1);
}

/// A replay that computes what the log has been told.
fn strictly(set: &TopicSet) -> (Finished, Arc<Recomputed>) {
    let recomputed = Arc::new(Recomputed::default());
    let inferring = Inferring::Strict(recomputed.clone());
    let engine = Settings { workers: 2, ..Settings::WITHOUT_MODELS }.engine(set.shared_log());
    (set.replay_by(Engine { inferring, ..engine }), recomputed)
}

/// A live run leaves its answers in the log, each the answer to what was asked.
#[test]
fn answers_of_a_live_run_are_in_the_log() {
    let set = TopicSet::live("written-ears", 2);
    let (id, begin) = (session_id("written-ears", 0), now());
    let ending = Arc::new(AtomicBool::new(false));
    let live = set.run(Settings::WITHOUT_MODELS, Run::Live(ending.clone()), |store| {
        set.feed(vec![shortened(id, begin)], Pace::RealTime);
        // The end is asked for while the question is open.
        wait_for(store, |tables| tables.rows::<SessionRow>().iter().any(|row| row.ended_at.is_some()));
        ending.store(true, Ordering::SeqCst);
    });
    let written = read_all(set.log(), &[Topic::Inference]);
    let [record] = &written[..] else { panic!("one answer: {}", written.len()) };
    let Ok(Record::Inference(answer)) = codec::decode(record) else { panic!("an answer") };
    let [row] = &speech(&live.tables)[..] else { panic!("the run ends when nothing is open any more") };
    assert_eq!((&answer.request_id, &answer.input_sha256), (&row.request_id, &row.input_sha256));
    assert!(matches!(answer.answer, Answer::Heard(heard) if heard.text.contains("wonderful stream")));
    assert_eq!(live.tables.rows::<EncounterRow>().len(), 1);
    let replay = set.replay(Settings { workers: 2, ..Settings::WITHOUT_MODELS });
    assert_same(live.path(), replay.path(), "live and replayed");
    let (strict, recomputed) = strictly(&set);
    assert_eq!(recomputed.found(), (1, vec![]), "the same model says the same");
    assert_same(live.path(), strict.path(), "live, and computed once more");
}
