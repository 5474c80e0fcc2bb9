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

    /// The key for one purpose: HMAC of its name under this key. No lineage is signed under a first byte
    /// of 0, which is no version's, so no signature on the wire is a part of such a key.
    fn bound_to(&self, purpose: &[u8]) -> Self {
        let mac = self.over(&[0]).chain_update(purpose).finalize().into_bytes();
        let mut key = hmac::digest::Key::<Hmac<Sha256>>::default();
        key.iter_mut().zip(mac).for_each(|(byte, mac)| *byte = mac);
        Self(Hmac::new(&key))
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

    /// Keys for one purpose, made from these. What is signed with them is refused by these keys, and by
    /// those bound to any other purpose: to another audience, say, or another day.
    ///
    /// ```
    /// use antipode_lineage::{Lineage, LineageCodec, SigningKey, SigningKeys, WireError};
    ///
    /// let keys = SigningKeys::new(SigningKey::parse(b"32 random bytes from your vault.")?);
    /// let [shop, bank] = ["shop", "bank"].map(|name| LineageCodec::signed(keys.bound_to(name)));
    /// let text = shop.encode(&Lineage::new());
    /// assert_eq!(shop.decode(&text)?, Lineage::new());
    /// assert_eq!(bank.decode(&text), Err(WireError::WrongSignature));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn bound_to(&self, purpose: impl AsRef<[u8]>) -> Self {
        let purpose = purpose.as_ref();
        let bound = |key: &SigningKey| key.bound_to(purpose);
        Self { current: bound(&self.current), other: self.other.as_ref().map(bound) }
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
    fn a_bound_key_is_the_hmac_of_its_purpose() {
        let keys = SigningKeys::new(key(1)).also_accepting(key(2));
        let bound = keys.bound_to("shop");
        let purpose = key(1).over(b"\0shop").finalize().into_bytes();
        let by_hand = SigningKeys::new(SigningKey::parse(purpose).unwrap());
        assert_eq!(signed(&bound), signed(&by_hand));
        let both = [key(1), key(2)].map(|key| signed(&SigningKeys::new(key).bound_to("shop")));
        assert!(both.iter().all(|signed| bound.verified(signed).is_some()), "both keys stay live");
        for other in [&keys, &keys.bound_to("shops"), &keys.bound_to(""), &bound.bound_to("shop")] {
            assert_eq!(other.verified(&signed(&bound)), None);
            assert_eq!(bound.verified(&signed(other)), None);
        }
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
