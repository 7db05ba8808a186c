//! What every command that runs the engine shares: opening the log, the sinks, progress, and the end.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use lsie_connectors::seal::key_of_hex;
use lsie_connectors::{Health, SealedLog, Stop};
use lsie_schemas::log::Log;
use lsie_sinks::follower::{self, Watch};
use lsie_sinks::parquet::{Options, Run as Writer};
use lsie_sinks::postgres::{self, Database};
use lsie_sinks::views::{Api, Server};
use lsie_sinks::{Catalog, Follower, ParquetSink, PostgresSink, Selected, Sink, Views};

use crate::config::Config;
use crate::engine::{Engine, Run};
use crate::faces;
use crate::ingest::Shared;

/// Opens the log of the configuration; with a master key, media are sealed on the way in and opened on the way
/// out.
pub(super) fn open_log(config: &Config) -> anyhow::Result<Arc<dyn Log>> {
    let from = &config.log;
    let log = lsie_connectors::open(&from.address, &from.prefix, &from.properties)?;
    let Some(text) = secret(&from.key_file).context("log.key_file")? else { return Ok(log) };
    let key = key_of_hex(&text)
        .context("log.key_file: wanted are 64 hexadecimal digits, `openssl rand -hex 32`")?;
    Ok(Arc::new(SealedLog::new(log, key)))
}

/// The engine of the configuration; `tail_ms` of log time is added after a feed's last record.
pub(super) fn engine(config: &Config, log: Arc<dyn Log>, tail_ms: u64) -> Engine {
    Engine {
        log,
        workers: config.engine.workers,
        pool_threads: config.pool_threads(),
        measurer: faces::with_models(config.models_folder(), config.models.max_pixels),
        limits: config.session,
        fetch: config.fetch(),
        budget_bytes: config.engine.budget_mib << 20,
        cut: config.cut(tail_ms),
    }
}

/// The Parquet tables in a directory.
pub(super) fn parquet(config: &Config, dir: &Path) -> anyhow::Result<Box<dyn Sink>> {
    let run = Writer { engine: format!("lsie {}", env!("CARGO_PKG_VERSION")), config: String::new() };
    let options = Options {
        flush_epochs_ms: config.parquet.flush_ms,
        max_files: config.parquet.max_files,
        run,
        ..Options::default()
    };
    let sink = ParquetSink::open(dir, Catalog::all(), options).context("the result tables")?;
    Ok(Box::new(sink))
}

/// How long a bounded run waits for its database at the end.
const BOUNDED_WAIT: Duration = Duration::from_secs(3_600);

/// The configured database, if there is one.
pub(super) fn database(config: &Config) -> anyhow::Result<Option<Database>> {
    let url = config.postgres.url()?;
    url.map(|url| Database::new(&url.0)).transpose().context("postgres.url")
}

/// Adds the configured database to the sinks, behind the Parquet tables in `dir`. A live run goes on where the
/// database is, and does not wait for it; a bounded one wants it there, and empty.
pub(super) fn add_postgres(
    sinks: &mut Vec<Box<dyn Sink>>,
    config: &Config,
    dir: &Path,
    live: bool,
) -> anyhow::Result<Option<Watch>> {
    let Some(database) = database(config)? else { return Ok(None) };
    if !live {
        let held = postgres::Reader::open(&database)?.committed();
        ensure!(held.is_none(), "the database {} holds results already; name an empty one", database.place());
    }
    let catalog = Catalog::database();
    let patience = if live { Duration::from_millis(config.postgres.end_wait_ms) } else { BOUNDED_WAIT };
    let options = follower::Options { queue_bytes: config.postgres.queue_mib << 20, patience };
    let connect = {
        let catalog = catalog.clone();
        move || Ok(Box::new(PostgresSink::open(&database, catalog.clone())?) as Box<dyn Sink>)
    };
    let follower = Follower::start("postgres", catalog.clone(), dir, options, Box::new(connect))?;
    let watch = follower.watch();
    sinks.push(Box::new(Selected::new(follower, catalog)));
    Ok(Some(watch))
}

/// Says how far the database is at the end of a run; whether it holds everything.
pub(super) fn report_postgres(watch: Option<&Watch>) -> bool {
    let Some(status) = watch.map(Watch::status) else { return true };
    let held = status
        .reached
        .map_or("nothing yet".into(), |at| format!("everything up to {}", at.as_event().canonical()));
    if status.lag_ms() == 0 {
        println!("PostgreSQL holds {held}");
        return true;
    }
    let why = status.away.as_ref().map_or(String::new(), |why| format!(" ({why})"));
    println!(
        "PostgreSQL holds {held}, {:.1} s behind{why}; a live run catches up",
        status.lag_ms() as f64 / 1e3
    );
    false
}

/// The tables that are served: all but the frame-sized ones, which would fill the memory; these are in
/// Parquet.
pub(super) fn served() -> Views {
    Views::new(Catalog::all().without(&["au12", "faces"]))
}

/// The writer of served views.
pub(super) fn views_sink(views: &Views) -> Box<dyn Sink> {
    Box::new(Selected::new(views.sink(), views.catalog().clone()))
}

/// Serves an API at an address; says where.
pub(super) fn serve(api: Api, address: SocketAddr) -> anyhow::Result<Server> {
    let server = Server::start(address, |shutdown| api.router(shutdown)).with_context(|| {
        format!("views on {address}; another program may hold the port, --port 0 takes any free one")
    })?;
    println!("views on http://{}/", server.address());
    Ok(server)
}

/// Runs the engine and shows how far it is, on a terminal only.
pub(super) fn run_with_progress(engine: Engine, run: Run, sinks: Vec<Box<dyn Sink>>) -> anyhow::Result<()> {
    let shared = Arc::new(Shared::default());
    let over = Arc::new(AtomicBool::new(false));
    let shown = std::thread::Builder::new().name("progress".into()).spawn({
        let (shared, over) = (shared.clone(), over.clone());
        let live = matches!(run, Run::Live(_));
        move || show(&shared, &over, live)
    })?;
    let result = engine.run(run, sinks, shared);
    over.store(true, Ordering::SeqCst);
    let _ = shown.join();
    result
}

fn show(shared: &Shared, over: &AtomicBool, live: bool) {
    let bar = ProgressBar::new(0);
    let template = if live {
        "{spinner} log time {msg}  running {elapsed}"
    } else {
        "{bar:40} {percent:>3} %  log time {msg}  {elapsed}, {eta} left"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    while !over.load(Ordering::SeqCst) {
        let (first, last) = (shared.span.0.load(Ordering::SeqCst), shared.span.1.load(Ordering::SeqCst));
        let committed = shared.committed.load(Ordering::SeqCst);
        bar.set_length(last.saturating_sub(first));
        bar.set_position(committed.saturating_sub(first).min(last.saturating_sub(first)));
        if committed > 0 {
            bar.set_message(lsie_schemas::LogTime(committed).as_event().canonical());
        }
        bar.tick();
        std::thread::sleep(Duration::from_millis(100));
    }
    bar.finish_and_clear();
}

/// Waits for Ctrl-C or a termination signal; then sets the flag.
pub(super) fn end_on_signal(ending: Arc<AtomicBool>) -> anyhow::Result<()> {
    on_signal("finishing the last epoch", move || ending.store(true, Ordering::SeqCst))
}

/// Waits for Ctrl-C or a termination signal; then says `what` is done about it, and does it.
pub(super) fn on_signal(what: &'static str, act: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let terminated = async {
                match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
                    Ok(mut signal) => {
                        signal.recv().await;
                    }
                    Err(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                () = terminated => {}
            }
        });
        eprintln!("stopping: {what}");
        act();
    })?;
    Ok(())
}

/// How often a connector's health is printed.
const HEALTH: Duration = Duration::from_secs(30);

/// Prints a connector's health, a line of JSON every 30 s and one at the end, until it shall stop.
pub(super) fn print_health(health: &Health, stop: &Stop) {
    let print = || println!("{}", serde_json::to_string(&health.report()).unwrap_or_default());
    while !stop.wait(HEALTH) {
        print();
    }
    print();
}

/// A secret in a file that only its owner may read; none when no file is named.
pub(super) fn secret(file: &Path) -> anyhow::Result<Option<String>> {
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    let name = file.display();
    let mode = std::fs::metadata(file).with_context(|| format!("{name}"))?.permissions().mode() & 0o777;
    anyhow::ensure!(mode == 0o600, "{name} has mode {mode:03o}: `chmod 600 {name}`");
    let text = std::fs::read_to_string(file).with_context(|| format!("{name}"))?;
    let text = text.trim();
    anyhow::ensure!(!text.is_empty(), "{name} is empty");
    Ok(Some(text.to_owned()))
}
