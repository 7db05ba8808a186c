//! A backfill of the analytics alone: from an earlier run's facts and the log's epochs come the tables that the whole log
//! gave, with no media; and what is computed is computed, not copied.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsie_connectors::FileLog;
use lsie_connectors::feed::{Pace, feed, merge, session_id};
use lsie_dataflow::backfill::{Backfill, compared};
use lsie_dataflow::healing::rows;
use lsie_dataflow::{Range, Run};
use lsie_schemas::log::{AppendRecord, Log, NewRecord, TimestampType};
use lsie_schemas::record::{Erasure, ExperimentRecord, HEADER_ACTION, HEADER_ACTOR};
use lsie_schemas::row::{
    ActionRow, ArmRow, ArmSummaryRow, AttributionEventRow, AttributionScoreRow, EncounterRow,
    EncounterSummaryRow, EvaluationRow, EventOutcomeLinkRow, JudgementRow, LagScanRow, OutcomeEventRow,
    PhysiologyCurrentRow, PosteriorUpdateRow, ReactionRow, SessionRow, SessionSummaryRow,
};
use lsie_schemas::{Cell, Change, LogTime, TableRow, Topic, Uuid};
use lsie_sinks::erase::Erased;
use lsie_sinks::parquet::{Options, Reader};
use lsie_sinks::{Catalog, ParquetSink, Sink};
use lsie_tests::embedded;
use lsie_tests::harness::{Settings, assert_same, read_all, specs};
use lsie_tests::sessions::{RECORDED_AT, id_for_arm, recording, records};
use lsie_tests::telemetry::telemetry;
use tempfile::TempDir;

/// The arm of the greeting in the recording.
const GREETED: &str = "warm_welcome";
/// After so long outcomes are final: their horizon of a week has passed.
const LATER_MS: u64 = 8 * 24 * 3_600_000;

struct Case {
    dir: TempDir,
    /// The epochs of the log, and nothing else of it.
    log: FileLog,
    /// The tables that the whole log gave.
    facts: PathBuf,
}

impl Case {
    /// Two sessions with wearables, live events and outcomes, the second when the horizons of the first have closed; an arm that
    /// comes and goes, and one that is deleted when both have drawn.
    fn new() -> Case {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let log = embedded::open(&dir.path().join("log"));
        log.create_topics(&specs(2, TimestampType::Create)).expect("topics");
        let seed = ExperimentRecord::seed();
        let short = recording("short");
        let greeted = id_for_arm(&short, &seed, RECORDED_AT, true);
        let mut timelines = Vec::new();
        for (id, start_ms) in [(greeted, 0), (session_id("analytics", 1), LATER_MS)] {
            let mut timeline = records(&short, id, RECORDED_AT, start_ms);
            timeline.extend(telemetry(id, RECORDED_AT, start_ms));
            timeline.sort_by_key(|timed| timed.at_ms);
            timelines.push(timeline.into_iter());
        }
        let experiment_id = seed.experiment().to_owned();
        let (arm, greeting_text) = ("late".to_owned(), "Good evening".to_owned());
        let set = ExperimentRecord::SetArm {
            experiment_id: experiment_id.clone(),
            arm: arm.clone(),
            greeting_text,
        };
        let delete = |arm| ExperimentRecord::DeleteArm { experiment_id: experiment_id.clone(), arm };
        let administer = |at: LogTime, change: &ExperimentRecord| {
            let mut record = change.encode(Some(at));
            record.headers.push((HEADER_ACTOR.into(), "olga".into()));
            record.headers.push((HEADER_ACTION.into(), Uuid::from_u64_pair(1, at.0).to_string().into()));
            log.append(vec![record]).expect("a change of the experiment");
        };
        administer(LogTime(1), &seed);
        administer(RECORDED_AT, &set);
        feed(&log, merge(timelines), Pace::Max, |_| std::ops::ControlFlow::Continue(())).expect("a feed");
        administer(RECORDED_AT.plus_ms(LATER_MS), &delete(arm));
        administer(RECORDED_AT.plus_ms(LATER_MS + 10_000), &delete(GREETED.into()));

        let facts = dir.path().join("facts");
        let log: Arc<dyn Log> = Arc::new(log);
        let engine = Settings { meaning: true, ..Settings::WITH_MODELS }.engine(log.clone());
        let tables = sink(&facts, Catalog::all());
        engine.run(Run::Bounded(Range::ALL), vec![Box::new(tables)], Arc::default()).expect("a run");

        let gone = embedded::open(&dir.path().join("epochs"));
        let of_epochs =
            specs(2, TimestampType::Create).into_iter().filter(|spec| spec.topic == Topic::Epochs);
        gone.create_topics(&of_epochs.collect::<Vec<_>>()).expect("one topic");
        let records = read_all(&*log, &[Topic::Epochs]).into_iter().map(|record| NewRecord {
            topic: Topic::Epochs,
            key: record.key.unwrap_or_default(),
            value: record.value,
            headers: record.headers,
            timestamp: Some(record.log_time),
        });
        gone.append(records.collect()).expect("the epochs");
        Case { dir, log: gone, facts }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn compute(&self, facts: &Path, workers: usize, name: &str) -> anyhow::Result<PathBuf> {
        let tables = self.path(name);
        let sinks: Vec<Box<dyn Sink>> = vec![Box::new(sink(&tables, Catalog::all()))];
        Backfill::open(&self.log, facts)?.run(workers, sinks, &Arc::default())?;
        Ok(tables)
    }

    /// The facts with some changes as they are not, and without some.
    fn other(&self, name: &str, catalog: Catalog, keep: impl Fn(&mut Change) -> bool) -> PathBuf {
        let tables = self.path(name);
        let mut sink = sink(&tables, catalog.clone());
        let facts = Reader::open(&self.facts).expect("tables");
        for epoch in facts.epochs(&catalog, None) {
            let (at, mut changes) = epoch.expect("an epoch");
            changes.retain_mut(&keep);
            sink.write(at, &changes).expect("written");
            sink.commit(at).expect("committed");
        }
        sink.finish().expect("finished");
        tables
    }
}

fn sink(tables: &Path, catalog: Catalog) -> ParquetSink {
    ParquetSink::open(tables, catalog, Options::default()).expect("a folder")
}

fn all<R: TableRow>(tables: &Path) -> Vec<R> {
    rows(&Reader::open(tables).expect("tables")).expect("rows")
}

fn has<R: TableRow>(tables: &Path) {
    assert!(!all::<R>(tables).is_empty(), "{} has rows", R::TABLE.name);
}

#[test]
fn facts_and_epochs_are_enough_for_the_analytics() {
    let case = Case::new();
    let facts = &case.facts;
    has::<ReactionRow>(facts);
    has::<JudgementRow>(facts);
    has::<LagScanRow>(facts);
    has::<ArmSummaryRow>(facts);
    has::<AttributionScoreRow>(facts);
    has::<EncounterSummaryRow>(facts);
    has::<EvaluationRow>(facts);
    has::<EventOutcomeLinkRow>(facts);
    has::<PhysiologyCurrentRow>(facts);
    has::<PosteriorUpdateRow>(facts);
    assert!(all::<SessionSummaryRow>(facts).iter().any(|row| row.calibration_frames_accumulated > 0));
    assert!(all::<OutcomeEventRow>(facts).iter().any(|row| row.finality == "offline_final"));
    assert!(all::<AttributionEventRow>(facts).iter().any(|row| row.finality == "offline_final"));
    let rewarded = all::<EncounterRow>(facts).iter().filter(|row| row.gated_reward.0 > 0.0).count();
    assert!(rewarded > 0, "somebody smiled at a greeting");

    for workers in [1, 2] {
        let again = case.compute(facts, workers, &format!("by-{workers}")).expect("the analytics");
        assert_same(facts, &again, "of the whole log, and of the facts");
        assert_eq!(compared(facts, &again).expect("two folders"), Default::default());
    }

    computed_not_copied(&case);
    refused(&case);
    erased_before(&case);
    erased(&case);
}

/// With another judgement there are other rewards and posteriors; what no fact says is not copied from anywhere.
fn computed_not_copied(case: &Case) {
    let matches =
        JudgementRow::TABLE.columns.iter().position(|column| column.name == "is_match").expect("a column");
    let other = case.other("judged-otherwise", Catalog::all(), |change| {
        if change.table == JudgementRow::TABLE.name {
            change.row[matches] = Cell::Bool(false);
        }
        true
    });
    let tables = case.compute(&other, 1, "otherwise").expect("the analytics");
    let encounters = all::<EncounterRow>(&tables);
    assert_eq!(encounters.len(), all::<EncounterRow>(&case.facts).len());
    assert!(encounters.iter().all(|row| row.gated_reward.0 == 0.0 && row.semantic_gate == 0));
    let alpha = |tables: &Path| -> f64 { all::<ArmRow>(tables).iter().map(|row| row.alpha_param.0).sum() };
    assert!(alpha(&tables) < alpha(&case.facts), "no arm has earned anything");
    let differ = compared(&case.facts, &tables).expect("two folders");
    let differ: Vec<&str> = differ.keys().map(String::as_str).collect();
    for table in ["encounter_log", "evaluations", "experiments", "posterior_history", "session_summaries"] {
        assert!(differ.contains(&table), "{table} among {differ:?}");
    }
    for table in ["reactions", "metrics", "segments", "faces", "physiology_log"] {
        assert!(!differ.contains(&table), "{table} among {differ:?}");
    }

    // Tables that say nothing but facts give the same.
    let views = [
        "arm_summaries",
        "attribution_event",
        "attribution_score",
        "encounter_log",
        "encounter_summaries",
        "evaluations",
        "event_outcome_link",
        "physiology_current",
        "posterior_history",
    ];
    let bare = case.other("facts-alone", Catalog::all().without(&views), |_| true);
    let again = case.compute(&bare, 1, "of-facts-alone").expect("the analytics");
    assert_same(&case.facts, &again, "of the whole log, and of facts alone");
}

/// Tables of which facts are missing, and those of another log.
fn refused(case: &Case) {
    let without = case.other("without", Catalog::all().without(&["reactions"]), |_| true);
    let why = Backfill::open(&case.log, &without).expect_err("refused").to_string();
    assert!(why.contains("has no table reactions"), "{why}");
    // A version that keeps them has gone on with the tables of one that did not.
    let first = Reader::open(&case.facts).expect("tables").changes(&JudgementRow::TABLE).next();
    let first = first.expect("a judgement").expect("a row").epoch;
    for table in ["reactions", "judgements", "lag_scans"] {
        let later = case.other(&format!("later-{table}"), Catalog::all(), |change| {
            change.table != table || change.epoch > first
        });
        let why = Backfill::open(&case.log, &later).expect_err("refused").to_string();
        assert!(why.contains("did not keep all facts"), "{why}");
    }

    let log = embedded::open(&case.path("other-epochs"));
    let of_epochs = specs(2, TimestampType::Create).into_iter().filter(|spec| spec.topic == Topic::Epochs);
    log.create_topics(&of_epochs.collect::<Vec<_>>()).expect("one topic");
    let why = Backfill::open(&log, &case.facts).expect_err("refused").to_string();
    assert!(why.contains("of another log"), "{why}");
}

/// Where all facts of an arm are erased, it is there only if it was not deleted.
fn erased_before(case: &Case) {
    let encounters = all::<EncounterRow>(&case.facts).into_iter().filter(|row| row.arm == GREETED);
    let gone: BTreeSet<Uuid> = encounters.map(|row| row.session_id).collect();
    assert!(!gone.is_empty(), "a session drew it");
    let facts = case.other("erased-facts", Catalog::all(), |_| true);
    let mut erased = Erased::default();
    gone.into_iter().for_each(|session| erased.add(session, []));
    sink(&facts, Catalog::all()).erase(&erased).expect("erased");

    let tables = case.compute(&facts, 2, "without-the-arm").expect("the analytics");
    let arms = |tables: &Path| all::<ArmRow>(tables).into_iter().map(|row| row.arm).collect::<Vec<_>>();
    let mut left = arms(&facts);
    assert!(left.contains(&GREETED.into()), "the engine keeps what was learned");
    left.retain(|arm| arm != GREETED);
    assert_eq!(arms(&tables), left);

    // One that was disabled stays, with the prior.
    let action =
        ActionRow::TABLE.columns.iter().position(|column| column.name == "action").expect("a column");
    let disabled = case.other("disabled", Catalog::all(), |change| {
        if change.table == ActionRow::TABLE.name && change.row[action] == Cell::Text("delete_arm".into()) {
            change.row[action] = Cell::Text("disable_arm".into());
        }
        true
    });
    sink(&disabled, Catalog::all()).erase(&erased).expect("erased");
    let tables = case.compute(&disabled, 1, "with-the-arm").expect("the analytics");
    let row = all::<ArmRow>(&tables).into_iter().find(|row| row.arm == GREETED).expect("the arm");
    assert_eq!((row.alpha_param.0, row.beta_param.0, row.enabled), (1.0, 1.0, false));
}

/// Facts that were copied before a session was erased bring nothing of it back.
fn erased(case: &Case) {
    let sessions = all::<SessionRow>(&case.facts);
    let gone = sessions.first().expect("a session").session_id;
    let erasure = Erasure { session_id: gone, events: Vec::new() };
    case.log.append(vec![erasure.encode(RECORDED_AT)]).expect("an erasure");
    let tables = case.compute(&case.facts, 2, "erased").expect("the analytics");
    assert_eq!(all::<SessionSummaryRow>(&tables).len(), sessions.len() - 1);
    assert!(all::<ReactionRow>(&tables).iter().all(|row| row.session_id != gone));
    assert!(all::<AttributionEventRow>(&tables).iter().all(|row| row.session_id != gone));
    assert_eq!(all::<ArmRow>(&tables), all::<ArmRow>(&case.facts), "posteriors stay");
    assert_eq!(all::<SessionRow>(&tables).len(), sessions.len(), "and that there was a session");
}
