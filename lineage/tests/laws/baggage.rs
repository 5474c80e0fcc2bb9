//! The lineage among the baggage of others, and attacks through it.

use std::cell::Cell;

use antipode_lineage::{
    BAGGAGE_KEY, Baggage, Lineage, LineageCodec, MAX_BAGGAGE_LEN, MAX_BAGGAGE_MEMBERS, MAX_READ_LEN,
    MAX_WIRE_LEN, WireError,
};
use proptest::prelude::*;

use crate::samples::{any_lineage, cases, codecs, four_stores, write};

const PLAIN: LineageCodec = LineageCodec::plain();

fn ours() -> String {
    Baggage::default().write(&PLAIN, &four_stores()).value
}

fn lineage(values: &[impl AsRef<[u8]>]) -> Result<Option<Lineage>, WireError> {
    let read = Baggage::read(values);
    let (others, taken) = Baggage::take(&PLAIN, values);
    assert_eq!(taken, read.lineage(&PLAIN), "taken on reading or asked for later");
    assert_eq!(others.write_without_lineage(), read.write_without_lineage());
    assert_eq!((others.lineage_len(), others.dropped()), (read.lineage_len(), read.dropped()));
    taken
}

fn foreign(values: &[impl AsRef<[u8]>]) -> String {
    Baggage::read(values).write_without_lineage().value
}

/// Wire faults 28 and 35.
#[test]
fn absent_empty_and_undecodable_are_told_apart() {
    for absent in [&[][..], &[""], &["a=b", "c=d;antipode=x"], &[" , ,"], &["xantipode=x", "antipode2=x"]] {
        assert_eq!(lineage(absent), Ok(None), "{absent:?}");
    }
    let empty = Baggage::default().write(&PLAIN, &Lineage::new()).value;
    assert_eq!(lineage(&[empty]), Ok(Some(Lineage::new())));
    for damaged in ["antipode", "antipode=", "antipode;a=b", "antipode = ;x", "antipode==", "antipode=A A"] {
        assert!(lineage(&[damaged]).is_err(), "{damaged}");
        assert_eq!(foreign(&[damaged]), "", "ours does not travel on as another's");
    }
    let ours = ours();
    for more in ["=", "=x", " x", "x"] {
        assert!(lineage(&[format!("{ours}{more}")]).is_err(), "{more:?} after the value");
    }
    for len in BAGGAGE_KEY.len()..ours.len() {
        assert!(lineage(&[&ours[..len]]).is_err(), "{len}");
    }
    assert!(lineage(&[b"antipode=\xff"]).is_err());
    assert!(lineage(&[ours.replace('-', "%2D").replace('E', "%45")]).is_err(), "escaped by a hop");
}

#[test]
fn the_grammar_of_w3c_is_read() {
    let ours = ours();
    let text = ours.strip_prefix("antipode=").unwrap();
    for member in [
        format!("antipode={text}"),
        format!("antipode \t = \t {text} \t "),
        format!("antipode={text};hop=1"),
        format!(" antipode = {text} ; \t SomeProp \t ; \t SecondProp \t = \t PropValue"),
        format!("a=b=c,{ours}"),
        format!("a=b \t , \t {ours} \t , c = d ; e"),
        format!(",,{ours},,"),
    ] {
        assert_eq!(lineage(&[&member]), Ok(Some(four_stores())), "{member}");
    }
}

/// The members of the W3C's own tests, which a hop must hand on as they are.
#[test]
fn members_of_others_travel_on_byte_for_byte() {
    let members = [
        "SomeKey=SomeValue",
        "SomeKey=SomeValue;SomeProp",
        "SomeKey2=SomeValue2;ValueProp=PropVal",
        "SomeKey \t = \t SomeValue \t ; \t SomeProp",
        "SomeKey \t = \t SomeValue \t ; \t SomePropKey \t = \t SomePropValue",
        "SomeKey=SomeValue;SomeProp;SecondProp=PropValue",
        "SomeKey=SomeValue=equals",
        "SomeKey=%09%20%22%27%3B%3Dasdf%21%40%23%24%25%5E%26%2A%28%29",
        "key=a+b/c==;p=\"q\"",
        "Antipode=x",
        "noequals",
        "=novalue",
    ];
    let separate = Baggage::read(members);
    let blanks = Baggage::read([members.join(" \t , ,\t "), String::new()]);
    assert_eq!(separate, blanks);
    assert_eq!(separate.write_without_lineage().value, members.join(","));
    let header = separate.write(&PLAIN, &four_stores());
    assert_eq!(header.value, format!("{},{}", ours(), members.join(",")), "ours is the first");
    assert_eq!(header.dropped, 0);
    assert_eq!(foreign(&[header.value]), members.join(","), "ours is replaced, not repeated");
}

/// Wire fault 31.
#[test]
fn all_header_lines_are_read() {
    assert_eq!(lineage(&["a=b", "c=d", &ours(), "e=f"]), Ok(Some(four_stores())));
    assert_eq!(foreign(&["a=b", &ours(), "e=f"]), "a=b,e=f");
}

#[test]
fn limits_of_w3c_hold() {
    let members = |count: usize| -> Vec<String> { (0..count).map(|at| format!("key{at}=value")).collect() };
    let full = Baggage::read(members(64));
    assert_eq!(full.write_without_lineage().value, members(64).join(","));
    let header = full.write(&PLAIN, &four_stores());
    assert_eq!(header.value, format!("{},{}", ours(), members(63).join(",")), "the last one goes");
    assert_eq!(header.value.split(',').count(), MAX_BAGGAGE_MEMBERS);
    assert_eq!((full.dropped(), header.dropped), (0, 1));

    let long = Baggage::read([format!("a={}", "0123456789".repeat(819))]);
    let header = long.write_without_lineage();
    assert_eq!((header.value.len(), header.dropped), (MAX_BAGGAGE_LEN, 0));
    let header = long.write(&PLAIN, &four_stores());
    assert_eq!((header.value, header.dropped), (ours(), 1));
    let longer = Baggage::read([format!("ab={}", "0123456789".repeat(819))]);
    assert_eq!((longer.write_without_lineage().value.as_str(), longer.dropped()), ("", 1));

    let two = |len: usize| Baggage::read(["a=1".to_owned(), format!("b={}", "x".repeat(len - 6))]);
    assert_eq!(two(MAX_BAGGAGE_LEN).write_without_lineage().value.len(), MAX_BAGGAGE_LEN);
    assert_eq!(two(MAX_BAGGAGE_LEN + 1).write_without_lineage().value, "a=1", "the comma counts");

    let many = Baggage::read((0..512).map(|at| format!("{at:03}=0123456789a")));
    assert_eq!((many.write_without_lineage().value.len(), many.dropped()), (64 * 16 - 1, 448));
}

#[test]
fn what_does_not_fit_goes_from_the_end() {
    let medium = format!("b={}", "x".repeat(5_000));
    let long = format!("c={}", "x".repeat(5_000));
    let baggage = Baggage::read(["a=1", &medium, &long, "d=1"]);
    let header = baggage.write_without_lineage();
    assert_eq!((header.value, header.dropped), (format!("a=1,{medium}"), 2), "none is let past another");
    let wide: Lineage = (0..120).map(|shard| write("posts", shard, shard << 40, 1, u64::MAX >> 1)).collect();
    let header = baggage.write(&PLAIN, &wide);
    assert!(header.value.len() > 3_000 && header.value.ends_with(",a=1"));
    assert_eq!(header.dropped, 3);
}

#[test]
fn the_member_fits_libraries_that_allow_4096_bytes() {
    assert!(BAGGAGE_KEY.len() + 1 + MAX_WIRE_LEN <= 4_096);
}

#[test]
fn s3_reading_ends_at_the_cap() {
    let taken = Cell::new(0_usize);
    let lines = std::iter::repeat_n("", 1_000_000).inspect(|_| taken.set(taken.get() + 1));
    let baggage = Baggage::read(lines);
    assert_eq!(taken.get(), MAX_READ_LEN + 1, "a million empty lines are not looked at");
    assert_eq!(baggage.lineage(&PLAIN), Err(WireError::BaggageTooLong));

    let fits = format!("a={}", "x".repeat(MAX_READ_LEN - ours().len() - 4));
    assert_eq!(lineage(&[&fits, &ours()]), Ok(Some(four_stores())));
    assert_eq!(lineage(&[&format!("{fits}x"), &ours()]), Err(WireError::BaggageTooLong));
}

#[test]
fn s6_junk_does_not_push_the_lineage_out() {
    let junk: Vec<String> = (0..100_000).map(|at| format!("junk{at}=x")).collect();
    let after = Baggage::read([ours(), junk.join(",")]);
    assert_eq!(after.lineage(&PLAIN), Ok(Some(four_stores())));
    assert!(after.dropped() > 1_000, "{}", after.dropped());
    let before = Baggage::read([junk[..900].join(","), ours()]);
    assert_eq!(before.lineage(&PLAIN), Ok(Some(four_stores())), "past the members kept");
    let far_before = Baggage::read([junk.join(","), ours()]);
    assert_eq!(far_before.lineage(&PLAIN), Err(WireError::BaggageTooLong), "not absent: unknown");
    let cut = format!("antipode={}", "A".repeat(MAX_READ_LEN));
    assert_eq!(lineage(&[&cut]), Err(WireError::BaggageTooLong), "and never read in part");
    let cut_later = Baggage::read([&ours(), &cut, "a=b"]);
    assert_eq!(cut_later.lineage(&PLAIN), Ok(Some(four_stores())));
    assert_eq!(cut_later.dropped(), 1, "what was not read is told");
}

#[test]
fn s9_lineages_that_came_twice_are_joined() {
    let [a, b] = [write("a", 0, 1, 1, 9), write("b", 0, 1, 1, 5)];
    let of = |lineage: &Lineage| Baggage::default().write(&PLAIN, lineage).value;
    let (high, low) = (of(&a.into()), of(&Lineage::from_iter([write("a", 0, 1, 1, 3), b])));
    let both = Lineage::from_iter([a, b]);
    for twice in [[&high, &low], [&low, &high]] {
        assert_eq!(lineage(&twice), Ok(Some(both.clone())));
        assert_eq!(lineage(&[twice.map(String::as_str).join(",")]), Ok(Some(both.clone())));
    }
    for spoilt in [[high.as_str(), "antipode=x"], ["antipode=x", high.as_str()], [high.as_str(), "antipode"]]
    {
        assert!(lineage(&spoilt).is_err(), "one damaged of two: {spoilt:?}");
    }
}

#[test]
fn s9_keys_that_look_like_ours_are_not() {
    let text = ours().replacen("antipode=", "", 1);
    for key in ["Antipode", "ANTIPODE", "%61ntipode", "anti pode", "\"antipode\"", "antipode%20"] {
        let member = format!("{key}={text}");
        assert_eq!(lineage(&[&member]), Ok(None), "{member}");
        assert_eq!(foreign(&[&member]), member);
    }
}

#[test]
fn s9_no_line_end_passes() {
    for bad in [&b"a=b\r\nx: y"[..], b"a=\0", b"a=\x7f", b"a=\xc3\xa9", b"\na=b", b"a=b\r", b"antipode\r=x"] {
        let baggage = Baggage::read([bad, b"c=%0D%0A"]);
        let header = baggage.write_without_lineage();
        assert_eq!((header.value.as_str(), header.dropped), ("c=%0D%0A", 1), "{bad:?}");
    }
    let folded = format!("{}\r\n ", ours());
    assert_eq!(lineage(&[folded]), Err(WireError::Alphabet));
}

#[test]
fn s11_the_lineage_stays_here_when_told() {
    let header = Baggage::read([&format!("a=b,{},c=d", ours())]).write_without_lineage();
    assert_eq!(header.value, "a=b,c=d");
    assert_eq!(Baggage::read([ours()]).write_without_lineage().value, "");
}

proptest! {
    #![proptest_config(cases(2_500))]

    #[test]
    fn headers_read_back(
        lineage in any_lineage(),
        members in prop::collection::vec("[!-+--~]([ -+--~]{0,12}[!-+--~])?", 0..5),
    ) {
        prop_assume!(!members.iter().any(|member| member.starts_with(BAGGAGE_KEY)));
        for codec in codecs() {
            let header = Baggage::read(&members).write(&codec, &lineage);
            let read = Baggage::read([&header.value]);
            prop_assert_eq!(read.lineage(&codec), Ok(Some(lineage.clone())));
            prop_assert_eq!(read.write_without_lineage().value, members.join(","));
        }
    }
}
