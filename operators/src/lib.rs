//! The mathematics and the models: pure, synchronous structs and functions; values in, values out.
//!
//! Nothing here knows Kafka, an async runtime or timely. Time is an argument; randomness is seeded by the
//! session; what has an order has a stated one.

pub mod acoustics;
pub mod align;
pub mod au12;
pub mod decode;
pub mod drift;
pub mod face;
pub mod gate;
pub mod logic;
pub mod measure;
pub mod measure_face;
pub mod percentile;
pub mod posterior;
pub mod resample;
pub mod reward;
pub mod runtime;
pub mod segment_id;
pub mod select_arm;
