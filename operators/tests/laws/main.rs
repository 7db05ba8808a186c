//! Every stateful piece of the mathematics is held to the laws of `Logic`; a file per logic.

mod action_combo;
mod comodulation;
mod drift;
mod laws;
mod link;
mod physiology;
