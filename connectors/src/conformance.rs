//! One suite that every log must pass: the file log and a real Kafka are judged by the same checks.
//!
//! A test file names its subject and gets one test per check:
//!
//! ```ignore
//! lsie_connectors::conformance!(MySubject::new);
//! ```
//!
//! where `MySubject::new(name: &str)` returns a [`Subject`] with a topic set of its own.

mod appending;
mod asking;
mod reading;
mod support;

use std::sync::Arc;

use lsie_schemas::log::Log;

pub use appending::*;
pub use asking::*;
pub use reading::*;

/// A topic set of a log under test, made for one check and empty at first.
pub trait Subject {
    /// Opens the topic set, also again after every handle to it was dropped.
    fn open(&self) -> Arc<dyn Log>;
}

/// Makes one `#[test]` per check of the suite; the argument makes a fresh subject from a test's name.
#[macro_export]
macro_rules! conformance {
    ($subject:expr) => {
        $crate::conformance!($subject;
            topics_are_created_once,
            what_does_not_exist_is_missing,
            many_are_asked_at_once,
            records_come_back_in_order,
            keys_values_and_headers_survive,
            creation_times_are_kept,
            append_times_never_fall,
            offsets_are_found_by_time,
            large_records_pass,
            too_large_is_refused,
            a_batch_may_span_topics,
            positions_follow_reading,
            the_end_is_quiet,
            past_the_end_is_damage,
            polls_stay_within_their_bytes,
            a_small_budget_starves_nobody,
            pause_loses_and_reorders_nothing,
            tailing_while_appending,
            the_later_holder_fences_the_earlier,
            positions_pass_the_marks_of_fenced_appends,
            reopening_goes_on_where_it_ended,
        );
    };
    ($subject:expr; $($check:ident),* $(,)?) => {
        $(
            #[test]
            fn $check() {
                $crate::conformance::$check(&($subject)(stringify!($check)));
            }
        )*
    };
}
