//! The engine: timely and differential dataflow over the topics of a log.
//!
//! This is the only crate that knows timely. It asks connectors for records, gives them to operators epoch
//! by epoch, keeps the views, and hands complete epochs to sinks.

/// The engine allocates small rows on many threads and frees them on others, for months.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

pub mod adapter;
pub mod answers;
pub mod backfill;
pub mod board;
pub mod checkpoint;
pub mod cli;
pub mod cluster;
pub mod commit;
pub mod config;
pub mod coordinator;
pub mod crash_book;
mod decode;
pub mod elsewhere;
mod ends;
pub mod engine;
pub mod epochs;
pub mod erasing;
pub mod explain;
pub mod faces;
pub mod fault;
pub mod graph;
pub mod healing;
pub mod ingest;
pub mod judge;
pub mod language_model;
pub mod ledger;
pub mod metrics;
pub mod pool;
pub mod recorded;
pub mod recovery;
pub mod select;
pub mod sources;
pub mod speech;
mod split;
pub mod transcribe;
mod view;
mod watchdog;
mod workers;

pub use engine::{Engine, Range, Run};
