//! What a capture found, for those who measure.

use std::sync::Arc;
use std::time::Duration;

use crate::{StoreName, WriteId};

/// A capture that ended: where a write, or what was read, stands in its store's log.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Captured<'a> {
    /// The store.
    pub store: StoreName,
    /// What the capture found. An [unplaced write](WriteId::is_unplaced) if it failed or took too long.
    pub writes: &'a [WriteId],
    /// How long it ran beside the request; `None` where the position came with the operation's own reply.
    pub took: Option<Duration>,
}

impl Captured<'_> {
    /// Whether a position could not be learnt: barriers on it wait for more than they must.
    #[must_use]
    pub fn is_unplaced(&self) -> bool {
        self.writes.iter().any(WriteId::is_unplaced)
    }
}

/// Told of captures by a scope's handle (see [`LineageScope::told_to`](crate::LineageScope::told_to)).
/// Be quick, do not block.
pub trait CaptureObserver: Send + Sync + 'static {
    /// A capture ended. One that was cancelled with its scope is not told.
    fn captured(&self, captured: &Captured<'_>);
}

/// Who a handle tells.
#[derive(Clone, Default)]
pub(crate) struct Teller(pub(crate) Option<Arc<dyn CaptureObserver>>);

impl Teller {
    pub(crate) fn tell(&self, store: StoreName, writes: &[WriteId], took: Option<Duration>) {
        if let Some(observer) = &self.0 {
            observer.captured(&Captured { store, writes, took });
        }
    }
}

impl std::fmt::Debug for Teller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Teller" } else { "Nobody" })
    }
}
