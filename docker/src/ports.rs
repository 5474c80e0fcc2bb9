//! Ports for servers.

use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

/// Below these are the ports of services that run everywhere.
const LOWEST: u16 = 10_240;

/// Where Linux takes the ports of outgoing connections from, unless told otherwise.
const OUTGOING: u16 = 32_768;

/// A free port on loopback, held until the listener is dropped.
///
/// No outgoing connection is given one of these: the port of a server that is down for a while is still
/// free when it comes back. Another server may have been given the same one meanwhile: its launcher
/// tries the next.
pub(crate) fn hold() -> io::Result<TcpListener> {
    let range = range();
    let mut seed = RandomState::new().build_hasher();
    for attempt in 0..range.len() {
        seed.write_usize(attempt);
        let at = seed.finish() % range.len().max(1) as u64;
        let port = range.start.saturating_add(u16::try_from(at).unwrap_or_default());
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return Ok(listener);
        }
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
}

/// A port that was free a moment ago.
pub(crate) fn free() -> io::Result<u16> {
    Ok(hold()?.local_addr()?.port())
}

fn range() -> Range<u16> {
    let told = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok();
    let outgoing = told.as_deref().and_then(|told| told.split_whitespace().next()?.parse().ok());
    LOWEST..outgoing.unwrap_or(OUTGOING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_free_and_none_of_outgoing_connections() {
        let held = hold().unwrap();
        let port = held.local_addr().unwrap().port();
        assert!(range().contains(&port), "{port}");
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err(), "it is held");
        drop(held);
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    }
}
