//! The figures of a run, as they are written.

use std::collections::BTreeMap;

use antipode::barrier::BarrierError;
use serde::Serialize;

use super::detection::Detection;
use super::rounds::Seen;
use super::stage::Stage;
use crate::cli::Mode;
use crate::statistics::{Durations, Quantiles, Rate, milliseconds};

/// All figures of a run. Times are in milliseconds, sizes in bytes.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) workload: &'static str,
    pub(crate) posts: String,
    pub(crate) notifier: String,
    pub(crate) variant: String,
    /// None if it is that of servers that were there already.
    pub(crate) lag_ms: Option<f64>,
    pub(crate) rounds: u32,
    pub(crate) seed: u64,
    pub(crate) payload_bytes: usize,
    pub(crate) pace_ms: f64,
    pub(crate) versions: BTreeMap<&'static str, String>,
    /// By name, in the order of [`Mode`].
    pub(crate) modes: BTreeMap<Mode, ModeFigures>,
}

/// One mode.
#[derive(Debug, Serialize)]
pub(crate) struct ModeFigures {
    /// Reads that found no post, or an earlier version than the notification referred to.
    pub(crate) violations: u64,
    pub(crate) reads: u64,
    pub(crate) violation_rate: f64,
    /// With 95 % confidence; 3/N for none in N.
    pub(crate) violation_interval: [f64; 2],
    /// From the acknowledged write to the end of the read.
    pub(crate) window_ms: Quantiles,
    /// From the beginning of the write to its acknowledgement.
    pub(crate) write_ms: Quantiles,
    /// Rounds whose reader gave up waiting, and did not read.
    pub(crate) gave_up: u64,
    /// The lineage's text in the notification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wire_bytes: Option<Bytes>,
    #[serde(flatten)]
    pub(crate) barrier: Option<BarrierFigures>,
}

/// Sizes.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Bytes {
    pub(crate) p50: usize,
    pub(crate) max: usize,
}

/// What only the barrier mode has.
#[derive(Debug, Serialize)]
pub(crate) struct BarrierFigures {
    pub(crate) outcomes: Outcomes,
    /// Barriers whose replica said that the post was missing when they came.
    pub(crate) prevented: u64,
    pub(crate) barrier_wait_ms: Quantiles,
    /// From applied at the replica to the return of the barrier, in samples after the rounds.
    pub(crate) detection_ms: Quantiles,
    pub(crate) detection_samples: u64,
    /// How much too high a detection delay may be: it counts from the last raw read that missed the
    /// post. Zero where the store says when it applies.
    pub(crate) detection_error_ms: Quantiles,
    /// Probes sent to the reader's replica during the rounds.
    pub(crate) probes: u64,
}

/// How barriers ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Outcomes {
    pub(crate) visible: u64,
    pub(crate) timeout: u64,
    pub(crate) lost: u64,
    pub(crate) unreachable: u64,
    pub(crate) indeterminate: u64,
    pub(crate) store_down: u64,
    pub(crate) other: u64,
}

impl Figures {
    pub(crate) fn new(stage: &Stage, seen: &[Seen], probes: u64, detection: Option<Detection>) -> Self {
        let (settings, cell) = (&stage.settings, &stage.cell);
        let figures = |mode: &Mode| {
            let seen: Vec<&Seen> = seen.iter().filter(|seen| seen.mode == *mode).collect();
            (*mode, ModeFigures::new(&seen))
        };
        let mut modes: BTreeMap<Mode, ModeFigures> = cell.modes.iter().map(figures).collect();
        if let Some(figures) = modes.get_mut(&Mode::Barrier).and_then(|mode| mode.barrier.as_mut()) {
            figures.probes = probes;
            if let Some(detection) = detection {
                figures.detection_ms = detection.delays.quantiles();
                figures.detection_samples = detection.samples;
                figures.detection_error_ms = detection.looks.quantiles();
            }
        }
        let versions = BTreeMap::from([
            ("antipode", env!("CARGO_PKG_VERSION").to_owned()),
            ("posts", stage.posts.version()),
            ("notifier", stage.notifier.version()),
        ]);
        Self {
            workload: "post-notification",
            posts: cell.posts.to_string(),
            notifier: cell.notifier.to_string(),
            variant: cell.variant.to_string(),
            lag_ms: cell.lag.map(milliseconds),
            rounds: settings.rounds,
            seed: settings.seed,
            payload_bytes: settings.payload,
            pace_ms: milliseconds(settings.pace()),
            versions,
            modes,
        }
    }

    pub(crate) fn mode(&self, mode: Mode) -> Option<&ModeFigures> {
        self.modes.get(&mode)
    }
}

impl ModeFigures {
    pub(crate) fn rate(&self) -> Rate {
        Rate { hits: self.violations, of: self.reads }
    }

    fn new(seen: &[&Seen]) -> Self {
        let reads = || seen.iter().filter_map(|seen| seen.read.as_ref());
        let violations = reads().filter(|read| read.sight.is_violation()).count() as u64;
        let rate = Rate { hits: violations, of: reads().count() as u64 };
        let windows: Durations = reads().map(|read| read.window).collect();
        Self {
            violations,
            reads: rate.of,
            violation_rate: rate.share(),
            violation_interval: rate.interval(),
            window_ms: windows.quantiles(),
            write_ms: seen.iter().map(|seen| seen.write).collect::<Durations>().quantiles(),
            gave_up: seen.len() as u64 - rate.of,
            wire_bytes: Bytes::of(seen.iter().map(|seen| seen.lineage_bytes).filter(|bytes| *bytes > 0)),
            barrier: BarrierFigures::new(seen),
        }
    }
}

impl BarrierFigures {
    fn new(seen: &[&Seen]) -> Option<Self> {
        let waited = || seen.iter().filter_map(|seen| seen.barrier.as_ref());
        waited().next()?;
        let mut outcomes = Outcomes::default();
        waited().for_each(|waited| outcomes.count(waited.outcome.as_ref().err()));
        let nothing = Durations::new().quantiles();
        let prevented =
            waited().filter(|waited| waited.outcome.as_ref().is_ok_and(|report| report.prevented()));
        Some(Self {
            outcomes,
            prevented: prevented.count() as u64,
            barrier_wait_ms: waited().map(|waited| waited.took).collect::<Durations>().quantiles(),
            detection_ms: nothing,
            detection_samples: 0,
            detection_error_ms: nothing,
            probes: 0,
        })
    }
}

impl Bytes {
    fn of(sizes: impl Iterator<Item = usize>) -> Option<Self> {
        let mut sizes: Vec<usize> = sizes.collect();
        sizes.sort_unstable();
        Some(Self { p50: *sizes.get(sizes.len() / 2)?, max: *sizes.last()? })
    }
}

impl Outcomes {
    fn count(&mut self, error: Option<&BarrierError>) {
        let kind = match error {
            None => &mut self.visible,
            Some(error) if error.is_timeout() => &mut self.timeout,
            Some(error) if error.is_lost() => &mut self.lost,
            Some(error) if error.is_unreachable() => &mut self.unreachable,
            Some(error) if error.is_indeterminate() => &mut self.indeterminate,
            Some(error) if error.is_store_down() => &mut self.store_down,
            Some(_) => &mut self.other,
        };
        *kind += 1;
    }

    /// All that are not visible.
    pub(crate) fn failed(self) -> u64 {
        let Self { visible: _, timeout, lost, unreachable, indeterminate, store_down, other } = self;
        timeout + lost + unreachable + indeterminate + store_down + other
    }

    /// Each kind with its count.
    pub(crate) fn by_kind(self) -> [(&'static str, u64); 7] {
        [
            ("visible", self.visible),
            ("timeout", self.timeout),
            ("lost", self.lost),
            ("unreachable", self.unreachable),
            ("indeterminate", self.indeterminate),
            ("store down", self.store_down),
            ("other", self.other),
        ]
    }
}
