//! The readable end of a demo: segments, what was heard, encounters, rewards and posteriors.

use lsie_schemas::row::{
    ArmRow, EncounterRow, EvaluationRow, RecordClassRow, SegmentRow, SessionRow, TranscriptRow,
};
use lsie_schemas::{EventTime, TableRow};
use lsie_sinks::Views;
use uuid::Uuid;

/// Prints what the views hold.
pub(super) fn print(views: &Views) {
    println!("\nsessions");
    for row in rows::<SessionRow>(views) {
        let arm = row.active_arm.unwrap_or_else(|| "none".into());
        let ended = row.ended_at.map_or_else(|| "running".into(), |at| at.canonical());
        println!("  {}  arm {arm}  {} to {ended}", row.session_id, row.started_at.canonical());
    }
    println!(
        "\n{:8} {:>7}  {:44}  {:9} {:>7} {:>6} {:>8}",
        "segments", "ordinal", "window", "closed by", "frames", "faces", "audio s"
    );
    for row in rows::<SegmentRow>(views) {
        println!(
            "{} {:>7}  {:20} .. {:20}  {:9} {:>7} {:>6} {:>8.1}",
            short(&row.session_id.to_string()),
            row.ordinal,
            row.window_start_utc.canonical(),
            row.window_end_utc.canonical(),
            row.closed_by,
            row.video_frames,
            row.face_frames,
            row.audio_samples as f64 / 16e3
        );
    }
    println!("\n{:10} {:>20}  text", "heard", "in the segment until");
    for row in by_time(views, |row: &TranscriptRow| (row.session_id, row.timestamp_utc)) {
        let session = row.session_id.to_string();
        println!("{:10} {:>20}  {}", short(&session), row.timestamp_utc.canonical(), row.text);
    }
    println!("\n{:10} {:>20}  {:24} confidence  by", "judged", "in the segment until", "reason");
    for row in by_time(views, |row: &EvaluationRow| (row.session_id, row.timestamp_utc)) {
        let session = row.session_id.to_string();
        println!(
            "{:10} {:>20}  {:24} {:>10.3}  {}",
            short(&session),
            row.timestamp_utc.canonical(),
            row.reasoning.unwrap_or_default(),
            row.confidence.map_or(0.0, |confidence| confidence.0),
            row.semantic_method_version.unwrap_or_default()
        );
    }
    println!(
        "\n{:10} {:>15}  {:20} {:>6} {:>5} {:>7} {:>7} {:>9}",
        "encounters", "stimulus time", "arm", "P90", "gate", "reward", "frames", "baseline"
    );
    for row in rows::<EncounterRow>(views) {
        println!(
            "{:10} {:>15.3}  {:20} {:>6.3} {:>5} {:>7.3} {:>7} {:>9}",
            short(&row.session_id.to_string()),
            row.stimulus_time.map_or(0.0, |t| t.0),
            row.arm,
            row.p90_intensity.0,
            row.semantic_gate,
            row.gated_reward.0,
            row.n_frames,
            row.baseline_neutral.map_or_else(|| "-".into(), |b| format!("{:.3}", b.0)),
        );
    }
    println!("\n{:20} {:20} {:>7} {:>7} {:>6}", "posteriors", "arm", "alpha", "beta", "mean");
    for row in rows::<ArmRow>(views) {
        let (alpha, beta) = (row.alpha_param.0, row.beta_param.0);
        let mean = alpha / (alpha + beta);
        println!("{:20} {:20} {alpha:>7.3} {beta:>7.3} {mean:>6.3}", row.experiment_id, row.arm);
    }
    println!("\n{:12} {:12} {:9} {:>7}  reason", "records", "topic", "class", "count");
    for row in rows::<RecordClassRow>(views) {
        let session = if row.session.len() > 12 { short(&row.session) } else { &row.session };
        println!("{session:12} {:12} {:9} {:>7}  {}", row.topic, row.class, row.records, row.reason);
    }
}

fn rows<R: TableRow>(views: &Views) -> Vec<R> {
    let Some(at) = views.catalog().position(R::TABLE.name) else { return Vec::new() };
    let state = views.read();
    let entries = state.table(at).into_iter().flat_map(|table| table.entries());
    entries.filter_map(|entry| R::from_cells(&entry.row)).collect()
}

fn by_time<R: TableRow>(views: &Views, time: impl Fn(&R) -> (Uuid, EventTime)) -> Vec<R> {
    let mut rows = rows::<R>(views);
    rows.sort_by_key(time);
    rows
}

fn short(text: &str) -> &str {
    text.get(..8).unwrap_or(text)
}
