//! When a replica may be probed next.

use std::time::Duration;

use tokio::time::Instant;

/// Probes that may follow each other at once when the first waiter arrives.
const BURST: u32 = 20;
const GAP_MIN: Duration = Duration::from_millis(1);
const GAP_MAX: Duration = Duration::from_millis(20);
/// The gap grows to this part of the time waited: detection costs at most a few percent of the lag.
const GAP_SHARE: u32 = 64;
const RETRY_MIN: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_millis(500);

/// Decides when the next probe may begin: at once when someone begins to wait, back to back for a
/// short burst, then at gaps that grow with the time waited; after failures with backoff.
///
/// It does not know how many wait, so the probes do not depend on it.
#[derive(Debug)]
pub(crate) struct Pacing {
    /// When the last probe began.
    begun: Option<Instant>,
    /// Since when there was neither progress nor rest.
    since: Instant,
    burst: u32,
    failures: u32,
    newcomer: bool,
}

impl Pacing {
    pub(crate) fn new(now: Instant) -> Self {
        Self { begun: None, since: now, burst: BURST, failures: 0, newcomer: false }
    }

    /// Someone waits again after nobody did.
    pub(crate) fn wake(&mut self, now: Instant) {
        self.since = now;
        self.burst = BURST;
    }

    /// One more waits: the next probe need not keep the full gap.
    pub(crate) fn newcomer(&mut self) {
        self.newcomer = true;
    }

    pub(crate) fn begin(&mut self, now: Instant) {
        self.begun = Some(now);
        self.newcomer = false;
    }

    /// An answer came; `progress` is set when it ended someone's wait.
    pub(crate) fn answered(&mut self, now: Instant, progress: bool) {
        self.failures = 0;
        self.burst = self.burst.saturating_sub(1);
        if progress {
            self.since = now;
        }
    }

    pub(crate) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.burst = 0;
    }

    /// The earliest time for the next probe; `None` is at once.
    pub(crate) fn due(&self) -> Option<Instant> {
        let begun = self.begun?;
        let gap = if self.failures > 0 {
            let doubled = 1_u32.checked_shl(self.failures - 1).unwrap_or(u32::MAX);
            RETRY_MIN.saturating_mul(doubled).min(RETRY_MAX)
        } else if self.burst > 0 {
            return None;
        } else if self.newcomer {
            GAP_MIN
        } else {
            (begun.duration_since(self.since) / GAP_SHARE).clamp(GAP_MIN, GAP_MAX)
        };
        Some(begun + gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(pacing: &mut Pacing, now: &mut Instant) -> Duration {
        let due = pacing.due().unwrap_or(*now).max(*now);
        let gap = due - *now;
        *now = due;
        pacing.begin(*now);
        gap
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_growing_gaps() {
        let mut now = Instant::now();
        let mut pacing = Pacing::new(now);
        let mut gaps = Vec::new();
        while now.duration_since(pacing.since) < Duration::from_secs(5) {
            gaps.push(after(&mut pacing, &mut now));
            pacing.answered(now, false);
        }
        assert_eq!(gaps.iter().filter(|gap| gap.is_zero()).count() as u32, BURST);
        assert_eq!(gaps.get(BURST as usize), Some(&GAP_MIN));
        assert_eq!(gaps.last(), Some(&GAP_MAX));
        assert!(gaps.len() < 600, "{} probes in 5 s", gaps.len());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_and_an_answer_forgives() {
        let mut now = Instant::now();
        let mut pacing = Pacing::new(now);
        pacing.begin(now);
        let mut gaps = Vec::new();
        for _ in 0..10 {
            pacing.failed();
            gaps.push(after(&mut pacing, &mut now));
        }
        assert_eq!((gaps.first(), gaps.last()), (Some(&RETRY_MIN), Some(&RETRY_MAX)));
        pacing.newcomer();
        assert!(
            after(&mut pacing, &mut now) == RETRY_MAX,
            "a newcomer does not hammer a server that is down"
        );
        pacing.answered(now, true);
        assert_eq!(after(&mut pacing, &mut now), GAP_MIN);
    }
}
