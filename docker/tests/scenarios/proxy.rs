//! What a proxy does to the connections it carries.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use antipode_docker::Proxy;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::ask::soon;

/// Long enough that something which is on its way would arrive.
const A_WHILE: Duration = Duration::from_millis(100);

/// A client and a server with a proxy in between.
struct Scene {
    proxy: Proxy,
    listener: TcpListener,
}

impl Scene {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap()).await.unwrap();
        Self { proxy, listener }
    }

    /// Both ends of a new connection.
    async fn connect(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.proxy.addr()).await.unwrap();
        let (server, _) = soon("accepting", self.listener.accept()).await.unwrap();
        (client, server)
    }
}

#[tokio::test]
async fn carries_both_directions_and_each_end() {
    let scene = Scene::new().await;
    let (mut client, mut server) = scene.connect().await;
    send(&mut client, b"request").await;
    client.shutdown().await.unwrap();
    let mut request = Vec::new();
    soon("the request", server.read_to_end(&mut request)).await.unwrap();
    assert_eq!(request, b"request");
    // Its other half is still open.
    send(&mut server, b"reply").await;
    drop(server);
    let mut reply = Vec::new();
    soon("the reply", client.read_to_end(&mut reply)).await.unwrap();
    assert_eq!(reply, b"reply");
}

#[tokio::test]
async fn delays_each_direction_by_its_own() {
    let scene = Scene::new().await;
    let (mut client, mut server) = scene.connect().await;
    for (to_target, to_client) in [(30, 0), (0, 30), (20, 40)] {
        let (to_target, to_client) = (Duration::from_millis(to_target), Duration::from_millis(to_client));
        scene.proxy.set_delay_to_target(to_target);
        scene.proxy.set_delay_to_client(to_client);
        let begun = Instant::now();
        send(&mut client, b"request").await;
        receives(&mut server, b"request").await;
        assert!(begun.elapsed() >= to_target, "to the target in {:?}", begun.elapsed());
        let begun = Instant::now();
        send(&mut server, b"reply").await;
        receives(&mut client, b"reply").await;
        assert!(begun.elapsed() >= to_client, "to the client in {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_delay_is_a_long_pipe_and_no_narrow_one() {
    const ONE_WAY: Duration = Duration::from_millis(50);
    const CHUNKS: usize = 400;
    let scene = Scene::new().await;
    scene.proxy.set_delay(ONE_WAY);
    let (mut client, mut server) = scene.connect().await;
    let begun = Instant::now();
    let sending = tokio::spawn(async move {
        for chunk in 0..CHUNKS {
            client.write_all(&[chunk as u8; 32 << 10]).await.unwrap();
        }
        client
    });
    for chunk in 0..CHUNKS {
        receives(&mut server, &[chunk as u8; 32 << 10]).await;
    }
    // One chunk at a time would take 20 s.
    assert!(begun.elapsed() >= ONE_WAY);
    assert!(begun.elapsed() < ONE_WAY * 100, "took {:?}", begun.elapsed());
    drop(sending.await);
}

#[tokio::test]
async fn a_shorter_delay_counts_for_what_is_on_the_way() {
    let scene = Scene::new().await;
    let (mut client, mut server) = scene.connect().await;
    scene.proxy.set_delay(Duration::from_secs(3600));
    send(&mut client, b"first").await;
    receives_nothing(&mut server).await;
    scene.proxy.set_delay(Duration::ZERO);
    send(&mut client, b"second").await;
    receives(&mut server, b"firstsecond").await;
}

#[tokio::test]
async fn a_cut_breaks_connections_until_it_is_healed() {
    let scene = Scene::new().await;
    let (mut client, mut server) = scene.connect().await;
    scene.proxy.set_delay(Duration::from_secs(3600));
    send(&mut client, b"lost").await;
    scene.proxy.cut();
    is_reset(&mut client).await;
    is_reset(&mut server).await;
    is_refused(scene.proxy.addr()).await;
    is_refused(scene.proxy.addr()).await;
    assert!(timeout(A_WHILE, scene.listener.accept()).await.is_err(), "the target was reached");

    scene.proxy.set_delay(Duration::ZERO);
    scene.proxy.heal();
    let (mut client, mut server) = scene.connect().await;
    send(&mut client, b"kept").await;
    receives(&mut server, b"kept").await;
}

#[tokio::test]
async fn nothing_passes_after_a_fault_has_returned() {
    let scene = Scene::new().await;
    for fault in [Proxy::cut, Proxy::hang].iter().cycle().take(200) {
        let (client, mut server) = scene.connect().await;
        // The proxy is idle, and so would deliver within microseconds.
        fault(&scene.proxy);
        let _ = client.try_write(b"late");
        tokio::task::yield_now().await;
        let mut buffer = [0; 4];
        let read = timeout(Duration::from_millis(2), server.read(&mut buffer)).await;
        assert!(!matches!(read, Ok(Ok(1..))), "{read:?}");
        scene.proxy.heal();
    }
}

#[tokio::test]
async fn a_hung_connection_is_held_and_then_delivered() {
    let scene = Scene::new().await;
    let (mut client, mut server) = scene.connect().await;
    scene.proxy.hang();
    send(&mut client, b"held").await;
    send(&mut server, b"too").await;
    drop(server);
    receives_nothing(&mut client).await;
    // A new connection is accepted, too, but gets nowhere.
    let mut late = TcpStream::connect(scene.proxy.addr()).await.unwrap();
    send(&mut late, b"late").await;
    assert!(timeout(A_WHILE, scene.listener.accept()).await.is_err(), "the target was reached");

    scene.proxy.heal();
    receives(&mut client, b"too").await;
    let (mut server, _) = soon("accepting", scene.listener.accept()).await.unwrap();
    receives(&mut server, b"late").await;
}

#[tokio::test]
async fn a_reset_breaks_connections_once() {
    let scene = Scene::new().await;
    let (mut client, mut server) = scene.connect().await;
    scene.proxy.reset();
    is_reset(&mut client).await;
    is_reset(&mut server).await;
    let (mut client, mut server) = scene.connect().await;
    send(&mut client, b"kept").await;
    receives(&mut server, b"kept").await;
}

#[tokio::test]
async fn a_reply_is_cut_in_the_middle() {
    let scene = Scene::new().await;
    for length in [0, 3] {
        let (mut client, mut server) = scene.connect().await;
        send(&mut client, b"request").await;
        receives(&mut server, b"request").await;
        scene.proxy.reset_after(length);
        send(&mut server, b"reply").await;
        receives(&mut client, &b"reply"[..length as usize]).await;
        is_reset(&mut client).await;
        is_reset(&mut server).await;
    }
    let (mut client, mut server) = scene.connect().await;
    send(&mut server, b"reply").await;
    receives(&mut client, b"reply").await;
}

#[tokio::test]
async fn new_connections_go_to_the_new_target() {
    let scene = Scene::new().await;
    let (mut client, mut server) = scene.connect().await;
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    scene.proxy.set_target(elsewhere.local_addr().unwrap());
    send(&mut client, b"old").await;
    receives(&mut server, b"old").await;
    let mut client = TcpStream::connect(scene.proxy.addr()).await.unwrap();
    let (mut server, _) = soon("accepting", elsewhere.accept()).await.unwrap();
    send(&mut client, b"new").await;
    receives(&mut server, b"new").await;

    drop(elsewhere);
    is_refused(scene.proxy.addr()).await;
}

#[tokio::test]
async fn dropping_it_closes_everything() {
    let scene = Scene::new().await;
    let (mut client, mut server) = scene.connect().await;
    let addr = scene.proxy.addr();
    drop(scene.proxy);
    assert!(matches!(soon("the end", client.read(&mut [0])).await, Ok(0) | Err(_)));
    assert!(matches!(soon("the end", server.read(&mut [0])).await, Ok(0) | Err(_)));
    let refused = TcpStream::connect(addr).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

async fn send(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
}

async fn receives(stream: &mut TcpStream, bytes: &[u8]) {
    let mut buffer = vec![0; bytes.len()];
    soon("receiving", stream.read_exact(&mut buffer)).await.unwrap();
    assert!(buffer == bytes, "something else arrived");
}

async fn receives_nothing(stream: &mut TcpStream) {
    let read = timeout(A_WHILE, stream.read(&mut [0])).await;
    assert!(read.is_err(), "{read:?}");
}

async fn is_reset(stream: &mut TcpStream) {
    let error = soon("the reset", stream.read(&mut [0])).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

async fn is_refused(addr: SocketAddr) {
    match TcpStream::connect(addr).await {
        Ok(mut stream) => is_reset(&mut stream).await,
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
}
