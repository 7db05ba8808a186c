//! About how much memory rows take, for the bounds of buffers.

use lsie_schemas::{Cell, Change};

/// About how much memory a change takes, in bytes.
pub(crate) fn size(change: &Change) -> usize {
    let texts: usize = change
        .row
        .iter()
        .map(|cell| match cell {
            Cell::Text(text) | Cell::Json(text) => text.len(),
            Cell::Texts(texts) => texts.iter().map(|text| text.len() + size_of::<String>()).sum(),
            _ => 0,
        })
        .sum();
    size_of::<Change>() + change.row.len() * size_of::<Cell>() + texts
}
