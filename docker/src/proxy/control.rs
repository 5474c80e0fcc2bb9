use std::{net::SocketAddr, time::Duration};

/// What the owner of a proxy wants from it.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) target: SocketAddr,
    pub(super) delay_to_client: Duration,
    pub(super) delay_to_target: Duration,
    pub(super) mode: Mode,
    /// Connections of an earlier generation are to be reset.
    pub(super) generation: u64,
}

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
            delay_to_client: Duration::ZERO,
            delay_to_target: Duration::ZERO,
            mode: Mode::Open,
            generation: 0,
        }
    }

    pub(super) fn delay(&self, direction: Direction) -> Duration {
        match direction {
            Direction::ToClient => self.delay_to_client,
            Direction::ToTarget => self.delay_to_target,
        }
    }

    /// Whether a connection of this generation may be handed bytes.
    pub(super) fn delivers(&self, generation: u64) -> bool {
        self.mode == Mode::Open && self.generation == generation
    }
}
