//! Servers that are far away.

use std::time::Duration;

use antipode_docker::{Node, Proxy};

use crate::Failure;

/// The server's address at this distance, with the proxy that makes it so.
///
/// # Errors
/// [`Failure`] if the proxy does not start.
pub(crate) async fn reached<S>(
    (node, url): (&Node<S>, String),
    round_trip: Duration,
) -> Result<(String, Option<Proxy>), Failure> {
    if round_trip.is_zero() {
        return Ok((url, None));
    }
    let proxy = Proxy::start(node.addr()).await?;
    proxy.set_delay(round_trip / 2);
    Ok((url.replace(&node.addr().to_string(), &proxy.addr().to_string()), Some(proxy)))
}
