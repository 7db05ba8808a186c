//! The maths of the session against vectors computed by the original implementation.
//!
//! A file per vector file. Where a rule of this project departs from the original, the test names the rule
//! and asserts exactly that departure; tolerances carry their reason.

mod acoustic;
mod action_combo;
mod arms;
mod attribution;
mod au12;
mod comodulation;
mod drift;
mod payload_validation;
mod physiology;
mod posterior;
mod read;
mod reward;
mod segment_id;
mod segment_update;
mod semantic;
mod session_script;
