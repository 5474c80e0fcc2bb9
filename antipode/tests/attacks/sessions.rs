//! Attacks by session tokens.

use std::time::{Duration, SystemTime};

use antipode::edge::{Fault, Inbound, InvalidSession, MAX_SESSION_LEN, SESSION_HEADER, SessionTokens};
use antipode::lineage::{Lineage, LineageCodec, MAX_ENTRIES, WireError};
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::samples::{keys, lineage, member, request, signed, write};

const HOUR: Duration = Duration::from_secs(3_600);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn sessions() -> SessionTokens {
    SessionTokens::new(&keys(7), "shop", HOUR)
}

fn token() -> String {
    sessions().issue(&lineage(), now()).as_str().to_owned()
}

fn with_cookies(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(COOKIE, HeaderValue::from_str(line).unwrap());
    }
    headers
}

#[test]
fn s10_a_replayed_token_says_the_same_again_and_no_more() {
    for _ in 0..3 {
        assert_eq!(sessions().parse(token(), now()), Ok(lineage()));
    }
}

#[test]
fn s10_a_token_ends_with_its_lifetime() {
    let last = now() + HOUR;
    assert_eq!(sessions().parse(token(), last - Duration::from_secs(1)), Ok(lineage()));
    for (later, ago) in [(last, 0), (last + HOUR, 3_600)] {
        let ago = Duration::from_secs(ago);
        let error = sessions().parse(token(), later).unwrap_err();
        assert_eq!(error, InvalidSession::Expired { ago });
        assert!(error.is_expired());
    }
    // A clock that jumps back makes none invalid; one before 1970 does not break anything.
    assert_eq!(sessions().parse(token(), SystemTime::UNIX_EPOCH - HOUR), Ok(lineage()));
}

#[test]
fn s10_nobody_prolongs_a_token() {
    let token = token();
    let (expiry, text) = token.split_once('.').unwrap();
    let expiry: u64 = expiry.parse().unwrap();
    for other in [expiry + 1, expiry + 1_000_000, u64::MAX, expiry - 1, 0] {
        let error = sessions().parse(format!("{other}.{text}"), now()).unwrap_err();
        assert_eq!(
            error,
            InvalidSession::Forged(WireError::WrongSignature),
            "{other}, though it may be past"
        );
    }
    for spelling in ["", "+1800003600", "01800003600", "1800003600 ", "-1", "99999999999999999999", "x"] {
        let error = sessions().parse(format!("{spelling}.{text}"), now()).unwrap_err();
        assert_eq!(error, InvalidSession::NoExpiry, "{spelling}");
    }
    assert_eq!(sessions().parse(text, now()), Err(InvalidSession::NoExpiry));
}

#[test]
fn s10_a_token_of_another_audience_is_none() {
    let forged = Err(InvalidSession::Forged(WireError::WrongSignature));
    for (key, audience) in [(7, "bank"), (7, ""), (7, "shop2"), (8, "shop")] {
        assert_eq!(SessionTokens::new(&keys(key), audience, HOUR).parse(token(), now()), forged);
    }
    let key_of_before = keys(8).also_accepting(antipode::lineage::SigningKey::parse([7; 32]).unwrap());
    assert_eq!(SessionTokens::new(&key_of_before, "shop", HOUR).parse(token(), now()), Ok(lineage()));
}

/// Who may sign sessions may not thereby sign for services, and the other way round.
#[test]
fn s10_a_token_is_no_lineage_of_a_service_nor_the_other_way_round() {
    let token = token();
    let (expiry, text) = token.split_once('.').unwrap();
    for text in [&token, text] {
        assert!(Inbound::require(signed()).admit(&request([format!("antipode={text}")])).is_err(), "{text}");
    }
    let service = member(&signed(), &lineage()).replacen("antipode=", "", 1);
    for text in [service.clone(), format!("{expiry}.{service}")] {
        assert!(sessions().parse(&text, now()).is_err(), "{text}");
    }
}

#[test]
fn s11_scripts_neighbours_and_other_sites_do_not_get_the_cookie() {
    let token = sessions().issue(&lineage(), now());
    let cookie = format!("__Host-antipode={}", token.as_str());
    assert_eq!(token.cookie(), cookie);
    assert_eq!(token.set_cookie(), format!("{cookie}; Max-Age=3600; Path=/; HttpOnly; Secure; SameSite=Lax"));
    let shared = sessions().domain("Example.com").unwrap().issue(&lineage(), now());
    let cookie = format!("__Secure-antipode={}", token.as_str());
    assert_eq!(
        shared.set_cookie(),
        format!("{cookie}; Max-Age=3600; Path=/; Domain=example.com; HttpOnly; Secure; SameSite=Lax")
    );
    for injected in ["a; Path=/", "a\r\nset-cookie: x", "", "http://a"] {
        assert!(sessions().domain(injected).is_err(), "{injected:?}");
    }
}

#[test]
fn s12_every_character_of_a_token_counts() {
    let token = token();
    for at in 0..token.len() {
        for other in ["A", "b", "7", "-", "."] {
            let changed = [&token[..at], other, &token[at + 1..]].concat();
            if changed != token {
                let error = sessions().parse(&changed, now()).unwrap_err();
                assert!(!error.is_expired(), "{changed} is not merely old");
            }
        }
        assert!(sessions().parse(&token[..at], now()).is_err());
    }
}

/// That the comparison takes constant time is the word of `hmac`; that it compares all is tested here.
#[test]
fn s13_every_bit_of_a_signature_counts() {
    use data_encoding::BASE64URL_NOPAD;
    let token = token();
    let (expiry, text) = token.split_once('.').unwrap();
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
    for bit in (bytes.len() - 16) * 8..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let changed = format!("{expiry}.{}", BASE64URL_NOPAD.encode(&changed));
        let error = sessions().parse(changed, now()).unwrap_err();
        assert_eq!(error, InvalidSession::Forged(WireError::WrongSignature), "{bit}");
    }
}

#[test]
fn s3_a_token_fits_what_browsers_keep_and_no_longer_one_is_read() {
    let wide = |entries: usize| -> Lineage {
        (0..entries as u64).map(|shard| write("posts", shard, u64::MAX / 2 - shard)).collect()
    };
    let long_name = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    let sessions = SessionTokens::new(&keys(7), "shop", 9_999 * HOUR).domain(&long_name).unwrap();
    for entries in 1..=MAX_ENTRIES {
        let token = sessions.issue(&wide(entries), now());
        assert!(token.set_cookie().len() <= 4_096 && token.as_str().len() <= MAX_SESSION_LEN);
        let read = sessions.parse(token.as_str(), now()).unwrap();
        assert!(
            read == wide(entries) || read == Lineage::everything(),
            "{entries}: nothing is silently less"
        );
        assert!(read.covers(&wide(entries)));
        let mut weak = wide(entries);
        weak.mark_weak();
        assert!(sessions.parse(sessions.issue(&weak, now()).as_str(), now()).unwrap().is_weak(), "{entries}");
    }
    assert_eq!(
        sessions.parse(sessions.issue(&wide(MAX_ENTRIES), now()).as_str(), now()),
        Ok(Lineage::everything())
    );
    // Whatever it is signed with.
    let genuine = LineageCodec::signed(keys(7).bound_to("shop").bound_to(9_u64.to_be_bytes()));
    let long = format!("9.{}", genuine.encode(&wide(280)));
    assert!(long.len() <= MAX_SESSION_LEN || sessions.parse(&long, now()).is_err());
    assert_eq!(sessions.parse("1".repeat(MAX_SESSION_LEN), now()), Err(InvalidSession::NoExpiry));
    let len = MAX_SESSION_LEN + 1;
    assert_eq!(sessions.parse("1".repeat(len), now()), Err(InvalidSession::TooLong { len }));
}

#[test]
fn s9_several_tokens_are_joined_and_a_forged_one_spoils_them() {
    let [a, b] = [write("a", 0, 5), write("b", 0, 9)].map(Lineage::from);
    let [first, second] = [&a, &b].map(|lineage| sessions().issue(lineage, now()).cookie());
    let both = Lineage::from_iter([write("a", 0, 5), write("b", 0, 9)]);
    for lines in [
        vec![format!("{first}; {second}")],
        vec![first.clone(), second.clone()],
        vec![format!("x=1;{second};{first};y")],
    ] {
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        assert_eq!(sessions().read(&with_cookies(&lines), now()), Ok(Some(both.clone())), "{lines:?}");
    }
    let mut headers = with_cookies(&[&first]);
    headers.append(SESSION_HEADER, sessions().issue(&b, now()).as_str().parse().unwrap());
    assert_eq!(sessions().read(&headers, now()), Ok(Some(both)));
    let spoilt = format!("{first}; __Host-antipode=x");
    assert_eq!(sessions().read(&with_cookies(&[&spoilt]), now()), Err(InvalidSession::NoExpiry));
    let old = sessions().issue(&b, now() - 2 * HOUR).cookie();
    assert_eq!(sessions().read(&with_cookies(&[&first, &old]), now()), Ok(Some(a)), "beside a valid one");
    assert!(sessions().read(&with_cookies(&[&old]), now()).unwrap_err().is_expired());
    assert_eq!(
        sessions()
            .read(&with_cookies(&[&[first.as_str(); 4].join(";")]), now())
            .unwrap()
            .unwrap()
            .writes()
            .len(),
        1
    );
    assert_eq!(
        sessions().read(&with_cookies(&[&[first.as_str(); 5].join(";")]), now()),
        Err(InvalidSession::TooMany)
    );
}

#[test]
fn s9_cookies_that_look_like_ours_are_not() {
    let token = token();
    for name in [
        "antipode",
        "__host-antipode",
        "__Host-antipode2",
        "x__Host-antipode",
        "__Secure-antipode",
        "__Host-antipode ",
    ] {
        let headers = with_cookies(&[&format!("{name}={token}")]);
        assert_eq!(sessions().read(&headers, now()), Ok(None), "{name}");
    }
    let shared = sessions().domain("example.com").unwrap();
    assert_eq!(
        shared.read(&with_cookies(&[&format!("__Secure-antipode={token}")]), now()),
        Ok(Some(lineage()))
    );
    assert_eq!(shared.read(&with_cookies(&[&format!("__Host-antipode={token}")]), now()), Ok(None));
}

/// Users could not help it, so no request is refused; and nothing is silently less.
#[test]
fn s12_a_forged_token_only_delays() {
    let inbound = Inbound::discard().sessions(sessions());
    let live = sessions().issue(&lineage(), SystemTime::now()).cookie();
    assert_eq!(inbound.admit(&with_cookies(&[&live])).unwrap().lineage, lineage());
    assert!(inbound.admit(&HeaderMap::new()).unwrap().lineage.is_empty());

    let forged = SessionTokens::new(&keys(8), "shop", HOUR).issue(&lineage(), SystemTime::now()).cookie();
    assert_eq!(inbound.admit(&with_cookies(&[&forged])).unwrap().lineage, Lineage::everything());
    let old = sessions().issue(&lineage(), SystemTime::now() - 2 * HOUR).cookie();
    assert!(inbound.admit(&with_cookies(&[&old])).unwrap().lineage.is_empty());
    assert_eq!([Fault::SessionInvalid, Fault::SessionExpired].map(|fault| inbound.count(fault)), [1, 1]);

    // Beside baggage it is joined; it does not stand in for baggage that is required.
    let service = Inbound::require(signed()).sessions(sessions());
    let mut headers = with_cookies(&[&live]);
    assert!(service.admit(&headers).unwrap_err().is_missing());
    let other = Lineage::from(write("carts", 0, 1));
    headers.append("baggage", member(&signed(), &other).parse().unwrap());
    let joined = service.admit(&headers).unwrap().lineage;
    assert!(joined.covers(&other) && joined.covers(&lineage()));
}
