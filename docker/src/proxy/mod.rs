//! A TCP proxy in this process that delays and breaks what it carries.

mod control;
mod pump;
mod relay;
mod timer;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    net::TcpListener as AsyncTcpListener,
    runtime::{Builder, Runtime},
    sync::{oneshot, watch},
};

use self::control::{Allowance, Control, Mode};
use crate::TopologyError;

/// A TCP proxy on loopback between clients and one target, with faults.
///
/// In a topology, each replica reaches its upstream through one: there the *client* is the
/// replica and the *target* its upstream, so replication lag is
/// [`set_delay_to_client`](Self::set_delay_to_client). On its own it stands between an
/// application and a server.
///
/// The delay is that of a long pipe: bytes are stamped on arrival and released in order once
/// their delay has passed, so it does not limit the throughput until 64 MiB are on the way in one
/// direction of one connection. It is kept with a kernel timer on a thread of the proxy's own, to
/// some tens of microseconds on an idle machine; the asynchronous runtime's timer would add a
/// millisecond or more. Opening a connection is not delayed, only what is sent over it.
///
/// Every fault is in force when its call returns: after [`cut`](Self::cut) or
/// [`hang`](Self::hang) no further byte is handed to either side. What had been handed over
/// before may still be unread in the receiver's socket.
///
/// Dropping the proxy closes its connections and its port.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    control: watch::Sender<Control>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on a free loopback port and carries every connection to `target`, without delay
    /// or fault. Nothing has to be listening at the target yet.
    ///
    /// # Errors
    ///
    /// [`TopologyError::System`] if there is no free port or no further thread.
    pub async fn start(target: SocketAddr) -> Result<Self, TopologyError> {
        Self::listen(Control::new(target))
            .await
            .map_err(TopologyError::system(&format!("proxy to {target}"), "open a listening port"))
    }

    /// The same, but a connection is carried to where `route` says, if it says so, by the first bytes
    /// that the client sends, up to 4 KiB: as many as there are once the first message's length, its
    /// first four bytes, is reached.
    #[cfg(feature = "mongodb")]
    pub(crate) async fn start_routing(
        target: SocketAddr,
        route: impl Fn(&[u8]) -> Option<SocketAddr> + Send + Sync + 'static,
    ) -> Result<Self, TopologyError> {
        let router = Some(control::Router(std::sync::Arc::new(route)));
        Self::listen(Control { router, ..Control::new(target) })
            .await
            .map_err(TopologyError::system(&format!("proxy to {target}"), "open a listening port"))
    }

    /// Where clients connect to.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where connections are carried to.
    #[must_use]
    pub fn target(&self) -> SocketAddr {
        self.control.borrow().target
    }

    /// Carries connections that are opened from now on to another target. Existing ones stay
    /// where they are; end them with [`reset`](Self::reset).
    pub fn set_target(&self, target: SocketAddr) {
        self.control.send_modify(|control| control.target = target);
    }

    /// Delays both directions by `one_way`: a round trip takes twice as long.
    ///
    /// A changed delay also counts for bytes already on the way, which are released in order
    /// once they are as old as the new delay.
    pub fn set_delay(&self, one_way: Duration) {
        self.control.send_modify(|control| {
            control.delay_to_client = one_way;
            control.delay_to_target = one_way;
        });
    }

    /// Delays what the target sends to the client: in a topology's link, replication.
    pub fn set_delay_to_client(&self, one_way: Duration) {
        self.control.send_modify(|control| control.delay_to_client = one_way);
    }

    /// Delays what the client sends to the target: in a topology's link, acknowledgements.
    pub fn set_delay_to_target(&self, one_way: Duration) {
        self.control.send_modify(|control| control.delay_to_target = one_way);
    }

    /// Partitions: resets the existing connections, drops what they had on the way, and resets
    /// every new connection as soon as it is opened, until [`heal`](Self::heal).
    pub fn cut(&self) {
        self.control.send_modify(|control| {
            control.mode = Mode::Cut;
            control.generation += 1;
        });
    }

    /// Goes half-open: accepts connections and takes bytes, but delivers nothing in either
    /// direction, not even the end of a connection, until [`heal`](Self::heal), which delivers
    /// what was held. Once 64 MiB are held in one direction of a connection, its sender blocks.
    pub fn hang(&self) {
        self.control.send_modify(|control| control.mode = Mode::Hang);
    }

    /// Resets the existing connections (RST to both sides) and drops what they had on the way.
    /// New connections work.
    pub fn reset(&self) {
        self.control.send_modify(|control| control.generation += 1);
    }

    /// Hands `bytes` further bytes to clients, then resets the connection that would carry the
    /// next one, once. So a reply is cut in the middle; with zero, the connection breaks between
    /// request and reply. Bytes are counted over all connections.
    pub fn reset_after(&self, bytes: u64) {
        self.control.send_modify(|control| control.allowance = Allowance::of(bytes));
    }

    /// Ends [`cut`](Self::cut) and [`hang`](Self::hang). Delays stay.
    pub fn heal(&self) {
        self.control.send_modify(|control| control.mode = Mode::Open);
    }

    async fn listen(control: Control) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let (control, observed) = watch::channel(control);
        let (started, start) = oneshot::channel();
        // A thread and runtime of its own: the precision must not depend on how busy the
        // caller's runtime is, nor on whether its clock is paused.
        let thread =
            std::thread::Builder::new().name(format!("proxy-{}", addr.port())).spawn(
                move || match runtime(listener) {
                    Ok((runtime, listener)) => {
                        let _ = started.send(Ok(()));
                        runtime.block_on(relay::serve(listener, observed));
                    }
                    Err(error) => {
                        let _ = started.send(Err(error));
                    }
                },
            )?;
        let proxy = Self { addr, control, thread: Some(thread) };
        start.await.map_err(io::Error::other)??;
        Ok(proxy)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.control.send_modify(|control| control.mode = Mode::Closed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn runtime(listener: TcpListener) -> io::Result<(Runtime, AsyncTcpListener)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _context = runtime.enter();
        AsyncTcpListener::from_std(listener)?
    };
    Ok((runtime, listener))
}
