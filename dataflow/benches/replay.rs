//! Replay of telemetry and recorded inference on one and on two workers, as a multiple of real time: wearables, live events,
//! outcomes, stimuli and a face in every picture of many sessions in the embedded log. Each session has one moment of sound,
//! which fixes its anchor. No model runs: what faces there are comes from the tables of a first run.
//!
//! `cargo bench --locked --workspace --bench replay`; `LSIE_BENCH_SESSIONS`, `LSIE_BENCH_MINUTES` and `LSIE_BENCH_FPS`
//! (pictures a second of each session; 0: no video) set how much.
#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::watched::{Eye, Watched};
use common::{Meter, Threads};
use lsie_connectors::FileLog;
use lsie_connectors::feed::session_id;
use lsie_connectors::file_log::FileLogOptions;
use lsie_dataflow::ingest::Shared;
use lsie_dataflow::pool::{Measurer, MeasurerFactory, Outcome, Task};
use lsie_dataflow::recorded::{Inferring, Recorded};
use lsie_dataflow::{Engine, Range, Run};
use lsie_operators::align::FrameJob;
use lsie_operators::speech::{Heard, SpeechError, Transcriber};
use lsie_schemas::log::{Log, NewRecord, TimestampType};
use lsie_schemas::record::{
    AudioChunk, ChunkPayload, Control, DerivationMethod, EndSession, LiveEvent, Outcome as Followed,
    PhysioRecord, PhysiologicalChunk, Provider, SourceKind, Stimulus, Stream, SubjectRole, VideoUnit,
};
use lsie_schemas::row::FaceRow;
use lsie_schemas::table::Json;
use lsie_schemas::{Change, LogTime, Real};
use lsie_sinks::parquet::Options;
use lsie_sinks::{Catalog, ParquetSink, Sink};
use uuid::Uuid;

const PARTITIONS: i32 = 8;
/// When the made sessions began: 2026-01-05T10:00:00Z.
const BASE: LogTime = LogTime(1_767_607_200_000);
/// Between records of a session, ms.
const EVENTS_MS: u64 = 500;
const CHUNKS_MS: u64 = 5_000;
const POLLS_MS: u64 = 10_000;
const OUTCOMES_MS: u64 = 30_000;
const STIMULI_MS: u64 = 60_000;
/// Milliseconds of one append.
const BATCH_MS: u64 = 1_000;
/// Bytes of a coded picture.
const UNIT_BYTES: usize = 1_000;
/// Times that each number of workers is measured, in turn; the best counts.
const ROUNDS: usize = 2;
/// Operators that are shown.
const OPERATORS: usize = 12;

fn main() {
    common::print_machine();
    let (sessions, minutes, fps) = (
        common::setting("LSIE_BENCH_SESSIONS", 50),
        common::setting("LSIE_BENCH_MINUTES", 10),
        common::setting("LSIE_BENCH_FPS", 30),
    );
    let dir = tempfile::tempdir().expect("a temporary folder");
    let log: Arc<dyn Log> =
        Arc::new(FileLog::open(dir.path().join("log"), FileLogOptions::default()).expect("an embedded log"));
    common::create_topics(&*log, PARTITIONS, TimestampType::Create, BASE);
    let records = produce(&*log, sessions, minutes * 60_000, fps);
    println!("{records} records of {sessions} sessions, {minutes} minutes each, {fps} pictures a second");
    // The first run makes the epoch table, and has the models.
    let tables = dir.path().join("tables");
    let parquet = ParquetSink::open(&tables, Catalog::all(), Options::default()).expect("tables");
    replay(&log, 1, Inferring::AsLogged, Box::new(parquet));
    let recorded = Arc::new(Recorded::read(&tables).expect("what was recorded"));
    let mut best = [f64::INFINITY; 2];
    for _ in 0..ROUNDS {
        for workers in [1, 2] {
            let rows = Arc::<AtomicU64>::default();
            let (threads, meter) = (Threads::start(), Meter::start(None));
            let sink = Box::new(Watched::alone(Count(rows.clone())));
            replay(&log, workers, Inferring::Recorded(recorded.clone()), sink);
            let (used, threads) = (meter.used(), threads.stop());
            best[workers - 1] = best[workers - 1].min(used.wall);
            println!(
                "{workers} workers: {:.2} s, {:.0} times real time, {:.0} records/s, {} rows; cores kept busy: {:.2}, others {:.2}",
                used.wall,
                minutes as f64 * 60.0 / used.wall,
                records as f64 / used.wall,
                rows.load(Ordering::SeqCst),
                used.own / used.wall,
                used.other_cores()
            );
            common::print_threads(&threads);
        }
    }
    println!(
        "best of {ROUNDS}: {:.0} times real time on one worker (bar: 100), two workers {:.2} times as fast (bar: 1.6)",
        minutes as f64 * 60.0 / best[0],
        best[0] / best[1]
    );
}

/// A run over everything.
fn replay(log: &Arc<dyn Log>, workers: usize, inferring: Inferring, sink: Box<dyn Sink>) {
    let engine = Engine {
        workers,
        transcriber: Arc::new(|_| Ok(Box::new(Silence))),
        inferring,
        ..common::engine(log.clone(), smiling(), 60_000)
    };
    let shared = Arc::new(Shared::default());
    engine.run(Run::Bounded(Range::ALL), vec![sink], shared.clone()).expect("a run");
    print_operators(&shared);
}

/// Sees a face in every picture.
fn smiling() -> MeasurerFactory {
    let face = |job: &FrameJob| FaceRow {
        session_id: job.session,
        seq: job.seq as i64,
        capture_utc: job.capture,
        ratio: Real::finite(0.5 + (job.seq % 90) as f64 / 1_000.0),
        present: true,
        reason: None,
        model: "no model at all".into(),
    };
    Arc::new(move |_thread| {
        Ok(Box::new(move |_epoch, task: &Task| {
            Ok(match task {
                Task::Frame(job) => Outcome { faces: vec![face(job)], ..Outcome::default() },
                _ => Outcome::default(),
            })
        }) as Measurer)
    })
}

/// The operators that workers were in for longest.
fn print_operators(shared: &Shared) {
    let mut busy: BTreeMap<String, Duration> = BTreeMap::new();
    for load in shared.board.loads() {
        *busy.entry(load.operator).or_default() += load.busy;
    }
    let mut busy: Vec<(String, Duration)> = busy.into_iter().collect();
    busy.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
    let all: Duration = busy.iter().map(|(_, time)| *time).sum();
    let most = busy.iter().take(OPERATORS).map(|(name, time)| format!("{name} {:.2} s", time.as_secs_f64()));
    println!("  in operators: {:.2} s: {}", all.as_secs_f64(), most.collect::<Vec<_>>().join(", "));
}

/// Hears nothing.
struct Silence;

impl Transcriber for Silence {
    fn transcribe(&mut self, _: &[i16]) -> Result<Heard, SpeechError> {
        Ok(Heard::default())
    }

    fn model(&self) -> &str {
        "no model at all"
    }
}

/// Counts rows.
struct Count(Arc<AtomicU64>);

impl Eye for Count {
    fn wrote(&mut self, changes: &[Change]) {
        self.0.fetch_add(changes.len() as u64, Ordering::SeqCst);
    }
}

/// Appends the records of all sessions in order of time; how many there are.
fn produce(log: &dyn Log, sessions: u64, length_ms: u64, fps: u64) -> usize {
    let ids: Vec<Uuid> = (0..sessions).map(|number| session_id("bench-replay", number)).collect();
    let mut count = 0;
    for from_ms in (0..length_ms).step_by(BATCH_MS as usize) {
        let mut batch: Vec<NewRecord> = Vec::new();
        for at_ms in (from_ms..from_ms + BATCH_MS).step_by(EVENTS_MS as usize) {
            batch.extend(ids.iter().flat_map(|id| Made { id: *id, at_ms, fps }.due()));
        }
        for seq in from_ms * fps / 1_000..(from_ms + BATCH_MS) * fps / 1_000 {
            batch.extend(ids.iter().map(|id| picture(*id, seq, fps)));
        }
        batch.sort_by_key(|record| record.timestamp);
        count += batch.len();
        log.append(batch).expect("an append");
    }
    let end = |id: &Uuid| {
        Control::End(EndSession { session_id: *id, client_action_id: None })
            .encode(Some(BASE.plus_ms(length_ms)))
    };
    count += ids.len();
    log.append(ids.iter().map(end).collect()).expect("ends");
    count
}

/// A coded picture.
fn picture(session_id: Uuid, seq: u64, fps: u64) -> NewRecord {
    let at = BASE.plus_ms(seq * 1_000 / fps);
    let unit = [&[0, 0, 1][..], &[seq as u8; UNIT_BYTES - 3]].concat().into();
    let key_frame = seq.is_multiple_of(fps);
    VideoUnit { session_id, seq, capture_us: at.as_event().0, key_frame, unit }.encode(Some(at))
}

/// What a session sends at a moment, besides pictures.
struct Made {
    id: Uuid,
    at_ms: u64,
    fps: u64,
}

impl Made {
    fn due(&self) -> Vec<NewRecord> {
        let (at, mut out) = (Some(BASE.plus_ms(self.at_ms)), Vec::new());
        let every = |ms: u64| self.at_ms.is_multiple_of(ms);
        let us = BASE.plus_ms(self.at_ms).as_event().0;
        if self.at_ms == 0 {
            let streams = if self.fps > 0 { &[Stream::Audio, Stream::Video][..] } else { &[Stream::Audio] };
            out.extend(common::start(self.id, streams, us).map(|control| control.encode(at)));
            let pcm = Bytes::from(vec![0; 960]);
            out.push(AudioChunk { session_id: self.id, seq: 0, capture_us: us, pcm }.encode(at));
        } else if every(POLLS_MS) {
            out.push(common::poll(self.id, us).encode(at));
        }
        out.push(self.event().encode(at));
        if every(CHUNKS_MS) {
            for role in [SubjectRole::Streamer, SubjectRole::Operator] {
                out.push(PhysioRecord { session_id: self.id, chunk: self.chunk(role) }.encode(at));
            }
        }
        if every(OUTCOMES_MS) {
            out.push(self.outcome().encode(at));
        }
        if self.at_ms % STIMULI_MS == STIMULI_MS / 2 {
            let stimulus = Stimulus {
                session_id: self.id,
                client_action_id: self.number(1),
                operator_note: None,
                received_at_utc: None,
            };
            out.push(Control::Stimulus(stimulus).encode(at));
        }
        out
    }

    /// An id of this moment.
    fn number(&self, kind: u128) -> Uuid {
        Uuid::from_u128(self.id.as_u128() ^ (u128::from(self.at_ms) << 8 | kind))
    }

    fn event(&self) -> LiveEvent {
        LiveEvent {
            session_id: self.id,
            unique_id: Some(format!("viewer-{}", self.at_ms / EVENTS_MS % 97)),
            event_type: if self.at_ms.is_multiple_of(7 * EVENTS_MS) { "gift" } else { "comment" }.into(),
            timestamp_utc: BASE.plus_ms(self.at_ms).as_event(),
            payload: Json::new(&serde_json::json!({ "event_id": self.at_ms.to_string() })),
            gift_value: None,
            event_id: None,
        }
    }

    fn chunk(&self, role: SubjectRole) -> PhysiologicalChunk {
        let until = BASE.plus_ms(self.at_ms).as_event();
        let beat = |n: u64| 780.0 + ((self.at_ms / CHUNKS_MS * 7 + n * 13) % 50) as f64;
        PhysiologicalChunk {
            unique_id: self.number(2 + u128::from(role == SubjectRole::Operator)),
            provider: Provider::Oura,
            subject_role: role,
            source_kind: SourceKind::Ibi,
            window_start_utc: until.plus_us(-5_000_000),
            window_end_utc: until,
            ingest_timestamp_utc: until,
            payload: ChunkPayload {
                sample_interval_s: 1,
                valid_sample_count: 6,
                expected_sample_count: 6,
                derivation_method: DerivationMethod::Server,
                ibi_ms_items: Some((0..6).map(beat).collect()),
                rmssd_items_ms: None,
                heart_rate_items_bpm: Some(vec![72, 75]),
                motion_items: None,
            },
        }
    }

    fn outcome(&self) -> Followed {
        Followed {
            session_id: self.id,
            outcome_type: "creator_follow".into(),
            outcome_value: Real(1.0),
            outcome_time_utc: BASE.plus_ms(self.at_ms).as_event(),
            source_system: "shop".into(),
            source_event_ref: Some(format!("order-{}", self.at_ms)),
            confidence: Real(0.5),
        }
    }
}
