//! Telling replicas from clients at the one address that a node announces.
//!
//! All that the nodes of a cluster know of each other is one address each: replicas and clients
//! alike connect to it. So each node announces an address of this switchboard, which listens to how
//! a connection begins. A replica says `PING`, and then at which port it listens itself: it goes on
//! through its link. Everything else goes on to the server at once.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    runtime::Builder,
    sync::oneshot,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{Proxy, TopologyError};

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const PONG: &[u8] = b"+PONG\r\n";

/// How a replica begins to say at which port it listens.
const LISTENING_PORT: &str = "REPLCONF\r\n$14\r\nlistening-port\r\n";

/// How long the second word of a connection may take, which a client may never say.
const HESITATION: Duration = Duration::from_millis(200);

/// The addresses that the nodes announce. Dropping it closes them and what they carry.
#[derive(Debug)]
pub(super) struct Switchboard {
    routes: Arc<Mutex<Routes>>,
    ports: Vec<u16>,
    closing: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Where connections go on to.
#[derive(Debug, Default)]
struct Routes {
    /// The server of each listener; `None` until it has been started.
    servers: Vec<Option<SocketAddr>>,
    /// The links, by the port that their replicas listen at.
    links: HashMap<u16, Arc<Proxy>>,
}

// === impl Switchboard ===

impl Switchboard {
    /// Listens at as many free loopback ports.
    pub(super) fn start(count: usize) -> Result<Self, TopologyError> {
        Self::listen(count).map_err(TopologyError::system("redis cluster", "open its listening ports"))
    }

    fn listen(count: usize) -> io::Result<Self> {
        let bind = |_| {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let listeners = (0..count).map(bind).collect::<io::Result<Vec<_>>>()?;
        let ports = listeners.iter().map(|listener| Ok(listener.local_addr()?.port()));
        let ports = ports.collect::<io::Result<_>>()?;
        let routes = Arc::new(Mutex::new(Routes { servers: vec![None; count], links: HashMap::new() }));
        let (closing, closed) = oneshot::channel::<()>();
        let shared = Arc::clone(&routes);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        // A thread of its own: a test's clock may be paused.
        let thread = std::thread::Builder::new().name("switchboard".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = closed => {}
                    _ = serve(listeners, shared) => {}
                }
            });
        })?;
        Ok(Self { routes, ports, closing: Some(closing), thread: Some(thread) })
    }

    /// What the nodes announce, in order.
    pub(super) fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// The server behind the announced port of this index has started, and replicates through a link.
    pub(super) fn connect(&self, index: usize, server: SocketAddr, link: Arc<Proxy>) {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = routes.servers.get_mut(index) {
            *held = Some(server);
        }
        routes.links.insert(server.port(), link);
    }
}

impl Drop for Switchboard {
    fn drop(&mut self) {
        self.closing = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Returning ends all connections.
async fn serve(listeners: Vec<std::net::TcpListener>, routes: Arc<Mutex<Routes>>) -> io::Result<()> {
    let mut listening = JoinSet::new();
    for (index, listener) in listeners.into_iter().enumerate() {
        listening.spawn(accept(TcpListener::from_std(listener)?, index, Arc::clone(&routes)));
    }
    while listening.join_next().await.is_some() {}
    Ok(())
}

async fn accept(listener: TcpListener, index: usize, routes: Arc<Mutex<Routes>>) {
    let mut carried = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    carried.spawn(carry(client, index, Arc::clone(&routes)));
                }
                Err(_) => sleep(Duration::from_millis(10)).await,
            },
            Some(_) = carried.join_next(), if !carried.is_empty() => {}
        }
    }
}

/// One connection, until it ends.
async fn carry(mut client: TcpStream, index: usize, routes: Arc<Mutex<Routes>>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut said = vec![0; 1024];
    let read = client.read(&mut said).await?;
    said.truncate(read);
    if said == PING {
        client.write_all(PONG).await?;
        said.resize(1024, 0);
        let read = match timeout(HESITATION, client.read(&mut said)).await {
            Ok(read) => read?,
            Err(_) => 0,
        };
        said.truncate(read);
    }
    let target = {
        let routes = routes.lock().unwrap_or_else(PoisonError::into_inner);
        let server = routes.servers.get(index).copied().flatten();
        let server = server.ok_or(io::ErrorKind::ConnectionRefused)?;
        match listening_port(&said).and_then(|port| routes.links.get(&port)) {
            Some(link) => {
                link.set_target(server);
                link.addr()
            }
            None => server,
        }
    };
    let mut server = TcpStream::connect(target).await?;
    server.set_nodelay(true)?;
    server.write_all(&said).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// The port at which a replica that begins like this listens.
fn listening_port(said: &[u8]) -> Option<u16> {
    let said = String::from_utf8_lossy(said);
    let (_, rest) = said.split_once(LISTENING_PORT)?;
    rest.lines().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_known_by_the_port_it_says() {
        let said =
            b"*3\r\n$8\r\nREPLCONF\r\n$14\r\nlistening-port\r\n$5\r\n40123\r\n*5\r\n$8\r\nREPLCONF\r\n";
        assert_eq!(listening_port(said), Some(40123));
        assert_eq!(listening_port(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"), None);
    }
}
