//! The thread that writes checkpoints, so that neither encoding them nor a slow store holds back a result.

use std::sync::Arc;

use crossbeam_channel::Receiver;
use lsie_schemas::LogTime;

use super::Part;
use super::writer::Writer;
use crate::cluster::hub::Hub;
use crate::ingest::Shared;
use crate::metrics::instant;

/// What reaches the thread.
pub enum Handed {
    /// State for a checkpoint.
    Part(Part),
    /// Every sink holds the epochs up to here, and needs none of them again.
    Held(LogTime),
}

/// Writes each checkpoint once all of its state is there and every sink holds its epoch.
pub struct Keeper {
    /// Writes them.
    pub writer: Writer,
    /// What the other processes of the run are told by.
    pub(crate) speaking: Option<Arc<Hub>>,
}

impl Keeper {
    /// Takes what is handed until nobody is left to hand anything.
    pub fn run(mut self, handed: &Receiver<Handed>, shared: &Shared) -> anyhow::Result<()> {
        let mut held = None;
        for handed in handed {
            match handed {
                Handed::Part(part) => self.writer.take(part)?,
                Handed::Held(epoch) => held = Some(epoch),
            }
            while let Some(epoch) = self.writer.ready().filter(|epoch| held >= Some(*epoch)) {
                self.write(epoch, shared);
            }
        }
        Ok(())
    }

    /// Without it the run is as right as before, only its next start takes longer.
    fn write(&mut self, epoch: LogTime, shared: &Shared) {
        let began = instant();
        let written = self.writer.write();
        self.speaking.iter().for_each(|hub| hub.written(epoch));
        shared.metrics.checkpoint(began, written.is_ok().then(|| self.writer.bytes()));
        if let Err(why) = written {
            tracing::warn!(%why, "a checkpoint could not be written; the next one will be tried");
        }
    }
}
