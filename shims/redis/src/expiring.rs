//! Which keys expire, as far as this process has seen.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How many hashes are told apart; those of as many keys as half of them are kept.
const HASHES: usize = 16_384;

/// Keys that were given a lifetime or seen to have one, by their hashes. A hash that is missing costs a
/// round trip, one too many a script on the server; neither is wrong.
#[derive(Debug)]
pub(crate) struct Expiring {
    seen: Box<[AtomicU64]>,
    count: AtomicUsize,
    hasher: RandomState,
}

impl Default for Expiring {
    fn default() -> Self {
        let seen = (0..HASHES / 64).map(|_| AtomicU64::default()).collect();
        Self { seen, count: AtomicUsize::new(0), hasher: RandomState::new() }
    }
}

impl Expiring {
    pub(crate) fn note(&self, key: &[u8]) {
        let Some((word, bit)) = self.place(key) else { return };
        if word.fetch_or(bit, Ordering::Relaxed) & bit == 0
            && self.count.fetch_add(1, Ordering::Relaxed) >= HASHES / 2
        {
            self.count.store(0, Ordering::Relaxed);
            self.seen.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        }
    }

    pub(crate) fn has(&self, key: &[u8]) -> bool {
        self.place(key).is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    fn place(&self, key: &[u8]) -> Option<(&AtomicU64, u64)> {
        let hash = self.hasher.hash_one(key);
        let at = usize::try_from(hash >> 6).ok()? % self.seen.len();
        Some((self.seen.get(at)?, 1 << (hash % 64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_known_until_there_is_too_much() {
        let expiring = Expiring::default();
        assert!(!expiring.has(b"session"));
        expiring.note(b"session");
        assert!(expiring.has(b"session"));
        let known =
            |expiring: &Expiring| (0..1_000_u32).filter(|key| expiring.has(&key.to_be_bytes())).count();
        assert!(known(&expiring) < 10, "others share its hash");
        for key in 1_000..200_000_u32 {
            expiring.note(&key.to_be_bytes());
        }
        assert!(known(&expiring) < 600, "all keys came to be known");
    }
}
