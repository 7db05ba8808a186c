//! The served views: the current rows of every table in memory, over HTTP and as a stream of changes.
//!
//! A [`Views`] is the state that readers share; [`Views::sink`] is the one writer, which applies each
//! complete epoch at once. [`Api`] is the HTTP interface over it, [`Server`] a thread that serves any router.

mod access;
mod act;
mod alerts;
mod attribution;
mod changes;
mod comodulation;
mod database;
mod encounters;
mod experiment_actions;
mod experiment_detail;
mod experiments;
mod follow;
mod gate;
mod generic;
mod guard;
mod health;
mod inferences;
mod inputs;
mod limiter;
mod live_encounters;
mod live_sessions;
mod login;
mod metrics;
mod numbers;
mod openapi;
mod overview;
pub(crate) mod page;
mod physiology;
mod probe;
mod pulse;
mod ranked;
mod reading;
mod record;
mod record_stream;
mod records;
pub(crate) mod reply;
mod ring;
mod route;
pub(crate) mod router;
mod row;
mod rows;
mod segments;
mod server;
mod session_actions;
mod sessions;
mod sink;
mod state;
mod stimulus;
mod trace;

pub use access::{Access, Role, Token};
pub use gate::Tls;
pub use numbers::Numbers;
pub use page::contents;
pub use probe::{Look, Probe};
pub use ring::EpochChanges;
pub use router::Api;
pub use server::{Server, Shutdown};
pub use sink::ViewsSink;
pub use state::{Entry, State, TableState, Views};
