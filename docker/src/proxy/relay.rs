//! Accepting connections, and the life of each.

use std::{io, net::SocketAddr, time::Duration};

use nix::{
    libc,
    sys::socket::{setsockopt, sockopt},
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    select,
    sync::watch,
    task::JoinSet,
    time::sleep,
};

use super::{
    control::{Control, Direction, Mode, Router},
    pump::pump,
};

/// The most bytes that a connection is routed by.
const FIRST_MESSAGE: usize = 4 << 10;

/// Carries connections until the proxy is closed; returning ends all of them.
pub(super) async fn serve(listener: TcpListener, control: watch::Receiver<Control>) {
    let mut closing = control.clone();
    let closed = closing.wait_for(|control| control.mode == Mode::Closed);
    tokio::pin!(closed);
    let mut connections = JoinSet::new();
    loop {
        select! {
            _ = &mut closed => return,
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => accept(client, &control, &mut connections),
                // Out of descriptors: some connection has to end first.
                Err(_) => sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

fn accept(client: TcpStream, control: &watch::Receiver<Control>, connections: &mut JoinSet<()>) {
    let (mode, generation) = {
        let control = control.borrow();
        (control.mode, control.generation)
    };
    match mode {
        Mode::Open | Mode::Hang => {
            connections.spawn(relay(client, generation, control.clone()));
        }
        Mode::Cut | Mode::Closed => reset(&client),
    }
}

/// One connection, until both directions have ended or it is broken.
async fn relay(client: TcpStream, generation: u64, control: watch::Receiver<Control>) {
    let mut severed = control.clone();
    let severed = severed.wait_for(|control| control.generation != generation);
    tokio::pin!(severed);

    let target = select! {
        _ = &mut severed => return reset(&client),
        target = connect(&client, control.clone()) => target,
    };
    let Ok(target) = target else { return reset(&client) };
    // Until it is known to have been carried to its end, closing the target resets it.
    let whole = select! {
        biased;
        _ = &mut severed => false,
        carried = carry(&client, &target, generation, &control) => carried.is_ok(),
    };
    match whole {
        true => end(&target),
        false => reset(&client),
    }
}

async fn connect(client: &TcpStream, mut control: watch::Receiver<Control>) -> io::Result<TcpStream> {
    let (usual, router) = match control.wait_for(|control| control.mode != Mode::Hang).await {
        Ok(control) => (control.target, control.router.clone()),
        Err(_) => return Err(io::ErrorKind::NotConnected.into()),
    };
    let routed = match router {
        Some(Router(route)) => route(&first_message(client).await?),
        None => None,
    };
    let target = routed.unwrap_or(usual);
    let socket = match target {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Whenever this is abandoned, the target may have accepted already.
    socket.set_zero_linger()?;
    socket.connect(target).await
}

/// What the client says first, without taking it.
async fn first_message(client: &TcpStream) -> io::Result<Vec<u8>> {
    let mut said = vec![0; FIRST_MESSAGE];
    loop {
        let length = client.peek(&mut said).await?;
        let whole = match said.get(..length).and_then(<[u8]>::first_chunk) {
            Some(prefix) => usize::try_from(u32::from_le_bytes(*prefix)).unwrap_or(usize::MAX),
            None if length == 0 => 0,
            None => usize::MAX,
        };
        if length >= whole.min(FIRST_MESSAGE) {
            said.truncate(length);
            return Ok(said);
        }
        // The rest is on its way; there is nothing that tells of more bytes than were peeked at.
        sleep(Duration::from_millis(1)).await;
    }
}

async fn carry(
    client: &TcpStream,
    target: &TcpStream,
    generation: u64,
    control: &watch::Receiver<Control>,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    target.set_nodelay(true)?;
    tokio::try_join!(
        pump(client, target, Direction::ToTarget, generation, control.clone()),
        pump(target, client, Direction::ToClient, generation, control.clone()),
    )?;
    Ok(())
}

/// Makes the close that follows an orderly end, which loses nothing that is still unsent.
fn end(stream: &TcpStream) {
    let none = libc::linger { l_onoff: 0, l_linger: 0 };
    let _ = setsockopt(stream, sockopt::Linger, &none);
}

/// Makes the close that follows a reset (RST) instead of an orderly end (FIN).
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}
