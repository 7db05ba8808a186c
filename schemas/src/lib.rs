//! Contracts of LSIE: record types, row types, topic names, codecs and the narrow log traits.
//!
//! This crate performs no I/O and knows no engine. Everything that crosses a boundary (a topic, a file,
//! a database, an HTTP response) is described here once; codecs never fail, they return a record or a
//! [`Rejection`] with its reason.

pub mod canonical;
pub mod cell;
pub mod codec;
pub mod log;
pub mod payload;
pub mod record;
pub mod row;
pub mod shape;
pub mod table;
pub mod time;
pub mod topic;

pub use cell::{Cell, Real};
pub use codec::Rejection;
pub use table::{Change, Column, ColumnType, Field, Table, TableRow};
pub use time::{EventTime, LogTime};
pub use topic::Topic;
pub use uuid::Uuid;
