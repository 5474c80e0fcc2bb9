//! One direction of one connection: a pipe of the chosen length.

use std::{
    collections::VecDeque,
    io,
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use nix::sys::socket::{Shutdown, shutdown};
use tokio::{net::TcpStream, select, sync::watch};

use super::{
    control::{Allowance, Control, Direction},
    timer::Timer,
};

/// Bytes that may be on the way in one direction of one connection.
const CAPACITY: usize = 64 << 20;

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// Carries what `from` sends to `to`, delayed and held as `control` says, until the end of the
/// stream was delivered. An error means that the connection must be reset on both sides.
pub(super) async fn pump(
    from: &TcpStream,
    to: &TcpStream,
    direction: Direction,
    generation: u64,
    mut control: watch::Receiver<Control>,
) -> io::Result<()> {
    let mut pipe = Pipe::default();
    let mut timer = Timer::default();
    let mut chunk = vec![0; CHUNK];
    loop {
        let next = {
            // Kept while writing, so that a fault is in force when its call returns.
            let control = control.borrow_and_update();
            if control.delivers(generation) {
                pipe.deliver(to, control.delay(direction), control.allowance(direction))?
            } else {
                Next::Held
            }
        };
        if matches!(next, Next::Ended) {
            return Ok(());
        }
        select! {
            changed = control.changed() => changed.map_err(io::Error::other)?,
            ready = from.readable(), if pipe.accepts() => {
                ready?;
                pipe.take(from, &mut chunk);
            }
            () = timer.until(&next), if matches!(next, Next::At(_)) => {}
            ready = to.writable(), if matches!(next, Next::Blocked) => ready?,
        }
    }
}

/// What the head of a pipe waits for.
pub(super) enum Next {
    /// A fault to be healed.
    Held,
    /// Something to arrive.
    Arrival,
    /// This moment.
    At(Instant),
    /// Room in the receiver's socket.
    Blocked,
    /// Nothing: the end of the stream was delivered.
    Ended,
}

/// What is on the way, in order of arrival.
#[derive(Default)]
struct Pipe {
    items: VecDeque<(Instant, Item)>,
    /// Bytes in `items`.
    held: usize,
    /// Bytes of the first item that were delivered already.
    sent: usize,
    /// The end of the stream, or its failure, has arrived.
    ended: bool,
}

enum Item {
    Bytes(Box<[u8]>),
    End,
    Failure(io::Error),
}

// === impl Pipe ===

impl Pipe {
    fn accepts(&self) -> bool {
        !self.ended && self.held < CAPACITY
    }

    /// Takes in what has arrived.
    fn take(&mut self, from: &TcpStream, chunk: &mut [u8]) {
        let item = match from.try_read(chunk) {
            Ok(0) => Item::End,
            Ok(read) => Item::Bytes(chunk.get(..read).unwrap_or_default().into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => Item::Failure(error),
        };
        match &item {
            Item::Bytes(bytes) => self.held += bytes.len(),
            Item::End | Item::Failure(_) => self.ended = true,
        }
        self.items.push_back((Instant::now(), item));
    }

    /// Delivers what is due.
    fn deliver(
        &mut self,
        to: &TcpStream,
        delay: Duration,
        allowance: Option<&Allowance>,
    ) -> io::Result<Next> {
        while let Some((arrived, item)) = self.items.front() {
            let due = *arrived + delay;
            if due > Instant::now() {
                return Ok(Next::At(due));
            }
            match item {
                Item::Bytes(bytes) => {
                    let rest = bytes.get(self.sent..).unwrap_or_default();
                    let part = match allowance {
                        Some(allowance) => allowance.part(rest).ok_or(io::ErrorKind::ConnectionReset)?,
                        None => rest,
                    };
                    match to.try_write(part) {
                        Ok(written) => {
                            self.sent += written;
                            allowance.inspect(|allowance| allowance.spend(written));
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            return Ok(Next::Blocked);
                        }
                        Err(error) => return Err(error),
                    }
                    if self.sent < bytes.len() {
                        continue;
                    }
                    self.held -= bytes.len();
                    self.sent = 0;
                }
                Item::End => {
                    shutdown(to.as_raw_fd(), Shutdown::Write)?;
                    return Ok(Next::Ended);
                }
                Item::Failure(error) => return Err(error.kind().into()),
            }
            self.items.pop_front();
        }
        Ok(Next::Arrival)
    }
}
