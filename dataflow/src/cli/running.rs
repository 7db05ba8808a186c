//! What every command that runs the engine shares: opening the log, the sinks, progress, and the end.

use std::collections::BTreeSet;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use lsie_connectors::file_log::FileLogOptions;
use lsie_connectors::ingest::{self, Credentials};
use lsie_connectors::llm;
use lsie_connectors::seal::{Key, key_of_hex};
use lsie_connectors::{FileLog, Health, SealedLog, archive};
use lsie_operators::speech::WhisperSettings;
use lsie_schemas::Topic;
use lsie_schemas::log::Log;
use lsie_sinks::follower::{self, Watch};
use lsie_sinks::parquet::{Options, Run as Writer};
use lsie_sinks::postgres::{self, Database};
use lsie_sinks::views::{Access, Api, Server};
use lsie_sinks::{Catalog, Follower, ParquetSink, PostgresSink, Selected, Sink, Views};

use super::probes;
use crate::checkpoint::gate::Rule;
use crate::checkpoint::store::Store;
use crate::config::{ApiConfig, Config, GrayBandConfig, LANGUAGE_MODEL};
use crate::engine::{Checkpoints, Engine, Run};
use crate::faces;
use crate::ingest::{INPUTS, Shared};
use crate::judge::JudgeFactory;
use crate::language_model::LanguageModel;
use crate::metrics;
use crate::speech::TranscriberFactory;
use crate::{judge, speech};

/// Opens the log of the configuration; with a master key, media are sealed on the way in and opened on the way
/// out.
pub(super) fn open_log(config: &Config) -> anyhow::Result<Arc<dyn Log>> {
    let from = &config.log;
    let log = lsie_connectors::open(&from.address, &from.prefix, &from.properties)?;
    let Some(text) = secret(&from.key_file).context("log.key_file")? else { return Ok(log) };
    Ok(Arc::new(SealedLog::new(log, master(&text)?)))
}

fn master(text: &str) -> anyhow::Result<Key> {
    key_of_hex(text).context("log.key_file: wanted are 64 hexadecimal digits, `openssl rand -hex 32`")
}

/// Opens an archive, with the keys of the configured log where media are sealed; says which inputs it is without.
pub(super) fn open_archive(config: &Config, dir: &Path) -> anyhow::Result<(Arc<dyn Log>, BTreeSet<Topic>)> {
    let page = archive::page(dir)?;
    ensure!(page.complete, "{} is not complete: run the same `lsie record` again", dir.display());
    let log: Arc<dyn Log> = Arc::new(FileLog::open(dir, FileLogOptions::default())?);
    let without = page.left_out.into_iter().filter(|topic| INPUTS.contains(topic)).collect();
    let Some(text) = secret(&config.log.key_file).context("log.key_file")? else { return Ok((log, without)) };
    let from = &config.log;
    let keys = lsie_connectors::open(&from.address, &from.prefix, &from.properties)?;
    Ok((Arc::new(SealedLog::with_keys_of(keys, log, master(&text)?)), without))
}

/// The engine of the configuration; `tail_ms` of log time is added after a feed's last record.
pub(super) fn engine(config: &Config, log: Arc<dyn Log>, tail_ms: u64) -> anyhow::Result<Engine> {
    config.choose_provider()?;
    Ok(Engine {
        log,
        workers: config.engine.workers,
        pool_threads: config.pool_threads(),
        measurer: faces::with_models(config.models_folder(), config.models.max_pixels),
        transcriber: transcriber(config),
        speech: config.speech,
        judge: (config.models.scorer != LANGUAGE_MODEL).then(|| scorer(config, &config.models.scorer)),
        reduced: config.models.reduced,
        shadow: Some(&config.models.shadow).filter(|name| !name.is_empty()).map(|name| scorer(config, name)),
        language_model: language_model(config)?,
        limits: config.session,
        fetch: config.fetch(),
        budget_bytes: config.engine.budget_mib << 20,
        cut: config.cut(tail_ms),
        checkpoints: None,
        without: BTreeSet::new(),
        heal: None,
        inferring: Default::default(),
        cluster: None,
    })
}

fn transcriber(config: &Config) -> TranscriberFactory {
    let (folder, models) = (config.models_folder(), &config.models);
    if models.speech.is_empty() {
        return speech::demo(folder);
    }
    let language = Some(models.language.clone()).filter(|language| !language.is_empty());
    speech::whisper(folder, models.speech.clone().into(), WhisperSettings { language, beams: models.beams })
}

fn scorer(config: &Config, name: &str) -> JudgeFactory {
    let folder = config.models_folder();
    match name {
        "sentence_model" => judge::sentence_model(folder),
        "token_overlap" => judge::token_overlap(),
        directory => judge::cross_encoder(folder, directory.into()),
    }
}

/// The language model, if one is configured.
pub(super) fn language_model(config: &Config) -> anyhow::Result<Option<LanguageModel>> {
    let GrayBandConfig { url, model, api_version, key_file, timeout_ms, at_once } = &config.gray_band;
    if url.is_empty() {
        return Ok(None);
    }
    let key = secret(key_file).context("gray_band.key_file")?.unwrap_or_default();
    let (url, model, limit) = (url.clone(), model.clone(), Duration::from_millis(*timeout_ms));
    let access = llm::Access { url, model, key, limit };
    Ok(Some(LanguageModel { access, api_version: api_version.clone(), at_once: *at_once }))
}

/// Checkpoints that belong to the tables in a directory, if there are to be any.
pub(super) fn checkpoints(config: &Config, tables: &Path) -> anyhow::Result<Option<Checkpoints>> {
    let Some((place, crashes)) = config.checkpoints_of(tables)? else { return Ok(None) };
    let rule = Rule { interval_ms: config.checkpoint.interval_ms, bytes: config.checkpoint.every_mib << 20 };
    let store = Store::open(&place)?;
    Ok(Some(Checkpoints {
        store,
        rule,
        keep: config.checkpoint.keep,
        config: config.results_hash(),
        crashes,
    }))
}

/// The Parquet tables in a directory.
pub(super) fn parquet(config: &Config, dir: &Path) -> anyhow::Result<Box<dyn Sink>> {
    Ok(Box::new(parquet_sink(config, dir)?))
}

/// The same as what they are.
pub(super) fn parquet_sink(config: &Config, dir: &Path) -> anyhow::Result<ParquetSink> {
    let run = Writer { engine: format!("lsie {}", env!("CARGO_PKG_VERSION")), config: String::new() };
    let options = Options {
        flush_epochs_ms: config.parquet.flush_ms,
        max_files: config.parquet.max_files,
        run,
        ..Options::default()
    };
    ParquetSink::open(dir, Catalog::all(), options).context("the result tables")
}

/// How long a bounded run waits for its database at the end.
const BOUNDED_WAIT: Duration = Duration::from_secs(3_600);

/// The configured database, if there is one.
pub(super) fn database(config: &Config) -> anyhow::Result<Option<Database>> {
    let (url, authority) = (config.postgres.url()?, config.postgres.tls_authority());
    url.map(|url| Database::new(&url.0, authority)).transpose().context("postgres.url")
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
    let options = follower::Options {
        queue_bytes: config.postgres.queue_mib << 20,
        patience,
        takes_transient: false,
        yields: Duration::ZERO,
    };
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

/// The tables that are served.
pub(super) fn served() -> Views {
    Views::new(Catalog::served())
}

/// The writer of served views.
pub(super) fn views_sink(views: &Views) -> Box<dyn Sink> {
    Box::new(Selected::new(views.sink(), views.catalog().clone()))
}

/// The writer of the served views of a live run, which are filled with what the tables in a directory hold meanwhile.
pub(super) fn filled(views: &Views, dir: &Path) -> anyhow::Result<Box<dyn Sink>> {
    let follower = views.follow(dir).context("the served views")?;
    Ok(Box::new(Selected::new(follower, views.catalog().clone())))
}

/// The API over the views of an engine that runs: it takes actions, and looks at what the engine stands on.
pub(super) fn live_api(
    views: &Views,
    config: &Config,
    log: &Arc<dyn Log>,
    database: Option<Watch>,
    shared: &Arc<Shared>,
) -> Api {
    if let Some(database) = &database {
        views.watch(database.clone());
    }
    let numbers = metrics::served(shared.clone(), log.clone(), database.clone());
    Api::new(views)
        .with_log(log.clone())
        .with_numbers(numbers)
        .with_probes(probes::all(config, log, database, shared))
}

/// The API with the routes by which others push records, behind its own guard.
pub(super) fn with_ingest(api: Api, config: &Config, log: &Arc<dyn Log>) -> anyhow::Result<Api> {
    let secret = secret(&config.ingest.oura_secret_file).context("ingest.oura_secret_file")?;
    let credentials = Credentials { token: None, oura_secret: secret.unwrap_or_default().into_bytes() };
    Ok(api.with_routes(ingest::router(log.clone(), &credentials, Health::new("ingest"))?))
}

/// Serves an API as the configuration says, perhaps on another port; says where.
pub(super) fn serve(api: Api, config: &ApiConfig, port: Option<u16>) -> anyhow::Result<Server> {
    config.check_reach()?;
    let mut address = config.listen;
    address.set_port(port.unwrap_or(address.port()));
    let (tls, access) = (config.tls(), Access::new(config.tokens.clone()));
    let api = api.guarded(access, config.requests_per_s, tls.is_some());
    let server =
        Server::start(address, tls.as_ref(), |shutdown| api.router(shutdown)).with_context(|| {
            format!("views on {address}; another program may hold the port, --port 0 takes any free one")
        })?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    println!("views on {scheme}://{}/", server.address());
    Ok(server)
}

/// How much log time a run went through, and how long that took.
pub(super) struct Pace {
    log_ms: u64,
    took: Duration,
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (log_s, took_s) = (self.log_ms as f64 / 1e3, self.took.as_secs_f64());
        write!(f, "{log_s:.1} s of log time in {took_s:.1} s: {:.1} x real time", log_s / took_s.max(1e-3))
    }
}

/// Runs the engine as a process other than the first, until that one ends the run.
pub(super) fn follow(engine: Engine, config: &Config, live: bool) -> anyhow::Result<ExitCode> {
    let ending = Arc::new(AtomicBool::new(false));
    // The first process of a replay ends at its last epoch; here a signal ends the process, and so the run.
    if live {
        end_on_signal(ending.clone(), config.checkpoint.stop_timeout_ms)?;
    }
    println!("waiting for the first process; tables, views and database are there");
    engine.follow(ending, Arc::default())?;
    println!("the run is over");
    Ok(ExitCode::SUCCESS)
}

/// Runs the engine and shows how far it is, on a terminal only.
pub(super) fn run_with_progress(
    engine: Engine,
    run: Run,
    sinks: Vec<Box<dyn Sink>>,
    shared: Arc<Shared>,
) -> anyhow::Result<Pace> {
    let live = matches!(run, Run::Live(_));
    with_progress(live, &shared, || engine.run(run, sinks, shared.clone()))
}

/// The same of anything that says in `shared` how far it is.
#[allow(clippy::disallowed_methods, reason = "a pace is about the engine itself")]
pub(super) fn with_progress(
    live: bool,
    shared: &Arc<Shared>,
    run: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Pace> {
    let started = Instant::now();
    let over = Arc::new(AtomicBool::new(false));
    let shown = std::thread::Builder::new().name("progress".into()).spawn({
        let (shared, over) = (shared.clone(), over.clone());
        move || show(&shared, &over, started, live)
    })?;
    let result = run();
    over.store(true, Ordering::SeqCst);
    let _ = shown.join();
    result.map(|()| pace(shared, started))
}

fn pace(shared: &Shared, started: Instant) -> Pace {
    let (first, committed) = (shared.span.0.load(Ordering::SeqCst), shared.committed.load(Ordering::SeqCst));
    Pace { log_ms: committed.saturating_sub(first), took: started.elapsed() }
}

fn show(shared: &Shared, over: &AtomicBool, started: Instant, live: bool) {
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
            let at = lsie_schemas::LogTime(committed).as_event().canonical();
            let message = if live { at } else { format!("{at} ({})", pace(shared, started)) };
            bar.set_message(message);
        }
        bar.tick();
        std::thread::sleep(Duration::from_millis(100));
    }
    bar.finish_and_clear();
}

/// The exit code of a stop that took too long.
const STOPPED_LATE: i32 = 3;

/// Waits for Ctrl-C or a termination signal; then sets the flag. If the process is still there `within` ms
/// later, it ends: a kill can be at any moment.
pub(super) fn end_on_signal(ending: Arc<AtomicBool>, within: u64) -> anyhow::Result<()> {
    on_signal("finishing the last epoch", move || {
        ending.store(true, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(within));
        eprintln!("not finished after {within} ms; ending all the same: the next start goes on");
        std::process::exit(STOPPED_LATE);
    })
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
