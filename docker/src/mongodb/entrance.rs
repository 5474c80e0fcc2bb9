//! Where the members of a set reach each other.

use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
};

use crate::Proxy;

/// How a member calls itself when it fetches another one's log.
const FETCHER: &[u8] = b"OplogFetcher";

/// In the first message of a connection, the name and type of the field with the host and port of the
/// member that it comes from. Members say so if their test commands are enabled.
const HOST: &[u8] = b"\x02hostInfo\0";

/// The links of the members, with the ports that these listen on.
#[derive(Clone, Debug)]
pub(super) struct Links(Vec<(u16, Weak<Proxy>)>);

impl Links {
    pub(super) fn new<'a>(links: impl IntoIterator<Item = (SocketAddr, &'a Arc<Proxy>)>) -> Self {
        let links = links.into_iter().map(|(member, link)| (member.port(), Arc::downgrade(link)));
        Self(links.collect())
    }

    /// Where a connection to `target` goes that begins like this: when a member fetches the log,
    /// through its link. Heartbeats, votes and clients go directly.
    pub(super) fn route(&self, target: SocketAddr, message: &[u8]) -> Option<SocketAddr> {
        contains(message, FETCHER).then_some(())?;
        let from = port(message)?;
        let Self(links) = self;
        let (_, link) = links.iter().find(|(port, _)| *port == from)?;
        let link = link.upgrade()?;
        link.set_target(target);
        Some(link.addr())
    }
}

/// The port in `hostInfo`, a string of BSON: its length, `HOST:PORT`, and a zero byte.
fn port(message: &[u8]) -> Option<u16> {
    let at = message.windows(HOST.len()).position(|window| window == HOST)?;
    let value = message.get(at + HOST.len() + 4..)?;
    let value = value.split(|byte| *byte == 0).next()?;
    let (_, port) = str::from_utf8(value).ok()?.rsplit_once(':')?;
    port.parse().ok()
}

fn contains(message: &[u8], words: &[u8]) -> bool {
    message.windows(words.len()).any(|window| window == words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_who_connects() {
        assert_eq!(port(b"..\x02hostInfo\0\x0b\0\0\0host:27018\0\x10x"), Some(27018));
        assert_eq!(port(b"\x02hostInfo\0\x05\0\0\0host\0"), None);
        assert_eq!(port(b"\x02hostInfo\0\x05"), None);
        assert_eq!(port(b"hello"), None);
    }
}
