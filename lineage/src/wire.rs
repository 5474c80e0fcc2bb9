//! The lineage on the wire: one short text for headers and messages.
//!
//! The text is unpadded base64url of these bytes:
//!
//! | part | bytes |
//! |---|---|
//! | head | 1: bits 4–7 the version, 1 or 2; bit 0 signed, bit 1 everything, bit 2 weak |
//! | entries | their count, then each one: see the module `body` |
//! | branches | in version 2 alone: their count, then each one; no count but 0 if they are forgotten |
//! | seal | CRC-32 of all before it, 4, little endian; or, if signed, its MAC, 16 |
//!
//! A lineage without open branches travels as version 1, one with them as version 2: a service that
//! cannot wait for branches refuses it.
//!
//! **One lineage, one text.** A text is taken only if it is the one that this codec makes of the
//! lineage in it, so nothing can hide in a second spelling.
//!
//! **A shortened text never decodes**, whatever its checksum. Head and entries say where they end
//! and the head says how long the seal is, so a text of one length cannot hold what a longer one
//! began with, and base64 has one length of text for each number of bytes.
//!
//! **A changed character never decodes.** It changes at most six bits of two neighbouring bytes;
//! message and CRC-32 in this byte order are one codeword, in which every error confined to 32
//! bits shows. A MAC misses one change in 2¹²⁸.
//!
//! A future version may have an audience and an expiry after the head, under the MAC: they need a
//! new version number, which this one refuses.

use std::sync::Arc;

use base64_simd::{AsOut, URL_SAFE_NO_PAD};
use smallvec::SmallVec;

use crate::{InvalidName, Lineage, MAX_ENTRIES, SigningKeys, body};

/// The longest text of a lineage, in bytes. With the key before it, it stays below the 4,096 bytes
/// that some baggage libraries allow a member.
pub const MAX_WIRE_LEN: usize = 4_000;

/// Few lineages have more bytes.
const USUAL_LEN: usize = 128;

const VERSION: u8 = 1;
/// With a section of branches.
const VERSION_BRANCHES: u8 = 2;
const VERSIONS: u8 = 0b1111_0000;
const SIGNED: u8 = 0b001;
const EVERYTHING: u8 = 0b010;
const WEAK: u8 = 0b100;

/// Why a text is not a lineage that this codec takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The text is longer than [`MAX_WIRE_LEN`].
    #[error("lineage has {len} bytes of text, more than {MAX_WIRE_LEN}: refuse its sender")]
    TooLong {
        /// The length found, in bytes.
        len: usize,
    },
    /// The text is not unpadded base64url: escaped, quoted, cut or folded on the way.
    #[error("lineage is not base64url: pass its text on unchanged, without escapes or padding")]
    Alphabet,
    /// The text was made by a newer version of this library.
    #[error(
        "lineage has wire version {version}, this service reads {VERSION_BRANCHES}: upgrade this service first"
    )]
    UnsupportedVersion {
        /// The version found.
        version: u8,
    },
    /// The checksum does not match: the text was cut or changed on the way.
    #[error("lineage was damaged on the way: look for a hop that cuts or rewrites baggage")]
    Damaged,
    /// The text is signed, and this codec has no keys.
    #[error("lineage is signed: configure the signing key in this service too")]
    Signed,
    /// The text is not signed, and this codec has keys.
    #[error("lineage is not signed: configure the signing key in its sender too")]
    Unsigned,
    /// No key of this codec made the signature: changed on the way, forged, or another key.
    #[error("lineage has a wrong signature: check that its sender signs with a key accepted here")]
    WrongSignature,
    /// The text announces more than [`MAX_ENTRIES`] entries, or more than
    /// [`MAX_BRANCHES`](crate::MAX_BRANCHES) branches.
    #[error(
        "lineage has {count} entries, more than {MAX_ENTRIES} (of branches {}): refuse its sender",
        crate::MAX_BRANCHES
    )]
    TooManyEntries {
        /// The number announced.
        count: u64,
    },
    /// An entry's store, or a branch, has a name that cannot be one.
    #[error("lineage names a store or branch that cannot exist: refuse its sender")]
    StoreName(#[from] InvalidName),
    /// The seal is right, but what it seals is not what this codec makes.
    #[error("lineage is well sealed but not in the one form that encoding gives: refuse its sender")]
    Malformed,
    /// The baggage headers are too long to be read to their end, and no lineage stands in the part
    /// that was read.
    #[error(
        "baggage is longer than {} bytes and does not begin with the lineage: put it first",
        crate::MAX_READ_LEN
    )]
    BaggageTooLong,
}

/// Makes and reads the text of a lineage. A clone shares the keys.
///
/// Each lineage has one text. No part of a text from its beginning and no text with one character
/// changed decodes, so a position cut short on the way is never taken for a smaller one.
///
/// ```
/// use antipode_lineage::{Lineage, LineageCodec, SigningKey, SigningKeys, StoreName, WireError, WriteId};
///
/// let lineage = Lineage::from(WriteId::unplaced(StoreName::parse("posts")?));
/// let plain = LineageCodec::plain();
/// assert_eq!(plain.decode(plain.encode(&lineage))?, lineage);
///
/// let key = SigningKey::parse(b"32 random bytes from your vault.")?;
/// let signed = LineageCodec::signed(SigningKeys::new(key));
/// assert_eq!(signed.decode(signed.encode(&lineage))?, lineage);
/// assert_eq!(signed.decode(plain.encode(&lineage)), Err(WireError::Unsigned));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct LineageCodec {
    keys: Option<Arc<SigningKeys>>,
}

impl LineageCodec {
    /// Texts with a checksum: they show damage, not forgery.
    #[must_use]
    pub const fn plain() -> Self {
        Self { keys: None }
    }

    /// Texts that only a holder of a key can make. Unsigned ones are refused.
    #[must_use]
    pub fn signed(keys: SigningKeys) -> Self {
        Self { keys: Some(Arc::new(keys)) }
    }

    /// The text of a lineage: at most [`MAX_WIRE_LEN`] bytes of `A-Z`, `a-z`, `0-9`, `-` and `_`.
    ///
    /// A lineage that does not fit travels without the names of its branches
    /// ([forgotten](Lineage::has_forgotten_branches)), and if that is not enough as
    /// [`Lineage::everything`], which covers it.
    #[must_use]
    pub fn encode(&self, lineage: &Lineage) -> String {
        let text = self.text(lineage);
        if text.len() <= MAX_WIRE_LEN {
            return text;
        }
        if !lineage.branches().is_empty() {
            let mut shorter = lineage.clone();
            shorter.forget_branches();
            return self.encode(&shorter);
        }
        let mut top = Lineage::everything();
        top.join(lineage);
        self.text(&top)
    }

    /// Reads a text back. Memory and time are linear in its length, which is checked first.
    ///
    /// # Errors
    /// [`WireError`] for every text that [`encode`](LineageCodec::encode) does not make, with one
    /// of the keys of this codec.
    pub fn decode(&self, text: impl AsRef<[u8]>) -> Result<Lineage, WireError> {
        let text = text.as_ref();
        if text.len() > MAX_WIRE_LEN {
            return Err(WireError::TooLong { len: text.len() });
        }
        let mut room = SmallVec::from([0; USUAL_LEN]);
        room.resize(USUAL_LEN.max(URL_SAFE_NO_PAD.estimated_decoded_length(text.len())), 0);
        let bytes = URL_SAFE_NO_PAD.decode(text, room.as_out()).map_err(|_| WireError::Alphabet)?;
        let message = self.unsealed(bytes)?;
        let (head, entries) = message.split_first().ok_or(WireError::Damaged)?;
        let mut lineage = body::read(entries, has_branches(*head))?;
        body::canonical(head & !(VERSIONS | SIGNED | EVERYTHING | WEAK) == 0)?;
        if head & EVERYTHING != 0 {
            // It has no entries besides, and says it of the branches, too.
            body::canonical(lineage.is_empty() && !has_branches(*head))?;
            lineage = Lineage::everything();
        }
        if head & WEAK != 0 {
            lineage.mark_weak();
        }
        Ok(lineage)
    }

    fn text(&self, lineage: &Lineage) -> String {
        let mut bytes = self.message(lineage);
        match &self.keys {
            Some(keys) => keys.sign(&mut bytes),
            None => bytes.extend_from_slice(&checksum(&bytes)),
        }
        URL_SAFE_NO_PAD.encode_to_string(&bytes)
    }

    /// Head and entries.
    fn message(&self, lineage: &Lineage) -> Vec<u8> {
        let mark = |set: bool, bit: u8| if set { bit } else { 0 };
        // What stands for everything says it of the branches, too.
        let branches =
            !lineage.has_overflowed() && (lineage.has_forgotten_branches() || !lineage.branches().is_empty());
        let head = if branches { VERSION_BRANCHES } else { VERSION } << 4
            | mark(self.keys.is_some(), SIGNED)
            | mark(lineage.has_overflowed(), EVERYTHING)
            | mark(lineage.is_weak(), WEAK);
        let mut message = Vec::with_capacity(USUAL_LEN);
        message.push(head);
        body::write(&mut message, lineage.writes());
        if branches {
            body::write_branches(&mut message, lineage.branches());
        }
        message
    }

    /// Checks version and seal before anything else is looked at, and takes the seal off.
    fn unsealed<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], WireError> {
        let head = bytes.first().ok_or(WireError::Damaged)?;
        let version = head >> 4;
        if version != VERSION && version != VERSION_BRANCHES {
            return Err(WireError::UnsupportedVersion { version });
        }
        match (&self.keys, head & SIGNED != 0) {
            (Some(keys), true) => keys.verified(bytes).ok_or(WireError::WrongSignature),
            (Some(_), false) => Err(WireError::Unsigned),
            (None, true) => Err(WireError::Signed),
            (None, false) => match bytes.split_last_chunk() {
                Some((message, seal)) if checksum(message) == *seal => Ok(message),
                _ => Err(WireError::Damaged),
            },
        }
    }
}

fn has_branches(head: u8) -> bool {
    head >> 4 == VERSION_BRANCHES
}

fn checksum(message: &[u8]) -> [u8; 4] {
    crc32fast::hash(message).to_le_bytes()
}
