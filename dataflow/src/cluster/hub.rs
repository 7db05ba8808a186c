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
use crate::epochs::Positions;
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
    /// What every process must know, once all are there.
    pub(crate) begin: Begin,
    pub(crate) state: Option<Bytes>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) epochs: Sender<Message>,
    pub(crate) ending: Option<Arc<AtomicBool>>,
    /// Has this process begin too, with these records in quarantine, once the others have been told how.
    pub(crate) ready: Box<dyn FnOnce(BTreeSet<Place>) -> anyhow::Result<()> + Send>,
    /// Puts records into quarantine over which another process has died too often.
    pub(crate) quarantine: Box<Quarantining>,
    /// The other processes, and what each of their partitions is.
    pub(crate) config: String,
    pub(crate) workers: usize,
}

impl Hub {
    /// The first process of a cluster, the plug of its wire, and what arrives on that. Its epochs end `at` these
    /// positions.
    pub(crate) fn new(
        cluster: &Cluster,
        workers: usize,
        at: &Positions,
        shared: &Arc<Shared>,
    ) -> (Arc<Hub>, Plug, Receiver<(usize, Packet)>) {
        let (wire, plug, arrivals) = Wire::new(cluster.process, workers, shared);
        let mirrors = (1..cluster.processes()).map(|_| Arc::new(Mirror::new(at.clone()))).collect();
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

    /// Waits until all processes are there, has all begin, and listens until the wire ends.
    ///
    /// Nobody begins before: an epoch that enters here must find every process ready for it, and a record that
    /// any of them suspects is in quarantine for all.
    pub(crate) fn listen(
        &self,
        ear: Ear,
        arrivals: &Receiver<(usize, Packet)>,
        shared: &Shared,
    ) -> anyhow::Result<()> {
        let Ear { mut begin, state, gate, epochs, ending, ready, quarantine, config, workers } = ear;
        let end = || ending.iter().for_each(|ending| ending.store(true, Ordering::SeqCst));
        let mut there = BTreeSet::new();
        while there.len() < self.mirrors.len() {
            let Ok((process, packet)) = arrivals.recv() else { return Ok(()) };
            match packet {
                Packet::Hello { config: theirs, guilty } if theirs == config => {
                    tracing::info!(process, "a process of the run is there");
                    quarantine(guilty, &mut begin.quarantined)?;
                    there.insert(process);
                }
                Packet::Hello { .. } => {
                    let why = format!(
                        "process {process} has other settings, or another number of workers, than the first: \
                         `lsie config show`"
                    );
                    self.wire.send(process, &Packet::Refused(why.clone()));
                    // So that it hears why before the connection breaks.
                    std::thread::sleep(FAREWELL);
                    bail!(why);
                }
                Packet::Ending => end(),
                packet => bail!("process {process} sent before it was told to begin: {packet:?}"),
            }
        }
        let owned: Vec<Vec<TopicPartition>> =
            (0..=self.mirrors.len()).map(|process| self.owned(&begin, process, workers)).collect();
        let quarantined = begin.quarantined.clone();
        self.tell(&Packet::Begin(Box::new(begin), state));
        ready(quarantined)?;
        for (process, packet) in arrivals {
            match packet {
                Packet::News { news, unanswered, committed } => {
                    if let Some(mirror) = self.mirrors.get(process.wrapping_sub(1)) {
                        mirror.hear(news, unanswered, LogTime(committed));
                    }
                }
                Packet::Stand(stand) => shared.elsewhere.hear(process, stand),
                Packet::Took { epoch, bytes, last } => {
                    let owned = owned.get(process).into_iter().flatten().copied();
                    gate.took(epoch, bytes, owned, last.into_iter());
                }
                Packet::Part { epoch, station, rewind, further, state } => {
                    // The commit thread is gone only when it failed, and then it has stopped the run.
                    let _ = epochs.send(Message::Part(part(epoch, &station, (rewind, further), state)?));
                }
                Packet::Ending => end(),
                packet => bail!("process {process} sent what only the first sends: {packet:?}"),
            }
            if shared.stopped() {
                break;
            }
        }
        Ok(())
    }

    /// The partitions that a process owns.
    fn owned(&self, begin: &Begin, process: usize, workers: usize) -> Vec<TopicPartition> {
        let all = (self.mirrors.len() + 1) * workers;
        let theirs = process * workers..(process + 1) * workers;
        let is_theirs = |at: &TopicPartition| theirs.clone().any(|worker| owns(worker, all, *at));
        begin.from.iter().map(|(at, _)| *at).filter(is_theirs).collect()
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
        State::Shelf(changed) => Content::Shelf(Box::new(move || Ok(changed))),
    };
    Ok(Part { epoch, station, rewind, further, content })
}
