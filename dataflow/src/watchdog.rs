//! Looks after a live run: asks the log how far its partitions go, and says which operator holds an epoch when nothing is
//! committed any more.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use lsie_schemas::log::{Log, TopicPartition};

use crate::checkpoint::gate::Gate;
use crate::ingest::Shared;
use crate::metrics::instant;
use crate::sources::holder;

/// How often it looks.
const LOOK: Duration = Duration::from_secs(2);
/// An epoch that has entered and is not committed after so long is held.
const HELD: Duration = Duration::from_secs(10);

/// Asks the log whenever it is told to, on a thread that nobody waits for: a log that hangs holds up no end. It does not
/// keep the log open either.
pub(crate) fn ask(
    log: &Arc<dyn Log>,
    partitions: Vec<TopicPartition>,
    shared: Arc<Shared>,
) -> std::io::Result<Sender<()>> {
    let (asking, asked) = bounded(1);
    let log = Arc::downgrade(log);
    std::thread::Builder::new().name("ends".into()).spawn(move || {
        for () in asked {
            let Some(log) = log.upgrade() else { return };
            shared.sources.look(&*log, &partitions);
        }
    })?;
    Ok(asking)
}

/// Looks until the run is over.
pub(crate) fn watch(asking: &Sender<()>, gate: &Gate, is_over: &Receiver<()>, shared: &Shared) {
    let mut newest = (0, instant());
    while is_over.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        // Full: the log has not answered yet.
        let _ = asking.try_send(());
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
