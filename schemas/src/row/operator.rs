//! The transient table `operators`: where every operator of the graph stands.

use crate::table::table;
use crate::time::EventTime;

table! {
    /// An operator on one worker: how far its input is complete, and how much of it waits.
    OperatorRow = "operators", key(worker, operator), {
        /// The worker, from 0.
        worker: i64,
        /// Its name; of several with one name each further one has its number.
        operator: String,
        /// Log time from which on its input may still grow; null once nothing comes any more.
        frontier_utc: Option<EventTime>,
        /// Epochs that it has input of and cannot take yet.
        backlog: i64,
    }
}
