//! How barriers share the questions that they ask a ledger.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use antipode_lineage::BranchId;
use tokio::time::timeout;

use crate::{BranchState, Ledger, Line, ProbeError};

/// A question's answer, about every branch that someone waited for when it was sent.
type Answer = Arc<Result<HashMap<BranchId, BranchState>, ProbeError>>;

/// The readers of one ledger: one question after the other, each for all who wait, whatever their number.
#[derive(Clone)]
pub(crate) struct LedgerReads {
    ledger: Arc<dyn Ledger>,
    limit: Duration,
    wanted: Arc<Mutex<Wanted>>,
    line: Arc<Line<Answer>>,
}

/// The branches asked about, each with how many ask.
type Wanted = BTreeMap<BranchId, usize>;

impl LedgerReads {
    /// Questions take no longer than `limit`.
    pub(crate) fn new(ledger: Arc<dyn Ledger>, limit: Duration) -> Self {
        Self { ledger, limit, wanted: Arc::default(), line: Arc::new(Line::new()) }
    }

    /// How these branches stand, by a question sent from now on.
    pub(crate) async fn read(&self, branches: &[BranchId]) -> Result<Vec<BranchState>, ProbeError> {
        let _reader = Reader::enter(&self.wanted, branches);
        let (ledger, limit, wanted) = (Arc::clone(&self.ledger), self.limit, Arc::clone(&self.wanted));
        // Looked at when it is sent: whoever shares the question has entered by then.
        let question = async move {
            let branches: Vec<BranchId> = lock(&wanted).keys().copied().collect();
            Some(Arc::new(ask(ledger.as_ref(), &branches, limit).await))
        };
        let answer = self.line.ask(question).await;
        let missing = || ProbeError::new("the ledger was not asked about every branch");
        match answer.as_deref() {
            Some(Ok(states)) => {
                let state = |branch| states.get(branch).cloned().ok_or_else(missing);
                branches.iter().map(state).collect()
            }
            Some(Err(error)) => Err(error.clone()),
            None => Err(missing()),
        }
    }
}

async fn ask(
    ledger: &dyn Ledger,
    branches: &[BranchId],
    limit: Duration,
) -> Result<HashMap<BranchId, BranchState>, ProbeError> {
    let states = timeout(limit, ledger.read(branches)).await;
    let states = states.map_err(|_| ProbeError::new(format!("no answer within {limit:?}")))??;
    if states.len() != branches.len() {
        let (states, branches) = (states.len(), branches.len());
        return Err(ProbeError::new(format!("the ledger answered for {states} of {branches} branches")));
    }
    Ok(branches.iter().copied().zip(states).collect())
}

/// One who asks. Dropping it takes the question back.
struct Reader<'a> {
    wanted: &'a Mutex<Wanted>,
    branches: &'a [BranchId],
}

impl<'a> Reader<'a> {
    fn enter(wanted: &'a Mutex<Wanted>, branches: &'a [BranchId]) -> Self {
        let mut all = lock(wanted);
        branches.iter().for_each(|branch| *all.entry(*branch).or_default() += 1);
        Self { wanted, branches }
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut all = lock(self.wanted);
        for branch in self.branches {
            if let Some(count) = all.get_mut(branch) {
                *count -= 1;
                if *count == 0 {
                    all.remove(branch);
                }
            }
        }
    }
}

fn lock(wanted: &Mutex<Wanted>) -> MutexGuard<'_, Wanted> {
    // Nothing panics while the lock is held.
    wanted.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use antipode_lineage::{Branch, Lineage};

    use super::*;
    use crate::BoxFuture;

    const LIMIT: Duration = Duration::from_secs(1);

    /// Answers that branches are abandoned, as many as it is told to, and keeps what it was asked.
    struct Clerk {
        answers: usize,
        asked: Mutex<Vec<Vec<BranchId>>>,
    }

    type Reply<'a, T> = BoxFuture<'a, Result<T, ProbeError>>;

    impl Ledger for Clerk {
        fn register<'a>(&'a self, _: &'a Branch, _: Duration) -> Reply<'a, BranchState> {
            Box::pin(std::future::pending())
        }

        fn renew<'a>(&'a self, _: BranchId, _: &'a [Branch]) -> Reply<'a, BranchState> {
            Box::pin(std::future::pending())
        }

        fn complete<'a>(&'a self, _: BranchId, _: &'a Lineage) -> Reply<'a, BranchState> {
            Box::pin(std::future::pending())
        }

        fn read<'a>(&'a self, branches: &'a [BranchId]) -> Reply<'a, Vec<BranchState>> {
            self.asked.lock().unwrap().push(branches.to_vec());
            match self.answers {
                0 => Box::pin(std::future::pending()),
                most => Box::pin(async move { Ok(vec![BranchState::Abandoned; most.min(branches.len())]) }),
            }
        }
    }

    fn clerk(answers: usize) -> (Arc<Clerk>, LedgerReads) {
        let clerk = Arc::new(Clerk { answers, asked: Mutex::default() });
        (Arc::clone(&clerk), LedgerReads::new(clerk, LIMIT))
    }

    const BOTH: [BranchId; 2] = [BranchId(1), BranchId(2)];

    #[tokio::test]
    async fn who_has_gone_is_not_asked_about_any_more() {
        let (clerk, reads) = clerk(2);
        for branch in BOTH {
            assert_eq!(reads.read(&[branch]).await.unwrap(), [BranchState::Abandoned]);
        }
        assert_eq!(*clerk.asked.lock().unwrap(), BOTH.map(|branch| vec![branch]));
    }

    #[tokio::test]
    async fn an_answer_about_some_is_none_about_any() {
        let (_, reads) = clerk(1);
        let error = reads.read(&BOTH).await.unwrap_err().to_string();
        assert!(error.contains("answered for 1 of 2"), "whose state it is cannot be told: {error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_ledger_that_does_not_answer_is_given_up() {
        let (_, reads) = clerk(0);
        let error = timeout(LIMIT * 2, reads.read(&BOTH)).await.unwrap().unwrap_err();
        assert!(error.to_string().contains("no answer within 1s"), "{error}");
    }
}
