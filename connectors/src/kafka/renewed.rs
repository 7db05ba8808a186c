//! A client that is made anew when it does not reach the log: librdkafka's may never come back by itself.
//!
//! A broker that hung for longer than its session with the controller answers, when it goes on, that there are no brokers.
//! librdkafka then gives up the only one it knows, and the same answer can cancel the search for another: from then on the
//! client says that all brokers are down, while their ports take connections (confluentinc/librdkafka#5301).

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lsie_schemas::log::LogError;
use rdkafka::error::KafkaError;

use super::client::is_unanswered;
use super::lock;
use crate::clock::now;
use crate::retry::Backoff;

/// For how long a client must have had no answer to be given up, by how many were in a row, this one included: none is made
/// anew over a moment, and not often while brokers really are away.
const PATIENCE: Backoff =
    Backoff { first: Duration::from_secs(5), longest: Duration::from_secs(30), give_up_after: None };

/// How far a client is still trusted.
pub(super) struct Trust {
    /// When it was answered last, or made.
    answered: Instant,
    /// How many clients in a row have had no answer.
    given_up: u32,
}

impl Trust {
    /// In the first client.
    pub(super) fn new() -> Trust {
        Trust { answered: now(), given_up: 0 }
    }

    /// Takes note of what came of a request, now; whether the client is to be given up.
    pub(super) fn is_lost<R>(&mut self, answer: &Result<R, KafkaError>, now: Instant) -> bool {
        let is_missed = |e: &KafkaError| e.rdkafka_error_code().is_some_and(is_unanswered);
        if !answer.as_ref().is_err_and(is_missed) {
            *self = Trust { answered: now, given_up: 0 };
            return false;
        }
        let patience = PATIENCE.wait(self.given_up.saturating_add(1)).unwrap_or_default();
        now.saturating_duration_since(self.answered) >= patience
    }

    /// Another client is in its place.
    pub(super) fn renew(&mut self, role: &str) {
        tracing::warn!(role, "a client of kafka did not reach a broker and is made anew");
        *self = Trust { answered: now(), given_up: self.given_up.saturating_add(1) };
    }
}

/// A client for many threads, and how to make another.
pub(super) struct Renewed<T> {
    role: &'static str,
    make: Box<dyn Fn() -> Result<T, LogError> + Send + Sync>,
    held: Mutex<Held<T>>,
}

struct Held<T> {
    client: Option<Arc<T>>,
    /// The one before, which ends when the next is given up: not while librdkafka may be taking leave of its brokers.
    before: Option<Arc<T>>,
    trust: Trust,
}

impl<T> Renewed<T> {
    /// Of a client in its role that is made when it is first needed.
    pub(super) fn new(
        role: &'static str,
        make: impl Fn() -> Result<T, LogError> + Send + Sync + 'static,
    ) -> Renewed<T> {
        let held = Mutex::new(Held { client: None, before: None, trust: Trust::new() });
        Renewed { role, make: Box::new(make), held }
    }

    /// The client.
    pub(super) fn get(&self) -> Result<Arc<T>, LogError> {
        let mut held = lock(&self.held);
        if let Some(client) = &held.client {
            return Ok(client.clone());
        }
        let made = Arc::new((self.make)()?);
        held.client = Some(made.clone());
        Ok(made)
    }

    /// Takes note of what came of a client's request, and gives it up if it is lost.
    pub(super) fn heard<R>(&self, client: &Arc<T>, answer: &Result<R, KafkaError>) {
        let mut held = lock(&self.held);
        let is_current = held.client.as_ref().is_some_and(|current| Arc::ptr_eq(current, client));
        if is_current && held.trust.is_lost(answer, now()) {
            held.trust.renew(self.role);
            let lost = held.client.take();
            let ends = std::mem::replace(&mut held.before, lost);
            // Which may take a moment.
            drop(held);
            drop(ends);
        }
    }

    /// The next one to ask gets another client, and this one ends.
    pub(super) fn give_up(&self, client: &Arc<T>) {
        let mut held = lock(&self.held);
        if held.client.take_if(|current| Arc::ptr_eq(current, client)).is_some() {
            held.trust.renew(self.role);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use rdkafka::error::RDKafkaErrorCode as Code;

    use super::*;

    fn failed(code: Code) -> Result<(), KafkaError> {
        Err(KafkaError::MetadataFetch(code))
    }

    /// A client that is a number: how many were made before.
    fn counted() -> Renewed<u32> {
        let made = AtomicU32::new(0);
        Renewed::new("test", move || Ok(made.fetch_add(1, Ordering::Relaxed)))
    }

    #[test]
    fn one_without_an_answer_is_lost_after_a_while_and_the_next_after_longer() {
        for code in [Code::AllBrokersDown, Code::OperationTimedOut, Code::UnknownPartition] {
            let mut trust = Trust::new();
            for patience_s in [5, 10, 20, 30, 30] {
                let at = trust.answered;
                assert!(!trust.is_lost(&failed(code), at + Duration::from_secs(patience_s - 1)), "{code}");
                assert!(trust.is_lost(&failed(code), at + Duration::from_secs(patience_s)), "{code}");
                trust.renew("test");
            }
            let at = trust.answered + Duration::from_secs(60);
            assert!(!trust.is_lost(&Ok(()), at));
            assert!(!trust.is_lost(&failed(code), at + Duration::from_secs(4)));
            assert!(trust.is_lost(&failed(code), at + Duration::from_secs(5)), "as if it were the first");
        }
    }

    #[test]
    fn an_error_of_a_broker_is_an_answer() {
        let mut trust = Trust::new();
        let at = trust.answered + Duration::from_secs(60);
        assert!(!trust.is_lost(&failed(Code::LeaderNotAvailable), at));
        assert!(!trust.is_lost(&failed(Code::AllBrokersDown), at + Duration::from_secs(4)));
    }

    #[test]
    fn one_that_is_lost_is_nobodys_and_one_that_cannot_be_made_is_tried_again() {
        let renewed = counted();
        let number = || *renewed.get().expect("a client");
        let first = renewed.get().expect("a client");
        renewed.heard(&first, &failed(Code::OperationTimedOut));
        assert_eq!(number(), 0, "a moment without an answer is nothing");
        lock(&renewed.held).trust.answered -= Duration::from_secs(5);
        renewed.heard(&first, &failed(Code::OperationTimedOut));
        assert_eq!(number(), 1);
        renewed.give_up(&first);
        assert_eq!(number(), 1, "the first has been given up already");
        let second = renewed.get().expect("a client");
        renewed.give_up(&second);
        assert_eq!(number(), 2);

        let tries = AtomicU32::new(0);
        let renewed = Renewed::new("test", move || match tries.fetch_add(1, Ordering::Relaxed) {
            0 => Err(LogError::Unavailable("away".into())),
            tries => Ok(tries),
        });
        assert!(renewed.get().is_err());
        assert_eq!(*renewed.get().expect("a client"), 1);
    }
}
