//! The entries of a lineage in bytes: their count, then each entry as what differs from the one
//! before it.
//!
//! | part | bytes |
//! |---|---|
//! | tag | 1: bits 0–4 the length of the store's name, 0 = the store before; bit 5 = the history before |
//! | name | the length given by the tag |
//! | shard | 1–10, LEB128 |
//! | history | 8, big endian; none with bit 5 |
//! | term | 1–10, LEB128 |
//! | position | 1–10, LEB128 |
//!
//! After the entries, in version 2, the branches: their count, then each one.
//!
//! | part | bytes |
//! |---|---|
//! | length | 1: of the ledger's name, 0 = the ledger before |
//! | ledger | that length |
//! | length | 1: of the branch's name, 0 = the name before |
//! | name | that length |
//! | id | 16, big endian |
//!
//! Every part says how long it is before it ends, so the entries say where they end: no bytes that
//! hold a lineage begin with other bytes that hold one.

use std::cmp::Ordering;

use smallvec::SmallVec;

use crate::lineage::USUAL_ENTRIES;
use crate::{
    Branch, BranchId, BranchName, Epoch, Lineage, MAX_BRANCHES, MAX_ENTRIES, Position, Shard, StoreName,
    WireError, WriteId,
};

const NAME_LEN: u8 = 0b0001_1111;
const SAME_HISTORY: u8 = 0b0010_0000;

/// In a byte of a number: more follow.
const MORE: u8 = 0b1000_0000;

/// Appends the count and the entries.
pub(crate) fn write(out: &mut Vec<u8>, writes: &[WriteId]) {
    varint(out, writes.len() as u64);
    let mut last: Option<&WriteId> = None;
    for write in writes {
        let name = match last {
            Some(last) if last.store == write.store => "",
            _ => write.store.as_str(),
        };
        let same_history = last.is_some_and(|last| last.epoch.history == write.epoch.history);
        // A name has at most `MAX_NAME_LEN` bytes: the conversion keeps its length.
        out.push(name.len() as u8 | if same_history { SAME_HISTORY } else { 0 });
        out.extend_from_slice(name.as_bytes());
        varint(out, write.shard.0);
        if !same_history {
            out.extend_from_slice(&write.epoch.history.to_be_bytes());
        }
        varint(out, write.epoch.term);
        varint(out, write.position.0);
        last = Some(write);
    }
}

/// Appends the count and the branches. None are those that were forgotten.
pub(crate) fn write_branches(out: &mut Vec<u8>, branches: &[Branch]) {
    varint(out, branches.len() as u64);
    let mut last: Option<&Branch> = None;
    for branch in branches {
        let ledger = last.filter(|last| last.ledger == branch.ledger).map_or(branch.ledger.as_str(), |_| "");
        let name = last.filter(|last| last.name == branch.name).map_or(branch.name.as_str(), |_| "");
        for text in [ledger, name] {
            out.push(text.len() as u8);
            out.extend_from_slice(text.as_bytes());
        }
        out.extend_from_slice(&branch.id.0.to_be_bytes());
        last = Some(branch);
    }
}

/// Reads the count and the entries, in a text that has them the branches, and nothing after.
///
/// It takes only what [`write`] and [`write_branches`] make: no other order, no name or history that
/// could have been left out, no number with leading zeros.
pub(crate) fn read(bytes: &[u8], has_branches: bool) -> Result<Lineage, WireError> {
    let mut rest = Reader(bytes);
    let count = rest.varint()?;
    if count > MAX_ENTRIES as u64 {
        return Err(WireError::TooManyEntries { count });
    }
    let mut writes = SmallVec::<[WriteId; USUAL_ENTRIES]>::new();
    let mut last = None;
    for _ in 0..count {
        let write = rest.entry(last.as_ref())?;
        writes.push(write);
        last = Some(write);
    }
    let mut lineage = Lineage::of_sorted(&writes);
    if has_branches {
        rest.branches(&mut lineage)?;
    }
    canonical(rest.0.is_empty())?;
    Ok(lineage)
}

/// One lineage has one form. All others are refused.
pub(crate) fn canonical(is_so: bool) -> Result<(), WireError> {
    if is_so { Ok(()) } else { Err(WireError::Malformed) }
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= u64::from(MORE) {
        out.push(MORE | (number & 0x7f) as u8);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The bytes not read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next entry; it comes after `last` in the order of lineages.
    #[inline]
    fn entry(&mut self, last: Option<&WriteId>) -> Result<WriteId, WireError> {
        let [tag] = self.array()?;
        canonical(tag & !(NAME_LEN | SAME_HISTORY) == 0)?;
        let (store, order) = match (tag & NAME_LEN, last) {
            (0, Some(last)) => (last.store, Ordering::Equal),
            (len, last) => {
                let store = StoreName::parse(self.text(len)?)?;
                let order = last.map_or(Ordering::Greater, |last| store.cmp(&last.store));
                canonical(order.is_gt())?;
                (store, order)
            }
        };
        let shard = Shard(self.varint()?);
        let before = last.map(|last| last.epoch.history);
        let history = match before {
            Some(before) if tag & SAME_HISTORY != 0 => before,
            _ => u64::from_be_bytes(self.array()?),
        };
        canonical((tag & SAME_HISTORY != 0) == (before == Some(history)))?;
        let epoch = Epoch { history, term: self.varint()? };
        let within = |last: &WriteId| (shard, epoch) > (last.shard, last.epoch);
        canonical(order.is_gt() || last.is_some_and(within))?;
        Ok(WriteId { store, shard, epoch, position: Position(self.varint()?) })
    }

    fn branches(&mut self, lineage: &mut Lineage) -> Result<(), WireError> {
        let count = self.varint()?;
        if count > MAX_BRANCHES as u64 {
            return Err(WireError::TooManyEntries { count });
        }
        if count == 0 {
            lineage.forget_branches();
        }
        let mut last: Option<Branch> = None;
        for _ in 0..count {
            let [len] = self.array()?;
            let ledger = match (len, last) {
                (0, Some(last)) => last.ledger,
                (len, last) => {
                    let ledger = StoreName::parse(self.text(len)?)?;
                    canonical(last.is_none_or(|last| last.ledger != ledger))?;
                    ledger
                }
            };
            let [len] = self.array()?;
            let name = match (len, last) {
                (0, Some(last)) => last.name,
                (len, last) => {
                    let name = BranchName::parse(self.text(len)?)?;
                    canonical(last.is_none_or(|last| last.name != name))?;
                    name
                }
            };
            let branch = Branch { ledger, name, id: BranchId(u128::from_be_bytes(self.array()?)) };
            canonical(last.is_none_or(|last| last < branch))?;
            lineage.add_branch(branch);
            last = Some(branch);
        }
        Ok(())
    }

    #[inline]
    fn text(&mut self, len: u8) -> Result<&'a [u8], WireError> {
        let (text, rest) = self.0.split_at_checked(usize::from(len)).ok_or(WireError::Malformed)?;
        self.0 = rest;
        Ok(text)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, WireError> {
        self.number().ok_or(WireError::Malformed)
    }

    /// The next number; `None` too if it is not in its shortest form.
    #[inline]
    fn number(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        if first & MORE == 0 { Some(u64::from(*first)) } else { self.longer(u64::from(first & !MORE)) }
    }

    /// The number that began with these seven bits.
    fn longer(&mut self, begun: u64) -> Option<u64> {
        let (mut number, mut shift) = (begun, 7);
        let mut bytes = self.0.iter();
        loop {
            let byte = *bytes.next()?;
            let part = u64::from(byte & !MORE);
            number |= part << shift;
            if byte & MORE == 0 {
                self.0 = bytes.as_slice();
                let shortest = part != 0 && part << shift >> shift == part;
                return shortest.then_some(number);
            }
            shift += 7;
            if shift >= u64::BITS {
                return None;
            }
        }
    }

    #[inline]
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        self.bytes().ok_or(WireError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(store: &str, shard: u64, history: u64, term: u64, position: u64) -> WriteId {
        let epoch = Epoch { history, term };
        WriteId { store: store.parse().unwrap(), shard: Shard(shard), epoch, position: Position(position) }
    }

    #[test]
    fn the_form_is_the_documented_one() {
        let mut bytes = Vec::new();
        write(&mut bytes, &[entry("ab", 0, 7, 1, 300), entry("ab", 1, 7, 2, 1), entry("c", 0, 8, 0, 127)]);
        let expected: &[&[u8]] = &[
            &[3],
            &[2, b'a', b'b', 0, 0, 0, 0, 0, 0, 0, 0, 7, 1, 0xac, 0x02],
            &[SAME_HISTORY, 1, 2, 1],
            &[1, b'c', 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 127],
        ];
        assert_eq!(bytes, expected.concat());
    }

    #[test]
    fn the_form_of_branches_is_the_documented_one() {
        let branch = |ledger: &str, id| Branch {
            ledger: ledger.parse().unwrap(),
            name: "x".parse().unwrap(),
            id: BranchId(id),
        };
        let mut bytes = Vec::new();
        write_branches(&mut bytes, &[branch("ab", 7), branch("ab", 8), branch("c", 9)]);
        let id = |last: u8| [[0; 15].as_slice(), &[last]].concat();
        let parts: [&[u8]; 7] =
            [&[3], &[2, b'a', b'b', 1, b'x'], &id(7), &[0, 0], &id(8), &[1, b'c', 0], &id(9)];
        assert_eq!(bytes, parts.concat());
    }

    #[test]
    fn no_proper_prefix_holds_a_lineage() {
        let mut bytes = Vec::new();
        write(&mut bytes, &[entry("ab", u64::MAX, 7, 1, 300), entry("c", 0, 7, u64::MAX, u64::MAX)]);
        assert_eq!(read(&bytes, false).unwrap().writes().len(), 2);
        for len in 0..bytes.len() {
            assert_eq!(read(&bytes[..len], false), Err(WireError::Malformed), "{len}");
        }
    }

    #[test]
    fn a_second_spelling_is_refused() {
        const HISTORY: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 7];
        const OTHER: &[u8] = &[0, 0, 0, 0, 0, 0, 0, 8];
        let [a, b] = [[&[1, b'a', 0], HISTORY, &[1, 5]].concat(), [&[0x21, b'b', 0, 1, 5][..]].concat()];
        let id = [9; 16];
        let branch = [&[1, b'l', 1, b'n'], &id[..]].concat();
        let later = |text: &[u8]| [text, &[9; 15], &[10]].concat();
        type Parts<'a> = &'a [&'a [u8]];
        let taken = |parts: Parts<'_>, branches| read(&parts.concat(), branches).map(drop);
        assert_eq!(taken(&[&[2], &a, &b], false), Ok(()));
        assert_eq!(taken(&[&[2], &a, &b, &[2], &branch, &later(&[0, 0])], true), Ok(()));
        let spellings: [(&str, bool, Parts<'_>); 14] = [
            ("bytes left over", false, &[&[2], &a, &b, &[0]]),
            ("an unknown bit in the tag", false, &[&[1, 0x41, b'a', 0], HISTORY, &[1, 5]]),
            ("the same name again", false, &[&[2], &a, &[0x21, b'a', 1, 1, 5]]),
            ("the same history again", false, &[&[2], &a, &[1, b'b', 0], HISTORY, &[1, 5]]),
            ("the history before the first", false, &[&[1, 0x21, b'a', 0], HISTORY, &[1, 5]]),
            ("entries out of order", false, &[&[2], &[1, b'b', 0], HISTORY, &[1, 5], &[0x21, b'a', 0, 1, 5]]),
            (
                "histories out of order",
                false,
                &[&[2], &[1, b'a', 0], OTHER, &[1, 5], &[0, 0], HISTORY, &[1, 5]],
            ),
            ("an entry twice", false, &[&[2], &a, &[0x20, 0, 1, 6]]),
            ("a leading zero", false, &[&[1, 1, b'a', 0], HISTORY, &[1, 0x85, 0]]),
            ("bits past the 64th", false, &[&[1, 1, b'a', 0], HISTORY, &[1], &[0xff; 9], &[3]]),
            ("the same ledger again", true, &[&[0, 2], &branch, &later(&[1, b'l', 0])]),
            ("the same branch's name again", true, &[&[0, 2], &branch, &later(&[0, 1, b'n'])]),
            ("branches out of order", true, &[&[0, 2], &later(&[1, b'l', 1, b'n']), &[0, 0], &id]),
            ("a branch twice", true, &[&[0, 2], &branch, &[0, 0], &id]),
        ];
        for (what, branches, parts) in spellings {
            assert_eq!(taken(parts, branches), Err(WireError::Malformed), "{what}");
        }
    }

    #[test]
    fn a_number_without_an_end_is_refused() {
        assert_eq!(read(&[0x80; 3_000], false), Err(WireError::Malformed));
    }
}
