//! Filling the served views from the changelogs of a Parquet directory, after a restart.

use crate::parquet::Reader;
use crate::views::Views;
use crate::{Error, Sink};

impl Views {
    /// Applies every epoch of a directory, so that `created_at` and `updated_at` are as they were, and the
    /// newest changes can be resumed from.
    pub fn restore(&self, reader: &Reader) -> Result<(), Error> {
        let catalog = self.catalog().clone();
        let mut sink = self.sink();
        for epoch in reader.epochs(&catalog, None) {
            let (epoch, changes) = epoch?;
            sink.write(epoch, &changes)?;
            sink.commit(epoch)?;
        }
        // Epochs without rows may follow the last one with any.
        reader.committed().map_or(Ok(()), |epoch| sink.commit(epoch))
    }
}
