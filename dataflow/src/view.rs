//! The differential views, one file each: facts in, rows out. Every view is exact at every epoch.

use differential_dataflow::VecCollection;

use crate::adapter::Time;

mod actions;
mod alerts;
mod arm_summaries;
mod arms;
mod encounter_summaries;
mod encounters;
mod evaluations;
#[cfg(test)]
pub(crate) mod feed;
mod handle;
mod health;
mod join_total;
mod ledger;
mod physiology_current;
mod posterior_history;
mod record_classes;
mod reduce_total;
mod session_summaries;
mod sessions;
mod shelf;
mod summary;
#[cfg(test)]
mod tests;
mod watch;

pub(crate) use actions::{actions, asked};
pub(crate) use arms::{ArmText, arm_texts, arm_texts_told, arms};
pub(crate) use encounters::{Evaluated, Rewards, StimulusKey, encounters, met, rewards};
pub(crate) use evaluations::evaluations;
pub(crate) use handle::Handle;
pub(crate) use ledger::ledger_events;
pub(crate) use posterior_history::PosteriorHistory;
pub(crate) use record_classes::record_classes;
pub(crate) use sessions::{SessionFact, sessions};
pub(crate) use summary::{Of, Part, Sources, formerly, of_fact, of_ledger, of_told, summaries};
pub(crate) use watch::{Note, Watch, Watched};

/// A collection of the dataflow.
pub(crate) type Rows<'scope, D> = VecCollection<'scope, Time, D, isize>;
