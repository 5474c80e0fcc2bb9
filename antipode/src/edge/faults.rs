//! What was not as it should be: counted, told, and logged without a flood.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often a kind of fault is logged at most.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// What can be wrong with what comes in. Few and fixed, so a metric may have it as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// A request has no lineage. Counted where lineage is taken or required.
    Missing,
    /// A lineage cannot be read: damaged, forged, not signed, or of a newer version.
    Unreadable,
    /// There is more baggage than is read.
    TooLarge,
    /// A session token is forged, damaged, of other keys, or of another audience.
    SessionInvalid,
    /// A session token has expired.
    SessionExpired,
}

/// What was made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Treated {
    /// The request was refused.
    Refused,
    /// The request begins with everything: its barriers wait for all that the primaries hold.
    AsEverything,
    /// The request begins with nothing.
    AsNothing,
}

/// Told of every fault. Called on the path of the request: be quick, do not block.
pub trait EdgeObserver: Send + Sync + 'static {
    /// A fault was found and treated so.
    fn found(&self, fault: Fault, treated: Treated);

    /// A request brought a lineage of this many bytes, readable or not.
    fn received(&self, bytes: usize) {
        let _ = bytes;
    }

    /// A call takes a lineage of this many bytes along.
    fn sent(&self, bytes: usize) {
        let _ = bytes;
    }
}

/// Who is told, if anybody is.
#[derive(Clone, Default)]
pub(crate) struct Told(Option<Arc<dyn EdgeObserver>>);

impl Told {
    pub(crate) fn to(observer: impl EdgeObserver) -> Self {
        Self(Some(Arc::new(observer)))
    }

    pub(crate) fn found(&self, fault: Fault, treated: Treated) {
        self.0.iter().for_each(|observer| observer.found(fault, treated));
    }

    #[cfg(feature = "tower")]
    pub(crate) fn sent(&self, bytes: usize) {
        self.0.iter().for_each(|observer| observer.sent(bytes));
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Told" } else { "Nobody" })
    }
}

impl Fault {
    /// Every one.
    pub const ALL: [Fault; 5] =
        [Fault::Missing, Fault::Unreadable, Fault::TooLarge, Fault::SessionInvalid, Fault::SessionExpired];

    /// A short name, for labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unreadable => "unreadable",
            Self::TooLarge => "too_large",
            Self::SessionInvalid => "session_invalid",
            Self::SessionExpired => "session_expired",
        }
    }
}

impl Treated {
    /// Every one.
    pub const ALL: [Treated; 3] = [Treated::Refused, Treated::AsEverything, Treated::AsNothing];

    /// A short name, for labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::AsEverything => "as_everything",
            Self::AsNothing => "as_nothing",
        }
    }
}

/// Counts, observer and log of one [`Inbound`](super::Inbound).
pub(super) struct Faults {
    tallies: [Tally; Fault::ALL.len()],
    told: Told,
    since: Instant,
}

#[derive(Default)]
struct Tally {
    count: AtomicU64,
    /// When the next line may be logged, in milliseconds after the beginning.
    next_line: AtomicU64,
}

impl Faults {
    pub(super) fn told_to(observer: impl EdgeObserver) -> Self {
        Self { told: Told::to(observer), ..Self::default() }
    }

    pub(super) fn count(&self, fault: Fault) -> u64 {
        self.tally(fault).map_or(0, |tally| tally.count.load(Ordering::Relaxed))
    }

    pub(super) fn received(&self, bytes: usize) {
        if let (Some(observer), 1..) = (&self.told.0, bytes) {
            observer.received(bytes);
        }
    }

    pub(super) fn found(&self, fault: Fault, treated: Treated, detail: &dyn fmt::Display) {
        self.told.found(fault, treated);
        let Some(tally) = self.tally(fault) else { return };
        let count = tally.count.fetch_add(1, Ordering::Relaxed) + 1;
        // That a request has no lineage is an everyday thing where none is required, as age is.
        let everyday = matches!(fault, Fault::Missing | Fault::SessionExpired) && treated != Treated::Refused;
        if !everyday && tally.may_log(self.since.elapsed()) {
            tracing::warn!(fault = fault.as_str(), treated = treated.as_str(), count, "{detail}");
        }
    }

    fn tally(&self, fault: Fault) -> Option<&Tally> {
        let at = Fault::ALL.iter().position(|one| *one == fault)?;
        self.tallies.get(at)
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self { tallies: Default::default(), told: Told::default(), since: Instant::now() }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(Fault::ALL.map(|fault| (fault, self.count(fault)))).finish()
    }
}

impl Tally {
    /// Whether a line is due, `now` after the beginning. Of many that ask at once, one is told so.
    fn may_log(&self, now: Duration) -> bool {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let due = self.next_line.load(Ordering::Relaxed);
        let next = millis(now + LOG_EVERY);
        let won = || self.next_line.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        millis(now) >= due && won()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_logs_one_line_in_ten_seconds() {
        let tally = Tally::default();
        let lines = (0..100_000).filter(|at| tally.may_log(Duration::from_millis(*at))).count();
        assert_eq!(lines, 10, "100 s of a fault each millisecond");
    }

    #[test]
    fn labels_are_few_and_differ() {
        let mut labels = Fault::ALL.map(Fault::as_str);
        labels.sort_unstable();
        assert!(labels.windows(2).all(|pair| pair[0] != pair[1]), "{labels:?}");
    }
}
