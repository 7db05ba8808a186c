//! Everything that brings records in: the logs (Kafka and the embedded file log), the feeder of recorded sessions,
//! and the connectors to the outside world.
//!
//! A connector talks only to the log, keeps nothing that it could not rebuild from it, waits by one rule
//! ([`Backoff`]) and gives one kind of report ([`Health`]).

pub mod archive;
mod avc;
pub mod capture;
mod clock;
pub mod conformance;
pub mod enrich;
pub mod feed;
pub mod file_log;
mod follow;
pub mod health;
pub mod ingest;
pub mod kafka;
mod limits;
pub mod live;
pub mod llm;
pub mod open;
pub mod oura;
mod reading;
mod requests;
mod retry;
pub mod seal;
mod sealed;
mod stop;
pub mod vault;

pub use file_log::FileLog;
pub use health::Health;
pub use kafka::{KafkaConfig, KafkaLog};
pub use limits::MAX_ENVELOPE_BYTES;
pub use open::open;
pub use retry::Backoff;
pub use sealed::SealedLog;
pub use stop::Stop;
