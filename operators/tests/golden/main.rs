//! The maths of the session against vectors computed by the original implementation.
//!
//! A file per vector file. Where a rule of this project departs from the original, the test names the rule
//! and asserts exactly that departure; tolerances carry their reason.

mod acoustic;
mod arms;
mod au12;
mod drift;
mod posterior;
mod read;
mod reward;
mod segment_id;
mod segment_update;
