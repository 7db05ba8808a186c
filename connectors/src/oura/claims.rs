//! Which notifications have been handed on within the last hour: rebuilt from topic `requests`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lsie_schemas::Topic;
use lsie_schemas::log::{Log, LogError};
use lsie_schemas::record::{HydrateRequest, Request};

use super::{CLAIM_TTL_S, Intake, Notification, Unavailable, claim_key};
use crate::clock::wall_ms;
use crate::ingest::{Again, Appender, Late, NotAppended};
use crate::reading;

/// Claims and when they were made. A claim is forgotten after [`CLAIM_TTL_S`].
#[derive(Debug, Default)]
struct Claims(BTreeMap<String, u64>);

impl Claims {
    /// Claims a key that has no claim at `now_ms`; whether it had none.
    fn claim(&mut self, key: &str, now_ms: u64) -> bool {
        let ttl_ms = CLAIM_TTL_S * 1_000;
        if self.0.get(key).is_some_and(|made| now_ms.saturating_sub(*made) < ttl_ms) {
            return false;
        }
        // An hour's claims are few; those that are over go when their number has doubled.
        if self.0.len().is_power_of_two() {
            self.0.retain(|_, made| now_ms.saturating_sub(*made) < ttl_ms);
        }
        self.0.insert(key.to_owned(), now_ms);
        true
    }
}

/// Claims, and notifications of which the log still owes an answer: these have no claim, and are not new either.
#[derive(Default)]
struct Known {
    claims: Claims,
    late: Late<String>,
}

/// Hands notifications on to topic `requests`. Cheap to clone; all clones share what they know.
#[derive(Clone)]
pub(crate) struct Requests {
    known: Arc<Mutex<Known>>,
    appender: Appender,
}

impl Requests {
    /// With the claims that the topic still knows of.
    pub(crate) fn rebuilt(log: &dyn Log, appender: Appender) -> Result<Requests, LogError> {
        let mut known = Known::default();
        reading::read(log, &reading::whole(log, Topic::Requests)?, |record| {
            if let Ok(Request::Hydrate(request)) = Request::decode(&record) {
                known.claims.0.insert(claim_key(request.unique_id), record.log_time.0);
            }
        })?;
        Ok(Requests { known: Arc::new(Mutex::new(known)), appender })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intake for Requests {
    fn claim(&mut self, key: &str) -> Result<bool, Unavailable> {
        let mut known = self.known();
        let again = known.late.again(&key.to_owned());
        if again == Again::Open {
            return Err(Unavailable);
        }
        // What was acknowledged late is claimed from now on, and the claim was not free.
        Ok(known.claims.claim(key, wall_ms()) && again == Again::New)
    }

    fn release(&mut self, key: &str) {
        self.known().claims.0.remove(key);
    }

    fn enqueue(&mut self, notification: &Notification) -> Result<(), Unavailable> {
        let request = HydrateRequest {
            unique_id: notification.unique_id,
            subject_role: notification.subject_role.clone(),
            event_type: notification.event_type.clone(),
            data_type: notification.data_type.clone(),
            start_datetime: notification.start_datetime.clone(),
            end_datetime: notification.end_datetime.clone(),
            attempt: 0,
        };
        let record = Request::Hydrate(request).encode(None);
        self.appender.append(vec![record]).map(|_| ()).map_err(|error| {
            if let NotAppended::Open(open) = error {
                self.known().late.insert(claim_key(notification.unique_id), open);
            }
            Unavailable
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_lasts_an_hour() {
        let mut claims = Claims::default();
        let hour = CLAIM_TTL_S * 1_000;
        assert!(claims.claim("a", 0));
        assert!(!claims.claim("a", hour - 1));
        assert!(claims.claim("b", hour - 1));
        assert!(claims.claim("a", hour) && !claims.claim("b", hour));
        (0..100).for_each(|i| assert!(claims.claim(&i.to_string(), 3 * hour)));
        assert_eq!(claims.0.len(), 100, "what is over goes");
    }
}
