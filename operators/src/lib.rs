//! The mathematics and the models: pure, synchronous structs and functions; values in, values out.
//!
//! Nothing here knows Kafka, an async runtime or timely. Time is an argument; randomness is seeded by the
//! session; what has an order has a stated one.

pub mod acoustics;
pub mod action_combo;
pub mod align;
pub mod attribution;
pub mod au12;
pub mod band;
pub mod comodulation;
pub mod context;
pub mod decode;
pub mod drift;
pub mod face;
pub mod gate;
pub mod judging;
pub mod logic;
pub mod measure;
pub mod measure_face;
pub mod models;
pub mod pearson;
pub mod percentile;
pub mod physiology;
pub mod posterior;
pub mod resample;
pub mod reward;
pub mod round;
pub mod runtime;
pub mod segment_id;
pub mod select_arm;
pub mod semantic;
pub mod speech;
pub mod telemetry;
pub mod utterance;
