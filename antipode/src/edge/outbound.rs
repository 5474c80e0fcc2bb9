//! To whom the lineage is sent.

use std::sync::Arc;

use antipode_lineage::{Baggage, BaggageHeader, Lineage, LineageCodec};
use http::Uri;

/// Which hosts get the lineage. Nobody does unless named: a lineage tells a stranger which stores you have
/// and how busy they are.
///
/// A host is named in full, `orders.example.com`, or by its ending, `.svc.example.com`, which stands for
/// every name below but not for `svc.example.com` itself. Case, ports, and a dot at the end make no
/// difference; addresses are hosts like others. A target that does not name its host is foreign.
///
/// Clients that follow redirects by themselves send the headers of the first request to whatever host they
/// are sent to: decide for each request on the wire, or do not follow redirects to other hosts.
#[derive(Debug, Clone, Default)]
pub struct Outbound {
    ours: Ours,
}

#[derive(Debug, Clone)]
enum Ours {
    Everyone,
    /// In lower case, without a dot at the end. Endings begin with a dot.
    Hosts(Arc<[String]>),
}

/// A text that names no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{host:?} is no host: write `orders.example.com`, or `.example.com` for all names below it")]
#[non_exhaustive]
pub struct InvalidHost {
    /// The text.
    pub host: String,
}

impl Outbound {
    /// Sends the lineage to nobody. The default.
    #[must_use]
    pub fn to_nobody() -> Self {
        Self::default()
    }

    /// Sends the lineage to whatever is called: for a client that calls only our own services, such as one
    /// made for a single address.
    #[must_use]
    pub fn to_everyone() -> Self {
        Self { ours: Ours::Everyone }
    }

    /// Sends the lineage to these hosts.
    ///
    /// # Errors
    /// [`InvalidHost`] for a text that has a scheme, a port, a path, or nothing in it.
    pub fn to_hosts<H: AsRef<str>>(hosts: impl IntoIterator<Item = H>) -> Result<Self, InvalidHost> {
        let hosts: Result<_, _> = hosts.into_iter().map(|host| parse(host.as_ref())).collect();
        Ok(Self { ours: Ours::Hosts(hosts?) })
    }

    /// Whether the lineage may be sent there.
    #[must_use]
    pub fn allows(&self, target: &Uri) -> bool {
        let hosts = match &self.ours {
            Ours::Everyone => return true,
            Ours::Hosts(hosts) => hosts,
        };
        let Some(host) = target.host() else { return false };
        let host = host.strip_suffix('.').unwrap_or(host);
        hosts.iter().any(|ours| match ours.strip_prefix('.') {
            Some(_) => ends_with(host, ours) && host.len() > ours.len(),
            None => host.eq_ignore_ascii_case(ours),
        })
    }

    /// The baggage header of a call: with the lineage if it may be sent there, else without. If its value is
    /// empty, send none.
    #[must_use]
    pub fn header(
        &self,
        target: &Uri,
        codec: &LineageCodec,
        baggage: &Baggage,
        lineage: &Lineage,
    ) -> BaggageHeader {
        if self.allows(target) { baggage.write(codec, lineage) } else { baggage.write_without_lineage() }
    }
}

impl Default for Ours {
    fn default() -> Self {
        Self::Hosts(Arc::default())
    }
}

fn parse(text: &str) -> Result<String, InvalidHost> {
    match text.strip_prefix('.') {
        Some(name) => parse_host(name).map(|host| format!(".{host}")),
        None => parse_host(text),
    }
    .map_err(|_| InvalidHost { host: text.to_owned() })
}

/// A host's name in lower case, without a dot at the end.
pub(super) fn parse_host(text: &str) -> Result<String, InvalidHost> {
    let invalid = || InvalidHost { host: text.to_owned() };
    let name = text.strip_suffix('.').unwrap_or(text);
    // The parser of targets decides what a host is, so that a name which no target can have is an error.
    let uri: Uri = name.parse().map_err(|_| invalid())?;
    let is_host = uri.host() == Some(name) && uri.authority().is_some_and(|whole| whole.as_str() == name);
    if is_host && !name.starts_with('.') { Ok(name.to_ascii_lowercase()) } else { Err(invalid()) }
}

fn ends_with(host: &str, ending: &str) -> bool {
    let start = host.len().checked_sub(ending.len());
    start.and_then(|start| host.get(start..)).is_some_and(|tail| tail.eq_ignore_ascii_case(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(outbound: &Outbound, target: &str) -> bool {
        outbound.allows(&target.parse().unwrap())
    }

    #[test]
    fn hosts_and_endings_are_ours() {
        let ours =
            Outbound::to_hosts(["Orders.example.com", ".svc.example.com.", "10.0.0.7", "[::1]"]).unwrap();
        for target in [
            "http://orders.example.com/",
            "https://ORDERS.example.com:8443/a?b",
            "http://orders.example.com./",
            "http://a.svc.example.com/",
            "http://a.b.SVC.example.com:80/",
            "http://user:password@a.svc.example.com/",
            "http://10.0.0.7:9000/",
            "http://[::1]:9000/",
            "a.svc.example.com:443",
        ] {
            assert!(allows(&ours, target), "{target}");
        }
        for target in [
            "http://svc.example.com/",
            "http://evilsvc.example.com/",
            "http://orders.example.com.evil.example/",
            "http://evil-orders.example.com/",
            "http://orders.example.com@evil.example/",
            "http://evil.example/orders.example.com",
            "http://evil.example/?a.svc.example.com",
            "http://10.0.0.70/",
            "http://[::2]/",
            "http://.svc.example.com/",
            "/orders.example.com",
            "*",
        ] {
            assert!(!allows(&ours, target), "{target}");
        }
    }

    #[test]
    fn nobody_gets_it_unless_named() {
        for target in ["http://localhost/", "http://example.com/", "/path"] {
            assert!(!allows(&Outbound::default(), target) && !allows(&Outbound::to_nobody(), target));
            assert!(allows(&Outbound::to_everyone(), target));
        }
    }

    #[test]
    fn what_names_no_host_is_refused() {
        for text in [
            "",
            ".",
            "..",
            "..example.com",
            "http://example.com",
            "example.com:80",
            "example.com/a",
            "a b",
            "*",
        ] {
            assert_eq!(Outbound::to_hosts([text]).unwrap_err().host, text);
        }
    }
}
