//! The branch that runs in a scope, and what it waits for.

use std::sync::Arc;

use tokio::sync::watch;

use crate::Branch;

/// The branch that runs in a [scope](crate::LineageScope), as its forks share it.
///
/// It knows which other branches its barriers wait for, so that two that wait for each other can be told
/// so.
#[derive(Debug)]
pub struct RunningBranch {
    branch: Branch,
    /// One entry for each barrier and each branch that it waits for.
    waits: watch::Sender<Vec<Branch>>,
}

impl RunningBranch {
    /// The branch as it begins to run here.
    #[must_use]
    pub fn new(branch: Branch) -> Arc<Self> {
        Arc::new(Self { branch, waits: watch::Sender::default() })
    }

    /// Which branch it is.
    #[must_use]
    pub fn branch(&self) -> Branch {
        self.branch
    }

    /// What it waits for, as that changes.
    #[must_use]
    pub fn waits(&self) -> watch::Receiver<Vec<Branch>> {
        self.waits.subscribe()
    }

    /// A barrier inside it begins to wait.
    #[must_use]
    pub fn awaiting(self: &Arc<Self>) -> AwaitedBranches {
        AwaitedBranches { running: Arc::clone(self), held: Vec::new() }
    }
}

/// The branches that one barrier waits for. Dropping it ends that.
#[derive(Debug)]
pub struct AwaitedBranches {
    running: Arc<RunningBranch>,
    held: Vec<Branch>,
}

impl AwaitedBranches {
    /// It waits for these now, and no others.
    pub fn set(&mut self, branches: &[Branch]) {
        if self.held == branches {
            return;
        }
        self.running.waits.send_modify(|all| {
            for branch in &self.held {
                if let Some(at) = all.iter().position(|held| held == branch) {
                    all.swap_remove(at);
                }
            }
            all.extend_from_slice(branches);
        });
        self.held = branches.to_vec();
    }
}

impl Drop for AwaitedBranches {
    fn drop(&mut self) {
        self.set(&[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_barriers_in_one_branch_wait_apart() {
        let [own, other, third] =
            ["a/own/", "a/other/", "a/third/"].map(|text| format!("{text}{:032x}", 1).parse().unwrap());
        let running = RunningBranch::new(own);
        let waits = running.waits();
        let (mut first, mut second) = (running.awaiting(), running.awaiting());
        first.set(&[other]);
        second.set(&[other, third]);
        drop(second);
        assert_eq!(*waits.borrow(), [other], "the first one still waits");
        first.set(&[third]);
        assert_eq!(*waits.borrow(), [third]);
        drop(first);
        assert!(waits.borrow().is_empty());
    }

    #[test]
    fn who_waits_for_the_same_as_before_tells_nobody() {
        let [own, other] = ["a/own/", "a/other/"].map(|text| format!("{text}{:032x}", 1).parse().unwrap());
        let running = RunningBranch::new(own);
        let (mut waits, mut barrier) = (running.waits(), running.awaiting());
        barrier.set(&[other]);
        assert!(waits.has_changed().unwrap());
        waits.mark_unchanged();
        barrier.set(&[other]);
        assert!(!waits.has_changed().unwrap(), "a ledger would be told at every look");
    }
}
