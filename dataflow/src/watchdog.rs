//! Looks after a live run: asks the log how far its partitions go, and says which operator holds an epoch when nothing is
//! committed any more.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use lsie_schemas::log::{Log, TopicPartition};

use crate::checkpoint::gate::Gate;
use crate::ingest::Shared;
use crate::metrics::instant;
use crate::sources::holder;

/// How often it looks.
const LOOK: Duration = Duration::from_secs(2);
/// An epoch that has entered and is not committed after so long is held.
const HELD: Duration = Duration::from_secs(10);

/// Looks until the run is over.
pub(crate) fn watch(
    log: &dyn Log,
    partitions: &[TopicPartition],
    gate: &Gate,
    is_over: &Receiver<()>,
    shared: &Shared,
) {
    let mut newest = (0, instant());
    while is_over.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        shared.sources.look(log, partitions.iter().copied());
        let committed = shared.committed.load(Ordering::SeqCst);
        if committed != newest.0 || gate.entered() <= committed {
            newest = (committed, instant());
        }
        let held = newest.1.elapsed();
        if held < HELD {
            shared.metrics.held(None);
            continue;
        }
        let loads = shared.loads();
        let (worker, operator) = match holder(&loads) {
            Some(load) => (load.worker, load.operator.as_str()),
            None => (0, "commit"),
        };
        shared.metrics.held(Some((worker, operator, held)));
        let seconds = held.as_secs();
        tracing::error!(
            after = committed,
            operator,
            worker,
            seconds,
            "an epoch is held: nothing was committed since"
        );
    }
}
