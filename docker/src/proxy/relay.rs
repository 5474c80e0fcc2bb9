//! Accepting connections, and the life of each.

use std::{io, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    select,
    sync::watch,
    task::JoinSet,
    time::sleep,
};

use super::{
    control::{Control, Direction, Mode},
    pump::pump,
};

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
        target = connect(control.clone()) => target,
    };
    let Ok(target) = target else { return reset(&client) };
    let whole = select! {
        biased;
        _ = &mut severed => false,
        carried = carry(&client, &target, generation, &control) => carried.is_ok(),
    };
    if !whole {
        reset(&client);
        reset(&target);
    }
}

async fn connect(mut control: watch::Receiver<Control>) -> io::Result<TcpStream> {
    let target = match control.wait_for(|control| control.mode != Mode::Hang).await {
        Ok(control) => control.target,
        Err(_) => return Err(io::ErrorKind::NotConnected.into()),
    };
    TcpStream::connect(target).await
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

/// Makes the close that follows a reset (RST) instead of an orderly end (FIN).
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}
