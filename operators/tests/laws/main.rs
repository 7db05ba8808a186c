//! Every stateful piece of the mathematics is held to the laws of `Logic`; a file per logic.

mod action_combo;
mod align;
mod comodulation;
mod context;
mod drift;
mod judging;
mod laws;
mod link;
mod measure;
mod physiology;
mod telemetry;
mod utterance;
mod worked_example;
