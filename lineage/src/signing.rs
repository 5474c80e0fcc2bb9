//! Keys that sign lineages on the wire.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The shortest signing key, in bytes.
pub const MIN_KEY_LEN: usize = 16;

/// The bytes of a MAC on the wire: the left half of HMAC-SHA-256, as RFC 2104 §5 allows.
const MAC_LEN: usize = 16;

/// A key is too short to sign with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("signing key has {len} bytes: use at least {MIN_KEY_LEN} random ones")]
#[non_exhaustive]
pub struct InvalidKey {
    /// The length given, in bytes.
    pub len: usize,
}

/// A key shared by the services that exchange signed lineages. Never printed.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    /// Parses a key: at least [`MIN_KEY_LEN`] random bytes; 32 are a good choice.
    ///
    /// # Errors
    /// [`InvalidKey`] if there are fewer.
    pub fn parse(bytes: impl AsRef<[u8]>) -> Result<Self, InvalidKey> {
        let bytes = bytes.as_ref();
        let error = InvalidKey { len: bytes.len() };
        if bytes.len() < MIN_KEY_LEN {
            return Err(error);
        }
        Hmac::new_from_slice(bytes).map(Self).map_err(|_| error)
    }

    fn over(&self, message: &[u8]) -> Hmac<Sha256> {
        self.0.clone().chain_update(message)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// The live keys: one signs, and a second may be accepted while keys change.
///
/// To change keys without refusing anything on the way, let every service
/// [accept](SigningKeys::also_accepting) the new key, then sign with it and accept the old one,
/// then forget the old one.
#[derive(Debug, Clone)]
pub struct SigningKeys {
    current: SigningKey,
    other: Option<SigningKey>,
}

impl SigningKeys {
    /// Signs with `current` and accepts it alone.
    #[must_use]
    pub fn new(current: SigningKey) -> Self {
        Self { current, other: None }
    }

    /// Accepts `other` too: the key before, or the next one. It replaces one given earlier.
    #[must_use]
    pub fn also_accepting(self, other: SigningKey) -> Self {
        Self { other: Some(other), ..self }
    }

    /// Appends the MAC of the message to it.
    pub(crate) fn sign(&self, message: &mut Vec<u8>) {
        let mac = self.current.over(message).finalize().into_bytes();
        message.extend(mac.iter().take(MAC_LEN));
    }

    /// The message without its MAC, if one of the keys made that. Compares in constant time.
    pub(crate) fn verified<'a>(&self, signed: &'a [u8]) -> Option<&'a [u8]> {
        let (message, mac) = signed.split_last_chunk::<MAC_LEN>()?;
        let mut keys = [Some(&self.current), self.other.as_ref()].into_iter().flatten();
        keys.any(|key| key.over(message).verify_truncated_left(mac).is_ok()).then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SigningKey {
        SigningKey::parse([byte; 32]).unwrap()
    }

    fn signed(keys: &SigningKeys) -> Vec<u8> {
        let mut message = b"message".to_vec();
        keys.sign(&mut message);
        message
    }

    #[test]
    fn short_keys_are_refused() {
        assert_eq!(SigningKey::parse([0; 15]).unwrap_err(), InvalidKey { len: 15 });
        assert!(SigningKey::parse([0; 16]).is_ok());
    }

    #[test]
    fn the_mac_is_hmac_sha_256() {
        // RFC 4231, test case 1.
        let keys = SigningKeys::new(SigningKey::parse([0x0b; 20]).unwrap());
        let mut message = b"Hi There".to_vec();
        keys.sign(&mut message);
        let mac = 0xb034_4c61_d8db_3853_5ca8_afce_af0b_f12b_u128;
        assert_eq!(message.split_off(8), mac.to_be_bytes());
    }

    #[test]
    fn keys_change_without_a_gap() {
        let [old, new] = [key(1), key(2)];
        let before = SigningKeys::new(old.clone());
        let announced = before.clone().also_accepting(new.clone());
        let switched = SigningKeys::new(new.clone()).also_accepting(old);
        let after = SigningKeys::new(new);
        let steps = [before, announced, switched, after];
        for pair in steps.windows(2) {
            let [earlier, later] = pair else { unreachable!() };
            assert_eq!(later.verified(&signed(earlier)), Some(&b"message"[..]));
            assert_eq!(earlier.verified(&signed(later)), Some(&b"message"[..]));
        }
        let [before, .., after] = &steps;
        assert_eq!(after.verified(&signed(before)), None, "a forgotten key is no key");
    }

    #[test]
    fn a_shortened_mac_is_no_mac() {
        let keys = SigningKeys::new(key(1));
        let signed = signed(&keys);
        for len in 0..signed.len() {
            assert_eq!(keys.verified(&signed[..len]), None, "{len}");
        }
    }

    #[test]
    fn keys_are_never_printed() {
        let keys = SigningKeys::new(SigningKey::parse(b"a very secret key").unwrap()).also_accepting(key(7));
        let text = format!("{keys:?}");
        assert_eq!(text, "SigningKeys { current: SigningKey(..), other: Some(SigningKey(..)) }");
    }
}
