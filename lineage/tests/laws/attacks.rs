//! Attacks on the text: what a hostile sender may try. Those through the header are in `baggage`.

use antipode_lineage::{
    Lineage, LineageCodec, MAX_BRANCHES, MAX_ENTRIES, MAX_WIRE_LEN, SigningKey, SigningKeys, WireError,
};
use data_encoding::BASE64URL_NOPAD;

use crate::samples::{KEY, codecs, four_stores, sealed, sealed_with, signed, table, write};

const PLAIN: LineageCodec = LineageCodec::plain();
const HISTORY: [u8; 8] = [0, 0, 0, 0, 0, 0, 0, 9];

fn decode(message: &[u8]) -> Result<Lineage, WireError> {
    PLAIN.decode(sealed(message))
}

/// One entry of store `a`: the shard in the bytes given, history 9, term 1, position 5.
fn with_shard(shard: &[u8]) -> Vec<u8> {
    [&[0x10, 1, 1, b'a'], shard, &HISTORY, &[1, 5]].concat()
}

#[test]
fn s2_integer_extremes_travel() {
    let fenceposts = (0..=64).flat_map(|bits| {
        let post = 1_u64.checked_shl(bits).unwrap_or(0);
        [post.wrapping_sub(1), post, post.wrapping_add(1)]
    });
    for number in fenceposts {
        for codec in codecs() {
            let lineage = Lineage::from_iter([
                write("a", number, 1, 1, 1),
                write("b", 1, number, 1, 1),
                write("c", 1, 1, number, 1),
                write("d", 1, 1, 1, number),
            ]);
            assert_eq!(codec.decode(codec.encode(&lineage)), Ok(lineage), "{number}");
        }
    }
}

#[test]
fn s2_numbers_past_the_greatest_are_refused() {
    let greatest = [[0xff; 9].as_slice(), &[1]].concat();
    assert!(decode(&with_shard(&greatest)).is_ok());
    for beyond in [[[0xff; 9].as_slice(), &[2]].concat(), [[0x80; 9].as_slice(), &[0x81, 0]].concat()] {
        assert_eq!(decode(&with_shard(&beyond)), Err(WireError::Malformed), "{beyond:x?}");
    }
}

#[test]
fn s3_length_is_looked_at_before_all_else() {
    for codec in codecs() {
        let len = MAX_WIRE_LEN + 1;
        assert_eq!(codec.decode("A".repeat(len)), Err(WireError::TooLong { len }));
        assert_eq!(codec.decode("~".repeat(len)), Err(WireError::TooLong { len }));
        assert_eq!(codec.decode("~".repeat(MAX_WIRE_LEN)), Err(WireError::Alphabet));
    }
}

#[test]
fn s4_thousands_of_entries_are_refused() {
    let first = [1, b'a', 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0];
    let entries = |count: usize| -> Vec<u8> {
        let more = (1..count as u64).flat_map(|shard| match shard {
            0..0x80 => vec![0x20, shard as u8, 0, 0],
            _ => vec![0x20, 0x80 | shard as u8, (shard >> 7) as u8, 0, 0],
        });
        let head = [0x10, 0x80 | count as u8, (count >> 7) as u8];
        head.into_iter().chain(first).chain(more).collect()
    };
    assert_eq!(decode(&entries(MAX_ENTRIES)).unwrap().writes().len(), MAX_ENTRIES);
    let count = MAX_ENTRIES as u64 + 1;
    assert_eq!(decode(&entries(MAX_ENTRIES + 1)), Err(WireError::TooManyEntries { count }));
    let announced = [[0x10].as_slice(), &[0xff; 9], &[1]].concat();
    assert_eq!(decode(&announced), Err(WireError::TooManyEntries { count: u64::MAX }));
}

#[test]
fn s4_thousands_of_branches_are_refused() {
    let branches = |count: usize| -> Vec<u8> {
        let first = [&[1, b'a', 1, b'x'], [0; 16].as_slice()].concat();
        let more = (1..count as u128).flat_map(|id| [&[0, 0], id.to_be_bytes().as_slice()].concat());
        [0x20, 0, count as u8].into_iter().chain(first).chain(more).collect()
    };
    assert_eq!(decode(&branches(MAX_BRANCHES)).unwrap().branches().len(), MAX_BRANCHES);
    let count = MAX_BRANCHES as u64 + 1;
    assert_eq!(decode(&branches(MAX_BRANCHES + 1)), Err(WireError::TooManyEntries { count }));
    let announced = [[0x20, 0].as_slice(), &[0xff; 9], &[1]].concat();
    assert_eq!(decode(&announced), Err(WireError::TooManyEntries { count: u64::MAX }));
}

#[test]
fn s5_injected_names_are_refused() {
    let longest = "a".repeat(31);
    let names =
        ["", "Posts", "-a", "a b", "a/b", "a:b", "a\0", "a\r\nb", "a'--", "a{}", "ü", "../a", &longest];
    for name in names {
        let entry = |head: u8| {
            let tag = [head, 1, name.len() as u8];
            [&tag, name.as_bytes(), &[0], HISTORY.as_slice(), &[1, 5]].concat()
        };
        let [plain, signed] = codecs();
        for result in [plain.decode(sealed(&entry(0x10))), signed.decode(sealed_with(&KEY, 16, &entry(0x11)))]
        {
            assert!(matches!(result, Err(WireError::StoreName(_))), "{name:?}: {result:?}");
        }
    }
}

#[test]
fn s7_a_cut_position_is_not_a_smaller_one() {
    let lineage = Lineage::from(write("posts", 0, 9, 1, 0x5d_1234_5678));
    let text = PLAIN.encode(&lineage);
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
    for cut in 1..=6 {
        assert!(PLAIN.decode(&text[..text.len() - cut]).is_err());
        let message = &bytes[..bytes.len() - 4 - cut];
        assert_eq!(decode(message), Err(WireError::Malformed), "sealed again, {cut} bytes short");
    }
}

#[test]
fn s8_texts_need_no_escapes_and_take_none() {
    for (name, lineage) in table() {
        for codec in codecs() {
            let text = codec.encode(&lineage);
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            assert!(text.bytes().all(plain), "{name}: {text}");
            let (start, end) = text.split_at(text.len() / 2);
            for foreign in ["=", "+", "/", "%2D", " ", "\t", "\r\n", "\0", "\"", ",", ";", "é"] {
                for spoilt in
                    [format!("{text}{foreign}"), format!("{foreign}{text}"), [start, foreign, end].concat()]
                {
                    assert_eq!(codec.decode(&spoilt), Err(WireError::Alphabet), "{name}: {spoilt:?}");
                }
            }
        }
    }
}

#[test]
fn s8_unused_bits_of_the_last_character_are_zero() {
    let text = PLAIN.encode(&Lineage::from(write("a", 0, 9, 1, 5)));
    assert_eq!(text.len() % 4, 2, "four unused bits");
    let (start, last) = text.split_at(text.len() - 1);
    let at = BASE64URL_NOPAD.specification().symbols.find(last).unwrap();
    let next = &BASE64URL_NOPAD.specification().symbols[at + 1..at + 2];
    assert_eq!(PLAIN.decode([start, next].concat()), Err(WireError::Alphabet));
}

#[test]
fn s9_one_lineage_has_one_spelling() {
    let a = [1, b'a', 0, 0, 0, 0, 0, 0, 0, 0, 9, 1, 5];
    let b = [0x21, b'b', 0, 1, 5];
    let of = |parts: &[&[u8]]| decode(&parts.concat());
    assert!(of(&[&[0x10, 2], &a, &b]).is_ok() && decode(&with_shard(&[0])).is_ok());
    for (why, result) in [
        ("a number with a leading zero", decode(&with_shard(&[0x80, 0]))),
        ("a count with a leading zero", of(&[&[0x10, 0x82, 0], &a, &b])),
        ("a byte left over", of(&[&[0x10, 2], &a, &b, &[0]])),
        ("the same name again", of(&[&[0x10, 2], &a, &[0x21, b'a', 1, 1, 5]])),
        ("the same history again", of(&[&[0x10, 2], &a, &[1, b'b', 0], &HISTORY, &[1, 5]])),
        ("no history before the first", of(&[&[0x10, 1, 0x21], &a[1..]])),
        ("out of order", of(&[&[0x10, 2, 1, b'b'], &a[2..], &[0x21, b'a', 0, 1, 5]])),
        ("an entry twice", of(&[&[0x10, 2], &a, &[0x20, 0, 1, 5]])),
        ("an entry twice, higher", of(&[&[0x10, 2], &a, &[0x20, 0, 1, 6]])),
        ("entries beside everything", of(&[&[0x12, 1], &a])),
        ("an unknown mark", of(&[&[0x18, 1], &a])),
        ("an unknown bit of the tag", of(&[&[0x10, 1, 0x41], &a[1..]])),
    ] {
        assert_eq!(result, Err(WireError::Malformed), "{why}");
    }
    assert!(
        matches!(of(&[&[0x10, 1, 0], &a[2..]]), Err(WireError::StoreName(_))),
        "no name before the first"
    );
    assert_eq!(decode(&[]), Err(WireError::UnsupportedVersion { version: 0 }), "a seal alone");
}

#[test]
fn s12_a_lowered_position_needs_the_key() {
    let text = |position| signed().encode(&Lineage::from(write("posts", 0, 9, 1, position)));
    let [real, lower] = [text(500), text(200)].map(|text| BASE64URL_NOPAD.decode(text.as_bytes()).unwrap());
    let (message, _) = lower.split_last_chunk::<16>().unwrap();
    let (_, mac) = real.split_last_chunk::<16>().unwrap();
    let forged = BASE64URL_NOPAD.encode(&[message, mac].concat());
    assert_eq!(signed().decode(forged), Err(WireError::WrongSignature), "the signature of another");
    assert_eq!(signed().decode(sealed(message)), Err(WireError::WrongSignature), "a checksum");
    let other = sealed_with(&[8; 32], 16, message);
    assert_eq!(signed().decode(other), Err(WireError::WrongSignature), "another key");
    let unsigned = [&[message[0] & !1], &message[1..]].concat();
    assert_eq!(signed().decode(sealed(&unsigned)), Err(WireError::Unsigned), "the mark taken off");
    assert!(PLAIN.decode(sealed(&unsigned)).is_ok(), "without keys a lineage is advisory");
    let signed_unmarked = sealed_with(&KEY, 16, &unsigned);
    assert_eq!(signed().decode(signed_unmarked), Err(WireError::Unsigned), "signed without saying so");
}

#[test]
fn s12_marks_are_signed_too() {
    let text = signed().encode(&Lineage::everything());
    let mut bytes = BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
    bytes[0] &= !2;
    let nothing = BASE64URL_NOPAD.encode(&bytes);
    assert_eq!(signed().decode(nothing), Err(WireError::WrongSignature));
}

/// That the comparison takes constant time is the word of `hmac`; that it compares all is tested.
#[test]
fn s13_every_bit_of_the_signature_counts() {
    let text = signed().encode(&four_stores());
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
    for bit in (bytes.len() - 16) * 8..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let result = signed().decode(BASE64URL_NOPAD.encode(&changed));
        assert_eq!(result, Err(WireError::WrongSignature), "{bit}");
    }
    let message = &bytes[..bytes.len() - 16];
    for len in (0..=32).filter(|len| *len != 16) {
        assert!(signed().decode(sealed_with(&KEY, len, message)).is_err(), "{len} bytes of signature");
    }
}

#[test]
fn keys_on_one_side_only_are_told() {
    let lineage = four_stores();
    assert_eq!(signed().decode(PLAIN.encode(&lineage)), Err(WireError::Unsigned));
    let error = PLAIN.decode(signed().encode(&lineage)).unwrap_err();
    assert_eq!(error, WireError::Signed);
    assert!(error.to_string().contains("configure the signing key"));
}

#[test]
fn a_key_announced_is_accepted() {
    let [old, new] = [[1; 32], [2; 32]].map(|key| SigningKey::parse(key).unwrap());
    let text = LineageCodec::signed(SigningKeys::new(new.clone())).encode(&four_stores());
    let announced = LineageCodec::signed(SigningKeys::new(old.clone()).also_accepting(new));
    assert_eq!(announced.decode(&text), Ok(four_stores()));
    let unaware = LineageCodec::signed(SigningKeys::new(old));
    assert_eq!(unaware.decode(&text), Err(WireError::WrongSignature));
}

/// Wire fault 34. A later version may be sealed in another way, so this comes before the seal.
#[test]
fn another_version_is_told_apart() {
    for version in (0..16).filter(|version| ![1, 2].contains(version)) {
        for codec in codecs() {
            let error = Err(WireError::UnsupportedVersion { version });
            assert_eq!(codec.decode(sealed(&[version << 4, 0])), error);
            assert_eq!(codec.decode(BASE64URL_NOPAD.encode(&[version << 4 | 1])), error);
        }
    }
}
