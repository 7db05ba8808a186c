//! The differential views, one file each: facts in, rows out. Every view is exact at every epoch.

use differential_dataflow::VecCollection;

use crate::adapter::Time;

mod actions;
mod arms;
mod encounters;
mod evaluations;
mod ledger;
mod record_classes;
mod sessions;

pub(crate) use actions::{actions, asked};
pub(crate) use arms::arms;
pub(crate) use encounters::{Evaluated, StimulusKey, encounters, rewards};
pub(crate) use evaluations::evaluations;
pub(crate) use ledger::ledger_events;
pub(crate) use record_classes::record_classes;
pub(crate) use sessions::{SessionFact, sessions};

/// A collection of the dataflow.
pub(crate) type Rows<'scope, D> = VecCollection<'scope, Time, D, isize>;
