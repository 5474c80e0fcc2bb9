//! The behaviours of the W3C's own test suite (github.com/w3c/baggage, `test/test_baggage.py`, 24 tests),
//! under its names.
//!
//! There, a header is parsed into keys, values and properties, and made again. Here, members of others are
//! handed on as they came, so that whoever parses them next finds what was sent; and of our own member key
//! and value are read. Each shape is held to both.

use antipode_lineage::{
    Baggage, BaggageHeader, Lineage, LineageCodec, MAX_BAGGAGE_LEN, MAX_BAGGAGE_MEMBERS, WireError,
};

use crate::samples::four_stores;

const PLAIN: LineageCodec = LineageCodec::plain();

/// What `urllib.parse.quote` makes of a tab, a blank, and `"';=asdf!@#$%^&*()`.
const QUOTED: &str = "%09%20%22%27%3B%3Dasdf%21%40%23%24%25%5E%26%2A%28%29";

fn text() -> String {
    PLAIN.encode(&four_stores())
}

fn handed_on(header: &str) -> BaggageHeader {
    Baggage::read([header]).write_without_lineage()
}

/// These members, and no others, are handed on.
fn hands_on(header: &str, members: &[&str]) {
    let made = handed_on(header);
    assert_eq!((made.value.as_str(), made.dropped), (members.join(",").as_str(), 0), "of {header:?}");
    assert_eq!(handed_on(&made.value), made, "and by the hop after");
}

/// A header with `SomeKey` and `SomeValue` in it hands on these members; with our key and a lineage in
/// their place, it has the lineage, and hands on the other members.
fn holds(header: &str, members: &[&str]) {
    hands_on(header, members);
    let ours = header.replacen("SomeKey", "antipode", 1).replacen("SomeValue", &text(), 1);
    assert_eq!(Baggage::read([&ours]).lineage(&PLAIN), Ok(Some(four_stores())), "{ours:?}");
    let others: Vec<_> = members.iter().skip(1).copied().collect();
    hands_on(&ours, &others);
}

// === BaggageTest ===

#[test]
fn ctor_default() {
    assert_eq!(Baggage::default().write_without_lineage(), BaggageHeader::default());
    assert_eq!(Baggage::default().lineage(&PLAIN), Ok(None));
}

#[test]
fn parse_simple() {
    holds("SomeKey=SomeValue", &["SomeKey=SomeValue"]);
}

#[test]
fn parse_multiple() {
    let members = ["SomeKey=SomeValue;SomeProp", "SomeKey2=SomeValue2;ValueProp=PropVal"];
    holds(&members.join(","), &members);
}

#[test]
fn parse_multiple_ows() {
    let members = [
        "SomeKey \t = \t SomeValue \t ; \t SomeProp",
        "SomeKey2 \t = \t SomeValue2 \t ; \t ValueProp \t = \t PropVal",
    ];
    holds(&members.join(" \t , \t "), &members);
}

#[test]
fn parse_multiple_kv_property() {
    let members =
        ["SomeKey=SomeValue;SomePropKey=SomePropValue", "SomeKey2=SomeValue2;SomePropKey2=SomePropValue2"];
    holds(&members.join(","), &members);
}

#[test]
fn parse_multiple_kv_property_ows() {
    let members = [
        "SomeKey \t = \t SomeValue \t ; \t SomePropKey=SomePropValue",
        "SomeKey2 \t = \t SomeValue2 \t ; \t SomePropKey2 \t = \t SomePropValue2",
    ];
    holds(&members.join(" \t , \t "), &members);
}

// === BaggageEntryTest ===

#[test]
fn entry_ctor_default() {
    let header = Baggage::default().write(&PLAIN, &Lineage::new());
    assert_eq!(
        header.value,
        format!("antipode={}", PLAIN.encode(&Lineage::new())),
        "a key, a value, no properties"
    );
}

#[test]
fn entry_parse_simple() {
    holds("SomeKey=SomeValue", &["SomeKey=SomeValue"]);
}

/// A value of ours has no `=` in it, so one that has was changed on the way.
#[test]
fn entry_parse_multiple_equals() {
    hands_on("SomeKey=SomeValue=equals", &["SomeKey=SomeValue=equals"]);
    let ours = format!("antipode={}=equals", text());
    assert_eq!(Baggage::read([ours]).lineage(&PLAIN), Err(WireError::Alphabet));
}

/// A value of ours needs no escapes, and has none. A hop may escape it all the same: then it is told, not
/// taken.
#[test]
fn entry_parse_percent_encoded() {
    let member = format!("SomeKey={QUOTED}");
    hands_on(&member, &[&member]);
    let escaped: String = text().bytes().map(|byte| format!("%{byte:02X}")).collect();
    assert_eq!(Baggage::read([format!("antipode={escaped}")]).lineage(&PLAIN), Err(WireError::Alphabet));
}

#[test]
fn entry_parse_property() {
    holds("SomeKey=SomeValue;SomeProp", &["SomeKey=SomeValue;SomeProp"]);
}

#[test]
fn entry_parse_multi_property() {
    let member = "SomeKey=SomeValue;SomeProp;SecondProp=PropValue";
    holds(member, &[member]);
}

#[test]
fn entry_parse_multiple_properties_same_name() {
    let member = "SomeKey=SomeValue;SomeProp;SomeProp=PropValue;SomeProp=AnotherPropValue";
    holds(member, &[member]);
}

#[test]
fn entry_parse_kv_property() {
    let member = "SomeKey=SomeValue;SomePropKey=SomePropValue";
    holds(member, &[member]);
}

#[test]
fn entry_parse_simple_ows() {
    holds("SomeKey \t = \t SomeValue \t ", &["SomeKey \t = \t SomeValue"]);
}

#[test]
fn entry_parse_percent_encoded_ows() {
    let member = format!("SomeKey \t = \t {QUOTED}");
    hands_on(&format!("{member} \t "), &[&member]);
}

#[test]
fn entry_parse_property_ows() {
    let member = "SomeKey \t = \t SomeValue \t ; \t SomeProp";
    holds(member, &[member]);
}

#[test]
fn entry_parse_multi_property_ows() {
    let member = "SomeKey \t = \t SomeValue \t ; \t SomeProp \t ; \t SecondProp \t = \t PropValue";
    holds(member, &[member]);
}

#[test]
fn entry_parse_kv_property_ows() {
    let member = "SomeKey \t = \t SomeValue \t ; \t SomePropKey \t = \t SomePropValue";
    holds(member, &[member]);
}

#[test]
fn entry_parse_percent_encoded_property() {
    let member = format!("SomeKey=SomeValue;SomePropKey={QUOTED}");
    holds(&member, &[&member]);
}

/// Escaped blanks and an escaped `=` stay what they are: part of the property's key.
#[test]
fn entry_parse_property_without_value_no_percent_decoding() {
    let member = "SomeKey=SomeValue;ValueProp%20%09%20%3D%20%09%20PropVal";
    holds(member, &[member]);
}

// === LimitsTest ===

#[test]
fn serialize_at_least_64() {
    let members: Vec<String> = (0..MAX_BAGGAGE_MEMBERS).map(|at| format!("key{at}=value")).collect();
    hands_on(&members.join(","), &members.iter().map(String::as_str).collect::<Vec<_>>());
    let header = Baggage::read(&members[1..]).write(&PLAIN, &four_stores());
    assert_eq!((header.value.split(',').count(), header.dropped), (64, 0), "ours is one of them");
}

#[test]
fn serialize_long_entry() {
    let member = format!("a={}", "0123456789".repeat(819));
    assert_eq!(member.len(), MAX_BAGGAGE_LEN);
    hands_on(&member, &[&member]);
}

/// 512 members are more than a platform must hand on: those past the 64th stay behind, whole and counted
/// (W3C Baggage, "Limits"). The suite's own implementation hands all of them on.
#[test]
fn serialize_many_entries() {
    let members: Vec<String> = (0..512).map(|at| format!("{at:03}=0123456789a")).collect();
    let all = format!("{}b", members.join(","));
    assert_eq!(all.len(), MAX_BAGGAGE_LEN);
    let header = handed_on(&all);
    assert_eq!((header.value, header.dropped), (members[..64].join(","), 448));
    // As many bytes in 64 members do all arrive.
    let long: Vec<String> = (0..64).map(|at| format!("{at:03}={}", "x".repeat(123))).collect();
    let all = format!("{}x", long.join(","));
    assert_eq!(all.len(), MAX_BAGGAGE_LEN);
    hands_on(&all, &[&all]);
}
