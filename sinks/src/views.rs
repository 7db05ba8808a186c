//! The served views: the current rows of every table in memory, over HTTP and as a stream of changes.
//!
//! A [`Views`] is the state that readers share; [`Views::sink`] is the one writer, which applies each
//! complete epoch at once. [`router`] is the API over it, [`Server`] a thread that serves any router.

mod changes;
mod encounters;
mod experiments;
mod generic;
mod page;
mod params;
mod reply;
mod restore;
mod ring;
mod router;
mod row;
mod segments;
mod server;
mod sessions;
mod sink;
mod state;
mod table;

pub use ring::EpochChanges;
pub use router::router;
pub use server::{Server, Shutdown};
pub use sink::ViewsSink;
pub use state::{Entry, State, TableState, Views};
