//! `lsie dead-letters list|show|heal`: what could not be used, where it is, and how it comes to count after all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Subcommand};
use lsie_schemas::log::{Fetch, Log, LogRecord, TopicPartition};
use lsie_schemas::record::DeadLetter;
use lsie_schemas::row::DeadLetterRow;
use lsie_schemas::{EventTime, Topic};
use lsie_sinks::parquet::Reader;
use uuid::Uuid;

use super::running::{checkpoints, engine, open_log, parquet, run_with_progress};
use crate::config::Config;
use crate::engine::{Engine, Range, Run};
use crate::healing::{self, Healed, Target};

/// How long one poll for a record waits.
const WAIT: std::time::Duration = std::time::Duration::from_millis(100);

/// Records that could not be used: list them, show one, or heal them once a setting or a newer version takes them.
#[derive(Debug, Args)]
pub(super) struct DeadLetters {
    #[command(subcommand)]
    command: Command,
    /// Directory of the result tables; default: that of the configuration.
    #[arg(long, global = true, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// How many there are for each reason, topic and session.
    List {
        /// Only of this reason.
        #[arg(long)]
        reason: Option<String>,
        /// Only of this topic.
        #[arg(long)]
        topic: Option<String>,
        /// Only of this session.
        #[arg(long)]
        session: Option<Uuid>,
        /// One line for each record.
        #[arg(long)]
        each: bool,
    },
    /// What is known of one, and whether the log still has the record.
    Show {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
    },
    /// Compute the log again by the settings and the version as they are now, and bring the difference into the
    /// tables at one new epoch. Selections of arms stay as they were made. The engine must be stopped.
    Heal {
        /// Only say what would change.
        #[arg(long)]
        dry_run: bool,
    },
}

impl DeadLetters {
    pub(super) fn run(self, config: Config) -> anyhow::Result<ExitCode> {
        let dir = self.out.unwrap_or_else(|| config.parquet.dir.clone());
        match self.command {
            Command::List { reason, topic, session, each } => {
                let letters =
                    healing::rows::<DeadLetterRow>(&Reader::open(&dir)?)?.into_iter().filter(|letter| {
                        reason.as_ref().is_none_or(|reason| *reason == letter.reason)
                            && topic.as_ref().is_none_or(|topic| *topic == letter.topic)
                            && session.is_none_or(|session| letter.session_id == Some(session))
                    });
                if each {
                    letters.for_each(|letter| println!("{}", line(&letter)))
                } else {
                    list(letters)
                }
                Ok(ExitCode::SUCCESS)
            }
            Command::Show { topic, partition, offset } => {
                let letters = healing::rows::<DeadLetterRow>(&Reader::open(&dir)?)?;
                let place = (topic, i64::from(partition), offset);
                let letter = letters
                    .into_iter()
                    .find(|l| (&l.topic, l.partition, l.record_offset) == (&place.0, place.1, place.2));
                show(&config, &letter.context("the tables have no dead letter of that place")?)
            }
            Command::Heal { dry_run } => heal(&config, &dir, dry_run),
        }
    }
}

fn line(letter: &DeadLetterRow) -> String {
    let session = letter.session_id.map_or("unattributed".into(), |id| id.to_string());
    let DeadLetterRow { topic, partition, record_offset, log_time, reason, detail, size, .. } = letter;
    let at = log_time.canonical();
    format!("{topic} {partition} {record_offset}  {at}  {session}  {size} bytes  {reason}: {detail}")
}

/// One line for each reason, topic and session.
fn list(letters: impl Iterator<Item = DeadLetterRow>) {
    let mut groups: BTreeMap<(String, String, String), (u64, EventTime, EventTime)> = BTreeMap::new();
    for letter in letters {
        let session = letter.session_id.map_or("unattributed".into(), |id| id.to_string());
        let at = letter.log_time;
        let (records, first, last) =
            groups.entry((letter.reason, letter.topic, session)).or_insert((0, at, at));
        (*records, *first, *last) = (*records + 1, at.min(*first), at.max(*last));
    }
    println!("{:>8}  {:20} {:12} {:36}  log time", "records", "reason", "topic", "session");
    for ((reason, topic, session), (records, first, last)) in groups {
        println!(
            "{records:>8}  {reason:20} {topic:12} {session:36}  {} to {}",
            first.canonical(),
            last.canonical()
        );
    }
}

fn show(config: &Config, letter: &DeadLetterRow) -> anyhow::Result<ExitCode> {
    println!("{}", line(letter));
    println!("sha256   {}", letter.sha256);
    let topic = Topic::by_name(&letter.topic).with_context(|| format!("no topic {}", letter.topic))?;
    let at = TopicPartition { topic, partition: i32::try_from(letter.partition)? };
    let log = open_log(config)?;
    let (first, end) = log.bounds(at)?;
    let found = match (first..end).contains(&letter.record_offset) {
        true => record(&*log, at, letter.record_offset)?,
        false => None,
    };
    let original =
        found.map(|record| (DeadLetter::new(&record, lsie_schemas::codec::Rejection::new("", "")), record));
    match original {
        None => println!("original the log no longer has it: {at} holds offsets {first} to {end}"),
        Some((now, _)) if now.sha256 != letter.sha256 => {
            println!("original {at} holds another record at this offset: it is another topic");
        }
        Some((_, record)) => {
            let names: Vec<&str> = record.headers.iter().map(|(name, _)| name.as_str()).collect();
            println!("original still there, headers {}", names.join(", "));
            match lsie_schemas::codec::decode(&record) {
                Ok(_) => {
                    println!("today    it can be read; `lsie dead-letters heal` tells whether it can be used")
                }
                Err(why) => println!("today    it still cannot be read: {}: {}", why.reason, why.detail),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The record at an offset that the log holds, if there is one.
fn record(log: &dyn Log, at: TopicPartition, offset: i64) -> anyhow::Result<Option<LogRecord>> {
    let mut reader = log.reader(&[(at, offset)], Fetch { prefetch_bytes: 1 << 20, poll_bytes: 1 })?;
    while reader.position(at).is_some_and(|position| position <= offset) {
        if let Some(record) = reader.poll(WAIT)?.into_iter().next() {
            return Ok(Some(record).filter(|record| record.offset == offset));
        }
    }
    Ok(None)
}

fn heal(config: &Config, dir: &Path, dry_run: bool) -> anyhow::Result<ExitCode> {
    Reader::open(dir)?;
    let mut sink = parquet(config, dir)?;
    let log = open_log(config)?;
    let kept = checkpoints(config, dir)?;
    let store = kept.as_ref().map(|kept| &kept.store);
    let target = Target { tables: dir, checkpoints: store, epoch_ms: config.epochs.epoch_ms, dry_run };
    let healed = healing::heal(&*log, target, &mut *sink, |heal, tables, state| {
        let checkpoints = kept.as_ref().zip(state).map(|(kept, store)| kept.moved(store));
        let engine = engine(config, log.clone(), 0)?;
        let engine = Engine { checkpoints, heal: Some(heal), ..engine };
        let sinks = vec![parquet(config, tables)?];
        let ran = run_with_progress(engine, Run::Bounded(Range::ALL), sinks, Arc::default())?;
        println!("{ran}");
        Ok(())
    })?;
    match healed {
        None => {
            println!("nothing to heal: the tables are what this version and these settings make of the log")
        }
        Some(healed) => tell(&healed, dry_run),
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(healed: &Healed, dry_run: bool) {
    let Healed { at, healed, new, remaining, rows, selections } = healed;
    let verb = if dry_run { "would be healed" } else { "healed" };
    println!("{} records {verb} at epoch {} ({})", healed.len(), at.0, at.as_event().canonical());
    list(healed.iter().cloned());
    if !new.is_empty() {
        println!("{} records that were used are not any more:", new.len());
        list(new.iter().cloned());
    }
    println!(
        "{remaining} dead letters remain; {selections} selections stay that would be made differently now"
    );
    for (table, (came, went)) in rows {
        println!("  {table:24} {came:>8} rows came {went:>8} went");
    }
}
