//! The connectors' pure parts against vectors computed by the original implementation.

mod hydration;
mod oura_signature;
#[allow(dead_code, reason = "shared with the vectors of the maths, which need more of it")]
#[path = "../../../operators/tests/golden/read.rs"]
mod read;
mod reconnect;
