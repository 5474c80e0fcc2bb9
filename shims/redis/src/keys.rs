//! Finding the keys among a command's arguments.

use smallvec::SmallVec;

use crate::commands::{Begin, Command, Find, KeySpec, Usage};

/// The keys of one command as sent.
pub(crate) type Keys<'a> = SmallVec<[Key<'a>; 2]>;

/// A key among a command's arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) usage: Usage,
}

impl Command {
    /// The keys among the arguments, of which the command's name is the first.
    pub(crate) fn keys<'a>(&self, arguments: &[&'a [u8]]) -> Keys<'a> {
        let mut keys = Keys::new();
        for spec in &self.keys {
            let Some(begin) = spec.begin(arguments) else { continue };
            let Some((first, last, step)) = spec.range(begin, arguments) else { continue };
            let found = arguments.get(first..=last).unwrap_or_default().iter().step_by(step.max(1));
            keys.extend(found.map(|name| Key { name, usage: spec.usage }));
        }
        keys
    }
}

impl KeySpec {
    fn begin(&self, arguments: &[&[u8]]) -> Option<usize> {
        match &self.begin {
            Begin::Index(index) => Some(*index),
            Begin::Keyword { word, from } => {
                let is_word =
                    |at: &usize| arguments.get(*at).is_some_and(|text| text.eq_ignore_ascii_case(word));
                let found = match usize::try_from(*from) {
                    Ok(from) => (from..arguments.len()).find(is_word),
                    Err(_) => {
                        let back = usize::try_from(from.unsigned_abs()).ok()?;
                        (1..=arguments.len().checked_sub(back)?).rev().find(is_word)
                    }
                };
                found.map(|at| at + 1)
            }
        }
    }

    /// First, last and step.
    fn range(&self, begin: usize, arguments: &[&[u8]]) -> Option<(usize, usize, usize)> {
        let end = arguments.len().checked_sub(1).filter(|end| *end >= begin)?;
        match self.find {
            Find::Range { last, step, limit } => {
                let last = match usize::try_from(last) {
                    Ok(last) => begin + last,
                    Err(_) if limit > 1 => begin + (end + 1 - begin) / limit - 1,
                    Err(_) => (end + 1).checked_sub(usize::try_from(last.unsigned_abs()).ok()?)?,
                };
                (last >= begin && last <= end).then_some((begin, last, step))
            }
            Find::Counted { count, first, step } => {
                let number = arguments.get(begin + count)?;
                let number: usize = std::str::from_utf8(number).ok()?.parse().ok()?;
                let first = begin + first;
                let last = first.checked_add(number.checked_sub(1)?.checked_mul(step.max(1))?)?;
                (last <= end).then_some((first, last, step))
            }
        }
    }
}

/// The keys of `SORT key [BY pattern] [LIMIT offset count] [GET pattern …] [ASC|DESC] [ALPHA]
/// [STORE destination]`, the one command whose keys the server cannot specify; and whether a pattern
/// makes it read keys that no one can tell beforehand.
pub(crate) fn of_sort<'a>(arguments: &[&'a [u8]]) -> (Keys<'a>, bool) {
    let mut keys = Keys::new();
    let mut options = arguments.iter().copied().skip(1);
    let read = Usage { is_written: false, is_removed: false, may_empty: false, is_accessed: true };
    keys.extend(options.next().map(|name| Key { name, usage: read }));
    let mut reads_others = false;
    while let Some(option) = options.next() {
        let is = |word: &str| option.eq_ignore_ascii_case(word.as_bytes());
        if is("BY") || is("GET") {
            reads_others |= options.next().is_some_and(|pattern| pattern.contains(&b'*'));
        } else if is("LIMIT") {
            options.nth(1);
        } else if is("STORE") {
            let written = Usage { is_written: true, is_removed: false, may_empty: true, is_accessed: false };
            keys.extend(options.next().map(|name| Key { name, usage: written }));
        }
    }
    (keys, reads_others)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(begin: Begin, find: Find, arguments: &str) -> Vec<String> {
        let usage = Usage { is_written: false, is_removed: false, may_empty: false, is_accessed: true };
        let command = Command { keys: vec![KeySpec { usage, begin, find }], ..Command::default() };
        let arguments: Vec<&[u8]> = arguments.split(' ').map(str::as_bytes).collect();
        let text = |key: &Key<'_>| String::from_utf8_lossy(key.name).into_owned();
        command.keys(&arguments).iter().map(text).collect()
    }

    fn range(last: i64, step: usize, limit: usize) -> Find {
        Find::Range { last, step, limit }
    }

    fn keyword(word: &str, from: i64) -> Begin {
        Begin::Keyword { word: word.into(), from }
    }

    #[test]
    fn ranges_end_where_the_server_says() {
        let index = || Begin::Index(1);
        assert_eq!(found(index(), range(0, 1, 0), "GET a"), ["a"]);
        assert_eq!(found(index(), range(1, 1, 0), "LCS a b LEN"), ["a", "b"]);
        assert_eq!(found(index(), range(-1, 2, 0), "MSET a 1 b 2"), ["a", "b"]);
        assert_eq!(found(index(), range(-2, 1, 0), "BLPOP a b 0"), ["a", "b"]);
        assert_eq!(found(index(), range(-2, 1, 0), "BLPOP a"), [""; 0]);
        assert_eq!(found(index(), range(0, 1, 0), "GET"), [""; 0]);
    }

    #[test]
    fn keys_follow_a_keyword_or_their_number() {
        let streams = || range(-1, 1, 2);
        assert_eq!(found(keyword("STREAMS", 1), streams(), "XREAD COUNT 2 streams a b 0 0"), ["a", "b"]);
        assert_eq!(found(keyword("STREAMS", 1), streams(), "XREAD COUNT 2"), [""; 0]);
        assert_eq!(found(keyword("KEYS", -2), range(-1, 1, 0), "MIGRATE h 1 x 0 9 KEYS a b"), ["a", "b"]);
        let counted = || Find::Counted { count: 0, first: 1, step: 1 };
        assert_eq!(found(Begin::Index(2), counted(), "EVAL script 2 a b c"), ["a", "b"]);
        for odd in
            ["EVAL script 0 c", "EVAL script 9 c", "EVAL script x c", "EVAL script -1 c", "EVAL script"]
        {
            assert_eq!(found(Begin::Index(2), counted(), odd), [""; 0], "{odd}");
        }
        assert_eq!(found(Begin::Index(2), counted(), "EVAL script 18446744073709551615 c"), [""; 0]);
    }

    #[test]
    fn sort_is_read_word_by_word() {
        let keys = |text: &str| {
            let arguments: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
            let (keys, reads_others) = of_sort(&arguments);
            let written = |key: &Key<'_>| key.usage.is_written;
            (keys.len(), keys.iter().filter(|key| written(key)).count(), reads_others)
        };
        assert_eq!(keys("SORT a LIMIT 0 9 ALPHA"), (1, 0, false));
        assert_eq!(keys("SORT a BY nosort GET # STORE store STORE b"), (3, 2, false));
        assert_eq!(keys("SORT a GET STORE get w*"), (1, 0, true));
    }
}
