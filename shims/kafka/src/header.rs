//! The lineage in a record's headers.

use antipode_lineage::{Lineage, LineageCodec, StoreName, WireError};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};

/// The header that holds the lineage of a record's writer, in the same text as on the wire.
pub const LINEAGE_HEADER: &str = "antipode";

/// More headers of this name than any chain of forwarders would leave: no more of them are parsed.
const MAX_HEADERS: usize = 8;

/// The lineage that the writer of a record gave it; `None` if it was written without. The record's own
/// place is not in it: nobody knew it then.
///
/// Header names are compared as they are: `Antipode` is another header. Where forwarders that append
/// left several of the name, the record depends on all of them.
///
/// # Errors
/// [`WireError`] of the first header that cannot be read. Not knowing what the record depends on, take it
/// as depending on [everything](Lineage::everything), or set it aside.
pub fn header_lineage<M: Message>(record: &M, codec: &LineageCodec) -> Result<Option<Lineage>, WireError> {
    let Some(headers) = record.headers() else { return Ok(None) };
    let mut found: Option<Lineage> = None;
    for (count, header) in headers.iter().filter(|header| header.key == LINEAGE_HEADER).enumerate() {
        if count == MAX_HEADERS {
            return Err(WireError::Malformed);
        }
        let lineage = codec.decode(header.value.unwrap_or_default())?;
        match &mut found {
            Some(found) => found.join(&lineage),
            None => found = Some(lineage),
        }
    }
    Ok(found)
}

/// The same, with everything for what cannot be read and nothing where there is none.
pub(crate) fn lineage_or_everything<M: Message>(
    store: StoreName,
    record: &M,
    codec: &LineageCodec,
) -> Lineage {
    match header_lineage(record, codec) {
        Ok(lineage) => lineage.unwrap_or_default(),
        Err(error) => {
            tracing::warn!(%store, %error, "a record's lineage is taken as everything");
            Lineage::everything()
        }
    }
}

/// The headers with this lineage instead of what they had: the driver's `insert` would add a second one.
pub(crate) fn with_lineage(
    headers: Option<OwnedHeaders>,
    lineage: &Lineage,
    codec: &LineageCodec,
) -> Option<OwnedHeaders> {
    let foreign = |header: &Header<'_, &[u8]>| header.key != LINEAGE_HEADER;
    let headers = match headers {
        Some(held) if held.iter().any(|header| !foreign(&header)) => {
            let kept = held.iter().filter(foreign);
            Some(kept.fold(OwnedHeaders::new(), |headers, header| headers.insert(header_ref(&header))))
        }
        held => held,
    };
    if *lineage == Lineage::new() {
        return headers;
    }
    let text = codec.encode(lineage);
    let value = Some(text.as_bytes());
    Some(headers.unwrap_or_default().insert(Header { key: LINEAGE_HEADER, value }))
}

fn header_ref<'a>(header: &'a Header<'a, &'a [u8]>) -> Header<'a, &'a [u8]> {
    Header { key: header.key, value: header.value }
}

#[cfg(test)]
mod tests {
    use antipode_lineage::{MAX_WIRE_LEN, WriteId};
    use rdkafka::Timestamp;
    use rdkafka::message::OwnedMessage;

    use super::*;

    const CODEC: LineageCodec = LineageCodec::plain();

    fn lineage(store: &str) -> Lineage {
        WriteId::unplaced(store.parse().unwrap()).into()
    }

    fn record(headers: &[(&str, &[u8])]) -> OwnedMessage {
        let insert = |headers: OwnedHeaders, (key, value): &(&str, &[u8])| {
            headers.insert(Header { key, value: Some(*value) })
        };
        let headers = headers.iter().fold(OwnedHeaders::new(), insert);
        OwnedMessage::new(None, None, "orders".into(), Timestamp::NotAvailable, 0, 7, Some(headers))
    }

    fn read(headers: &[(&str, &[u8])]) -> Result<Option<Lineage>, WireError> {
        header_lineage(&record(headers), &CODEC)
    }

    #[test]
    fn a_lineage_is_replaced_and_foreign_headers_stay() {
        let foreign = OwnedHeaders::new()
            .insert(Header { key: "antipode", value: Some("of an earlier hop") })
            .insert(Header { key: "trace", value: Some("1") })
            .insert(Header { key: "antipode", value: Some("twice") })
            .insert(Header::<&str> { key: "trace", value: None });
        let headers = with_lineage(Some(foreign.clone()), &lineage("posts"), &CODEC).unwrap();
        let names: Vec<_> = headers.iter().map(|header| (header.key, header.value.is_some())).collect();
        assert_eq!(names, [("trace", true), ("trace", false), ("antipode", true)]);
        let bare = with_lineage(Some(foreign), &Lineage::new(), &CODEC).unwrap();
        assert!(bare.iter().all(|header| header.key == "trace"), "no lineage of an earlier hop goes on");
        assert!(with_lineage(None, &Lineage::new(), &CODEC).is_none());
    }

    #[test]
    fn all_headers_of_the_name_are_joined() {
        let [posts, orders] = ["posts", "orders"].map(|store| CODEC.encode(&lineage(store)));
        let mut both = lineage("posts");
        both.join(&lineage("orders"));
        let found = read(&[("antipode", posts.as_bytes()), ("x", b"y"), ("antipode", orders.as_bytes())]);
        assert_eq!(found.unwrap(), Some(both));
        assert_eq!(read(&[("Antipode", b"junk")]).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_read_is_an_error_before_it_is_parsed() {
        assert!(read(&[("antipode", b"junk!")]).is_err());
        let long = vec![b'A'; MAX_WIRE_LEN + 1];
        assert_eq!(read(&[("antipode", &long)]), Err(WireError::TooLong { len: long.len() }));
        let text = CODEC.encode(&lineage("posts"));
        let many = vec![("antipode", text.as_bytes()); MAX_HEADERS + 1];
        assert!(read(&many[1..]).is_ok());
        assert!(read(&many).is_err());
        let store = "orders".parse().unwrap();
        let junk = record(&[("antipode", b"junk!")]);
        assert_eq!(lineage_or_everything(store, &junk, &CODEC), Lineage::everything());
    }
}
