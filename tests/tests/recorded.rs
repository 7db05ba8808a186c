//! A replay that takes the results of models from an earlier run's tables: no model runs, and the tables are the same.

use std::path::Path;
use std::sync::Arc;

use lsie_connectors::feed::{Pace, session_id};
use lsie_dataflow::pool::{Measurer, MeasurerFactory};
use lsie_dataflow::recorded::{Inferring, Recorded};
use lsie_dataflow::{Engine, Range, Run};
use lsie_schemas::row::{EncounterRow, EvaluationRow, FaceRow, InferenceRow, MetricsRow};
use lsie_schemas::{LogTime, Topic};
use lsie_tests::harness::{Finished, Settings, TopicSet, assert_same, finish};
use lsie_tests::sessions::{RECORDED_AT, recording, records};

/// Everything that a model can say: faces, speech, scores of greetings, and a shadow's.
const ALL: Settings = Settings { meaning: true, shadow: true, ..Settings::WITH_MODELS };

/// A replay without any model, by what the tables in a directory say.
fn replay(set: &TopicSet, settings: Settings, tables: &Path, until: LogTime) -> anyhow::Result<Finished> {
    let inferring = Inferring::Recorded(Arc::new(Recorded::read(tables)?));
    let gone = || -> anyhow::Error { anyhow::anyhow!("the models are gone") };
    let measurer: MeasurerFactory = Arc::new(move |_| -> anyhow::Result<Measurer> { Err(gone()) });
    let engine = Engine {
        inferring,
        measurer,
        transcriber: Arc::new(move |_| Err(gone())),
        judge: Some(Arc::new(move || Err(gone()))),
        shadow: None,
        ..settings.engine(set.shared_log())
    };
    finish(engine, Vec::new(), Run::Bounded(Range { until, ..Range::ALL }), |_| {})
}

#[test]
fn what_an_earlier_run_has_recorded_takes_the_place_of_the_models() {
    let set = TopicSet::recorded("recorded", 2);
    let mut timeline = records(&recording("demo"), session_id("recorded", 0), RECORDED_AT, 0);
    // One picture cannot be decoded: that is recorded too.
    let pictures = timeline.iter_mut().filter(|timed| timed.record.topic == Topic::AvVideo);
    let broken = pictures.skip(40).find(|timed| timed.record.value.len() > 400).expect("a picture");
    let mut value = broken.record.value.to_vec();
    value.truncate(60);
    broken.record.value = value.into();
    let second = records(&recording("strong"), session_id("recorded", 1), RECORDED_AT, 20_000);
    set.feed(vec![timeline, second], Pace::Max);

    let first = set.replay(ALL);
    let count =
        |what: &str| first.tables.rows::<InferenceRow>().iter().filter(|row| row.what == what).count();
    assert!(
        count("speech") > 2 && count("greeting") > 2 && count("greeting_shadow") > 2,
        "models have spoken"
    );
    assert!(
        first.tables.rows::<FaceRow>().iter().filter(|row| row.present).count() > 500,
        "and have seen faces"
    );
    assert!(
        !first.tables.rows::<EncounterRow>().is_empty() && !first.tables.rows::<EvaluationRow>().is_empty()
    );
    assert!(
        first.tables.rows::<MetricsRow>().iter().any(|row| row.f0_mean_measure_hz.is_some()),
        "and a voice"
    );

    for workers in [1, 2] {
        let again =
            replay(&set, Settings { workers, ..ALL }, first.path(), Range::ALL.until).expect("a replay");
        assert_same(first.path(), again.path(), "by the models, and as recorded");
    }

    // Tables that end too early, and those of another log, are refused: no result is made up.
    let faces = first.tables.changes::<FaceRow>();
    let (middle, ..) = faces[faces.len() / 2];
    let half = replay(&set, ALL, first.path(), middle).expect("the first half");
    let why = replay(&set, ALL, half.path(), Range::ALL.until).map(drop).expect_err("refused").to_string();
    assert!(why.contains("end it with --until"), "{why}");
    let other = TopicSet::recorded("recorded-other", 2);
    let id = session_id("recorded-other", 0);
    other.feed(vec![records(&recording("short"), id, RECORDED_AT, 0)], Pace::Max);
    let why = replay(&other, ALL, first.path(), Range::ALL.until).map(drop).expect_err("refused");
    assert!(format!("{why:#}").contains("these tables are of another log"), "{why:#}");
}
