//! The differential views, one file each: facts in, rows out. Every view is exact at every epoch.

use differential_dataflow::VecCollection;

use crate::adapter::Time;

mod actions;
mod arms;
mod encounters;
mod ledger;
mod record_classes;
mod sessions;
mod transcripts;

pub(crate) use actions::{actions, asked};
pub(crate) use arms::arms;
pub(crate) use encounters::{StimulusKey, encounters, evaluated, rewards};
pub(crate) use ledger::ledger_events;
pub(crate) use record_classes::record_classes;
pub(crate) use sessions::{SessionFact, sessions};
pub(crate) use transcripts::{evaluations, transcripts};

/// A collection of the dataflow.
pub(crate) type Rows<'scope, D> = VecCollection<'scope, Time, D, isize>;
