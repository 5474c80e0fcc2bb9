//! Attacks by the form of the headers.

use antipode::edge::{Admitted, BAGGAGE_HEADER, DEFAULT_MAX_LINES, Fault, Inbound, Outbound, Refused};
use antipode::lineage::{Lineage, LineageCodec, MAX_READ_LEN, WireError};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::samples::{PLAIN, lineage, member, request, signed, write};

/// What a service that refuses nothing begins with, and what one that is strict says.
fn both(headers: &HeaderMap) -> (Admitted, Result<Admitted, Refused>) {
    let lenient = Inbound::accept(PLAIN).admit(headers).unwrap();
    (lenient, Inbound::require(PLAIN).admit(headers))
}

/// Nothing of it is believed, and nothing of it is silently less.
fn unreadable(headers: &HeaderMap) -> WireError {
    let (lenient, strict) = both(headers);
    assert_eq!(lenient.lineage, Lineage::everything());
    match strict {
        Err(Refused::Unreadable(error)) => error,
        other => panic!("{headers:?}: {other:?}"),
    }
}

#[test]
fn s3_oversize_headers_are_refused_before_they_are_parsed() {
    let ours = member(&PLAIN, &lineage());
    let fill = |len: usize| format!("a={}", "x".repeat(len - 2));
    // One for the end of each line.
    let whole = |len: usize| request([ours.clone(), fill(len - ours.len() - 2)]);
    let (lenient, strict) = both(&whole(MAX_READ_LEN));
    assert_eq!((lenient.lineage, strict.map(|admitted| admitted.lineage)), (lineage(), Ok(lineage())));

    let (lenient, strict) = both(&whole(MAX_READ_LEN + 1));
    let refused = strict.unwrap_err();
    assert_eq!(refused, Refused::TooManyBytes { max: MAX_READ_LEN });
    assert_eq!(refused.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(lenient.lineage, Lineage::everything(), "the lineage in front was not looked at");
    assert_eq!(lenient.baggage.write_without_lineage().value, "", "nor what follows");

    let tight = Inbound::require(PLAIN).max_bytes(200);
    assert_eq!(tight.admit(&whole(200)).unwrap().lineage, lineage());
    assert_eq!(tight.admit(&whole(201)), Err(Refused::TooManyBytes { max: 200 }));
    let wide = Inbound::require(PLAIN).max_bytes(usize::MAX);
    assert_eq!(wide.admit(&whole(MAX_READ_LEN + 1)), Err(Refused::TooManyBytes { max: MAX_READ_LEN }));
}

#[test]
fn s3_many_header_lines_are_refused_before_they_are_parsed() {
    let lines = |count: usize| {
        let more = (1..count).map(|at| format!("k{at}=v"));
        request([member(&PLAIN, &lineage())].into_iter().chain(more))
    };
    let (lenient, strict) = both(&lines(DEFAULT_MAX_LINES));
    assert_eq!((lenient.lineage, strict.map(|admitted| admitted.lineage)), (lineage(), Ok(lineage())));
    let (lenient, strict) = both(&lines(DEFAULT_MAX_LINES + 1));
    assert_eq!(strict, Err(Refused::TooManyLines { max: DEFAULT_MAX_LINES }));
    assert_eq!(lenient.lineage, Lineage::everything());
    let one = Inbound::require(PLAIN).max_lines(1);
    assert!(one.admit(&lines(1)).is_ok() && one.admit(&lines(2)).is_err());
}

#[test]
fn s3_who_discards_lineage_admits_past_the_caps_and_counts() {
    let inbound = Inbound::discard();
    let admitted = inbound.admit(&request([vec![b'a'; MAX_READ_LEN + 1]])).unwrap();
    assert_eq!(admitted, Admitted::default());
    assert_eq!(inbound.count(Fault::TooLarge), 1);
}

#[test]
fn s6_junk_does_not_push_the_lineage_out() {
    let ours = member(&PLAIN, &lineage());
    let junk: Vec<String> = (0..1_200).map(|at| format!("junk{at}=x")).collect();
    for lines in [[ours.clone(), junk.join(",")], [junk.join(","), ours]] {
        let (lenient, strict) = both(&request(lines));
        assert_eq!((lenient.lineage, strict.map(|admitted| admitted.lineage)), (lineage(), Ok(lineage())));
    }
}

#[test]
fn s6_a_lineage_that_a_hop_left_out_is_missed_where_it_is_required() {
    let (lenient, strict) = both(&request(["user=alice"]));
    assert_eq!(lenient.lineage, Lineage::new(), "nobody said that there should be one");
    assert_eq!(lenient.baggage.write_without_lineage().value, "user=alice");
    let refused = strict.unwrap_err();
    assert!(refused.is_missing());
    assert_eq!((refused.status(), refused.fault()), (StatusCode::BAD_REQUEST, Fault::Missing));
    assert_eq!(both(&HeaderMap::new()).1, Err(Refused::Missing));
    let empty = member(&PLAIN, &Lineage::new());
    assert!(Inbound::require(PLAIN).admit(&request([empty])).unwrap().lineage.is_empty(), "empty is there");
}

#[test]
fn s7_a_lineage_cut_short_is_not_a_smaller_one() {
    let ours = member(&PLAIN, &lineage());
    for len in "antipode".len()..ours.len() {
        unreadable(&request([&ours[..len]]));
        unreadable(&request([&format!("a=b, {} ,c=d", &ours[..len])]));
    }
}

#[test]
fn s8_no_other_spelling_is_taken() {
    let ours = member(&PLAIN, &lineage());
    let text = ours.strip_prefix("antipode=").unwrap();
    let (first, rest) = text.split_at(1);
    for spelling in [
        format!("{text}="),
        format!("{text}=="),
        format!("%{:02X}{rest}", first.as_bytes()[0]),
        format!("\"{text}\""),
        format!("{first} {rest}"),
        format!("{first}+{rest}"),
        format!("{first}/{rest}"),
        text.to_lowercase(),
    ] {
        unreadable(&request([format!("antipode={spelling}")]));
    }
}

#[test]
fn s9_a_second_lineage_never_replaces_the_first() {
    let [high, low] = [500, 3].map(|position| Lineage::from(write("posts", 0, position)));
    let [first, second] = [&high, &low].map(|lineage| member(&PLAIN, lineage));
    for lines in [
        vec![first.clone(), second.clone()],
        vec![second.clone(), first.clone()],
        vec![[&first, ",", &second].concat()],
    ] {
        assert_eq!(both(&request(lines)).0.lineage, high, "they are joined");
    }
    for lines in [[first.as_str(), "antipode=x"], ["antipode", first.as_str()]] {
        unreadable(&request(lines));
    }
}

#[test]
fn s9_keys_and_headers_that_look_like_ours_are_not() {
    let ours = member(&PLAIN, &lineage());
    for key in ["Antipode", "ANTIPODE", "%61ntipode", "antipode%20"] {
        let (lenient, strict) = both(&request([ours.replacen("antipode", key, 1)]));
        assert_eq!((lenient.lineage, strict), (Lineage::new(), Err(Refused::Missing)), "{key}");
    }
    // A header's name has no case.
    let mut headers = HeaderMap::new();
    headers.append(HeaderName::from_bytes(b"BAGGAGE").unwrap(), HeaderValue::from_str(&ours).unwrap());
    headers.append("x-baggage", HeaderValue::from_static("antipode=x"));
    assert_eq!(both(&headers).1.unwrap().lineage, lineage());
}

#[test]
fn s9_no_line_end_gets_into_a_header_of_ours() {
    for smuggled in [&b"a=b\r\nx-admin: 1"[..], b"a=b\nx-admin: 1", b"a=b\0"] {
        assert!(HeaderValue::from_bytes(smuggled).is_err(), "the header map refuses it by itself");
    }
    let admitted = both(&request([&b"a=\xe2\x80\xa8\xff"[..], b"b=%0D%0Ax-admin:%201"])).0;
    let header = Outbound::to_everyone().header(
        &"http://a/".parse().unwrap(),
        &PLAIN,
        &admitted.baggage,
        &admitted.lineage,
    );
    assert!(header.value.ends_with(",b=%0D%0Ax-admin:%201"), "passed on, not decoded: {}", header.value);
    assert!(header.value.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
}

#[test]
fn s11_a_foreign_host_gets_the_baggage_of_others_only() {
    let codec: LineageCodec = PLAIN;
    let ours = Outbound::to_hosts(["orders.example.com"]).unwrap();
    let admitted = Inbound::accept(codec.clone())
        .admit(&request(["user=alice".to_owned(), member(&codec, &lineage())]))
        .unwrap();
    let header = |outbound: &Outbound, target: &str| {
        outbound.header(&target.parse().unwrap(), &codec, &admitted.baggage, &admitted.lineage).value
    };
    let whole = format!("{},user=alice", member(&codec, &lineage()));
    assert_eq!(header(&ours, "https://orders.example.com/"), whole);
    for foreign in ["https://pay.example/", "https://orders.example.com.pay.example/", "/relative"] {
        assert_eq!(header(&ours, foreign), "user=alice", "{foreign}");
    }
    assert_eq!(header(&Outbound::default(), "https://orders.example.com/"), "user=alice", "the default");
    assert_eq!(header(&Outbound::to_everyone(), "https://pay.example/"), whole);
}

#[test]
fn s11_who_faces_the_public_begins_with_nothing() {
    let admitted = Inbound::discard().admit(&request([member(&PLAIN, &lineage()), "a=b".into()])).unwrap();
    assert!(admitted.lineage.is_empty());
    assert_eq!(admitted.baggage.write_without_lineage().value, "a=b");
}

#[test]
fn s12_where_lineage_is_signed_nobody_else_makes_one() {
    let inbound = Inbound::require(signed());
    assert_eq!(inbound.admit(&request([member(&signed(), &lineage())])).unwrap().lineage, lineage());
    let lowered = Lineage::from(write("posts", 0, 3));
    let other = LineageCodec::signed(crate::samples::keys(8));
    for (forged, error) in [
        (member(&PLAIN, &lowered), WireError::Unsigned),
        (member(&other, &lowered), WireError::WrongSignature),
    ] {
        let refused = inbound.admit(&request([&forged])).unwrap_err();
        assert_eq!(refused, Refused::Unreadable(error));
        let strict = Inbound::accept_readable(signed());
        assert_eq!(strict.admit(&request([&forged])), Err(refused));
        let lenient = Inbound::accept(signed()).admit(&request([&forged])).unwrap();
        assert_eq!(lenient.lineage, Lineage::everything(), "not believed, and not less than it was");
        // Beside a genuine one it spoils the request, it does not slip in.
        let both = request([member(&signed(), &lineage()), forged]);
        assert!(inbound.admit(&both).is_err());
    }
}

#[test]
fn a_request_without_baggage_is_accepted_as_it_is() {
    let headers = request([""; 0]);
    assert!(headers.get(BAGGAGE_HEADER).is_none());
    for inbound in [Inbound::accept(PLAIN), Inbound::accept_readable(PLAIN), Inbound::discard()] {
        assert_eq!(inbound.admit(&headers), Ok(Admitted::default()));
    }
}
