//! Dead letters that heal: after the fix the tables are those of a run in which the records had never failed, with
//! the selections as they were made; whoever computes them again gets the same.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lsie_connectors::FileLog;
use lsie_connectors::feed::{Pace, feed, merge, session_id};
use lsie_dataflow::backfill::Backfill;
use lsie_dataflow::checkpoint::gate::Rule;
use lsie_dataflow::checkpoint::store::Store;
use lsie_dataflow::engine::Checkpoints;
use lsie_dataflow::healing::{self, Heal, Healed, Selections, Target};
use lsie_dataflow::{Engine, Range, Run};
use lsie_operators::align::Limits;
use lsie_schemas::log::{AppendRecord, Log, TimestampType};
use lsie_schemas::record::ExperimentRecord;
use lsie_schemas::row::{DeadLetterRow, DecisionRow, EncounterRow, RecordClassRow};
use lsie_schemas::{LogTime, TableRow, Topic};
use lsie_sinks::parquet::{Options, Reader};
use lsie_sinks::verify::compare;
use lsie_sinks::{Catalog, ParquetSink};
use lsie_tests::embedded;
use lsie_tests::harness::{Settings, assert_same, specs};
use lsie_tests::sessions::{RECORDED_AT, id_for_arm, recording, records};
use lsie_tests::telemetry::telemetry;
use tempfile::TempDir;

/// The guard of the settings under which records fail, and by how much these are ahead of it.
const TIGHT_MS: u64 = 1_000;
const AHEAD_MS: u64 = 3_000;

/// Two sessions in an embedded log, the second of which draws its arm after the reward of the first. The sound of
/// the first, greeting included, claims to be ahead of the log.
struct Case {
    log: Arc<FileLog>,
    dir: TempDir,
}

impl Case {
    fn new() -> Case {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let log = embedded::open(&dir.path().join("log"));
        log.create_topics(&specs(2, TimestampType::Create)).expect("topics");
        log.append(vec![ExperimentRecord::seed().encode(Some(LogTime(1)))]).expect("an experiment");
        let short = recording("short");
        let first = id_for_arm(&short, &ExperimentRecord::seed(), RECORDED_AT, true);
        let mut timelines = Vec::new();
        for (id, start_ms) in [(first, 0), (session_id("after-rewards", 1), 60_000)] {
            let mut timeline = records(&short, id, RECORDED_AT, start_ms);
            timeline.extend(telemetry(id, RECORDED_AT, start_ms));
            timeline.sort_by_key(|timed| timed.at_ms);
            if id == first {
                for timed in timeline
                    .iter_mut()
                    .filter(|timed| timed.record.topic == Topic::AvAudio && timed.at_ms > 5_000)
                {
                    let logged = timed.record.timestamp.expect("a recorded time");
                    timed.record.timestamp = Some(LogTime(logged.0 - AHEAD_MS));
                }
            }
            timelines.push(timeline.into_iter());
        }
        feed(&log, merge(timelines), Pace::Max, |_| std::ops::ControlFlow::Continue(())).expect("a feed");
        // Between the sessions there is an epoch at which the first one's reward enters.
        log.append(vec![ExperimentRecord::seed().encode(Some(RECORDED_AT.plus_ms(50_000)))])
            .expect("a repetition");
        Case { log: Arc::new(log), dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn engine(&self, limits: Limits, store: Option<Store>) -> Engine {
        let rule = Rule { interval_ms: 10_000, bytes: u64::MAX };
        let config = format!("{limits:?}");
        let crashes = self.path("crashes");
        let checkpoints = store.map(|store| Checkpoints { store, rule, keep: 2, config, crashes });
        Engine { limits, checkpoints, ..Settings::WITH_MODELS.engine(self.log.clone()) }
    }

    fn run(&self, engine: Engine, name: &str) -> anyhow::Result<PathBuf> {
        let tables = self.path(name);
        engine.run(Run::Bounded(Range::ALL), vec![Box::new(sink(&tables))], Arc::default())?;
        Ok(tables)
    }

    /// Heals tables, whose checkpoints lie beside them.
    fn heal(&self, tables: &Path, dry_run: bool) -> Option<Healed> {
        let checkpoints = store_of(tables);
        let target = Target { tables, checkpoints: Some(&checkpoints), epoch_ms: 250, dry_run };
        healing::heal(&*self.log, target, &mut sink(tables), |heal, tables, state| {
            let engine = Engine { heal: Some(heal), ..self.engine(Limits::default(), state) };
            engine.run(Run::Bounded(Range::ALL), vec![Box::new(sink(tables))], Arc::default())
        })
        .expect("it heals")
    }
}

fn sink(tables: &Path) -> ParquetSink {
    ParquetSink::open(tables, Catalog::all(), Options::default()).expect("a folder")
}

fn state_of(tables: &Path) -> PathBuf {
    tables.with_extension("checkpoints")
}

fn store_of(tables: &Path) -> Store {
    Store::in_folder(&state_of(tables)).expect("a folder")
}

fn rows<R: TableRow>(tables: &Path) -> Vec<R> {
    healing::rows(&Reader::open(tables).expect("tables")).expect("rows")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).expect("a copy")),
        }
    }
}

/// The state hashes of all tables are equal, whatever the history.
fn assert_same_state(left: &Path, right: &Path, what: &str) {
    let comparison = compare(left, right, &Catalog::all()).expect("two result folders");
    let of_state = comparison.differences.iter().filter(|difference| difference.of != "history");
    let of_state: Vec<String> = of_state.map(ToString::to_string).collect();
    assert!(of_state.is_empty(), "{what}:\n{}", of_state.join("\n"));
    assert_eq!(comparison.left.state(), comparison.right.state(), "{what}");
    assert_eq!(comparison.left.violations().count(), 0, "{what}");
}

#[test]
fn healed_tables_are_those_of_a_run_in_which_nothing_had_failed() {
    let case = Case::new();
    let tight = Limits { future_guard_ms: TIGHT_MS, ..Limits::default() };
    let tables = case.path("tables");
    case.run(case.engine(tight, Some(store_of(&tables))), "tables").expect("a run");
    let place = |letter: &DeadLetterRow| (letter.topic.clone(), letter.partition, letter.record_offset);
    let letters = rows::<DeadLetterRow>(&tables);
    let future: BTreeSet<_> = letters.iter().filter(|letter| letter.reason == "future").map(place).collect();
    assert!(
        future.iter().filter(|(topic, ..)| topic == "av.audio").count() > 50,
        "the sound failed: {letters:?}"
    );
    let made = rows::<DecisionRow>(&tables);
    assert_eq!(made.len(), 2);
    let (broken, untouched) = (case.path("broken"), case.path("untouched"));
    copy(&tables, &broken);
    copy(&state_of(&tables), &state_of(&broken));
    copy(&case.path("log"), &untouched);

    // A run in which nothing had failed: with selections of its own, and with those that were made.
    let never =
        Case { log: Arc::new(embedded::open(&untouched)), dir: tempfile::tempdir().expect("a folder") };
    let free = never.run(never.engine(Limits::default(), None), "free").expect("a run");
    assert_ne!(rows::<DecisionRow>(&free), made, "else there would be no selection to keep");

    let would = case.heal(&tables, true).expect("something to heal");
    assert_same(&tables, &broken, "a dry run changes nothing");
    let healed = case.heal(&tables, false).expect("something to heal");
    assert_eq!(would.rows, healed.rows);
    // What is past the end of its session is late now, and no letter of the future.
    let remaining = rows::<DeadLetterRow>(&tables);
    let still = remaining.iter().filter(|letter| future.contains(&place(letter))).count();
    assert_eq!(healed.healed.len() + still, future.len());
    assert!(healed.healed.len() > 50 && healed.new.is_empty(), "{healed:?}");
    assert_eq!((healed.remaining, healed.selections), (remaining.len() as u64, 1));

    let kept = Heal { at: healed.at, selections: Arc::new(Selections::new(made.clone())) };
    let engine = Engine { heal: Some(kept), ..never.engine(Limits::default(), None) };
    let as_if = never.run(engine, "as-if").expect("a run");
    assert_same_state(&as_if, &tables, "nothing had failed (left), and healed (right)");
    assert_eq!(rows::<DecisionRow>(&tables), made, "selections are facts");
    assert!(rows::<RecordClassRow>(&tables).iter().all(|row| row.reason != "future"));
    let reward =
        |tables: &Path| rows::<EncounterRow>(tables).iter().map(|row| row.gated_reward.0).sum::<f64>();
    assert!(reward(&tables) > reward(&broken), "the greeting is heard and rewarded now");

    // The log alone is enough to compute them again.
    let again = case.run(case.engine(Limits::default(), None), "again").expect("a replay");
    assert_same_state(&again, &tables, "replayed from the log (left), and healed (right)");
    // The tables of that say when every fact was known; healed ones do not, and no analytics are made of them.
    Backfill::open(&*case.log, &again).expect("facts");
    let why = Backfill::open(&*case.log, &tables).expect_err("refused").to_string();
    assert!(why.contains("was healed"), "{why}");
    // The engine goes on from the healed checkpoint, and a second healing finds nothing.
    let engine = case.engine(Limits::default(), Some(store_of(&tables)));
    case.run(engine, "tables").expect("the engine goes on");
    assert_same_state(&again, &tables, "and goes on from there");
    assert!(case.heal(&tables, false).is_none(), "nothing is left to heal");

    // A crash when the log knew, and the tables did not: no run goes on from before; healing again finishes it.
    let engine = case.engine(tight, Some(store_of(&broken)));
    let why = case.run(engine, "broken").expect_err("refused").to_string();
    assert!(why.contains("healed") && why.contains("lsie dead-letters heal"), "{why}");
    let finished = case.heal(&broken, false).expect("it is finished");
    assert_eq!(finished.at, healed.at);
    assert_same(&tables, &broken, "healed at once, and after a crash");
    // A crash before the new checkpoint took the old one's place.
    std::fs::remove_dir_all(state_of(&broken)).expect("its checkpoints");
    let why =
        case.run(case.engine(Limits::default(), Some(store_of(&broken))), "broken").expect_err("refused");
    assert!(why.to_string().contains("healed"), "{why}");
    case.heal(&broken, false).expect("it is finished");
    case.run(case.engine(Limits::default(), Some(store_of(&broken))), "broken").expect("the engine goes on");
    assert_same(&tables, &broken, "healed at once, and after two crashes");
}
