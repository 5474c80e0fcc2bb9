//! What the processes did, judged by what they told; knows nothing of the gate.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

/// One handled record, as a process told it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handled {
    /// Nanoseconds of the machine's clock.
    at: u128,
    key: u32,
    version: u32,
    seen: bool,
    waited: bool,
}

impl Handled {
    pub(super) fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let [at, key, version, seen, waited] = words[..] else { return None };
        Some(Self {
            at: at.parse().ok()?,
            key: key.parse().ok()?,
            version: version.parse().ok()?,
            seen: seen == "seen",
            waited: waited == "waited",
        })
    }

    pub(super) fn record(&self) -> (u32, u32) {
        (self.key, self.version)
    }
}

/// What became of the records.
#[derive(Debug, Default, Serialize)]
pub(super) struct Verdict {
    pub(super) records: u64,
    /// Records that nobody handled.
    pub(super) lost: u64,
    /// Records handled for the first time before an earlier one of their key was. A record that is
    /// handled again, because its process died before it was committed, is none.
    pub(super) reordered: u64,
    /// Reads that did not find the post, or only an earlier version.
    pub(super) violations: u64,
    /// Records handled more than once.
    pub(super) repeated: u64,
    /// Records that were parked.
    pub(super) waited: u64,
}

/// Judges `versions` records of each of `keys` keys.
pub(super) fn judge(mut told: Vec<Handled>, keys: u32, versions: u32) -> Verdict {
    told.sort_by_key(|handled| handled.at);
    let mut seen: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    let mut verdict = Verdict { records: u64::from(keys) * u64::from(versions), ..Verdict::default() };
    for handled in &told {
        verdict.violations += u64::from(!handled.seen);
        verdict.waited += u64::from(handled.waited);
        let held = seen.entry(handled.key).or_default();
        let before = held.len() as u64;
        if !held.insert(handled.version) {
            verdict.repeated += 1;
        } else if u64::from(handled.version) != before {
            verdict.reordered += 1;
        }
    }
    let different: u64 = seen.values().map(|held| held.len() as u64).sum();
    verdict.lost = verdict.records.saturating_sub(different);
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&str]) -> Verdict {
        let told = lines.iter().map(|line| Handled::parse(line).unwrap()).collect();
        judge(told, 1, 3)
    }

    #[test]
    fn a_replayed_suffix_is_repeated_and_not_reordered() {
        let verdict = told(&[
            "1 0 0 seen at-once",
            "2 0 1 seen waited",
            "4 0 1 seen at-once",
            "3 0 0 seen at-once",
            "5 0 2 seen at-once",
        ]);
        assert_eq!((verdict.lost, verdict.reordered, verdict.repeated, verdict.waited), (0, 0, 2, 1));
    }

    #[test]
    fn what_is_skipped_stale_or_missing_is_found() {
        let verdict = told(&["1 0 0 seen at-once", "2 0 2 seen at-once"]);
        assert_eq!((verdict.lost, verdict.reordered), (1, 1));
        let verdict = told(&["2 0 0 missed at-once", "1 0 1 seen at-once", "3 0 2 seen at-once"]);
        assert_eq!((verdict.lost, verdict.reordered, verdict.violations), (0, 2, 1));
    }
}
