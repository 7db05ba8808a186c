//! What `/metrics` says of a running engine: instruments that its threads write, and levels that are read off when
//! somebody asks. The wall clock is used here, for these numbers are about the engine; none of them reaches a result.

mod families;
mod levels;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lsie_schemas::log::LogRecord;
use lsie_schemas::record::NoAnswer;
use lsie_schemas::row::{DeadLetterRow, FaceRow, InferenceRow, RecordClassRow, SegmentRow};
use lsie_schemas::{Cell, Change, LogTime, TableRow};
use prometheus::{Histogram, HistogramTimer, IntCounter, IntCounterVec, IntGauge};

pub use families::Described;
use families::Families;
use levels::Levels;
pub(crate) use levels::served;

/// Latencies of what takes milliseconds to a minute, s.
const LATENCIES: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];
/// How long after its end a segment closes, s: lateness is 2, a stall 10, the longest wait 60.
const DELAYS: [f64; 10] = [1.0, 2.0, 2.25, 2.5, 3.0, 5.0, 10.0, 15.0, 30.0, 60.0];
/// How many tasks a model gets at a time.
const BATCHES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// The instruments of one engine.
pub struct Metrics {
    families: Families,
    levels: Levels,
    epochs: IntCounter,
    completion: Histogram,
    commit: Histogram,
    segments: IntCounterVec,
    close_delay: Histogram,
    read: IntCounterVec,
    classified: IntCounterVec,
    dead: IntCounterVec,
    without_result: IntCounterVec,
    queue: prometheus::IntGaugeVec,
    batch: prometheus::HistogramVec,
    inference: prometheus::HistogramVec,
    checkpoint: Histogram,
    checkpoint_failures: IntCounter,
    checkpoint_bytes: IntGauge,
    checkpoint_at: prometheus::Gauge,
    /// Epochs that a live run has cut and not committed, and when that was.
    cut: Mutex<VecDeque<(LogTime, Instant)>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut of = Families::default();
        Metrics {
            levels: Levels::new(&mut of),
            epochs: of.counter("lsie_epochs_committed_total", "Epochs that every sink has committed."),
            completion: of.histogram(
                "lsie_epoch_completion_seconds",
                &LATENCIES,
                "From the cut of a live epoch until every sink has committed it.",
            ),
            commit: of.histogram(
                "lsie_commit_seconds",
                &LATENCIES,
                "How long all sinks together took for one epoch.",
            ),
            segments: of.counters(
                "lsie_segments_closed_total",
                &["closed_by"],
                "Closed segments by the rule that closed them.",
            ),
            close_delay: of.histogram(
                "lsie_segment_close_delay_seconds",
                &DELAYS,
                "From the end of a segment's window in event time to the log time at which it closed.",
            ),
            read: of.counters(
                "lsie_records_read_total",
                &["topic"],
                "Records that entered the dataflow with an epoch.",
            ),
            classified: of.counters(
                "lsie_records_classified_total",
                &["topic", "class"],
                "Records by what became of them: used, duplicate, late or filed. All classes together follow what was read.",
            ),
            dead: of.counters(
                "lsie_dead_letters_total",
                &["topic", "reason"],
                "Records that could not be used, by reason.",
            ),
            without_result: of.counters(
                "lsie_inferences_without_result_total",
                &["what", "reason"],
                "Inputs for which a model has no result, by what it was asked: it failed, was too late, or the sound is gone.",
            ),
            queue: of.levels(
                "lsie_inference_queue",
                &["model"],
                "Requests handed to a model's threads and not begun.",
            ),
            batch: of.histograms(
                "lsie_inference_batch_tasks",
                &["model"],
                &BATCHES,
                "Tasks in one request: frames and voices of an epoch, one sound, or greetings to judge.",
            ),
            inference: of.histograms(
                "lsie_inference_seconds",
                &["model"],
                &LATENCIES,
                "How long a model's thread worked on one request.",
            ),
            checkpoint: of.histogram(
                "lsie_checkpoint_seconds",
                &LATENCIES,
                "How long writing a checkpoint took.",
            ),
            checkpoint_failures: of
                .counter("lsie_checkpoint_failures_total", "Checkpoints that could not be written."),
            checkpoint_bytes: of.level("lsie_checkpoint_bytes", "Size of the newest checkpoint's state files."),
            checkpoint_at: of.gauge(
                "lsie_checkpoint_timestamp_seconds",
                "When the newest checkpoint of this process was written; 0 before the first.",
            ),
            cut: Mutex::default(),
            families: of,
        }
    }
}

impl Metrics {
    /// Every metric of the engine, those of the process itself left out.
    pub fn described(&self) -> &[Described] {
        &self.families.described
    }

    /// An epoch was cut.
    pub fn cut(&self, epoch: LogTime) {
        self.open().push_back((epoch, instant()));
    }

    /// Times the commit of an epoch that begins now.
    pub fn committing(&self) -> HistogramTimer {
        self.commit.start_timer()
    }

    /// Every sink holds an epoch.
    pub fn committed(&self, epoch: LogTime) {
        self.epochs.inc();
        let mut cut = self.open();
        while let Some((_, at)) = cut.front().filter(|(of, _)| *of <= epoch) {
            self.completion.observe(at.elapsed().as_secs_f64());
            cut.pop_front();
        }
    }

    /// Records entered the dataflow.
    pub fn read(&self, records: &[LogRecord]) {
        // In canonical order, so that those of one topic stand together.
        for of_topic in records.chunk_by(|one, other| one.at.topic == other.at.topic) {
            let Some(first) = of_topic.first() else { continue };
            self.read.with_label_values(&[first.at.topic.name()]).inc_by(of_topic.len() as u64);
        }
    }

    /// Counts what an epoch's changes say of segments, of dead letters, of models without a result, and of what became of
    /// records.
    pub fn count(&self, changes: &[Change]) {
        for change in changes {
            match &*change.table {
                name if name == SegmentRow::TABLE.name => self.closed(change),
                name if name == DeadLetterRow::TABLE.name && change.diff > 0 => {
                    let Some(row) = DeadLetterRow::from_cells(&change.row) else { continue };
                    self.dead.with_label_values(&[row.topic.as_str(), row.reason.as_str()]).inc();
                }
                name if name == InferenceRow::TABLE.name && change.diff > 0 => {
                    let Some(row) = InferenceRow::from_cells(&change.row) else { continue };
                    if let (None, Some(reason)) = (row.answer, row.reason) {
                        self.without_result.with_label_values(&[row.what.as_str(), reason.as_str()]).inc();
                    }
                }
                name if name == FaceRow::TABLE.name && change.diff > 0 => {
                    let failed = NoAnswer::ModelError.code();
                    if change.row.iter().any(|cell| matches!(cell, Cell::Text(reason) if reason == failed)) {
                        self.without_result.with_label_values(&["face", failed]).inc();
                    }
                }
                _ => {}
            }
        }
        self.classify(changes);
    }

    /// A row of this view is a sum: what an epoch adds to a class is the difference of what came and what went.
    fn classify(&self, changes: &[Change]) {
        let mut added = BTreeMap::<(String, String), i64>::new();
        for change in changes.iter().filter(|change| &*change.table == RecordClassRow::TABLE.name) {
            let Some(row) = RecordClassRow::from_cells(&change.row) else { continue };
            *added.entry((row.topic, row.class)).or_default() += row.records * change.diff;
        }
        for ((topic, class), records) in added {
            self.classified
                .with_label_values(&[topic.as_str(), class.as_str()])
                .inc_by(records.max(0) as u64);
        }
    }

    fn closed(&self, change: &Change) {
        let Some(row) = SegmentRow::from_cells(&change.row).filter(|_| change.diff > 0) else { return };
        self.segments.with_label_values(&[row.closed_by.as_str()]).inc();
        let delay_us = row.closed_at.0 - row.window_end_utc.0;
        self.close_delay.observe(delay_us.max(0) as f64 / 1e6);
    }

    /// What a model's threads are measured by.
    pub fn model(&self, name: &str) -> Meter {
        Meter {
            queue: self.queue.with_label_values(&[name]),
            batch: self.batch.with_label_values(&[name]),
            seconds: self.inference.with_label_values(&[name]),
        }
    }

    /// A checkpoint was tried: its size in bytes, if it was written.
    pub fn checkpoint(&self, began: Instant, bytes: Option<u64>) {
        let Some(bytes) = bytes else { return self.checkpoint_failures.inc() };
        self.checkpoint.observe(began.elapsed().as_secs_f64());
        self.checkpoint_bytes.set(bytes as i64);
        self.checkpoint_at.set(now_s());
    }

    fn open(&self) -> MutexGuard<'_, VecDeque<(LogTime, Instant)>> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The instruments of one model.
#[derive(Clone)]
pub struct Meter {
    queue: IntGauge,
    batch: Histogram,
    seconds: Histogram,
}

impl Meter {
    /// A request goes into the queue.
    pub fn asked(&self) {
        self.queue.inc();
    }

    /// Requests in the queue.
    pub fn waiting(&self) -> i64 {
        self.queue.get()
    }

    /// A request of so many tasks is begun; its time ends with what is returned.
    pub fn begun(&self, tasks: usize) -> HistogramTimer {
        self.queue.dec();
        self.batch.observe(tasks as f64);
        self.seconds.start_timer()
    }
}

/// Now, for measuring how long the engine takes.
#[allow(clippy::disallowed_methods, reason = "a metric is about the engine itself, and reaches no result")]
pub fn instant() -> Instant {
    Instant::now()
}

/// Now by the wall clock, s since 1970.
#[allow(clippy::disallowed_methods, reason = "a metric is about the engine itself, and reaches no result")]
fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lsie_schemas::{Cell, EventTime, Uuid};

    use super::*;

    fn file(name: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
    }

    /// Names of the engine's metrics in a text, without what histograms add to theirs.
    fn named(text: &str) -> impl Iterator<Item = &str> {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let plain = |word| ["_bucket", "_sum", "_count"].iter().find_map(|end| str::strip_suffix(word, end));
        words.filter(|word| word.starts_with("lsie_")).map(move |word| plain(word).unwrap_or(word))
    }

    #[test]
    fn the_page_lists_every_metric_and_no_other() {
        let metrics = Metrics::default();
        let row = |metric: &Described| {
            let labels = if metric.labels.is_empty() { "–".into() } else { metric.labels.join(", ") };
            format!("| `{}` | {} | {labels} | {} |", metric.name, metric.kind, metric.help)
        };
        let wanted: Vec<String> = metrics.described().iter().map(row).collect();
        let page = file("docs/METRICS.md");
        let found: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(found, wanted, "docs/METRICS.md wants\n{}", wanted.join("\n"));
    }

    #[test]
    fn alerts_and_dashboard_name_only_metrics_that_there_are() {
        let metrics = Metrics::default();
        for name in ["docker/metrics/alerts.yaml", "docker/metrics/grafana.json"] {
            let text = file(name);
            for used in named(&text) {
                assert!(metrics.described().iter().any(|metric| metric.name == used), "{name}: {used}");
            }
        }
    }

    #[test]
    fn what_became_of_records_is_the_difference_of_sums() {
        let row = |records| RecordClassRow {
            session: Uuid::nil().to_string(),
            topic: "av.video".into(),
            class: "used".into(),
            reason: String::new(),
            records,
        };
        let change = |row: Vec<Cell>, diff| Change {
            table: RecordClassRow::TABLE.name.into(),
            row,
            epoch: LogTime(1),
            diff,
        };
        let metrics = Metrics::default();
        metrics.count(&[change(row(10).cells(), 1)]);
        metrics.count(&[change(row(10).cells(), -1), change(row(25).cells(), 1)]);
        assert_eq!(metrics.classified.with_label_values(&["av.video", "used"]).get(), 25);
    }

    #[test]
    fn segments_are_counted_with_their_delay() {
        let row = SegmentRow {
            session_id: Uuid::nil(),
            ordinal: 1,
            segment_id: String::new(),
            window_start_utc: EventTime(0),
            window_end_utc: EventTime(30_000_000),
            closed_by: "stalled".into(),
            closed_at: EventTime(42_500_000),
            evidence_stream: None,
            evidence_offset: None,
            evidence_event_time: None,
            audio_samples: 0,
            audio_sha256: String::new(),
            video_frames: 0,
            face_frames: 0,
        };
        let metrics = Metrics::default();
        let change =
            Change { table: SegmentRow::TABLE.name.into(), row: row.cells(), epoch: LogTime(1), diff: 1 };
        metrics.count(&[change]);
        assert_eq!(metrics.segments.with_label_values(&["stalled"]).get(), 1);
        assert!((metrics.close_delay.get_sample_sum() - 12.5).abs() < 1e-9);
    }

    #[test]
    fn an_epoch_completes_once() {
        let metrics = Metrics::default();
        for at in [1, 2, 3] {
            metrics.cut(LogTime(at));
        }
        metrics.committed(LogTime(2));
        metrics.committed(LogTime(3));
        assert_eq!(metrics.completion.get_sample_count(), 3);
        assert_eq!(metrics.epochs.get(), 2);
    }
}
