use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// What the owner of a proxy wants from it.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) target: SocketAddr,
    pub(super) router: Option<Router>,
    pub(super) delay_to_client: Duration,
    pub(super) delay_to_target: Duration,
    pub(super) mode: Mode,
    /// Connections of an earlier generation are to be reset.
    pub(super) generation: u64,
    /// Bytes that clients may still be handed before one of them is reset.
    pub(super) allowance: Allowance,
}

/// Chooses a connection's target by the first that its client says, `None` for the usual one.
#[derive(Clone)]
pub(super) struct Router(pub(super) Arc<Route>);

type Route = dyn Fn(&[u8]) -> Option<SocketAddr> + Send + Sync;

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Router")
    }
}

/// A number of bytes, or no limit.
#[derive(Debug)]
pub(super) struct Allowance(AtomicU64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Open,
    Hang,
    Cut,
    Closed,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Direction {
    ToClient,
    ToTarget,
}

// === impl Control ===

impl Control {
    pub(super) fn new(target: SocketAddr) -> Self {
        Self {
            target,
            router: None,
            delay_to_client: Duration::ZERO,
            delay_to_target: Duration::ZERO,
            mode: Mode::Open,
            generation: 0,
            allowance: Allowance::default(),
        }
    }

    pub(super) fn delay(&self, direction: Direction) -> Duration {
        match direction {
            Direction::ToClient => self.delay_to_client,
            Direction::ToTarget => self.delay_to_target,
        }
    }

    /// The limit on what may be handed over in this direction.
    pub(super) fn allowance(&self, direction: Direction) -> Option<&Allowance> {
        match direction {
            Direction::ToClient => Some(&self.allowance),
            Direction::ToTarget => None,
        }
    }

    /// Whether a connection of this generation may be handed bytes.
    pub(super) fn delivers(&self, generation: u64) -> bool {
        self.mode == Mode::Open && self.generation == generation
    }
}

// === impl Allowance ===

impl Allowance {
    pub(super) fn of(bytes: u64) -> Self {
        Self(AtomicU64::new(bytes))
    }

    /// The part of `bytes` that may be handed over, or `None`, once, if nothing may. Only the
    /// proxy's thread asks, so nothing is handed over between this and [`spend`](Self::spend).
    pub(super) fn part<'b>(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let Self(left) = self;
        let left = match left.load(Ordering::Relaxed) {
            UNLIMITED => return Some(bytes),
            left => usize::try_from(left).unwrap_or(usize::MAX),
        };
        if left == 0 {
            self.lift();
            return None;
        }
        Some(bytes.get(..left).unwrap_or(bytes))
    }

    pub(super) fn spend(&self, bytes: usize) {
        let Self(left) = self;
        let before = left.load(Ordering::Relaxed);
        if before != UNLIMITED {
            left.store(before.saturating_sub(bytes as u64), Ordering::Relaxed);
        }
    }

    fn lift(&self) {
        let Self(left) = self;
        left.store(UNLIMITED, Ordering::Relaxed);
    }
}

impl Default for Allowance {
    fn default() -> Self {
        Self::of(UNLIMITED)
    }
}

const UNLIMITED: u64 = u64::MAX;
