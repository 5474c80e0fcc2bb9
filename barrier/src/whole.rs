//! Whole-lineage barriers: the branches of a lineage, until each of them has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use antipode_lineage::{Branch, Lineage, RunningBranch, StoreName};
use futures_util::future::join_all;
use tokio::time::{Duration, Instant, sleep_until, timeout_at};

use crate::error::{BranchDependency, BranchStanding, Kind};
use crate::pacing::Pacing;
use crate::registry::Registered;
use crate::{BranchState, OnTimeout, ProbeError};

/// The most branches that one barrier follows, nested ones included.
const MAX_FOLLOWED: usize = 1_024;

/// How long branches must have been seen to wait for each other: what one of them says it waits for may
/// be a moment old.
const CYCLE_CONFIRMED: Duration = Duration::from_millis(100);

/// A lineage whose branches have ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// What it was, joined with how its branches ended, without those.
    pub(crate) lineage: Lineage,
    pub(crate) branches: Vec<Branch>,
    /// Branches were open when the deadline passed, and the caller goes on regardless.
    pub(crate) is_weak: bool,
}

/// Why branches cannot be waited for, or not any longer.
#[derive(Debug)]
pub(crate) struct Unended {
    pub(crate) kind: Kind,
    pub(crate) branches: Vec<BranchDependency>,
}

/// Waits until every branch of the lineage, and of what those end with, has ended.
pub(crate) async fn end_of_branches(
    registered: &Registered,
    lineage: Lineage,
    running: Option<Arc<RunningBranch>>,
    deadline: Instant,
    on_timeout: OnTimeout,
) -> Result<Ended, Unended> {
    let mut follow = Follow::new(lineage, running.as_ref().map(|running| running.branch()));
    let mut awaiting = running.as_ref().map(RunningBranch::awaiting);
    let mut pacing = Pacing::new(Instant::now());
    let mut cycle_since: Option<Instant> = None;
    loop {
        follow.check(registered)?;
        if follow.open.is_empty() {
            return Ok(follow.ended(IsWeak::No));
        }
        if let Some(awaiting) = &mut awaiting {
            awaiting.set(&follow.open.iter().copied().collect::<Vec<_>>());
        }
        let now = Instant::now();
        pacing.begin(now);
        let Ok(answers) = timeout_at(deadline, ask(registered, follow.asked())).await else {
            break;
        };
        let now = Instant::now();
        match follow.learn(answers)? {
            Learnt::Something => pacing.answered(now, true),
            Learnt::Nothing => pacing.answered(now, false),
            Learnt::Failure => pacing.failed(),
        }
        let cycle = follow.cycle();
        if cycle.is_empty() {
            cycle_since = None;
        } else if now.duration_since(*cycle_since.get_or_insert(now)) >= CYCLE_CONFIRMED {
            return Err(Unended::new(Kind::Cycle, cycle, BranchStanding::Cycle));
        }
        if let Some(due) = pacing.due()
            && !follow.open.is_empty()
        {
            if due >= deadline {
                sleep_until(deadline).await;
                break;
            }
            sleep_until(due).await;
        }
    }
    match on_timeout {
        OnTimeout::Weak => Ok(follow.ended(IsWeak::Yes)),
        OnTimeout::Fail | OnTimeout::Primary => Err(follow.timed_out()),
    }
}

enum IsWeak {
    No,
    Yes,
}

enum Learnt {
    Something,
    Nothing,
    Failure,
}

type Answers = Vec<(Vec<Branch>, Result<Vec<BranchState>, ProbeError>)>;

/// The branches followed.
struct Follow {
    lineage: Lineage,
    /// The branch that the barrier runs in.
    own: Option<Branch>,
    open: BTreeSet<Branch>,
    ended: BTreeSet<Branch>,
    /// What open branches wait for, by the last answers.
    waits: BTreeMap<Branch, Vec<Branch>>,
    /// Ledgers that did not answer the last time, or never yet.
    down: BTreeMap<StoreName, Option<ProbeError>>,
}

impl Follow {
    fn new(lineage: Lineage, own: Option<Branch>) -> Self {
        let open: BTreeSet<_> = lineage.branches().iter().copied().collect();
        let down = open.iter().map(|branch| (branch.ledger, None)).collect();
        Self { lineage, own, open, ended: BTreeSet::new(), waits: BTreeMap::new(), down }
    }

    /// Whether there is something to wait for that can be waited for.
    fn check(&self, registered: &Registered) -> Result<(), Unended> {
        if self.lineage.has_forgotten_branches() || self.open.len() + self.ended.len() > MAX_FOLLOWED {
            return Err(Unended { kind: Kind::ForgottenBranches, branches: Vec::new() });
        }
        if let Some(own) = self.own.filter(|own| self.open.contains(own)) {
            return Err(Unended::new(Kind::Cycle, vec![own], BranchStanding::Cycle));
        }
        let elsewhere = self.open.iter().filter(|branch| registered.ledger(branch.ledger).is_none());
        let elsewhere: Vec<_> = elsewhere.copied().collect();
        if elsewhere.is_empty() {
            return Ok(());
        }
        Err(Unended::new(Kind::UnknownBranch, elsewhere, BranchStanding::Unregistered))
    }

    /// What to ask about: the open branches, and inside of a branch what those wait for, which may be the
    /// branch itself in the end.
    fn asked(&self) -> BTreeSet<Branch> {
        let mut asked = self.open.clone();
        if self.own.is_some() {
            let mut next: Vec<Branch> = self.open.iter().copied().collect();
            while let Some(branch) = next.pop() {
                for awaited in self.waits.get(&branch).into_iter().flatten() {
                    if asked.len() < MAX_FOLLOWED && Some(*awaited) != self.own && asked.insert(*awaited) {
                        next.push(*awaited);
                    }
                }
            }
        }
        asked
    }

    fn learn(&mut self, answers: Answers) -> Result<Learnt, Unended> {
        let mut learnt = Learnt::Nothing;
        let (mut abandoned, mut unknown) = (Vec::new(), Vec::new());
        self.waits.clear();
        for (branches, answer) in answers {
            let Some(ledger) = branches.first().map(|branch| branch.ledger) else { continue };
            let states = match answer {
                Ok(states) => states,
                Err(error) => {
                    self.down.insert(ledger, Some(error));
                    learnt = Learnt::Failure;
                    continue;
                }
            };
            self.down.remove(&ledger);
            for (branch, state) in branches.into_iter().zip(states) {
                let is_open = self.open.contains(&branch);
                match state {
                    BranchState::Open { waits, .. } => drop(self.waits.insert(branch, waits)),
                    BranchState::Closed(last) if is_open => {
                        self.close(branch, &last);
                        if !matches!(learnt, Learnt::Failure) {
                            learnt = Learnt::Something;
                        }
                    }
                    BranchState::Abandoned if is_open => abandoned.push(branch),
                    BranchState::Unknown if is_open => unknown.push(branch),
                    BranchState::Closed(_) | BranchState::Abandoned | BranchState::Unknown => {}
                }
            }
        }
        if !abandoned.is_empty() {
            return Err(Unended::new(Kind::Abandoned, abandoned, BranchStanding::Abandoned));
        }
        if !unknown.is_empty() {
            return Err(Unended::new(Kind::UnknownBranch, unknown, BranchStanding::Unknown));
        }
        Ok(learnt)
    }

    /// A branch ended: what it ended with is depended on, and branches in that are open until they are
    /// seen to have ended, each of them once.
    fn close(&mut self, branch: Branch, last: &Lineage) {
        self.open.remove(&branch);
        self.ended.insert(branch);
        self.lineage.remove_branch(&branch);
        self.lineage.join(last);
        for nested in last.branches() {
            if self.ended.contains(nested) {
                self.lineage.remove_branch(nested);
            } else if self.open.insert(*nested) {
                self.down.entry(nested.ledger).or_insert(None);
            }
        }
    }

    /// The open branches that wait, over any number of others, for the one that this barrier runs in.
    fn cycle(&self) -> Vec<Branch> {
        let Some(own) = self.own else { return Vec::new() };
        let leads_to_own = |start: &&Branch| {
            let (mut seen, mut next) = (BTreeSet::new(), vec![**start]);
            while let Some(branch) = next.pop() {
                for awaited in self.waits.get(&branch).into_iter().flatten() {
                    if *awaited == own {
                        return true;
                    }
                    if seen.insert(*awaited) {
                        next.push(*awaited);
                    }
                }
            }
            false
        };
        self.open.iter().filter(leads_to_own).copied().collect()
    }

    fn ended(self, is_weak: IsWeak) -> Ended {
        Ended {
            lineage: self.lineage,
            branches: self.ended.into_iter().collect(),
            is_weak: matches!(is_weak, IsWeak::Yes),
        }
    }

    fn timed_out(self) -> Unended {
        let is_down = |branch: &Branch| self.down.contains_key(&branch.ledger);
        let kind = if self.open.iter().any(is_down) { Kind::StoreDown } else { Kind::Timeout };
        let open = self.open.iter().map(|branch| BranchDependency {
            branch: *branch,
            standing: BranchStanding::Open,
            failure: self.down.get(&branch.ledger).cloned().flatten(),
        });
        Unended { kind, branches: open.collect() }
    }
}

impl Unended {
    fn new(kind: Kind, branches: Vec<Branch>, standing: BranchStanding) -> Self {
        let standing = |branch| BranchDependency { branch, standing, failure: None };
        Self { kind, branches: branches.into_iter().map(standing).collect() }
    }
}

/// One question to each ledger, whatever the number of branches, shared with other barriers.
async fn ask(registered: &Registered, branches: BTreeSet<Branch>) -> Answers {
    let branches: Vec<Branch> = branches.into_iter().collect();
    let questions = branches.chunk_by(|a, b| a.ledger == b.ledger).filter_map(|of_ledger| {
        // What an open branch waits for may be in a ledger that is not registered here.
        let reads = registered.ledger_reads(of_ledger.first()?.ledger)?;
        Some(async move {
            let ids: Vec<_> = of_ledger.iter().map(|branch| branch.id).collect();
            (of_ledger.to_vec(), reads.read(&ids).await)
        })
    });
    join_all(questions).await
}

#[cfg(test)]
mod tests {
    use antipode_lineage::BranchId;

    use super::*;
    use crate::Registry;

    fn branch(id: u128) -> Branch {
        Branch { ledger: "orders".parse().unwrap(), name: "refund".parse().unwrap(), id: BranchId(id) }
    }

    fn waiting_for(awaited: Branch) -> BranchState {
        BranchState::Open { lease_left: Duration::from_secs(1), waits: vec![awaited] }
    }

    #[test]
    fn what_became_of_branches_that_only_others_wait_for_ends_nothing() {
        let [own, open, awaited] = [1, 2, 3].map(branch);
        let mut lineage = Lineage::new();
        lineage.add_branch(open);
        let mut follow = Follow::new(lineage, Some(own));
        assert!(follow.learn(vec![(vec![open], Ok(vec![waiting_for(awaited)]))]).is_ok());
        assert_eq!(follow.asked(), BTreeSet::from([open, awaited]));
        for end in [BranchState::Abandoned, BranchState::Unknown, BranchState::Closed(Lineage::new())] {
            let answer = (vec![open, awaited], Ok(vec![waiting_for(awaited), end]));
            assert!(matches!(follow.learn(vec![answer]), Ok(Learnt::Nothing)));
            assert_eq!(follow.open, BTreeSet::from([open]));
        }
        let error = follow.learn(vec![(vec![open], Ok(vec![BranchState::Abandoned]))]);
        assert!(error.is_err_and(|unended| unended.kind == Kind::Abandoned));
    }

    #[tokio::test]
    async fn nobody_follows_branches_without_end() {
        let registry = Registry::builder().build().await.unwrap();
        let mut follow = Follow::new(Lineage::new(), None);
        for id in 0..=MAX_FOLLOWED as u128 {
            assert!(follow.check(registry.registered()).is_ok(), "{id}");
            let mut last = Lineage::new();
            // Its own name may be in there, as in what it handed to others.
            [id, id + 1].into_iter().for_each(|id| last.add_branch(branch(id)));
            follow.close(branch(id), &last);
            follow.open.clear();
        }
        let error = follow.check(registry.registered());
        assert!(error.is_err_and(|unended| unended.kind == Kind::ForgottenBranches));
    }
}
