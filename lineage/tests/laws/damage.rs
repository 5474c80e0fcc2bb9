//! L3: no proper prefix and no changed bit of a text decodes.

use antipode_lineage::{LineageCodec, WireError};
use data_encoding::BASE64URL_NOPAD;
use proptest::prelude::*;

use crate::samples::{any_lineage, cases, codecs, sealed, table};

fn texts() -> impl Iterator<Item = (&'static str, LineageCodec, String)> {
    table().into_iter().flat_map(|(name, lineage)| {
        codecs().map(|codec| {
            let text = codec.encode(&lineage);
            (name, codec, text)
        })
    })
}

#[test]
fn l3_no_prefix_decodes() {
    for (name, codec, text) in texts() {
        for len in 0..text.len() {
            assert!(codec.decode(&text[..len]).is_err(), "{name}: {len} of {text}");
        }
    }
}

#[test]
fn l3_no_bit_flip_decodes() {
    for (name, codec, text) in texts() {
        for bit in 0..text.len() * 8 {
            let mut flipped = text.clone().into_bytes();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(codec.decode(&flipped).is_err(), "{name}: bit {bit} of {text}");
        }
    }
}

/// The same for the bytes below the base64, whose bits the flips above reach only in part.
#[test]
fn l3_no_bit_flip_of_the_bytes_decodes() {
    for (name, codec, text) in texts() {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(codec.decode(BASE64URL_NOPAD.encode(&flipped)).is_err(), "{name}: bit {bit} of {text}");
        }
    }
}

#[test]
fn no_other_character_and_no_longer_text_decodes() {
    for (name, codec, text) in texts().filter(|(.., text)| text.len() < 100) {
        for byte in 0..=u8::MAX {
            for at in 0..text.len() {
                let mut changed = text.clone().into_bytes();
                changed[at] = byte;
                assert_eq!(
                    codec.decode(&changed).is_ok(),
                    byte == text.as_bytes()[at],
                    "{name}: {at} {byte}"
                );
            }
            assert!(codec.decode([text.as_bytes(), &[byte]].concat()).is_err(), "{name}: {byte}");
        }
    }
}

/// The prefix law does not rest on the checksum: it holds for shortened messages sealed again.
#[test]
fn l3_no_resealed_prefix_decodes() {
    for (name, lineage) in table() {
        let text = LineageCodec::plain().encode(&lineage);
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
        for len in 0..bytes.len() - 4 {
            assert!(LineageCodec::plain().decode(sealed(&bytes[..len])).is_err(), "{name}: {len}");
        }
    }
}

#[test]
fn a_cut_or_changed_text_is_called_damaged() {
    let [plain, signed] = codecs();
    let lineage = crate::samples::four_stores();
    let text = plain.encode(&lineage);
    assert_eq!(plain.decode(&text[..text.len() - 4]), Err(WireError::Damaged));
    assert_eq!(plain.decode(text.replace('d', "e")), Err(WireError::Damaged));
    assert_eq!(plain.decode(""), Err(WireError::Damaged));
    let text = signed.encode(&lineage);
    assert_eq!(signed.decode(text.replace('d', "e")), Err(WireError::WrongSignature));
}

proptest! {
    #![proptest_config(cases(6_000))]

    #[test]
    fn l3_holds_for_random_lineages(lineage in any_lineage(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        for codec in codecs() {
            let text = codec.encode(&lineage);
            let at = at.index(text.len());
            prop_assert!(codec.decode(&text[..at]).is_err());
            let mut flipped = text.into_bytes();
            flipped[at] ^= 1 << bit;
            prop_assert!(codec.decode(&flipped).is_err());
        }
    }
}
