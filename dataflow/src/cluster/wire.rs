//! The wire between processes: packets between the first worker of each, on timely's own connections, as a small
//! dataflow beside the graph.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, unbounded};
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::Operator;
use timely::dataflow::operators::generic::operator::source;
use timely::scheduling::SyncActivator;
use timely::worker::Worker;

use super::Packet;
use crate::adapter::Time;
use crate::checkpoint::state_file::{decode, encode};
use crate::ingest::Shared;

/// A packet as bytes: the worker it goes to, and the process it comes from.
type Parcel = (u64, u64, Vec<u8>);

/// Where packets are sent from.
pub(crate) struct Wire {
    process: usize,
    /// Workers of a process.
    workers: usize,
    parcels: Sender<Parcel>,
    waker: Mutex<Option<SyncActivator>>,
    closed: AtomicBool,
    shared: Arc<Shared>,
}

/// The end of a wire that the process's first worker holds.
pub(crate) struct Plug {
    wire: Arc<Wire>,
    parcels: Receiver<Parcel>,
    arrived: Sender<(usize, Packet)>,
}

impl Wire {
    /// A wire of this process, its plug, and what arrives: packets, and from which process.
    pub(crate) fn new(
        process: usize,
        workers: usize,
        shared: &Arc<Shared>,
    ) -> (Arc<Wire>, Plug, Receiver<(usize, Packet)>) {
        let ((parcels, outgoing), (arrived, arrivals)) = (unbounded(), unbounded());
        let wire = Arc::new(Wire {
            process,
            workers,
            parcels,
            waker: Mutex::default(),
            closed: AtomicBool::new(false),
            shared: shared.clone(),
        });
        let plug = Plug { wire: wire.clone(), parcels: outgoing, arrived };
        (wire, plug, arrivals)
    }

    /// Sends a packet to a process. What is sent to one arrives in order.
    pub(crate) fn send(&self, process: usize, packet: &Packet) {
        match encode(packet) {
            Ok(bytes) => {
                let parcel = ((process * self.workers) as u64, self.process as u64, bytes.to_vec());
                // The worker is gone only when the run is over.
                let _ = self.parcels.send(parcel);
                self.wake();
            }
            Err(why) => self.shared.fail(format!("a packet to process {process}: {why}")),
        }
    }

    /// Nothing more is sent: the dataflow of the wire may end.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.lock().unwrap_or_else(PoisonError::into_inner) {
            // The same.
            let _ = waker.activate();
        }
    }
}

/// Builds the dataflow of the wire; the first worker of each process has the plug.
pub(crate) fn build(worker: &mut Worker, plug: Option<Plug>) {
    worker.dataflow::<Time, _, _>(|scope| {
        let arrived = plug.as_ref().map(|plug| (plug.arrived.clone(), plug.wire.shared.clone()));
        let parcels = source(scope, "packets", |capability, info| {
            let waker = scope.worker().sync_activator_for(info.address.to_vec());
            let mut held = plug.map(|plug| {
                *plug.wire.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker);
                plug.wire.wake();
                (plug, capability)
            });
            move |output| {
                let Some((plug, capability)) = &held else { return };
                // Asked before the channel is emptied: nothing is sent after it is closed.
                let closed = plug.wire.closed.load(Ordering::SeqCst);
                output.session(capability).give_iterator(plug.parcels.try_iter());
                if closed {
                    held = None;
                }
            }
        });
        let to = Exchange::new(|(to, _, _): &Parcel| *to);
        parcels.sink(to, "packets", move |(input, _)| {
            // In the order in which they come: sorted by time they could change places.
            input.for_each(|_, parcels| {
                let Some((arrived, shared)) = &arrived else { return };
                for (_, from, bytes) in parcels.drain(..) {
                    match decode(&bytes) {
                        // Whoever listened has gone only when the run is over.
                        Ok(packet) => drop(arrived.send((from as usize, packet))),
                        Err(why) => shared.fail(format!("a packet of process {from}: {why}")),
                    }
                }
            });
        });
    });
}
