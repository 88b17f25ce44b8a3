//! So many requests a minute for each token or address.
//!
//! The generic cell rate algorithm (ATM Forum TM 4.0, 4.4.2): one point in time per key is all there is to remember.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Keys that are remembered; those that have been quiet go first.
const MAX_KEYS: usize = 4096;

/// What may come at once: the share of ten seconds, and never less than ten.
const BURST_SECONDS: u32 = 10;
const MIN_BURST: u32 = 10;

/// A rate for each key.
pub(super) struct Rate<K> {
    /// Time that one request takes of the rate.
    step: Duration,
    /// How far ahead of the rate a key may be.
    ahead: Duration,
    /// When each key will be back at nothing.
    due: Mutex<HashMap<K, Instant>>,
}

impl<K: Clone + Eq + Hash> Rate<K> {
    pub(super) fn per_minute(requests: u32) -> Self {
        let step = Duration::from_mins(1) / requests.max(1);
        let burst = (requests / 60 * BURST_SECONDS).max(MIN_BURST.min(requests.max(1)));
        Self { step, ahead: step * burst, due: Mutex::default() }
    }

    /// Takes one request of the rate.
    ///
    /// # Errors
    ///
    /// How long to wait for the next one.
    pub(super) fn take(&self, key: &K, now: Instant) -> Result<(), Duration> {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        if !due.contains_key(key) && due.len() >= MAX_KEYS {
            make_room(&mut due, now);
        }
        let entry = due.entry(key.clone()).or_insert(now);
        let next = (*entry).max(now) + self.step;
        match next.duration_since(now).checked_sub(self.ahead) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                *entry = next;
                Ok(())
            }
        }
    }
}

/// Forgets the keys that are back at nothing, or else the one that will be first.
fn make_room<K: Clone + Eq + Hash>(due: &mut HashMap<K, Instant>, now: Instant) {
    due.retain(|_, until| *until > now);
    if due.len() >= MAX_KEYS
        && let Some(first) = due.iter().min_by_key(|(_, until)| **until).map(|(key, _)| key.clone())
    {
        due.remove(&first);
    }
}

/// What counts as one address: an IPv6 client has at least a /64 to choose from.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate_and_each_key_for_itself() {
        let (rate, now) = (Rate::per_minute(60), Instant::now());
        for _ in 0..10 {
            assert_eq!(rate.take(&"a", now), Ok(()));
        }
        assert_eq!(rate.take(&"a", now), Err(Duration::from_secs(1)));
        assert_eq!(rate.take(&"b", now), Ok(()));
        assert_eq!(rate.take(&"a", now + Duration::from_secs(1)), Ok(()));
        assert!(rate.take(&"a", now + Duration::from_secs(1)).is_err());
        let later = now + Duration::from_mins(5);
        assert_eq!((0..20).filter(|_| rate.take(&"a", later).is_ok()).count(), 10, "nothing is saved up");
    }

    #[test]
    fn small_rates_are_kept() {
        let (rate, now) = (Rate::per_minute(3), Instant::now());
        assert_eq!((0..9).filter(|_| rate.take(&"a", now).is_ok()).count(), 3);
    }

    #[test]
    fn many_keys_take_bounded_memory() {
        let (rate, now) = (Rate::per_minute(60), Instant::now());
        for key in 0..3 * MAX_KEYS {
            assert_eq!(rate.take(&key, now), Ok(()));
        }
        assert_eq!(rate.due.lock().unwrap().len(), MAX_KEYS);
    }

    #[test]
    fn neighbours_in_an_ipv6_network_are_one_client() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
