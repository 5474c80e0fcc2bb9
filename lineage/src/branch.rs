//! Branches: work that a request started elsewhere, and that may still be running.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::{BranchName, StoreName};

/// The most open branches a lineage holds. Past it the lineage
/// [forgets](crate::Lineage::has_forgotten_branches) which they were.
pub const MAX_BRANCHES: usize = 64;

/// What tells one branch from all others: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BranchId(pub u128);

/// A branch of a request: work that goes on when the request has been answered.
///
/// It is registered in its ledger before it starts, and is an open entry of every lineage that comes
/// after that. It is also the token that whoever runs the branch needs: as text
/// `ledger/name/id`, at most 80 bytes, to be put into the message that starts it.
///
/// ```
/// use antipode_lineage::{Branch, BranchId};
///
/// let refund = Branch { ledger: "orders".parse()?, name: "refund".parse()?, id: BranchId(0xbeef) };
/// let text = refund.to_string();
/// assert_eq!(text, "orders/refund/0000000000000000000000000000beef");
/// assert_eq!(text.parse::<Branch>()?, refund);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Branch {
    /// The store whose ledger holds the branch.
    pub ledger: StoreName,
    /// What it does, for people to read.
    pub name: BranchName,
    /// Which one it is.
    pub id: BranchId,
}

/// Why a text is not a branch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a branch is written ledger/name/id, the id as 32 hexadecimal digits: pass the text on as it was made"
)]
#[non_exhaustive]
pub struct InvalidBranch;

impl FromStr for Branch {
    type Err = InvalidBranch;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('/');
        let mut part = || parts.next().ok_or(InvalidBranch);
        let ledger = StoreName::parse(part()?).map_err(|_| InvalidBranch)?;
        let name = BranchName::parse(part()?).map_err(|_| InvalidBranch)?;
        let id = part()?.parse()?;
        if parts.next().is_some() {
            return Err(InvalidBranch);
        }
        Ok(Self { ledger, name, id })
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.ledger, self.name, self.id)
    }
}

impl FromStr for BranchId {
    type Err = InvalidBranch;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(plain) {
            return Err(InvalidBranch);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| InvalidBranch)
    }
}

impl fmt::Display for BranchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for BranchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BranchId({self})")
    }
}

/// The open branches of a lineage: a set that joins by union, and forgets all when it grows too large.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) enum Branches {
    #[default]
    None,
    /// Sorted; never empty, so that equal sets are equal values.
    Open(Arc<Vec<Branch>>),
    /// There were some, and nobody knows which.
    Forgotten,
}

impl Branches {
    pub(crate) fn as_slice(&self) -> &[Branch] {
        match self {
            Branches::Open(open) => open,
            Branches::None | Branches::Forgotten => &[],
        }
    }

    pub(crate) fn add(&mut self, branch: Branch) {
        match self {
            Branches::None => *self = Branches::Open(Arc::new(vec![branch])),
            Branches::Open(open) => match open.binary_search(&branch) {
                Ok(_) => {}
                Err(_) if open.len() == MAX_BRANCHES => *self = Branches::Forgotten,
                Err(at) => Arc::make_mut(open).insert(at, branch),
            },
            Branches::Forgotten => {}
        }
    }

    pub(crate) fn remove(&mut self, branch: &Branch) {
        let Branches::Open(open) = self else { return };
        let Ok(at) = open.binary_search(branch) else { return };
        match open.len() {
            1 => *self = Branches::None,
            _ => drop(Arc::make_mut(open).remove(at)),
        }
    }

    pub(crate) fn join(&mut self, other: &Branches) {
        match (&*self, other) {
            (Branches::Forgotten, _) | (_, Branches::None) => {}
            (Branches::None, _) | (_, Branches::Forgotten) => *self = other.clone(),
            (Branches::Open(_), Branches::Open(more)) => more.iter().for_each(|branch| self.add(*branch)),
        }
    }

    pub(crate) fn covers(&self, other: &Branches) -> bool {
        match (self, other) {
            (Branches::Forgotten, _) | (_, Branches::None) => true,
            (_, Branches::Forgotten) | (Branches::None, _) => false,
            (Branches::Open(held), Branches::Open(asked)) => {
                Arc::ptr_eq(held, asked) || asked.iter().all(|branch| held.binary_search(branch).is_ok())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_nothing_else_is() {
        let branch = Branch {
            ledger: "orders".parse().unwrap(),
            name: "refund".parse().unwrap(),
            id: BranchId(u128::MAX - 1),
        };
        let text = branch.to_string();
        assert_eq!(text.parse(), Ok(branch));
        let upper = text.to_uppercase();
        let (short, long) = (&text[..text.len() - 1], format!("{text}0"));
        let more = format!("{text}/");
        for bad in ["", "orders", "orders/refund", "orders/refund/+f", &upper, short, &long, &more] {
            assert_eq!(bad.parse::<Branch>(), Err(InvalidBranch), "{bad}");
        }
    }
}
