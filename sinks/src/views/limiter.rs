//! A bound on how fast one address may ask: a bucket that fills steadily and may be emptied at once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// Most addresses that are remembered; a full bucket need not be.
const MAX_ADDRESSES: usize = 10_000;
/// A bucket holds what this many seconds fill.
const BURST_S: f64 = 2.0;

/// A bucket for each address. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Limiter {
    per_s: f64,
    buckets: Arc<Mutex<BTreeMap<IpAddr, (f64, Instant)>>>,
}

impl Limiter {
    /// So many requests a second; 0: any number.
    pub(crate) fn new(per_s: u32) -> Limiter {
        Limiter { per_s: per_s.into(), buckets: Arc::default() }
    }

    /// Takes this much out of an address's bucket, if there is that much.
    pub(crate) fn take(&self, address: IpAddr, cost: f64, now: Instant) -> bool {
        if self.per_s == 0.0 {
            return true;
        }
        let most = self.per_s * BURST_S;
        // Nothing under the lock can panic.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_ADDRESSES {
            let filled = |(held, at): &(f64, Instant)| held + (now - *at).as_secs_f64() * self.per_s;
            buckets.retain(|_, bucket| filled(bucket) < most);
        }
        if buckets.len() >= MAX_ADDRESSES && !buckets.contains_key(&address) {
            return false;
        }
        let (held, at) = buckets.entry(address).or_insert((most, now));
        *held = (*held + (now - *at).as_secs_f64() * self.per_s).min(most);
        *at = now;
        let is_enough = *held >= cost;
        if is_enough {
            *held -= cost;
        }
        is_enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_bucket_is_emptied_and_fills_again() {
        let limiter = Limiter::new(5);
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let start = Instant::now();
        assert_eq!((0..12).filter(|_| limiter.take(one, 1.0, start)).count(), 10);
        assert!(limiter.take(other, 1.0, start), "another address has its own");
        let later = start + Duration::from_millis(400);
        assert_eq!((0..12).filter(|_| limiter.take(one, 1.0, later)).count(), 2);
        assert!((0..1_000).all(|_| Limiter::new(0).take(one, 1.0, start)));
    }

    #[test]
    fn many_addresses_do_not_fill_the_memory() {
        let limiter = Limiter::new(1);
        let start = Instant::now();
        for n in 0..20_000u32 {
            limiter.take(IpAddr::from(n.to_be_bytes()), 1.0, start);
        }
        assert!(limiter.buckets.lock().expect("a lock").len() <= MAX_ADDRESSES);
        let later = start + Duration::from_secs(3);
        assert!(limiter.take(IpAddr::from([255, 0, 0, 1]), 1.0, later), "full buckets are forgotten");
    }
}
