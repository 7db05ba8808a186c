//! The net effect of a run on one table in the binary form that COPY takes. Pure, so that it is made while the
//! transaction before it is still under way.

use bytes::{BufMut, Bytes, BytesMut};
use lsie_schemas::{Cell, LogTime, Table, shape};

use super::codec::{self, Unfit};
use super::net::{Dated, Net};
use crate::Error;

/// What is to be done with a staged row.
pub(super) const REMOVE: i64 = 0;
pub(super) const CHANGE: i64 = 1;

/// What binary COPY begins with: its signature, no flags, no extension.
const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What it ends with.
const END: i16 = -1;
/// About how many bytes are sent at once.
const PIECE: usize = 64 << 10;

/// A net effect that only has to be sent.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    /// Rows to be removed and to be changed, for the staging table.
    pub(super) staged: Vec<Bytes>,
    /// How many of these are to be removed.
    pub(super) removed: u64,
    /// How many are to be changed.
    pub(super) changed: u64,
    /// Rows to be added, for the table itself.
    pub(super) added: Vec<Bytes>,
}

/// Encodes a net effect; a part without rows stays empty.
pub(super) fn encode(table: &Table, net: &Net) -> Result<Encoded, Error> {
    let unfit = |error: Unfit| Error::Contract(format!("table {}: a cell that is none: {error}", table.name));
    let mut encoded = Encoded {
        removed: net.removed.len() as u64,
        changed: net.changed.len() as u64,
        ..Encoded::default()
    };
    if !net.removed.is_empty() || !net.changed.is_empty() {
        encoded.staged = staged(table, net).map_err(unfit)?;
    }
    if !net.added.is_empty() {
        encoded.added = added(table, net).map_err(unfit)?;
    }
    Ok(encoded)
}

fn staged(table: &Table, net: &Net) -> Result<Vec<Bytes>, Unfit> {
    let mut copy = Copy::new(table, 1);
    let (remove, change) = (Cell::Int(REMOVE), Cell::Int(CHANGE));
    let nulls = vec![Cell::Null; table.columns.len()];
    for row in &net.removed {
        copy.row([&remove, &id(table, row)], &nulls, &times(table, None))?;
    }
    for dated in &net.changed {
        copy.row([&change, &id(table, &dated.row)], &dated.row, &times(table, Some(dated)))?;
    }
    Ok(copy.end())
}

fn added(table: &Table, net: &Net) -> Result<Vec<Bytes>, Unfit> {
    let mut copy = Copy::new(table, 0);
    for dated in &net.added {
        copy.row([&id(table, &dated.row)], &dated.row, &times(table, Some(dated)))?;
    }
    Ok(copy.end())
}

fn id(table: &Table, row: &[Cell]) -> Cell {
    Cell::Int(table.id_of(row))
}

/// The derived times of a row, as its table has them.
fn times(table: &Table, dated: Option<&Dated>) -> Vec<Cell> {
    let time = |epoch: Option<LogTime>| epoch.map_or(Cell::Null, |epoch| Cell::Time(epoch.as_event()));
    let times = shape::derived_times(table).map(|(name, _)| match name {
        "created_at" => time(dated.and_then(|dated| dated.created)),
        _ => time(dated.map(|dated| dated.updated)),
    });
    times.collect()
}

/// Rows on their way into pieces.
struct Copy {
    /// Fields of each row.
    fields: usize,
    pieces: Vec<Bytes>,
    piece: BytesMut,
}

impl Copy {
    /// Rows of a table with its `id`, its derived times and so many fields more.
    fn new(table: &Table, more: usize) -> Copy {
        let mut piece = BytesMut::with_capacity(PIECE);
        piece.put_slice(HEAD);
        let fields = more + 1 + table.columns.len() + shape::derived_times(table).count();
        Copy { fields, pieces: Vec::new(), piece }
    }

    fn row<const N: usize>(&mut self, first: [&Cell; N], row: &[Cell], last: &[Cell]) -> Result<(), Unfit> {
        self.piece.put_i16(i16::try_from(self.fields)?);
        for cell in first.into_iter().chain(row).chain(last) {
            let at = self.piece.len();
            // The length of the value, once that is known; this is what NULL has.
            self.piece.put_i32(-1);
            if codec::put(cell, &mut self.piece)? {
                let length = i32::try_from(self.piece.len() - at - size_of::<i32>())?;
                self.piece[at..at + size_of::<i32>()].copy_from_slice(&length.to_be_bytes());
            }
        }
        if self.piece.len() >= PIECE {
            self.pieces.push(self.piece.split().freeze());
            self.piece.reserve(PIECE);
        }
        Ok(())
    }

    fn end(mut self) -> Vec<Bytes> {
        self.piece.put_i16(END);
        self.pieces.push(self.piece.freeze());
        self.pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TOTALS, total};

    fn dated(value: i64) -> Dated {
        Dated { row: total(1, "ab", value, 1).row, created: None, updated: LogTime(0) }
    }

    #[test]
    fn rows_are_lengths_and_values() {
        let net = Net { added: vec![dated(7)], ..Net::default() };
        let encoded = encode(&TOTALS, &net).expect("rows of the table");
        let mut wanted = HEAD.to_vec();
        wanted.extend(5_i16.to_be_bytes());
        for field in [
            &TOTALS.id_of(&dated(7).row).to_be_bytes()[..],
            b"ab",
            &7_i64.to_be_bytes(),
            // `created_at` is not known, `updated_at` is the Unix epoch, counted from PostgreSQL's.
            &[],
            &(-946_684_800_000_000_i64).to_be_bytes(),
        ] {
            let length = if field.is_empty() { -1 } else { field.len() as i32 };
            wanted.extend(length.to_be_bytes());
            wanted.extend(field);
        }
        wanted.extend(END.to_be_bytes());
        assert_eq!(encoded.added.concat(), wanted);
        assert!(encoded.staged.is_empty());
    }

    #[test]
    fn what_goes_or_changes_is_staged_in_pieces() {
        let net =
            Net { removed: vec![dated(1).row], changed: (0..5_000).map(dated).collect(), added: Vec::new() };
        let encoded = encode(&TOTALS, &net).expect("rows of the table");
        assert_eq!((encoded.removed, encoded.changed, encoded.added.len()), (1, 5_000, 0));
        let ends = encoded.staged.len() - 1;
        assert!(encoded.staged.len() > 1 && encoded.staged[..ends].iter().all(|piece| piece.len() >= PIECE));
    }
}
