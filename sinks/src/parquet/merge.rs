//! Merging the newest files of a table into one, so that their number stays bounded.

use std::path::Path;

use lsie_schemas::Table;

use crate::Error;
use crate::parquet::file;
use crate::parquet::manifest::FileEntry;
use crate::parquet::read;

/// The position from which on files are merged: the two newest, and older ones as long as each is no larger
/// than all newer ones together. So a row is rewritten about as often as its table has doubled.
pub(crate) fn first_to_merge(files: &[FileEntry]) -> usize {
    let mut from = files.len().saturating_sub(2);
    let mut rows: u64 = files[from..].iter().map(|file| file.rows).sum();
    while from > 0 && files[from - 1].rows <= rows {
        from -= 1;
        rows += files[from].rows;
    }
    from
}

/// Copies files, in order, into one. Every changelog row stays as it is.
pub(crate) fn merge(dir: &Path, table: &Table, number: u64, files: &[FileEntry]) -> Result<FileEntry, Error> {
    let mut rows = 0;
    let batches = files.iter().flat_map(|file| read::batches(dir, file));
    let counted = batches.inspect(|batch| {
        if let Ok(batch) = batch {
            rows += batch.num_rows() as u64;
        }
    });
    let name = file::write_batches(dir, table, number, counted)?;
    let expected: u64 = files.iter().map(|file| file.rows).sum();
    if rows != expected {
        return Err(Error::damaged(
            &dir.join(table.name),
            format!("{rows} rows, the manifest says {expected}"),
        ));
    }
    Ok(FileEntry {
        name,
        rows,
        first_epoch_ms: files.first().map_or(0, |file| file.first_epoch_ms),
        last_epoch_ms: files.last().map_or(0, |file| file.last_epoch_ms),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rows: &[u64], from: usize) {
        let entry =
            |&rows: &u64| FileEntry { name: String::new(), rows, first_epoch_ms: 0, last_epoch_ms: 0 };
        let files: Vec<FileEntry> = rows.iter().map(entry).collect();
        assert_eq!(first_to_merge(&files), from, "{rows:?}");
    }

    #[test]
    fn merges_what_is_no_larger_than_all_newer() {
        check(&[1, 1, 1, 1], 0);
        check(&[100, 1, 1, 1], 1);
        check(&[100, 50, 9, 1], 2);
        check(&[4, 2, 1, 1], 0);
        check(&[0, 0], 0);
    }

    /// A flush adds a file of one row; the number of files and the rewritten rows stay small.
    #[test]
    fn many_flushes_cost_little() {
        let (mut files, mut rewritten) = (Vec::new(), 0);
        for flush in 0..10_000u64 {
            files.push(FileEntry {
                name: String::new(),
                rows: 1,
                first_epoch_ms: flush,
                last_epoch_ms: flush,
            });
            if files.len() > 16 {
                let from = first_to_merge(&files);
                let rows = files[from..].iter().map(|file| file.rows).sum();
                rewritten += rows;
                files.truncate(from);
                files.push(FileEntry { name: String::new(), rows, first_epoch_ms: 0, last_epoch_ms: flush });
            }
            assert!(files.len() <= 16);
        }
        assert!(rewritten < 10_000 * 8, "{rewritten}");
    }
}
