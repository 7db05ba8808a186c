//! The traceability walk (`behaviour.md` §8): every variable that is stored has one column, is filled by a run
//! that has everything, and comes from one place in the source.

use std::collections::BTreeSet;
use std::path::Path;

use lsie_connectors::feed::Pace;
use lsie_schemas::record::ExperimentRecord;
use lsie_schemas::{Cell, row};
use lsie_tests::harness::{Settings, TopicSet};
use lsie_tests::sessions::{RECORDED_AT, id_for_arm, recording, records};
use lsie_tests::telemetry::telemetry;

/// Table, the type of its rows, and the columns that hold variables of the matrix.
const STORED: [(&str, &str, &[&str]); 11] = [
    ("events", "EventRow", &["is_combo"]),
    (
        "metrics",
        "MetricsRow",
        &[
            "au12_intensity",
            "pitch_f0",
            "jitter",
            "shimmer",
            "f0_valid_measure",
            "f0_valid_baseline",
            "perturbation_valid_measure",
            "perturbation_valid_baseline",
            "voiced_coverage_measure_s",
            "voiced_coverage_baseline_s",
            "f0_mean_measure_hz",
            "f0_mean_baseline_hz",
            "f0_delta_semitones",
            "jitter_mean_measure",
            "jitter_mean_baseline",
            "jitter_delta",
            "shimmer_mean_measure",
            "shimmer_mean_baseline",
            "shimmer_delta",
        ],
    ),
    ("transcripts", "TranscriptRow", &["text", "segment_id"]),
    ("evaluations", "EvaluationRow", &["is_match", "confidence", "reasoning"]),
    ("experiments", "ArmRow", &["evaluation_variance"]),
    (
        "encounter_log",
        "EncounterRow",
        &["gated_reward", "p90_intensity", "semantic_gate", "n_frames", "baseline_neutral", "stimulus_time"],
    ),
    (
        "physiology_log",
        "PhysiologyRow",
        &[
            "rmssd_ms",
            "heart_rate_bpm",
            "validity_ratio",
            "is_valid",
            "source_kind",
            "derivation_method",
            "window_s",
            "freshness_s",
            "is_stale",
        ],
    ),
    ("comodulation_log", "ComodulationRow", &["co_modulation_index", "coverage_ratio"]),
    (
        "attribution_event",
        "AttributionEventRow",
        &["bandit_decision_snapshot", "semantic_p_match", "semantic_reason_code", "finality"],
    ),
    ("attribution_score", "AttributionScoreRow", &["score_raw"]),
    ("event_outcome_link", "EventOutcomeLinkRow", &["lag_s"]),
];

/// The scores of the matrix, rows of `attribution_score`.
const SCORES: [&str; 6] = [
    "soft_reward_candidate",
    "au12_lift_p90",
    "au12_lift_peak",
    "au12_peak_latency_ms",
    "sync_peak_corr",
    "sync_peak_lag",
];

/// Stored, but null in the session of this test: it is too short for four paired minutes, and nobody speaks before
/// a stimulus.
const MAY_BE_NULL: [&str; 7] = [
    "co_modulation_index",
    "f0_mean_baseline_hz",
    "f0_delta_semitones",
    "jitter_mean_baseline",
    "jitter_delta",
    "shimmer_mean_baseline",
    "shimmer_delta",
];

/// Variables that live for the length of a computation: no column may carry their names.
const TRANSIENT: [&str; 6] = ["pcm", "audio_data", "frame_data", "landmarks", "payload", "utc_drift_offset"];

#[test]
fn every_stored_variable_has_a_column_that_a_run_fills() {
    let demo = recording("demo");
    let id = id_for_arm(&demo, &ExperimentRecord::seed(), RECORDED_AT, true);
    let set = TopicSet::recorded("traceability", 2);
    let mut timeline = records(&demo, id, RECORDED_AT, 0);
    timeline.extend(telemetry(id, RECORDED_AT, 0));
    timeline.sort_by_key(|timed| timed.at_ms);
    set.feed(vec![timeline], Pace::Max);
    let state = set.replay(Settings::WITH_MODELS).tables.state();
    for (name, _, columns) in STORED {
        let table = row::table(name).unwrap_or_else(|| panic!("no table {name}"));
        let rows = state.get(name).unwrap_or_else(|| panic!("{name} has no row"));
        for column in columns {
            let at = table.position(column).unwrap_or_else(|| panic!("{name} has no column {column}"));
            let filled = rows.keys().any(|row| row[at] != Cell::Null);
            assert!(filled || MAY_BE_NULL.contains(column), "{name}.{column} is null in every row");
        }
    }
    let scores = row::table("attribution_score").expect("a table");
    let method = scores.position("attribution_method").expect("a column");
    let known: BTreeSet<&Cell> = state["attribution_score"].keys().map(|row| &row[method]).collect();
    for score in SCORES {
        assert!(known.contains(&Cell::Text(score.into())), "no score {score}");
    }
}

#[test]
fn transient_variables_have_no_column() {
    for table in row::tables() {
        for column in table.columns {
            assert!(!TRANSIENT.contains(&column.name), "{}.{}", table.name, column.name);
        }
    }
}

/// A row of a stored table is made in one module of the operators or in one file of the graph, and nowhere else.
#[test]
fn every_stored_variable_has_one_producer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut sources = Vec::new();
    for folder in ["operators/src", "dataflow/src"] {
        collect(&root.join(folder), None, &mut sources);
    }
    for (table, row, _) in STORED {
        let made = sources.iter().filter(|(_, text)| makes(text, row));
        let makers: BTreeSet<&str> = made.map(|(module, _)| module.as_str()).collect();
        assert_eq!(makers.len(), 1, "{table}: {row} is made in {makers:?}");
    }
}

/// Whether a text has an expression that makes this struct: no signature, no pattern, no declaration.
fn makes(text: &str, row: &str) -> bool {
    let literal = format!("{row} {{");
    text.match_indices(&literal).any(|(at, _)| {
        let before = text[..at].trim_end();
        let part_of_a_name = text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        !part_of_a_name && !["->", "let", "struct", "impl", "for"].iter().any(|word| before.ends_with(word))
    })
}

/// The sources of a folder without their tests, each under its module: of operators that directly below `src`.
fn collect(folder: &Path, module: Option<&str>, sources: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let own = name.trim_end_matches(".rs");
        // The views are a file each.
        let module = module.filter(|module| *module != "view").unwrap_or(own);
        if path.is_dir() && name != "tests" {
            collect(&path, Some(module), sources);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let text = std::fs::read_to_string(&path).expect("a source");
            let text = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            sources.push((module.to_owned(), text));
        }
    }
}
