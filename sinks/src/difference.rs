//! What turns the rows of one result directory into those of another.

use std::collections::BTreeMap;

use lsie_schemas::{Cell, Change, LogTime};

use crate::parquet::Reader;
use crate::{Catalog, Error};

/// The changes at `epoch` after which the rows of `from` are those of `to`, in order of table and row.
pub fn difference(
    from: &Reader,
    to: &Reader,
    catalog: &Catalog,
    epoch: LogTime,
) -> Result<Vec<Change>, Error> {
    let mut changes = Vec::new();
    for table in catalog.tables() {
        let mut copies: BTreeMap<Vec<Cell>, i64> = BTreeMap::new();
        for (reader, sign) in [(from, -1), (to, 1)] {
            for change in reader.changes(table) {
                let change = change?;
                *copies.entry(change.row).or_default() += sign * change.diff;
            }
        }
        let differ = copies.into_iter().filter(|(_, diff)| *diff != 0);
        changes.extend(differ.map(|(row, diff)| Change { table: table.name.into(), row, epoch, diff }));
    }
    Ok(changes)
}
