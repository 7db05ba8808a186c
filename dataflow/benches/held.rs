//! What the asynchronous operator costs in the held placement: requests that ask for next to nothing, and how busy its threads are while
//! work waits. A request is what an epoch brings a thread.
//!
//! `cargo bench --locked --workspace --bench held`
#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lsie_dataflow::adapter::Time;
use lsie_dataflow::checkpoint::Keep;
use lsie_dataflow::crash_book::CrashBook;
use lsie_dataflow::faces;
use lsie_dataflow::ingest::Shared;
use lsie_dataflow::pool::{Measurer, MeasurerFactory, Outcome, Pool, Task, infer};
use lsie_operators::align::FrameJob;
use lsie_schemas::log::{LogRecord, TopicPartition};
use lsie_schemas::{EventTime, LogTime, Topic};
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::vec::Input;
use uuid::Uuid;

/// Sessions that are live at once; each has one frame an epoch.
const SESSIONS: u64 = 100;
/// Epochs that may be open: work always waits.
const AHEAD: u64 = 16;
/// How long a worker without work sleeps at most; replies wake it.
const PARK: Duration = Duration::from_millis(100);
/// What a frame of the second part takes.
const WORK: Duration = Duration::from_millis(1);

fn main() {
    common::print_machine();
    let epochs = common::setting("LSIE_BENCH_EPOCHS", 2_000);
    for sessions in [1, SESSIONS] {
        let runs = (0..5).map(|_| run(epochs, sessions, 1, faces::without_models()));
        let best = runs.min().unwrap_or_default().as_secs_f64();
        println!(
            "{:.2} µs a request of {sessions} frames, 1 thread: to the pool and back, results and classes",
            best * 1e6 / epochs as f64
        );
    }

    for threads in [1, 2, 4] {
        let busy = Arc::new(AtomicU64::new(0));
        let wall = run(20, SESSIONS, threads, working(busy.clone()));
        let share = busy.load(Ordering::SeqCst) as f64 / 1e9 / (wall.as_secs_f64() * threads as f64);
        println!("{:.1} % busy, {threads} threads, frames of {} ms", share * 100.0, WORK.as_millis());
    }
}

/// Measurers that take a while over each frame, and count it.
fn working(busy: Arc<AtomicU64>) -> MeasurerFactory {
    Arc::new(move |_thread| {
        let busy = busy.clone();
        let measurer: Measurer = Box::new(move |_epoch, task| {
            if matches!(task, Task::Frame(_)) {
                let began = Instant::now();
                std::thread::sleep(WORK);
                busy.fetch_add(began.elapsed().as_nanos() as u64, Ordering::SeqCst);
            }
            Ok(Outcome::default())
        });
        Ok(measurer)
    })
}

/// How long so many epochs take from the first request to the last result.
fn run(epochs: u64, sessions: u64, threads: usize, measurer: MeasurerFactory) -> Duration {
    timely::execute_directly(move |worker| {
        let shared = Arc::new(Shared::default());
        let book = Arc::new(CrashBook::blank());
        let pool = Pool::start(threads, measurer.clone(), &book, &shared).expect("threads");
        let keep = Keep::nothing(0, 1, shared);
        let (mut input, probe) = worker.dataflow::<Time, _, _>(|scope| {
            let (input, aligned) = scope.new_input();
            let (probe, _) = infer(aligned, pool, keep.station("infer"), |_| 0).probe();
            (input, probe)
        });
        let began = Instant::now();
        for epoch in 1..=epochs {
            input.advance_to(epoch);
            for session in 0..sessions {
                input.send(Task::Frame(Arc::new(frame(session, epoch))));
            }
            input.advance_to(epoch + 1);
            worker.step();
            while probe.less_than(&epoch.saturating_sub(AHEAD)) {
                worker.step_or_park(Some(PARK));
            }
        }
        input.close();
        while !probe.done() {
            worker.step_or_park(Some(PARK));
        }
        began.elapsed()
    })
}

fn frame(session: u64, epoch: u64) -> FrameJob {
    FrameJob {
        session: Uuid::from_u64_pair(session, session),
        seq: epoch,
        capture: EventTime(epoch as i64),
        key_frame: true,
        seen: LogTime(epoch),
        raw: LogRecord {
            at: TopicPartition { topic: Topic::AvVideo, partition: 0 },
            offset: (epoch * SESSIONS + session) as i64,
            log_time: LogTime(epoch),
            key: None,
            value: Default::default(),
            headers: Vec::new(),
        },
    }
}
