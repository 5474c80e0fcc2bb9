//! Names of stores, replicas and branches: short, inline, and safe to print anywhere.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// The longest name, in bytes.
pub const MAX_NAME_LEN: usize = 23;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name is 1 to {MAX_NAME_LEN} characters of a-z, 0-9, '-', '_' or '.', beginning with a letter or digit"
)]
#[non_exhaustive]
pub struct InvalidName;

/// The text, zeros, and in the last byte its length.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(align(8))]
struct Inline([u8; MAX_NAME_LEN + 1]);

/// Which bytes names are made of. Lineages are read more often than names are written.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut rest: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789-_.";
    while let [byte, others @ ..] = rest {
        #[allow(clippy::indexing_slicing)] // A constant; and there are 256 bytes.
        {
            plain[*byte as usize] = true;
        }
        rest = others;
    }
    plain
};

impl Inline {
    fn parse(text: &[u8]) -> Result<Self, InvalidName> {
        let first = text.first().ok_or(InvalidName)?;
        let plain = |byte: &u8| PLAIN.get(usize::from(*byte)) == Some(&true);
        if !first.is_ascii_alphanumeric() || !text.iter().all(plain) {
            return Err(InvalidName);
        }
        let mut bytes = [0; MAX_NAME_LEN + 1];
        let (name, len) = bytes.split_at_mut(MAX_NAME_LEN);
        name.get_mut(..text.len()).ok_or(InvalidName)?.copy_from_slice(text);
        len.fill(text.len() as u8);
        Ok(Self(bytes))
    }

    fn as_str(&self) -> &str {
        let [name @ .., len] = &self.0;
        let bytes = name.get(..usize::from(*len)).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// Numbers in the order of the texts: no byte of a text is as small as those that fill it up.
    fn words(&self) -> [u64; 3] {
        let mut words = [0; 3];
        for (word, bytes) in words.iter_mut().zip(self.0.as_chunks().0) {
            *word = u64::from_be_bytes(*bytes);
        }
        words
    }
}

impl Ord for Inline {
    fn cmp(&self, other: &Self) -> Ordering {
        self.words().cmp(&other.words())
    }
}

impl PartialOrd for Inline {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// 1 to 23 characters of `a-z`, `0-9`, `-`, `_` or `.`, beginning with a letter or
        /// digit. The text is held inline: copying and comparing need no allocation, and no
        /// name read from a request can grow a table in this process.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Inline);

        impl $name {
            /// Parses a name.
            ///
            /// # Errors
            /// [`InvalidName`] if the text is empty, too long or has other characters.
            pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, InvalidName> {
                Inline::parse(text.as_ref()).map(Self)
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidName;

            fn try_from(text: &str) -> Result<Self, Self::Error> {
                Self::parse(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    };
}

name! {
    /// The name of a logical datastore, shared by every service that uses it: `posts`, `orders`.
    StoreName
}

name! {
    /// The name of one replica of a store, as this process calls it: `eu-west`, `primary`.
    ReplicaName
}

name! {
    /// What a branch does: `refund`, `send-mails`. Many branches have one name.
    BranchName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_kept() {
        assert_eq!(StoreName::parse("posts").unwrap().as_str(), "posts");
        let longest = "a".repeat(MAX_NAME_LEN);
        assert_eq!(StoreName::parse(&longest).unwrap().to_string(), longest);
        for bad in ["", "Posts", "-x", "a/b", "a b", "a\0", "ü", &"a".repeat(MAX_NAME_LEN + 1)] {
            assert_eq!(StoreName::parse(bad), Err(InvalidName), "{bad:?}");
        }
    }

    #[test]
    fn order_is_the_order_of_the_texts() {
        let mut names = ["b", "a", "ab", "a-b", "abc"].map(|n| StoreName::parse(n).unwrap());
        names.sort();
        assert_eq!(names.map(|n| n.to_string()), ["a", "a-b", "ab", "abc", "b"]);
    }
}
