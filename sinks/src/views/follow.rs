//! The served views behind the Parquet changelog, from which they are filled after a restart while the engine is at
//! work already.

use std::path::Path;
use std::time::Duration;

use crate::follower::Options;
use crate::parquet::Reader;
use crate::views::Views;
use crate::{Error, Follower, Sink};

/// What waits for the views in memory; beyond, they read the changelog.
const QUEUE_BYTES: usize = 64 << 20;
/// How long the end of a run waits for them: nobody asks any more.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long they leave the processors to a run that has no epoch yet.
const YIELDS: Duration = Duration::from_secs(10);

impl Views {
    /// The writer of a run that writes its tables into this directory, too. The views get every epoch that is there, so that
    /// `created_at` and `updated_at` are as they were and the newest changes can be resumed from, and then those of the
    /// run. Queries are answered once all that is there now is served.
    pub fn follow(&self, changelog: &Path) -> Result<Follower, Error> {
        let held = Reader::open(changelog)?;
        // A file that is gone now was not merged away: nobody writes yet.
        held.is_whole()?;
        match held.committed() {
            Some(epoch) => self.serve_from(epoch),
            None => self.serve(),
        }
        let options =
            Options { queue_bytes: QUEUE_BYTES, patience: PATIENCE, takes_transient: true, yields: YIELDS };
        let views = self.clone();
        let connect = Box::new(move || Ok(Box::new(views.sink()) as Box<dyn Sink>));
        Follower::start("views", self.catalog().clone(), changelog, options, connect)
    }
}
