//! Everything that brings records in: the logs (Kafka and the embedded file log) and the feeder.

mod clock;
pub mod conformance;
pub mod feed;
pub mod file_log;
pub mod kafka;
mod limits;
pub mod open;

pub use file_log::FileLog;
pub use kafka::{KafkaConfig, KafkaLog};
pub use limits::MAX_ENVELOPE_BYTES;
pub use open::open;
