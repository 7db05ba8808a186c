//! Changes as columns and back.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, ListBuilder, StringArray,
    StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use lsie_schemas::{Cell, Change, Column, ColumnType, EventTime, LogTime, Real, Table, Uuid, shape};

use crate::Error;

/// Changes of one table as a batch with `_epoch` and `_diff`.
pub(crate) fn encode(table: &Table, changes: &[Change]) -> Result<RecordBatch, Error> {
    let mut columns: Vec<ArrayRef> =
        table.columns.iter().enumerate().map(|(at, column)| encode_column(column, at, changes)).collect();
    let epochs: Int64Array =
        changes.iter().map(|c| i64::try_from(c.epoch.0)).collect::<Result<_, _>>().map_err(|_| {
            Error::Contract(format!("table {}: an epoch beyond the range of a signed integer", table.name))
        })?;
    columns.push(Arc::new(epochs));
    columns.push(Arc::new(changes.iter().map(|c| Some(c.diff)).collect::<Int64Array>()));
    RecordBatch::try_new(Arc::new(shape::arrow_schema(table, true)), columns)
        .map_err(|error| Error::Contract(format!("table {}: {error}", table.name)))
}

/// The changes of a batch, or what is wrong with it.
pub(crate) fn decode(table: &Table, batch: &RecordBatch) -> Result<Vec<Change>, String> {
    let named = |name: &str| batch.column_by_name(name).ok_or_else(|| format!("no column {name}"));
    let count = |name: &str| {
        let column = named(name)?.as_primitive_opt::<Int64Type>().filter(|array| array.null_count() == 0);
        column.ok_or_else(|| format!("column {name} is not of its type"))
    };
    let (epochs, diffs) = (count(shape::EPOCH_COLUMN)?, count(shape::DIFF_COLUMN)?);
    let mut changes = Vec::with_capacity(batch.num_rows());
    for (epoch, diff) in epochs.values().iter().zip(diffs.values()) {
        let epoch = u64::try_from(*epoch).map_err(|_| "a negative epoch".to_owned())?;
        let row = Vec::with_capacity(table.columns.len());
        changes.push(Change { table: Cow::Borrowed(table.name), row, epoch: LogTime(epoch), diff: *diff });
    }
    for column in table.columns {
        decode_column(column, named(column.name)?, &mut changes)
            .ok_or_else(|| format!("column {} is not of its type", column.name))?;
    }
    Ok(changes)
}

/// One column. A cell of another type becomes null; the catalog has checked that there is none.
fn encode_column(column: &Column, at: usize, changes: &[Change]) -> ArrayRef {
    let cells = changes.iter().map(|change| change.row.get(at));
    match column.ty {
        ColumnType::Bool => Arc::new(
            cells
                .map(|c| if let Some(Cell::Bool(b)) = c { Some(*b) } else { None })
                .collect::<BooleanArray>(),
        ),
        ColumnType::Int => Arc::new(
            cells.map(|c| if let Some(Cell::Int(i)) = c { Some(*i) } else { None }).collect::<Int64Array>(),
        ),
        ColumnType::Real => Arc::new(
            cells
                .map(|c| if let Some(Cell::Real(r)) = c { Some(r.0) } else { None })
                .collect::<Float64Array>(),
        ),
        ColumnType::Time => {
            let times = cells.map(|c| if let Some(Cell::Time(t)) = c { Some(t.0) } else { None });
            Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        }
        ColumnType::Uuid => {
            let texts = cells.map(|c| if let Some(Cell::Uuid(u)) = c { Some(u.to_string()) } else { None });
            Arc::new(texts.collect::<StringArray>())
        }
        ColumnType::Text | ColumnType::Json => {
            let texts = cells.map(|c| match c {
                Some(Cell::Text(text) | Cell::Json(text)) => Some(text.as_str()),
                _ => None,
            });
            Arc::new(texts.collect::<StringArray>())
        }
        ColumnType::Texts => {
            let mut lists = ListBuilder::new(StringBuilder::new()).with_field(shape::arrow_text_item());
            for cell in cells {
                match cell {
                    Some(Cell::Texts(texts)) => lists.append_value(texts.iter().map(Some)),
                    _ => lists.append_null(),
                }
            }
            Arc::new(lists.finish())
        }
    }
}

/// Appends one cell to each change; `None` if the array is not of the column's type.
fn decode_column(column: &Column, array: &ArrayRef, changes: &mut [Change]) -> Option<()> {
    let mut push = |cell: &dyn Fn(usize) -> Option<Cell>| {
        for (at, change) in changes.iter_mut().enumerate() {
            let cell = if array.is_null(at) { Cell::Null } else { cell(at)? };
            if cell == Cell::Null && !column.nullable {
                return None;
            }
            change.row.push(cell);
        }
        Some(())
    };
    match column.ty {
        ColumnType::Bool => {
            let array = array.as_boolean_opt()?;
            push(&|at| Some(Cell::Bool(array.value(at))))
        }
        ColumnType::Int => {
            let array = array.as_primitive_opt::<Int64Type>()?;
            push(&|at| Some(Cell::Int(array.value(at))))
        }
        ColumnType::Real => {
            let array = array.as_primitive_opt::<Float64Type>()?;
            push(&|at| Some(Cell::Real(Real(array.value(at)))))
        }
        ColumnType::Time => {
            let array = array.as_primitive_opt::<TimestampMicrosecondType>()?;
            push(&|at| Some(Cell::Time(EventTime(array.value(at)))))
        }
        ColumnType::Uuid => {
            let array = array.as_string_opt::<i32>()?;
            push(&|at| Uuid::parse_str(array.value(at)).ok().map(Cell::Uuid))
        }
        ColumnType::Text => {
            let array = array.as_string_opt::<i32>()?;
            push(&|at| Some(Cell::Text(array.value(at).to_owned())))
        }
        ColumnType::Json => {
            let array = array.as_string_opt::<i32>()?;
            push(&|at| Some(Cell::Json(array.value(at).to_owned())))
        }
        ColumnType::Texts => {
            let array = array.as_list_opt::<i32>()?;
            push(&|at| {
                let texts = array.value(at);
                let texts = texts.as_string_opt::<i32>()?;
                Some(Cell::Texts(texts.iter().flatten().map(str::to_owned).collect()))
            })
        }
    }
}
