//! The first process, as the others know it: it tells them what it decides, and listens to what they have.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use lsie_schemas::LogTime;
use lsie_schemas::log::TopicPartition;

use super::mirror::Mirror;
use super::wire::{Plug, Wire};
use super::{Begin, Cluster, Packet, State};
use crate::adapter::Time;
use crate::checkpoint::gate::{Gate, Passing};
use crate::checkpoint::{Content, Part, STATIONS};
use crate::commit::Message;
use crate::coordinator::Intake;
use crate::crash_book::Place;
use crate::ingest::{Shared, owns};

/// How long a process that is refused has to hear it.
const FAREWELL: Duration = Duration::from_millis(500);

/// What the first process tells the others.
pub(crate) struct Hub {
    wire: Arc<Wire>,
    mirrors: Vec<Arc<Mirror>>,
}

/// Puts what is guilty into quarantine, and adds it to what is known to be there.
pub(crate) type Quarantining = dyn Fn(Vec<(Place, u32)>, &mut BTreeSet<Place>) -> anyhow::Result<()> + Send;

/// What the first process listens with.
pub(crate) struct Ear {
    pub(crate) begin: Begin,
    pub(crate) state: Option<Bytes>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) epochs: Sender<Message>,
    pub(crate) ending: Option<Arc<AtomicBool>>,
    /// Puts records into quarantine over which another process has died too often.
    pub(crate) quarantine: Box<Quarantining>,
    /// The other processes, and what each of their partitions is.
    pub(crate) config: String,
    pub(crate) workers: usize,
}

impl Hub {
    /// The first process of a cluster, the plug of its wire, and what arrives on that.
    pub(crate) fn new(
        cluster: &Cluster,
        workers: usize,
        shared: &Arc<Shared>,
    ) -> (Arc<Hub>, Plug, Receiver<(usize, Packet)>) {
        let (wire, plug, arrivals) = Wire::new(cluster.process, workers, shared);
        let mirrors = (1..cluster.processes()).map(|_| Arc::default()).collect();
        (Arc::new(Hub { wire, mirrors }), plug, arrivals)
    }

    /// Its wire.
    pub(crate) fn wire(&self) -> Arc<Wire> {
        self.wire.clone()
    }

    /// What the others have fetched, for the coordinator.
    pub(crate) fn intakes(&self) -> impl Iterator<Item = Arc<dyn Intake>> {
        self.mirrors.iter().map(|mirror| mirror.clone() as Arc<dyn Intake>)
    }

    /// Every sink holds this epoch.
    pub(crate) fn committed(&self, epoch: LogTime) {
        self.tell(&Packet::Committed(epoch.0));
    }

    /// A checkpoint is written.
    pub(crate) fn written(&self, epoch: LogTime) {
        self.tell(&Packet::Written(epoch.0));
    }

    /// What happened at the gate.
    pub(crate) fn passed(&self, passing: Passing) {
        match passing {
            Passing::Entered(epoch, chosen) => self.tell(&Packet::Epoch(epoch, chosen)),
            Passing::Ended => self.tell(&Packet::Finish),
            Passing::Took(..) => {}
        }
    }

    fn tell(&self, packet: &Packet) {
        (1..=self.mirrors.len()).for_each(|process| self.wire.send(process, packet));
    }

    /// Listens until the wire ends.
    pub(crate) fn listen(
        &self,
        mut ear: Ear,
        arrivals: &Receiver<(usize, Packet)>,
        shared: &Shared,
    ) -> anyhow::Result<()> {
        for (process, packet) in arrivals {
            match packet {
                Packet::Hello { config, .. } if config != ear.config => {
                    let why =
                        format!("process {process} has other settings than the first: `lsie config show`");
                    self.wire.send(process, &Packet::Refused(why.clone()));
                    // So that it hears why before the connection breaks.
                    std::thread::sleep(FAREWELL);
                    bail!(why);
                }
                Packet::Hello { guilty, .. } => {
                    tracing::info!(process, "a process of the run is there");
                    (ear.quarantine)(guilty, &mut ear.begin.quarantined)?;
                    let begin = Packet::Begin(Box::new(ear.begin.clone()), ear.state.clone());
                    self.wire.send(process, &begin);
                }
                Packet::News { news, unanswered, committed } => {
                    if let Some(mirror) = self.mirrors.get(process.wrapping_sub(1)) {
                        mirror.hear(news, unanswered, LogTime(committed));
                    }
                }
                Packet::Took { epoch, bytes, last } => {
                    let owned = ear.owned(process, self.mirrors.len() + 1);
                    ear.gate.took(epoch, bytes, owned, last.into_iter());
                }
                Packet::Part { epoch, station, rewind, further, state } => {
                    // The commit thread is gone only when it failed, and then it has stopped the run.
                    let _ = ear.epochs.send(Message::Part(part(epoch, &station, (rewind, further), state)?));
                }
                Packet::Ending => ear.ending.iter().for_each(|ending| ending.store(true, Ordering::SeqCst)),
                packet => bail!("process {process} sent what only the first sends: {packet:?}"),
            }
            if shared.stopped() {
                break;
            }
        }
        Ok(())
    }
}

impl Ear {
    /// The partitions that a process owns.
    fn owned(&self, process: usize, processes: usize) -> impl Iterator<Item = TopicPartition> {
        let (first, all) = (process * self.workers, processes * self.workers);
        let workers = first..first + self.workers;
        let is_theirs = move |at: &TopicPartition| workers.clone().any(|worker| owns(worker, all, *at));
        self.begin.from.iter().map(|(at, _)| *at).filter(is_theirs)
    }
}

fn part(
    epoch: Time,
    station: &str,
    (rewind, further): (Option<Time>, Option<usize>),
    state: State,
) -> anyhow::Result<Part> {
    let Some((station, _)) = STATIONS.iter().find(|(name, _)| *name == station) else {
        bail!("state of {station}, which is no station");
    };
    let content = match state {
        State::Pieces(pieces) => Content::Pieces(Box::new(move || Ok(pieces))),
        State::Rows(rows) => Content::Rows(Box::new(move || Ok(rows))),
    };
    Ok(Part { epoch, station, rewind, further, content })
}
