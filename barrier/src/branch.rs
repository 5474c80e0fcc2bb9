//! Branches as a service starts, runs and ends them.

use std::sync::Arc;
use std::time::Duration;

use antipode_lineage::{
    Branch, BranchId, BranchName, InLineage, InvalidName, LineageScope, MAX_BRANCHES, RunningBranch,
    StoreName,
};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{sleep, sleep_until, timeout};

use crate::pacing::Pacing;
use crate::registry::Registered;
use crate::{BoxFuture, BranchState, Ledger, ProbeError, Registry};

/// How long a branch may go without a sign of life unless told otherwise.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(30);

/// Renewals per lease: two may fail before it runs out.
const RENEWALS: u32 = 3;
const RETRY_MIN: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Why a branch could not be started, run or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BranchError {
    /// The branch was given a name that is none.
    #[error("a branch cannot be called {name:?}")]
    Name {
        /// The text given.
        name: String,
        /// What a name must look like.
        source: InvalidName,
    },
    /// There is no lineage that the branch could be part of.
    #[error("branch {name} was started outside of a lineage: run the request in `LineageScope::run`")]
    NoLineage {
        /// The branch's name.
        name: BranchName,
    },
    /// The store is not registered here, or it cannot hold a ledger.
    #[error("store {store} holds no branch ledger here: register it, or choose a store that has one")]
    NoLedger {
        /// The store.
        store: StoreName,
    },
    /// The branch has ended already, or is not known any more.
    #[error("branch {branch} is {state}: {}", advice(.state))]
    Ended {
        /// The branch.
        branch: Branch,
        /// How it stands.
        state: BranchState,
    },
    /// The ledger did not answer, or only with errors. Nobody knows whether it took the step.
    #[error("store {store} did not answer for its branch ledger within {limit:?}: check that it runs")]
    LedgerDown {
        /// The store.
        store: StoreName,
        /// How long it was asked.
        limit: Duration,
        /// The last error, if there was one.
        source: Option<ProbeError>,
    },
}

impl BranchError {
    /// Whether the branch was completed before: its message was delivered again.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, BranchError::Ended { state: BranchState::Closed(_), .. })
    }

    /// Whether the branch's lease ran out: barriers were told that it failed.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        matches!(self, BranchError::Ended { state: BranchState::Abandoned, .. })
    }

    /// Whether the ledger does not know the branch (any more).
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, BranchError::Ended { state: BranchState::Unknown, .. })
    }

    /// Whether the ledger could not be asked.
    #[must_use]
    pub fn is_ledger_down(&self) -> bool {
        matches!(self, BranchError::LedgerDown { .. })
    }
}

fn advice(state: &BranchState) -> &'static str {
    match state {
        BranchState::Closed(_) => "another run completed it; do not run it again",
        BranchState::Abandoned => "its lease ran out; register a new branch, with a longer lease",
        BranchState::Unknown => "it was never registered, or ended too long ago",
        BranchState::Open { .. } => "it did not end",
    }
}

impl Registry {
    /// Begins a branch of the current lineage, in the ledger that this store holds. Await it *before*
    /// whatever makes the branch run: a message, a call, a task.
    ///
    /// Every lineage handed over afterwards has the branch as an open entry, and the
    /// [`Branch`] is the token for [`begin`](Registry::begin), wherever it runs. Barriers ignore it unless
    /// they are [`whole`](crate::Barrier::whole).
    ///
    /// Work that the request itself waits for needs none of this: run it in a
    /// [`fork`](LineageScope::fork) and [`join_scope`](LineageScope::join_scope) it.
    ///
    /// ```
    /// # use antipode_barrier::Registry;
    /// # use antipode_lineage::{Branch, Lineage, LineageScope, StoreName};
    /// # async fn send(_: String) {}
    /// # async fn example(registry: Registry, orders: StoreName, message: (String, Lineage))
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// // The request, in its scope: cancels an order and lets another service refund it.
    /// let refund = registry.branch(orders, "refund").await?;
    /// send(refund.to_string()).await;
    ///
    /// // The other service, for a message with its lineage:
    /// let (refund, lineage) = message;
    /// let refund = LineageScope::from(lineage).run(registry.begin(refund.parse()?)).await?;
    /// refund.run(async { /* the writes */ }).await;
    /// refund.complete().await?;
    ///
    /// // Whoever reads after the request's reply, in its scope: the refund has been made.
    /// registry.barrier().whole().await?;
    /// # Ok(()) }
    /// ```
    pub fn branch<'a>(&'a self, ledger: StoreName, name: &'a str) -> NewBranch<'a> {
        NewBranch { registered: self.registered(), ledger, name, lease: DEFAULT_LEASE, scope: None }
    }

    /// Takes up a branch where it runs, and keeps its lease alive until the handle is dropped.
    ///
    /// The branch's scope begins with what the current one depends on (that of the message that brought
    /// the token), without the branch itself. A branch may be taken up again after a crash, as long as its
    /// lease lasts.
    ///
    /// # Errors
    /// [`BranchError`]: [closed](BranchError::is_closed) if it has run before,
    /// [abandoned](BranchError::is_abandoned) if it took too long to get here.
    pub async fn begin(&self, branch: Branch) -> Result<OpenBranch, BranchError> {
        let registered = self.registered();
        let desk = Desk::of(registered, branch.ledger)?;
        let state = desk.insist(|ledger| ledger.renew(branch.id, &[])).await?;
        let BranchState::Open { lease_left, .. } = state else {
            return Err(BranchError::Ended { branch, state });
        };
        let running = RunningBranch::new(branch);
        let waits = running.waits();
        let scope = LineageScope::current().unwrap_or_default().fork_for(running);
        let beating = tokio::spawn(keep_alive(desk.clone(), branch.id, waits, lease_left));
        Ok(OpenBranch { branch, scope, desk, _heart: Heart(beating.abort_handle()) })
    }
}

/// A branch about to be registered. Await it. See [`Registry::branch`].
#[must_use = "a branch is registered when this is awaited"]
#[derive(Debug, Clone)]
pub struct NewBranch<'a> {
    registered: &'a Arc<Registered>,
    ledger: StoreName,
    name: &'a str,
    lease: Duration,
    scope: Option<LineageScope>,
}

impl<'a> NewBranch<'a> {
    /// How long the branch may go without a sign of life until it counts as abandoned: until it is
    /// begun, and between two renewals of whoever runs it. [`DEFAULT_LEASE`] by default.
    pub fn lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// A branch of this scope instead of the current one.
    pub fn within(self, scope: &LineageScope) -> Self {
        Self { scope: Some(scope.clone()), ..self }
    }

    async fn register(self) -> Result<Branch, BranchError> {
        let name = BranchName::parse(self.name)
            .map_err(|source| BranchError::Name { name: self.name.to_owned(), source })?;
        let scope = self.scope.or_else(LineageScope::current).ok_or(BranchError::NoLineage { name })?;
        let desk = Desk::of(self.registered, self.ledger)?;
        let branch = Branch { ledger: self.ledger, name, id: BranchId(rand::random()) };
        match desk.insist(|ledger| ledger.register(&branch, self.lease)).await? {
            BranchState::Open { .. } => {}
            state => return Err(BranchError::Ended { branch, state }),
        }
        scope.add_branch(branch);
        Ok(branch)
    }
}

impl<'a> IntoFuture for NewBranch<'a> {
    type Output = Result<Branch, BranchError>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.register())
    }
}

/// A branch that runs in this process. Its lease is renewed until it is dropped; dropped without
/// [`complete`](OpenBranch::complete), it is abandoned when the lease runs out.
#[derive(Debug)]
#[must_use = "a branch that is not completed is abandoned"]
pub struct OpenBranch {
    branch: Branch,
    scope: LineageScope,
    desk: Desk,
    _heart: Heart,
}

impl OpenBranch {
    /// Which branch it is.
    #[must_use]
    pub fn branch(&self) -> Branch {
        self.branch
    }

    /// The scope to run it in.
    #[must_use]
    pub fn scope(&self) -> &LineageScope {
        &self.scope
    }

    /// Runs the future in the branch's scope.
    pub fn run<F: Future>(&self, future: F) -> InLineage<F> {
        self.scope.run(future)
    }

    /// Ends the branch: closes it with what its scope depends on now. Whole-lineage barriers go on to wait
    /// for those writes. May be repeated when it failed.
    ///
    /// # Errors
    /// [`BranchError::Ended`] if the lease ran out before, or another run completed the branch with another
    /// lineage; [`BranchError::LedgerDown`] if the ledger did not answer within the registry's deadline.
    pub async fn complete(&self) -> Result<(), BranchError> {
        let mut last = self.scope.settled().await;
        last.remove_branch(&self.branch);
        match self.desk.insist(|ledger| ledger.complete(self.branch.id, &last)).await? {
            BranchState::Closed(held) if held.covers(&last) => Ok(()),
            state => Err(BranchError::Ended { branch: self.branch, state }),
        }
    }
}

/// The task that keeps a lease alive. It ends with its handle.
#[derive(Debug)]
struct Heart(AbortHandle);

impl Drop for Heart {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn keep_alive(desk: Desk, id: BranchId, mut waits: watch::Receiver<Vec<Branch>>, lease: Duration) {
    let mut pause = lease / RENEWALS;
    loop {
        tokio::select! {
            () = sleep(pause) => {}
            // The scope that has the sender lives as long as this task.
            changed = waits.changed() => if changed.is_err() { return },
        }
        let mut awaited = waits.borrow_and_update().clone();
        awaited.sort_unstable();
        awaited.dedup();
        awaited.truncate(MAX_BRANCHES);
        match timeout(desk.question_limit, desk.ledger.renew(id, &awaited)).await {
            Ok(Ok(BranchState::Open { lease_left, .. })) => pause = lease_left / RENEWALS,
            Ok(Ok(state)) => {
                tracing::debug!(store = %desk.store, branch = %id, %state, "branch has ended");
                return;
            }
            Ok(Err(_)) | Err(_) => pause = (pause / 2).clamp(RETRY_MIN, RETRY_MAX),
        }
    }
}

/// A ledger with the limits for asking it.
#[derive(Clone)]
struct Desk {
    store: StoreName,
    ledger: Arc<dyn Ledger>,
    limit: Duration,
    question_limit: Duration,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Desk {
    fn of(registered: &Registered, store: StoreName) -> Result<Self, BranchError> {
        let ledger = registered.ledger(store).ok_or(BranchError::NoLedger { store })?;
        let (limit, question_limit) = (registered.deadline, registered.question_limit);
        Ok(Self { store, ledger: Arc::clone(ledger), limit, question_limit })
    }

    /// Asks until there is an answer, for as long as a barrier may take.
    async fn insist<'a, T>(
        &'a self,
        question: impl Fn(&'a dyn Ledger) -> BoxFuture<'a, Result<T, ProbeError>>,
    ) -> Result<T, BranchError> {
        let mut last = None;
        let asking = async {
            let mut pacing = Pacing::new(tokio::time::Instant::now());
            loop {
                pacing.begin(tokio::time::Instant::now());
                match timeout(self.question_limit, question(self.ledger.as_ref())).await {
                    Ok(Ok(answer)) => return answer,
                    Ok(Err(error)) => last = Some(error),
                    Err(_) => {}
                }
                pacing.failed();
                if let Some(due) = pacing.due() {
                    sleep_until(due).await;
                }
            }
        };
        let answer = timeout(self.limit, asking).await;
        answer.map_err(|_| BranchError::LedgerDown { store: self.store, limit: self.limit, source: last })
    }
}
