//! Lineages and the requests that they come in.

use antipode::edge::BAGGAGE_HEADER;
use antipode::lineage::{
    Baggage, Epoch, Lineage, LineageCodec, Position, Shard, SigningKey, SigningKeys, StoreName, WriteId,
};
use http::{HeaderMap, HeaderValue};

pub(crate) const PLAIN: LineageCodec = LineageCodec::plain();

pub(crate) fn keys(byte: u8) -> SigningKeys {
    SigningKeys::new(SigningKey::parse([byte; 32]).unwrap())
}

pub(crate) fn signed() -> LineageCodec {
    LineageCodec::signed(keys(7))
}

pub(crate) fn name(name: &str) -> StoreName {
    StoreName::parse(name).unwrap()
}

pub(crate) fn write(store: &str, shard: u64, position: u64) -> WriteId {
    let epoch = Epoch { history: 9, term: 1 };
    WriteId { store: name(store), shard: Shard(shard), epoch, position: Position(position) }
}

pub(crate) fn lineage() -> Lineage {
    Lineage::from_iter([write("posts", 0, 500), write("orders", 3, 70)])
}

/// The member of a lineage, `antipode=…`.
pub(crate) fn member(codec: &LineageCodec, lineage: &Lineage) -> String {
    Baggage::default().write(codec, lineage).value
}

/// A request with these lines of baggage.
pub(crate) fn request(lines: impl IntoIterator<Item = impl AsRef<[u8]>>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(BAGGAGE_HEADER, HeaderValue::from_bytes(line.as_ref()).unwrap());
    }
    headers
}
