//! The lineage in header maps and trailers.

use antipode_lineage::{Baggage, Lineage, LineageCodec};
use http::header::{HeaderName, TE, TRAILER};
use http::{HeaderMap, HeaderValue};

use crate::edge::BAGGAGE;

/// Everything in the baggage headers, capped before it is parsed. In responses and trailers, where W3C
/// defines none, they have the same form.
pub(crate) fn read(headers: &HeaderMap) -> Baggage {
    Baggage::read(headers.get_all(&BAGGAGE))
}

/// Puts the lineage into one baggage header, with the members of others that stand there or, where
/// there is no such header, those of `received`. Says how many bytes the lineage has.
pub(crate) fn put(
    headers: &mut HeaderMap,
    codec: &LineageCodec,
    lineage: &Lineage,
    received: Option<&Baggage>,
) -> usize {
    let header = match received {
        Some(received) if !headers.contains_key(&BAGGAGE) => received.write(codec, lineage),
        _ => read(headers).write(codec, lineage),
    };
    set(headers, header.value);
    header.lineage_len
}

/// The same without a lineage, for receivers that should not see one.
pub(crate) fn put_others(headers: &mut HeaderMap, received: Option<&Baggage>) {
    let value = match received {
        Some(received) if !headers.contains_key(&BAGGAGE) => received.write_without_lineage().value,
        _ => read(headers).write_without_lineage().value,
    };
    set(headers, value);
}

/// Whether the caller reads trailers. No others may be sent any (RFC 9110, section 6.5.1).
pub(crate) fn accepts_trailers(headers: &HeaderMap) -> bool {
    has_token(headers, TE, "trailers")
}

/// Says that trailers are read, if nothing is said. HTTP/2 allows no other value.
pub(crate) fn accept_trailers(headers: &mut HeaderMap) {
    if !headers.contains_key(TE) {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Whether a baggage trailer was announced.
#[cfg(feature = "reqwest")]
pub(crate) fn announces_trailer(headers: &HeaderMap) -> bool {
    has_token(headers, TRAILER, "baggage")
}

/// Announces the trailer, which HTTP/1.1 needs.
pub(crate) fn announce_trailer(headers: &mut HeaderMap) {
    headers.append(TRAILER, HeaderValue::from_static("baggage"));
}

fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let lines = headers.get_all(name).into_iter();
    let listed = |line: &HeaderValue| line.to_str().is_ok_and(|line| has_listed(line, token));
    lines.into_iter().any(|line| line == token || listed(line))
}

fn has_listed(line: &str, token: &str) -> bool {
    line.split(',').any(|listed| listed.trim().eq_ignore_ascii_case(token))
}

fn set(headers: &mut HeaderMap, value: String) {
    // Baggage is printable ASCII, so the conversion holds.
    match HeaderValue::try_from(value) {
        Ok(value) if !value.is_empty() => drop(headers.insert(BAGGAGE.clone(), value)),
        _ => drop(headers.remove(&BAGGAGE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(HeaderName, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, line)| (name.clone(), HeaderValue::from_static(line))).collect()
    }

    #[test]
    fn what_the_application_set_goes_before_what_came_in() {
        let [codec, received] = [LineageCodec::plain(), LineageCodec::plain()];
        let (lineage, received) = (
            Lineage::new(),
            Baggage::read([format!("user=alice,antipode={}", received.encode(&Lineage::everything()))]),
        );
        let ours = format!("antipode={}", codec.encode(&lineage));

        let mut untouched = HeaderMap::new();
        put(&mut untouched, &codec, &lineage, Some(&received));
        assert_eq!(untouched[&BAGGAGE], format!("{ours},user=alice"));

        let mut set = headers(&[(BAGGAGE.clone(), "a=1"), (BAGGAGE.clone(), "antipode=old,b=2")]);
        put(&mut set, &codec, &lineage, Some(&received));
        assert_eq!(set[&BAGGAGE], format!("{ours},a=1,b=2"));
        assert_eq!(set.get_all(&BAGGAGE).iter().count(), 1, "one line is written");
    }

    #[test]
    fn without_a_lineage_only_the_members_of_others_go() {
        let mut headers = headers(&[(BAGGAGE.clone(), "antipode=x,a=1")]);
        put_others(&mut headers, None);
        assert_eq!(headers[&BAGGAGE], "a=1");
        let mut none = HeaderMap::new();
        put_others(&mut none, Some(&Baggage::read(["antipode=x"])));
        assert!(none.is_empty(), "an empty header is none");
    }

    #[test]
    fn trailers_are_for_those_who_ask() {
        for (line, accepted) in [("trailers", true), ("gzip, Trailers", true), ("trailers-not", false)] {
            assert_eq!(accepts_trailers(&headers(&[(TE, line)])), accepted, "{line}");
        }
        let mut told = headers(&[(TE, "gzip")]);
        accept_trailers(&mut told);
        assert_eq!(told[TE], "gzip", "the application's word stands");
    }
}
