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

/// How old a client must be to be given up, after so many others in a row: it is not made anew faster than that while
/// brokers really are away.
const AGE: Backoff =
    Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(30), give_up_after: None };

/// How far a client is still trusted.
pub(super) struct Trust {
    made: Instant,
    /// How many others were given up since one was answered.
    given_up: u32,
}

impl Trust {
    /// In the first client.
    pub(super) fn new() -> Trust {
        Trust { made: now(), given_up: 0 }
    }

    /// Takes note of what came of a request; whether the client is to be given up, for nobody has answered it.
    pub(super) fn is_lost<R>(&mut self, answer: &Result<R, KafkaError>) -> bool {
        let is_missed = |e: &KafkaError| e.rdkafka_error_code().is_some_and(is_unanswered);
        if !answer.as_ref().is_err_and(is_missed) {
            self.given_up = 0;
            return false;
        }
        self.made.elapsed() >= AGE.wait(self.given_up).unwrap_or_default()
    }

    /// Another client is in its place.
    pub(super) fn renew(&mut self, role: &str) {
        tracing::warn!(role, "a client of kafka did not reach a broker and is made anew");
        self.made = now();
        self.given_up = self.given_up.saturating_add(1);
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
    trust: Trust,
}

impl<T> Renewed<T> {
    /// Of a client in its role that is made when it is first needed.
    pub(super) fn new(
        role: &'static str,
        make: impl Fn() -> Result<T, LogError> + Send + Sync + 'static,
    ) -> Renewed<T> {
        let held = Mutex::new(Held { client: None, trust: Trust::new() });
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
        let is_lost = is_current && held.trust.is_lost(answer);
        drop(held);
        if is_lost {
            self.give_up(client);
        }
    }

    /// The next one to ask gets another client.
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

    const ANSWERED: Result<(), KafkaError> = Ok(());

    fn failed(code: Code) -> Result<(), KafkaError> {
        Err(KafkaError::MetadataFetch(code))
    }

    /// A client that is a number: how many were made before.
    fn counted() -> Renewed<u32> {
        let made = AtomicU32::new(0);
        Renewed::new("test", move || Ok(made.fetch_add(1, Ordering::Relaxed)))
    }

    #[test]
    fn one_that_nobody_answers_is_made_anew_and_then_not_again_at_once() {
        let renewed = counted();
        let number = || *renewed.get().expect("a client");
        let first = renewed.get().expect("a client");
        renewed.heard(&first, &failed(Code::LeaderNotAvailable));
        assert_eq!(number(), 0, "a broker has answered");
        renewed.heard(&first, &failed(Code::AllBrokersDown));
        assert_eq!(number(), 1);
        renewed.heard(&first, &failed(Code::OperationTimedOut));
        assert_eq!(number(), 1, "the first has been given up already");
        let second = renewed.get().expect("a client");
        renewed.heard(&second, &failed(Code::OperationTimedOut));
        assert_eq!(number(), 1, "the second is too young");
        renewed.heard(&second, &ANSWERED);
        renewed.heard(&second, &failed(Code::BrokerTransportFailure));
        assert_eq!(number(), 2, "the first failure after an answer");
    }

    #[test]
    fn one_that_is_given_up_is_nobodys_and_one_that_cannot_be_made_is_tried_again() {
        let renewed = counted();
        let first = renewed.get().expect("a client");
        renewed.give_up(&first);
        renewed.give_up(&first);
        assert_eq!(*renewed.get().expect("another"), 1);
        let tries = AtomicU32::new(0);
        let renewed = Renewed::new("test", move || match tries.fetch_add(1, Ordering::Relaxed) {
            0 => Err(LogError::Unavailable("away".into())),
            tries => Ok(tries),
        });
        assert!(renewed.get().is_err());
        assert_eq!(*renewed.get().expect("a client"), 1);
    }
}
