//! L2: decoding undoes encoding. L4: decoding ends well on all inputs, in memory linear in them.
//! And how large a text is.

use antipode_lineage::{
    Baggage, Lineage, LineageCodec, MAX_READ_LEN, MAX_WIRE_LEN, Position, WireError, WriteId,
};
use proptest::prelude::*;

use crate::samples::{
    KEY, any_lineage, branch, cases, codecs, four_stores, sealed, sealed_with, sixteen_shards, table, write,
};

/// What is decoded is what is encoded: no text has two spellings.
fn total(text: &[u8]) -> Result<(), TestCaseError> {
    for codec in codecs() {
        if let Ok(lineage) = codec.decode(text) {
            prop_assert_eq!(codec.encode(&lineage).into_bytes(), text);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(5_000))]

    #[test]
    fn l2_decoding_undoes_encoding(lineage in any_lineage()) {
        for codec in codecs() {
            let text = codec.encode(&lineage);
            prop_assert!(text.len() <= MAX_WIRE_LEN);
            prop_assert_eq!(codec.decode(&text).unwrap(), lineage.clone());
        }
    }

    /// Past the seal: what a hostile holder of the key can send.
    #[test]
    fn l4_any_well_sealed_bytes_decode_or_are_refused(
        head in prop_oneof![0x10..0x18_u8, 0x20..0x28_u8, any::<u8>()],
        mut entries in prop::collection::vec(prop_oneof![0..4_u8, Just(b'a'), any::<u8>()], 0..40),
        count in 0..5_u8,
    ) {
        entries.insert(0, count);
        let message = [&[head], entries.as_slice()].concat();
        total(sealed(&message).as_bytes())?;
        total(sealed_with(&KEY, 16, &message).as_bytes())?;
    }

    /// Closer to the valid ones: one with a byte changed, and sealed again.
    #[test]
    fn l4_any_resealed_change_decodes_or_is_refused(
        lineage in any_lineage(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let text = LineageCodec::plain().encode(&lineage);
        let mut message = data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
        message.truncate(message.len() - 4);
        let at = at.index(message.len());
        message[at] = byte;
        total(sealed(&message).as_bytes())?;
    }
}

proptest! {
    #![proptest_config(cases(30_000))]

    #[test]
    fn l4_any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        total(&bytes)?;
        let baggage = Baggage::read([&bytes]);
        let _ = baggage.lineage(&LineageCodec::plain());
        prop_assert!(!baggage.write_without_lineage().value.contains(['\r', '\n', '\0']));
    }
}

#[test]
fn l2_holds_for_the_table() {
    for (name, lineage) in table() {
        for codec in codecs() {
            assert_eq!(codec.decode(codec.encode(&lineage)).as_ref(), Ok(&lineage), "{name}");
        }
    }
}

#[test]
fn what_does_not_fit_travels_as_everything() {
    let wide = |count: u64| -> Lineage {
        (0..count).map(|shard| write("posts", shard, shard << 40 | 1, 1, u64::MAX)).collect()
    };
    for codec in codecs() {
        let fits = (0..256).rev().find(|count| codec.decode(codec.encode(&wide(*count))) == Ok(wide(*count)));
        let fits = fits.expect("some fit");
        assert!((120..256).contains(&fits), "{fits}");
        assert!(codec.encode(&wide(fits)).len() > MAX_WIRE_LEN - 40, "no room is wasted");
        let mut more = wide(fits + 1);
        more.mark_weak();
        let decoded = codec.decode(codec.encode(&more)).unwrap();
        assert!(decoded.has_overflowed() && decoded.is_weak() && decoded.covers(&more));
    }
}

#[test]
fn what_does_not_fit_loses_the_names_of_its_branches_before_its_writes() {
    let mut wide: Lineage =
        (0..140).map(|shard| write("posts", shard, shard << 40 | 1, 1, u64::MAX)).collect();
    for codec in codecs() {
        assert!(codec.encode(&wide).len() <= MAX_WIRE_LEN);
        (0..64).for_each(|id| wide.add_branch(branch("orders", "refund", id)));
        let decoded = codec.decode(codec.encode(&wide)).unwrap();
        assert!(decoded.has_forgotten_branches() && decoded.covers(&wide));
        assert_eq!(decoded.writes(), wide.writes());
    }
}

#[test]
fn a_branch_costs_little_text_and_its_absence_none() {
    let mut lineage = four_stores();
    let [plain, signed] = codecs().map(|codec| codec.encode(&lineage).len());
    lineage.add_branch(branch("orders", "refund", u128::MAX / 3));
    let with = codecs().map(|codec| codec.encode(&lineage).len());
    println!("bytes of text for 4 stores: {plain} plain, {signed} signed; with a branch {with:?}");
    assert!(with[0] - plain <= 44 && with[1] - signed <= 44);
}

#[test]
fn texts_are_short() {
    let [plain, signed] = codecs();
    let mut lineage = Lineage::new();
    for count in 0..100_000_u64 {
        let writes = four_stores();
        let write = writes.writes()[(count % 4) as usize];
        lineage.add(WriteId { position: Position(write.position.0 - 100_000 + count), ..write });
    }
    let sizes = [&lineage, &sixteen_shards()].map(|it| (plain.encode(it).len(), signed.encode(it).len()));
    println!("bytes of text (plain, signed) for 4 stores and for 16 shards: {sizes:?}");
    assert_eq!(lineage.writes().len(), 4);
    assert!(sizes[0].0 <= 200 && sizes[0].1 <= 200, "{sizes:?}");
    assert_eq!(sixteen_shards().writes().len(), 16);
    assert!(sizes[1].0 <= 512 && sizes[1].1 <= 512, "{sizes:?}");
}

#[test]
fn the_text_of_version_1_stays_what_it_is() {
    let lineage = Lineage::from_iter([write("ab", 0, 7, 1, 300), write("ab", 1, 7, 2, 1)]);
    let [plain, signed] = codecs().map(|codec| codec.encode(&lineage));
    assert_eq!(plain, "EAICYWIAAAAAAAAAAAcBrAIgAQIBJwm3Rw");
    assert_eq!(signed, "EQICYWIAAAAAAAAAAAcBrAIgAQIBin1iOSSGsxFEiLIN7Jmkng");
}

#[test]
fn the_text_of_version_2_stays_what_it_is() {
    let mut lineage = Lineage::from(write("ab", 0, 7, 1, 300));
    lineage.add_branch(branch("ab", "x", 5));
    let plain = LineageCodec::plain().encode(&lineage);
    assert_eq!(plain, "IAECYWIAAAAAAAAAAAcBrAIBAmFiAXgAAAAAAAAAAAAAAAAAAAAFvTpSEw");
}

#[test]
fn version_2_without_branches_is_refused() {
    let plain = LineageCodec::plain();
    assert!(plain.decode(sealed(&[0x20, 0, 0])).unwrap().has_forgotten_branches());
    assert_eq!(plain.decode(sealed(&[0x20, 0])), Err(WireError::Malformed));
    assert_eq!(plain.decode(sealed(&[0x22, 0, 0])), Err(WireError::Malformed), "everything is version 1");
}

#[test]
fn l4_memory_is_linear_in_the_input() {
    let entry = [0x20, 0, 0, 1];
    let dense =
        [&[0x10, 0x80, 2, 1, b'a', 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0], entry.repeat(255).as_slice()].concat();
    let dense = sealed(&dense);
    let announced = sealed(&[0x10, 0x80, 2]);
    let full = "A".repeat(MAX_WIRE_LEN);
    for text in [dense, announced, full, LineageCodec::plain().encode(&sixteen_shards())] {
        let used = allocation_counter::measure(|| drop(LineageCodec::plain().decode(&text)));
        assert!(
            used.bytes_max <= 32 * text.len() as u64 + 512,
            "{} bytes for {}",
            used.bytes_max,
            text.len()
        );
    }
}

#[test]
fn l4_memory_is_bounded_whatever_comes() {
    let text = "A".repeat(1 << 20);
    let used = allocation_counter::measure(|| {
        assert_eq!(LineageCodec::plain().decode(&text), Err(WireError::TooLong { len: 1 << 20 }));
    });
    assert_eq!(used.count_total, 0, "the length is looked at first");
    let members = ["a=b,", ",", "antipode=,", "\0,", "antipode=AAAA,", "antipode"];
    for line in members.map(|member| member.repeat(20_000)).iter().chain([&text]) {
        let used = allocation_counter::measure(|| drop(Baggage::read([line, line, line])));
        assert!(used.bytes_max <= 8 * MAX_READ_LEN as u64, "{} for {line:.9}", used.bytes_max);
    }
}

#[test]
fn no_text_is_a_byte_longer_than_allowed() {
    let (mut longest, mut overflowed) = (0, 0);
    // Of each length around the limit there is one: positions have one to nine bytes.
    for (wide, bits) in (180..=256_u64).flat_map(|wide| (0..9).map(move |bytes| (wide, 7 * bytes))) {
        let position = |shard| if shard < wide { 1 << 62 } else { 1 << bits };
        let lineage: Lineage = (0..256).map(|shard| write("posts", shard, 1, 1, position(shard))).collect();
        let text = LineageCodec::plain().encode(&lineage);
        longest = longest.max(text.len());
        let decoded = LineageCodec::plain().decode(&text).unwrap();
        assert!(decoded.covers(&lineage));
        overflowed += usize::from(decoded.has_overflowed());
    }
    assert!(longest <= MAX_WIRE_LEN && longest > MAX_WIRE_LEN - 4, "{longest}");
    assert!(overflowed > 0, "the limit was passed");
}
