//! What the end-to-end tests share: topic sets on a real Kafka, recorded sessions, runs, tables, and the oracle.

pub mod broker;
pub mod embedded;
pub mod faults;
pub mod format;
pub mod harness;
pub mod oracle;
pub mod sessions;
pub mod site;
pub mod tables;
pub mod telemetry;
pub mod webhook;
