//! `lsie demo`: the whole product on one machine.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use lsie_connectors::feed::{Pace, Recording, feed};
use lsie_schemas::LogTime;
use lsie_schemas::log::Log;
use lsie_schemas::record::ExperimentRecord;
use lsie_schemas::row::SessionRow;
use lsie_schemas::{Cell, TableRow};
use lsie_sinks::Views;
use lsie_sinks::views::Api;

use super::running::{
    add_postgres, end_on_signal, engine, live_api, parquet, report_postgres, run_with_progress, serve,
    served, views_sink,
};
use super::{recordings, summary, topics};
use crate::config::Config;
use crate::engine::{Range, Run};
use crate::ingest::Shared;

/// Partitions of the demo's session topics.
const PARTITIONS: i32 = 4;
/// The file that marks a directory as the demo's, so that it may be replaced.
const MARK: &str = "made-by-lsie-demo";

/// How fast recorded sessions are fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Speed {
    /// In real time.
    #[value(name = "1")]
    One,
    /// As fast as the machine goes.
    Max,
}

/// Feed a made session through the embedded log, the whole graph, Parquet tables and views, and sum up.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// End after the last segment instead of going on until Ctrl-C.
    #[arg(long)]
    exit_when_done: bool,
    /// 1: in real time, live; max: as fast as the machine goes.
    #[arg(long, default_value = "max")]
    speed: Speed,
    /// How many sessions, started one after the other.
    #[arg(long, default_value_t = 1)]
    sessions: u64,
    /// Where log and tables go; an earlier demo there is replaced.
    #[arg(long, value_name = "DIR", default_value = "lsie-demo")]
    out: PathBuf,
    /// Port of the views; 0: any free one. Without it, where `api.listen` says.
    #[arg(long)]
    port: Option<u16>,
}

impl Demo {
    pub(super) fn run(self, config: Config) -> anyhow::Result<ExitCode> {
        prepare(&self.out)?;
        let recording = Arc::new(recordings::built_in()?);
        let address = format!("file:{}", self.out.join("log").display());
        let log = lsie_connectors::open(&address, "", &Default::default())?;
        topics::create(&*log, PARTITIONS, self.speed == Speed::Max)?;

        let views = served();
        let tables = self.out.join("tables");
        let mut sinks = vec![parquet(&config, &tables)?, views_sink(&views)];
        let watch = add_postgres(&mut sinks, &config, &tables, false)?;
        // Only an engine that runs live takes actions.
        let shared = Arc::new(Shared::default());
        let api = match self.speed {
            Speed::Max => Api::new(&views),
            Speed::One => live_api(&views, &config, &log, watch.clone(), &shared),
        };
        let server = serve(api.with_console(config.operator.clone()), &config.api, self.port)?;
        views.serve();
        let ending = Arc::new(AtomicBool::new(false));
        match self.speed {
            Speed::Max => {
                self.feed_all(&*log, &recording, super::feed::recorded_at(&recording), Pace::Max)?;
                let engine = engine(&config, log, config.session.max_wait_ms)?;
                run_with_progress(engine, Run::Bounded(Range::ALL), sinks, shared)?;
            }
            Speed::One => {
                end_on_signal(ending.clone(), config.checkpoint.stop_timeout_ms)?;
                self.run_live(&config, log, &recording, (&views, &shared), &ending, sinks)?;
            }
        }
        summary::print(&views);
        println!("\ntables in {}; `lsie verify {0}` gives their hashes", tables.display());
        report_postgres(watch.as_ref());
        if !self.exit_when_done && !ending.load(Ordering::SeqCst) {
            println!("serving the views; Ctrl-C ends the demo");
            end_on_signal(ending.clone(), config.checkpoint.stop_timeout_ms)?;
            while !ending.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        server.stop()?;
        Ok(ExitCode::SUCCESS)
    }

    fn feed_all(
        &self,
        log: &dyn Log,
        recording: &Arc<Recording>,
        base: LogTime,
        pace: Pace,
    ) -> anyhow::Result<()> {
        let timelines = recordings::sessions(recording, self.sessions, base, &ExperimentRecord::seed());
        feed(log, recordings::merged(timelines), pace, |_| std::ops::ControlFlow::Continue(()))?;
        Ok(())
    }

    /// Feeds in real time beside the live engine. It runs on until Ctrl-C, so that the console can be used, or ends
    /// when every session has ended.
    fn run_live(
        &self,
        config: &Config,
        log: Arc<dyn Log>,
        recording: &Arc<Recording>,
        (views, shared): (&Views, &Arc<Shared>),
        ending: &Arc<AtomicBool>,
        sinks: Vec<Box<dyn lsie_sinks::Sink>>,
    ) -> anyhow::Result<()> {
        std::thread::scope(|scope| {
            let fed = scope.spawn(|| {
                // The seed experiment is known from an epoch before the sessions' on, as in a log that is used.
                while views.read().epoch().is_none() && !ending.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(20));
                }
                let result = self.feed_all(&*log, recording, now(), Pace::RealTime);
                let waits = || self.exit_when_done && ended(views) < self.sessions;
                while result.is_ok() && waits() && !ending.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(100));
                }
                if self.exit_when_done || result.is_err() {
                    ending.store(true, Ordering::SeqCst);
                }
                result
            });
            let engine = engine(config, log.clone(), 0)?;
            let ran = run_with_progress(engine, Run::Live(ending.clone()), sinks, shared.clone());
            // Nobody waits for an engine that could not run.
            ending.store(true, Ordering::SeqCst);
            ran?;
            fed.join().map_err(|_| anyhow::anyhow!("the feeder panicked"))?
        })
    }
}

/// Sessions that have ended, by the views.
fn ended(views: &Views) -> u64 {
    let table = SessionRow::TABLE;
    let (Some(at), Some(column)) = (views.catalog().position(table.name), table.position("ended_at")) else {
        return 0;
    };
    let state = views.read();
    let entries = state.table(at).into_iter().flat_map(|table| table.entries());
    entries.filter(|entry| entry.row.get(column).is_some_and(|cell| *cell != Cell::Null)).count() as u64
}

/// Empties a directory of an earlier demo; refuses anything else.
fn prepare(out: &Path) -> anyhow::Result<()> {
    let occupied = out.exists() && std::fs::read_dir(out)?.next().is_some();
    if occupied && !out.join(MARK).exists() {
        bail!("{} holds something else than a demo; name another directory with --out", out.display());
    }
    if occupied {
        std::fs::remove_dir_all(out).with_context(|| format!("replacing {}", out.display()))?;
    }
    std::fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
    std::fs::write(out.join(MARK), "This directory is replaced by the next `lsie demo`.\n")?;
    Ok(())
}

/// The wall clock: where a feed begins when it is not a recorded one.
#[allow(clippy::disallowed_methods, reason = "a live feed begins now")]
pub(super) fn now() -> LogTime {
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    LogTime(wall.as_millis() as u64)
}
