//! Several processes as one run: timely connects their workers, and a [`wire`] of its own tells them what the first
//! one decides.
//!
//! The first process is the only one that has the epoch table's fence, the sinks, the checkpoints and the API. The
//! others fetch, decode and infer what their workers own. A process that dies takes the run down: whoever
//! supervises them starts all of them again, and they recover from the last checkpoint.

pub mod hub;
pub mod member;
pub mod mirror;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use bytes::Bytes;
use lsie_schemas::log::TopicPartition;
use lsie_schemas::record::EpochRecord;
use lsie_schemas::row::DecisionRow;
use lsie_schemas::{LogTime, Topic};
use serde::{Deserialize, Serialize};
use timely::CommunicationConfig;
use uuid::Uuid;

use crate::adapter::Time;
use crate::answers::Answers;
use crate::checkpoint::Encoded;
use crate::checkpoint::manifest::Witness;
use crate::checkpoint::state_file::{Added, Shelved};
use crate::crash_book::{CrashBook, Place};
use crate::elsewhere::Stand;
use crate::epochs::Positions;
use crate::ingest::{News, Shared};

/// The processes of a run, and which of them this one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// This process; 0 is the first.
    pub process: usize,
    /// The address of every process, `host:port`, in their order.
    pub addresses: Vec<String>,
    /// The hash of every setting that a result depends on, and the number of workers: all processes must have the
    /// same.
    pub config: String,
}

impl Cluster {
    /// Reads a file of hosts, a line `host:port` for each process.
    pub fn read(process: usize, hosts: &Path, config: String) -> anyhow::Result<Cluster> {
        let text =
            std::fs::read_to_string(hosts).with_context(|| format!("the hosts in {}", hosts.display()))?;
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        let addresses: Vec<String> = lines.filter(|line| !line.is_empty()).map(str::to_owned).collect();
        for address in &addresses {
            let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            ensure!(port.is_some(), "{}: `{address}` is no host:port", hosts.display());
        }
        let count = addresses.len();
        ensure!(process < count, "there is no process {process}: {} names {count}", hosts.display());
        Ok(Cluster { process, addresses, config })
    }

    /// How many processes there are.
    pub fn processes(&self) -> usize {
        self.addresses.len()
    }

    /// Whether another process decides.
    pub fn is_member(&self) -> bool {
        self.process > 0
    }

    /// How timely connects them, with so many workers in each.
    pub(crate) fn connections(&self, threads: usize) -> CommunicationConfig {
        CommunicationConfig::Cluster {
            threads,
            process: self.process,
            addresses: self.addresses.clone(),
            report: false,
            zerocopy: false,
        }
    }
}

/// How timely names the threads of its connections.
const CONNECTIONS: [&str; 2] = ["timely:recv", "timely:send"];

/// Ends the run when the connection to another process breaks. One of timely's threads panics then, and nobody
/// else is told. What this process is working on is not to blame for that.
pub(crate) fn notice_lost_processes(shared: &Arc<Shared>, book: &Arc<CrashBook>) {
    let (shared, book, before) = (shared.clone(), book.clone(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or_default();
        let thread = std::thread::current();
        match text.strip_prefix("timely communication error: ") {
            Some(why) => {
                book.leave();
                shared.fail(format!("another process of the run is gone ({why})"));
            }
            None if thread.name().is_some_and(|name| CONNECTIONS.iter().any(|of| name.starts_with(of))) => {
                before(panic);
                shared.fail("the connections broke: have all processes the same number of workers?".into());
            }
            None => before(panic),
        }
    }));
}

/// What a process must know to begin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Begin {
    /// New epochs are made, until a signal.
    pub live: bool,
    /// The log time of the last epoch that is known at the start.
    pub last: LogTime,
    /// From where every input partition is read.
    pub from: Vec<(TopicPartition, i64)>,
    /// Where those of a live run ended at the start.
    pub ends: Positions,
    /// Partitions of each input topic.
    pub partitions: BTreeMap<Topic, i32>,
    /// Sessions that are left out.
    pub left_out: BTreeSet<Uuid>,
    /// The checkpoint that the run resumes from; 0: none.
    pub resumed: LogTime,
    /// Whether there are checkpoints.
    pub checkpoints: bool,
    /// Records in quarantine.
    pub quarantined: BTreeSet<Place>,
    /// Selections that stand.
    pub selections: Vec<DecisionRow>,
    /// The answers that the log holds.
    pub answers: Answers,
}

/// State on its way to the process that writes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum State {
    Pieces(Encoded),
    Rows(Added),
    Shelf(Shelved),
}

/// What one process tells another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Packet {
    /// A process is there: the hash of its settings, and records over which it has died too often.
    Hello { config: String, guilty: Vec<(Place, u32)> },
    /// What it has fetched, the requests that wait for an answer, and the newest committed epoch it has heard of.
    News { news: News, unanswered: i64, committed: Time },
    /// Where it stands, for those who watch.
    Stand(Stand),
    /// One of its workers took an epoch.
    Took { epoch: Time, bytes: u64, last: Vec<(TopicPartition, Witness)> },
    /// A part of a checkpoint.
    Part { epoch: Time, station: String, rewind: Option<Time>, further: Option<usize>, state: State },
    /// It was told to end.
    Ending,
    /// From the first process: begin, with this state.
    Begin(Box<Begin>, Option<Bytes>),
    /// From the first process: it does not let this one in.
    Refused(String),
    /// From the first process: an epoch has entered; whether it is a checkpoint.
    Epoch(EpochRecord, bool),
    /// From the first process: no epoch follows.
    Finish,
    /// From the first process: every sink holds an epoch.
    Committed(Time),
    /// From the first process: a checkpoint is written.
    Written(Time),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(process: usize, text: &str) -> Result<Vec<String>, String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        let read = Cluster::read(process, file.path(), String::new());
        read.map(|cluster| cluster.addresses).map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn hosts_are_lines() {
        let hosts = read(1, "# ours\nlsie-0.lsie:2101\n\nlsie-1.lsie:2101 # the second\n").expect("hosts");
        assert_eq!(hosts, ["lsie-0.lsie:2101", "lsie-1.lsie:2101"]);
        assert!(read(2, "a:1\nb:1\n").expect_err("two").contains("there is no process 2"));
        assert!(read(0, "a\n").expect_err("no port").contains("`a` is no host:port"));
    }
}
