//! How long a request may take, in its sender's words.

use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

/// The header in which gRPC sends a call's deadline.
static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The time left for the request: the smaller of gRPC's deadline and that in the `custom` header, a
/// whole number of milliseconds. What cannot be read says nothing.
pub(crate) fn time_left(headers: &HeaderMap, custom: Option<&HeaderName>) -> Option<Duration> {
    let grpc = headers.get(&GRPC_TIMEOUT).and_then(grpc_timeout);
    let custom = custom.and_then(|name| headers.get(name)).and_then(millis);
    [grpc, custom].into_iter().flatten().min()
}

/// At most eight digits and a unit (the protocol's "gRPC over HTTP2", `TimeoutValue`).
fn grpc_timeout(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let count = number(digits).filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3_600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

fn millis(value: &HeaderValue) -> Option<Duration> {
    number(value.to_str().ok()?.trim()).map(Duration::from_millis)
}

/// Digits only: `parse` alone takes a sign.
fn number(digits: &str) -> Option<u64> {
    digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUSTOM: HeaderName = HeaderName::from_static("x-request-deadline");

    fn left(grpc: &str, custom: &str) -> Option<Duration> {
        let lines = [(GRPC_TIMEOUT.clone(), grpc), (CUSTOM, custom)];
        let lines = lines.into_iter().filter(|(_, value)| !value.is_empty());
        let headers = lines.map(|(name, value)| (name, HeaderValue::from_str(value).unwrap())).collect();
        time_left(&headers, Some(&CUSTOM))
    }

    #[test]
    fn the_nearest_deadline_counts() {
        assert_eq!(left("250m", "1000"), Some(Duration::from_millis(250)));
        assert_eq!(left("2S", " 30 "), Some(Duration::from_millis(30)));
        assert_eq!(left("", ""), None);
        assert_eq!(left("99999999H", ""), Some(Duration::from_secs(99_999_999 * 3_600)));
    }

    #[test]
    fn what_cannot_be_read_says_nothing() {
        for broken in ["1", "S", "+1S", "1s", "123456789S", "1.5S", "é"] {
            assert_eq!(left(broken, ""), None, "{broken}");
        }
        for broken in ["-1", "+5", "1.5", "soon", "99999999999999999999"] {
            assert_eq!(left("", broken), None, "{broken}");
        }
    }
}
