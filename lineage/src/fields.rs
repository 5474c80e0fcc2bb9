//! The stored form: one text field per entry, which a server can join by keeping the maximum.
//!
//! A lineage stored beside a value is joined, not overwritten, when only part of the value changes.
//! The store does that itself (a Postgres trigger, MongoDB's `$max`), or appends, and readers join what
//! stands there more than once (Redis). So the form
//! is a map whose values compare as texts: `store/shard/history/term` → position in 16 hexadecimal
//! digits. The marks are the fields `!everything`, `!weak`, and `!branches` for branches that were
//! forgotten; an open branch is a mark, too: `!branch/ledger/name/id`. A store that joins fields bounds
//! the number of those, and sets `!branches` in their stead.

use crate::{Branch, Epoch, Lineage, Position, Shard, StoreName, WriteId};

const EVERYTHING: &str = "!everything";
const BRANCH: &str = "!branch/";
const FORGOTTEN: &str = "!branches";
const WEAK: &str = "!weak";
const SET: &str = "0000000000000001";

/// A stored field that is not part of a lineage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stored lineage has a field that is none of ours: {field:?} = {value:?}")]
#[non_exhaustive]
pub struct InvalidField {
    /// The field's name as stored.
    pub field: String,
    /// The field's value as stored.
    pub value: String,
}

impl Lineage {
    /// The stored form, field by field. Names and values are made of `a-z`, `0-9` and `-_./!`:
    /// they need no quoting in JSON, SQL strings or Redis scripts, and `=` and a space may separate them.
    pub fn to_fields(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let mark = |set: bool, name: &str| set.then(|| (name.to_owned(), SET.to_owned()));
        let writes = self.writes().iter().map(|write| {
            let WriteId { store, shard, epoch, position } = write;
            let field = format!("{store}/{}/{:x}/{}", shard.0, epoch.history, epoch.term);
            (field, format!("{:016x}", position.0))
        });
        let branches = self.branches().iter().map(|branch| (format!("{BRANCH}{branch}"), SET.to_owned()));
        // Everything says it of the branches, too.
        let forgotten = self.has_forgotten_branches() && !self.has_overflowed();
        let marks = mark(self.has_overflowed(), EVERYTHING).into_iter().chain(mark(forgotten, FORGOTTEN));
        writes.chain(branches).chain(marks).chain(mark(self.is_weak(), WEAK))
    }

    /// Reads the stored form back.
    ///
    /// # Errors
    /// [`InvalidField`] names the first field that this form does not have.
    pub fn from_fields<F, V>(fields: impl IntoIterator<Item = (F, V)>) -> Result<Self, InvalidField>
    where
        F: AsRef<str>,
        V: AsRef<str>,
    {
        let mut lineage = Lineage::new();
        for (field, value) in fields {
            let (field, value) = (field.as_ref(), value.as_ref());
            match field {
                EVERYTHING if value == SET => lineage.join(&Lineage::everything()),
                WEAK if value == SET => lineage.mark_weak(),
                FORGOTTEN if value == SET => lineage.forget_branches(),
                _ => {
                    let invalid = || InvalidField { field: field.to_owned(), value: value.to_owned() };
                    match field.strip_prefix(BRANCH).filter(|_| value == SET) {
                        Some(branch) => lineage.add_branch(branch.parse::<Branch>().map_err(|_| invalid())?),
                        None => lineage.add(parse(field, value).ok_or_else(invalid)?),
                    }
                }
            }
        }
        Ok(lineage)
    }
}

fn parse(field: &str, value: &str) -> Option<WriteId> {
    let mut parts = field.as_bytes().split(|byte| *byte == b'/');
    let store = StoreName::parse(parts.next()?).ok()?;
    let shard = Shard(number(parts.next()?, 10)?);
    let epoch = Epoch { history: number(parts.next()?, 16)?, term: number(parts.next()?, 10)? };
    if parts.next().is_some() || value.len() != SET.len() {
        return None;
    }
    Some(WriteId { store, shard, epoch, position: Position(number(value.as_bytes(), 16)?) })
}

/// Digits and nothing else, small letters among them: the standard parser takes more, and more time.
fn number(text: &[u8], radix: u64) -> Option<u64> {
    let digits = text.iter().map(|byte| match byte {
        b'0'..=b'9' => u64::from(byte - b'0'),
        b'a'..=b'f' => u64::from(byte - b'a') + 10,
        _ => u64::MAX,
    });
    let mut number: u64 = 0;
    for digit in digits {
        number = number.checked_mul(radix)?.checked_add(if digit < radix { digit } else { return None })?;
    }
    (!text.is_empty()).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Lineage {
        let posts = StoreName::parse("posts").unwrap();
        let epoch = Epoch { history: u64::MAX, term: 3 };
        let mut lineage = Lineage::from_iter([
            WriteId { store: posts, shard: Shard(2), epoch, position: Position(255) },
            WriteId::unplaced(StoreName::parse("cache").unwrap()),
        ]);
        lineage.mark_weak();
        lineage.add_branch(format!("posts/refund/{:032x}", 7).parse().unwrap());
        lineage
    }

    #[test]
    fn forgotten_branches_read_back() {
        let mut lineage = sample();
        lineage.forget_branches();
        assert_eq!(Lineage::from_fields(lineage.to_fields()).unwrap(), lineage);
        let before = sample();
        let joined = lineage.to_fields().chain(before.to_fields());
        assert_eq!(Lineage::from_fields(joined).unwrap(), lineage, "as a server joins them");
    }

    #[test]
    fn fields_read_back() {
        let fields: Vec<_> = sample().to_fields().collect();
        assert!(fields.contains(&("posts/2/ffffffffffffffff/3".into(), "00000000000000ff".into())));
        assert_eq!(Lineage::from_fields(fields).unwrap(), sample());
        let all = Lineage::everything();
        assert_eq!(Lineage::from_fields(all.to_fields()).unwrap(), all);
    }

    #[test]
    fn values_compare_as_texts() {
        let text = |position| format!("{:016x}", position);
        assert!(text(9_u64) < text(10) && text(u64::from(u32::MAX)) < text(u64::MAX));
    }

    #[test]
    fn foreign_fields_are_refused() {
        for (field, value) in [
            ("", SET),
            ("posts", SET),
            ("posts/0/1", SET),
            ("posts/0/1/1/1", SET),
            ("Posts/0/1/1", SET),
            ("posts/+1/1/1", SET),
            ("posts/0/1/1", "1"),
            ("posts/0/1/1", "+000000000000001"),
            ("!weak", "2"),
            ("!branches", "2"),
            ("!branch/posts/refund/00000000000000000000000000000007", "2"),
            ("!branch/posts/refund/7", SET),
            ("!branch/", SET),
            ("posts//1/1", SET),
            ("posts/a/1/1", SET),
            ("posts/0/g/1", SET),
            ("posts/0/A/1", SET),
            ("posts/18446744073709551616/1/1", SET),
            ("posts/0/1ffffffffffffffff/1", SET),
        ] {
            assert!(Lineage::from_fields([(field, value)]).is_err(), "{field} {value}");
        }
    }
}
