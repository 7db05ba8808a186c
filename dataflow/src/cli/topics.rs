//! `lsie topics create|check`: the topic set.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use lsie_schemas::Topic;
use lsie_schemas::log::{Log, TimestampType, TopicSpec};
use lsie_schemas::record::ExperimentRecord;
use lsie_schemas::topic::{KeyedBy, Retention};

use super::running::open_log;
use crate::config::Config;

/// The topic set: create it, or check the one that is there.
#[derive(Debug, Args)]
pub(super) struct Topics {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create all topics and the seed experiment; what exists in the same shape is left alone.
    Create {
        /// Partitions of the session topics; another number later means another topic set.
        #[arg(long, default_value_t = 4)]
        partitions: i32,
        /// A recorded set: producers' timestamps, no time retention. For synthetic or encrypted media only.
        #[arg(long)]
        recorded: bool,
    },
    /// Check partitions, timestamps and retention.
    Check,
}

impl Topics {
    pub(super) fn run(self, config: Config) -> anyhow::Result<ExitCode> {
        let log = open_log(&config)?;
        match self.command {
            Command::Create { partitions, recorded } => {
                create(&*log, partitions, recorded)?;
                println!("{} topics, {partitions} partitions each session topic", Topic::ALL.len());
                Ok(ExitCode::SUCCESS)
            }
            Command::Check => {
                let problems = check(&*log, &config)?;
                problems.iter().for_each(|problem| println!("{problem}"));
                if problems.is_empty() {
                    println!("all topics are as they should be");
                }
                Ok(ExitCode::from(u8::from(!problems.is_empty())))
            }
        }
    }
}

/// Creates the set and, if it is new, its seed experiment.
pub(super) fn create(log: &dyn Log, partitions: i32, recorded: bool) -> anyhow::Result<()> {
    let fresh = log.topic(Topic::Experiments)?.is_none();
    log.create_topics(&specs(partitions, recorded))?;
    if fresh {
        // Before every recorded session; 0 would mean "now" to Kafka's client.
        let timestamp = recorded.then_some(lsie_schemas::LogTime(1));
        log.append(vec![ExperimentRecord::seed().encode(timestamp)])?;
    }
    Ok(())
}

/// The set: session topics share one partition count, the others have one partition.
pub(super) fn specs(partitions: i32, recorded: bool) -> Vec<TopicSpec> {
    let spec = |topic: Topic| TopicSpec {
        topic,
        partitions: if topic.keyed_by() == KeyedBy::Session { partitions } else { 1 },
        timestamps: if recorded || topic == Topic::Epochs {
            TimestampType::Create
        } else {
            TimestampType::LogAppend
        },
        retention_ms: match topic.retention() {
            Retention::AtMost(ms) if !recorded => Some(ms),
            _ => None,
        },
    };
    Topic::ALL.into_iter().map(spec).collect()
}

/// What is wrong with the set, each with its mend.
pub(super) fn check(log: &dyn Log, config: &Config) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut session_partitions = None;
    for topic in Topic::ALL {
        let Some(state) = log.topic(topic)? else {
            problems.push(format!("{topic}: missing; `lsie topics create` makes it"));
            continue;
        };
        let wanted = match topic.keyed_by() {
            KeyedBy::Session => *session_partitions.get_or_insert(state.partitions),
            _ => 1,
        };
        if state.partitions != wanted {
            let found = state.partitions;
            problems.push(format!("{topic}: {found} partitions, wanted {wanted}; make a new topic set"));
        }
        if let Retention::AtMost(limit) = topic.retention() {
            let allowed = config.log.allow_long_retention.iter().any(|name| name == topic.name());
            if !allowed && state.retention_ms.is_none_or(|ms| ms > limit) {
                problems.push(format!(
                    "{topic}: keeps records longer than {} h; mend it by `{}`, or name it in log.allow_long_retention",
                    limit / 3_600_000,
                    shorten(config, topic, limit)
                ));
            }
        }
    }
    Ok(problems)
}

/// The command that gives a topic a retention.
fn shorten(config: &Config, topic: Topic, retention_ms: u64) -> String {
    match config.log.address.split_once(':') {
        Some(("file", dir)) => {
            let file = format!("{dir}/{topic}/topic.json");
            format!("sed -i 's/\"retention_ms\": *[a-z0-9]*/\"retention_ms\":{retention_ms}/' {file}")
        }
        _ => {
            let broker = config.log.address.trim_start_matches("kafka:");
            let name = format!("{}{topic}", config.log.prefix);
            format!(
                "kafka-configs.sh --bootstrap-server {broker} --alter --entity-type topics --entity-name {name} \
                 --add-config retention.ms={retention_ms}"
            )
        }
    }
}
