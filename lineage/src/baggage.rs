//! The lineage among the members of a W3C baggage header.

use smallvec::SmallVec;

use crate::{Lineage, LineageCodec, WireError};

/// The key of the lineage's member. Keys are case-sensitive (W3C Baggage, "key").
pub const BAGGAGE_KEY: &str = "antipode";

/// The most members of a header written. Every platform passes on this many (W3C Baggage,
/// "Limits").
pub const MAX_BAGGAGE_MEMBERS: usize = 64;

/// The longest header value written, in bytes. Every platform passes on this much (W3C Baggage,
/// "Limits").
pub const MAX_BAGGAGE_LEN: usize = 8_192;

/// The most that is read of all baggage headers together, in bytes, with one for the end of each
/// member.
pub const MAX_READ_LEN: usize = 16_384;

/// The baggage that came with a request or a message: the lineage and the members of others.
///
/// It works on raw header values, so it fits any header map. Give it *all* lines of the header:
/// with the `http` crate, `headers.get_all("baggage")`.
///
/// Members of others travel on byte for byte and in order: values, escapes and properties are not
/// looked into. What does not travel on is counted: members past [`MAX_BAGGAGE_MEMBERS`] or
/// [`MAX_BAGGAGE_LEN`], from the end; and members with bytes outside of printable ASCII, which no
/// header may hold. Empty members and blanks around commas are no content and go.
///
/// # What W3C Baggage permits, and this does
///
/// The 24 tests of the W3C's own suite are among the tests of this crate. Where an implementation may
/// choose, this one
///
/// - leaves members of others unparsed, so escapes, duplicates and properties arrive as they were sent;
/// - drops members of others, whole and from the end, past 64 members or 8,192 bytes: that much every
///   platform must hand on ("Limits"), and one in the suite hands on more;
/// - does not undo escapes in the lineage's own value, which needs none. A hop may escape it all the
///   same ("value": characters that need none may be escaped); such a lineage is an error, not absent.
///
/// ```
/// use antipode_lineage::{Baggage, Lineage, LineageCodec, StoreName, WriteId};
///
/// let codec = LineageCodec::plain();
/// let headers =
///     [("baggage", "user=alice;ttl=5, tier=gold"), ("accept", "*/*"), ("baggage", "a=%2C")];
/// let all = headers.iter().filter(|(name, _)| *name == "baggage").map(|(_, value)| value);
///
/// let received = Baggage::read(all);
/// assert_eq!(received.lineage(&codec)?, None, "absent is not the same as empty");
///
/// let lineage = Lineage::from(WriteId::unplaced(StoreName::parse("posts")?));
/// let header = received.write(&codec, &lineage);
/// assert_eq!(header.dropped, 0);
/// assert!(header.value.starts_with("antipode="));
/// assert!(header.value.ends_with(",user=alice;ttl=5,tier=gold,a=%2C"));
///
/// assert_eq!(Baggage::read([header.value]).lineage(&codec)?, Some(lineage));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Baggage {
    /// The values of every member with our key, unless they were decoded on reading.
    ours: SmallVec<[Box<[u8]>; 1]>,
    ours_len: usize,
    foreign: Members,
    unprintable: usize,
    cut: bool,
}

/// A baggage header to send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BaggageHeader {
    /// The header's value, printable ASCII. Send one line of it; if it is empty, send none.
    pub value: String,
    /// How many members of others stayed behind, on reading and on writing.
    pub dropped: usize,
    /// The bytes of lineage in it; zero if it goes without.
    pub lineage_len: usize,
}

impl Baggage {
    /// Reads the values of all baggage headers, in their order.
    ///
    /// It cannot fail: what is wrong with the lineage is told by [`lineage`](Baggage::lineage).
    /// Reading ends after [`MAX_READ_LEN`] bytes, whatever was given.
    #[must_use]
    pub fn read<V: AsRef<[u8]>>(values: impl IntoIterator<Item = V>) -> Self {
        let mut ours = SmallVec::new();
        let baggage = Self::scan(values, |value| ours.push(value.into()));
        Self { ours, ..baggage }
    }

    /// Reads, and takes the [lineage](Baggage::lineage) out of the values at once: its text is not kept, so
    /// what stays is the members of others.
    ///
    /// ```
    /// use antipode_lineage::{Baggage, Lineage, LineageCodec};
    ///
    /// let codec = LineageCodec::plain();
    /// let header = format!("antipode={},user=alice", codec.encode(&Lineage::everything()));
    /// let (others, lineage) = Baggage::take(&codec, [header]);
    /// assert_eq!(lineage, Ok(Some(Lineage::everything())));
    /// assert_eq!(others.write_without_lineage().value, "user=alice");
    /// ```
    pub fn take<V: AsRef<[u8]>>(
        codec: &LineageCodec,
        values: impl IntoIterator<Item = V>,
    ) -> (Self, Result<Option<Lineage>, WireError>) {
        let mut joined = Ok(None);
        let others = Self::scan(values, |value| join(&mut joined, codec, value));
        if others.cut && joined == Ok(None) {
            joined = Err(WireError::BaggageTooLong);
        }
        (others, joined)
    }

    /// The lineage that came along; `None` if there was none. If several hops each added one, this
    /// is their join.
    ///
    /// # Errors
    /// [`WireError`] if a lineage came that the codec does not take, one of several suffices; or if
    /// reading ended before one was seen.
    pub fn lineage(&self, codec: &LineageCodec) -> Result<Option<Lineage>, WireError> {
        if self.ours.is_empty() && self.cut {
            return Err(WireError::BaggageTooLong);
        }
        let mut joined = Ok(None);
        self.ours.iter().for_each(|value| join(&mut joined, codec, value));
        joined
    }

    /// The header that carries `lineage`, first, and the members of others. A lineage that came
    /// along is replaced.
    #[must_use]
    pub fn write(&self, codec: &LineageCodec, lineage: &Lineage) -> BaggageHeader {
        let mut members = Members::default();
        let text = codec.encode(lineage);
        members.push(&format!("{BAGGAGE_KEY}={text}"));
        BaggageHeader { lineage_len: text.len(), ..self.finish(members) }
    }

    /// The header with the members of others only, for receivers that should not see the lineage.
    #[must_use]
    pub fn write_without_lineage(&self) -> BaggageHeader {
        self.finish(Members::default())
    }

    /// The bytes of lineage that came along, over all its members; zero if none came.
    #[must_use]
    pub fn lineage_len(&self) -> usize {
        self.ours_len
    }

    /// Whether there are members of others to pass on.
    #[must_use]
    pub fn has_others(&self) -> bool {
        self.foreign.count > 0
    }

    /// How many members of others were not kept on reading. If reading ended at [`MAX_READ_LEN`],
    /// all that followed counts as one.
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.foreign.excess + self.unprintable + usize::from(self.cut)
    }

    fn finish(&self, mut members: Members) -> BaggageHeader {
        for member in self.foreign.iter() {
            members.push(member);
        }
        let dropped = self.dropped() + members.excess;
        BaggageHeader { value: members.text, dropped, lineage_len: 0 }
    }

    /// Reads the members of others, and hands on the values of ours.
    fn scan<V: AsRef<[u8]>>(values: impl IntoIterator<Item = V>, mut ours: impl FnMut(&[u8])) -> Self {
        let mut baggage = Self::default();
        let mut left = MAX_READ_LEN;
        for value in values {
            let mut rest = Some(value.as_ref());
            while let Some(members) = rest {
                let (member, others) = split_once(members, b',');
                rest = others;
                match left.checked_sub(member.len() + 1) {
                    Some(rest) => left = rest,
                    None => {
                        baggage.cut = true;
                        return baggage;
                    }
                }
                let member = trim(member);
                if let Some(value) = value_of_ours(member) {
                    baggage.ours_len += value.len();
                    ours(value);
                } else if let Some(member) = printable(member) {
                    baggage.foreign.push(member);
                } else {
                    baggage.unprintable += 1;
                }
            }
        }
        baggage
    }
}

/// Joins one more value; of several that cannot be read, the first one's error stays.
fn join(joined: &mut Result<Option<Lineage>, WireError>, codec: &LineageCodec, value: &[u8]) {
    let Ok(before) = joined else { return };
    match codec.decode(value) {
        Ok(lineage) => match before {
            Some(before) => before.join(&lineage),
            None => *before = Some(lineage),
        },
        Err(error) => *joined = Err(error),
    }
}

/// Members of one header, within the limits on those.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Members {
    text: String,
    count: usize,
    excess: usize,
}

impl Members {
    /// Adds a member at the end. After the first one that does not fit, none does.
    fn push(&mut self, member: &str) {
        if member.is_empty() {
            return;
        }
        let comma = usize::from(!self.text.is_empty());
        let fits = self.text.len() + comma + member.len() <= MAX_BAGGAGE_LEN;
        if self.excess > 0 || !fits || self.count == MAX_BAGGAGE_MEMBERS {
            self.excess += 1;
            return;
        }
        if comma > 0 {
            self.text.push(',');
        }
        self.text.push_str(member);
        self.count += 1;
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        self.text.split(',')
    }
}

/// The member's value, without properties, if its key is ours. A member that has only the key has
/// an empty value, which no codec takes: it is damaged, not foreign.
fn value_of_ours(member: &[u8]) -> Option<&[u8]> {
    let (pair, _properties) = split_once(member.strip_prefix(BAGGAGE_KEY.as_bytes())?, b';');
    match trim(pair) {
        [] => Some(&[]),
        [b'=', value @ ..] => Some(trim(value)),
        _ => None,
    }
}

/// What is before the first `separator`, and what is after it, if there is one.
fn split_once(bytes: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(separator, bytes).and_then(|at| bytes.split_at_checked(at)) {
        Some((before, rest)) => (before, rest.get(1..)),
        None => (bytes, None),
    }
}

fn printable(member: &[u8]) -> Option<&str> {
    let plain = member.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    plain.then(|| std::str::from_utf8(member).ok()).flatten()
}

/// Takes off the blanks of the grammar. Line ends are none: they make a member unprintable.
fn trim(bytes: &[u8]) -> &[u8] {
    let ink = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = bytes.iter().position(ink).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(ink).map_or(start, |last| last + 1);
    bytes.get(start..end).unwrap_or_default()
}
