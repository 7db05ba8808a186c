//! `lsie record`: topics into an archive directory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use lsie_connectors::archive::{self, ArchiveError, Copied, Wanted};
use lsie_schemas::log::{Log, TopicPartition};
use lsie_schemas::{LogTime, Topic};

use crate::config::Config;
use crate::epochs::{self, Positions};
use crate::ingest::INPUTS;

/// Copy the topics into a directory, record by record with offset, time, key and headers, checksummed and
/// compressed; `lsie replay --archive DIR` reads it. What is there already is not copied again: an interrupted
/// copy goes on, a later one adds what has come since.
///
/// Without being named, everything goes in but physiological chunks, requests and keys; media only where they
/// are sealed.
#[derive(Debug, Args)]
pub(super) struct Record {
    /// The directory: new, or an archive of the same topics.
    dir: PathBuf,
    /// Log time up to which to copy, ms since the Unix epoch; default: all there is.
    #[arg(long, value_name = "MS")]
    until: Option<u64>,
    /// Topics that go in by name: physio, and av.audio and av.video although they are not sealed.
    #[arg(long, value_name = "TOPIC", value_delimiter = ',')]
    with: Vec<String>,
    /// Topics that stay out.
    #[arg(long, value_name = "TOPIC", value_delimiter = ',')]
    without: Vec<String>,
}

impl Record {
    #[allow(clippy::disallowed_methods, reason = "a rate is about the copying itself")]
    pub(super) fn run(self, config: Config) -> anyhow::Result<ExitCode> {
        // As they lie in the log: sealed media stay sealed.
        let from = &config.log;
        let log = lsie_connectors::open(&from.address, &from.prefix, &from.properties)?;
        let (with, without) = (named(&self.with)?, named(&self.without)?);
        if let Some(never) = with.iter().find(|topic| !archive::by_name(**topic)) {
            bail!("topic {never} never goes into an archive");
        }
        let by_default = Topic::ALL.into_iter().filter(|topic| archive::by_default(*topic));
        let mut topics: BTreeSet<Topic> = by_default.chain(with.iter().copied()).collect();
        topics.retain(|topic| !without.contains(topic));
        ensure!(
            topics.contains(&Topic::Epochs),
            "without the epoch table a replay would not be the live run"
        );
        let ends = ends(&*log, &topics, self.until.map(LogTime))?;
        let wanted = Wanted { topics, raw: with, ends };

        let (bar, started) = (bar()?, Instant::now());
        let copied = archive::copy(&*log, &self.dir, &wanted, |copied| show(&bar, copied, started.elapsed()));
        bar.finish_and_clear();
        let copied = match copied {
            Err(ArchiveError::Raw { at, offset }) => bail!(
                "{}. Name it by `--with {topic}` where nobody's rights forbid it, or leave it out by `--without {topic}`",
                ArchiveError::Raw { at, offset },
                topic = at.topic
            ),
            copied => copied?,
        };
        println!("{} in {:.1} s", told(copied, started.elapsed()), started.elapsed().as_secs_f64());
        for topic in archive::page(&self.dir)?.left_out.iter().filter(|topic| INPUTS.contains(topic)) {
            println!("left out: {topic}; a replay will be without what it carries");
        }
        println!("archive in {0}; `lsie replay --archive {0} --out DIR` replays it", self.dir.display());
        Ok(ExitCode::SUCCESS)
    }
}

fn named(names: &[String]) -> anyhow::Result<BTreeSet<Topic>> {
    let all = || Topic::ALL.map(Topic::name).join(", ");
    let topic =
        |name: &String| Topic::by_name(name).with_context(|| format!("no topic {name}; there are {}", all()));
    names.iter().map(topic).collect()
}

/// Up to where to copy. The end of the epoch table is looked at first: what it names is then there, too.
fn ends(log: &dyn Log, topics: &BTreeSet<Topic>, until: Option<LogTime>) -> anyhow::Result<Positions> {
    let mut ends = BTreeMap::new();
    let table = match until {
        Some(until) => {
            let mut entries = epochs::read_table(log)?.context("the log has no topic epochs")?.entries;
            entries.retain(|entry| entry.log_time <= until);
            Some(epochs::accept(entries)).filter(|(table, _)| !table.is_empty())
        }
        None => None,
    };
    for topic in topics.iter().rev() {
        let partitions = log.topic(*topic)?.map_or(0, |state| state.partitions);
        let all = (0..partitions).map(|partition| TopicPartition { topic: *topic, partition });
        for (at, (first, end)) in log.bounds_of(&all.collect::<Vec<_>>())? {
            let to = match (until, &table) {
                (Some(_), Some((_, reached))) if INPUTS.contains(topic) => {
                    reached.get(&at).copied().unwrap_or(first)
                }
                (Some(until), _) => log.offset_at(at, until.plus_ms(1))?.unwrap_or(end),
                (None, _) => end,
            };
            ends.insert(at, to.min(end));
        }
    }
    Ok(ends)
}

fn bar() -> anyhow::Result<ProgressBar> {
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}  {elapsed}, {eta} left")?);
    Ok(bar)
}

fn show(bar: &ProgressBar, copied: Copied, elapsed: Duration) {
    bar.set_length(copied.total);
    bar.set_position(copied.done);
    bar.set_message(told(copied, elapsed));
}

fn told(copied: Copied, elapsed: Duration) -> String {
    let rate = copied.bytes as f64 / elapsed.as_secs_f64().max(1e-3);
    format!("{} records, {}, {}/s", copied.records, HumanBytes(copied.bytes), HumanBytes(rate as u64))
}
