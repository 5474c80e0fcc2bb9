//! Letting a member hold a request until it has applied a place in the log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use antipode_lineage::Position;
use mongodb::bson::{Document, doc};
use mongodb::error::{Error, ErrorKind, Result};
use mongodb::{Client, ClusterTime};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::hello::Reach;
use crate::position::timestamp;

/// How long a member holds a request at most: less than a probe may take, so that the answer is there
/// before it is given up on, and the connection stays sound.
const LIMIT: Duration = Duration::from_millis(800);

/// The server's code for a time that it has not heard of: after the latest cluster time it knows.
const TIME_UNKNOWN: i32 = 72;

/// The latest cluster time that the primary told this process. Members only wait for times that they
/// have heard of, signed where the set has access control: one that lags need not have.
#[derive(Debug)]
pub(crate) struct Clock {
    primary: Client,
    latest: Mutex<Option<ClusterTime>>,
}

impl Clock {
    pub(crate) fn new(primary: Client) -> Self {
        Self { primary, latest: Mutex::default() }
    }

    fn latest(&self) -> Option<ClusterTime> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks the primary for the time.
    async fn refresh(&self) -> Result<()> {
        let mut session = self.primary.start_session().causal_consistency(false).await?;
        let admin = self.primary.database("admin");
        let ask = admin.run_command(doc! { "hello": 1 });
        ask.selection_criteria(Reach::Primary.criteria()).session(&mut session).await?;
        if let Some(time) = session.cluster_time() {
            let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            if latest.as_ref().is_none_or(|latest| latest < time) {
                *latest = Some(time.clone());
            }
        }
        Ok(())
    }

    async fn hold(&self, member: &Client, until: Position) -> Result<()> {
        match self.try_hold(member, until).await {
            Err(error) if code(&error) == Some(TIME_UNKNOWN) => {
                self.refresh().await?;
                self.try_hold(member, until).await
            }
            outcome => outcome,
        }
    }

    async fn try_hold(&self, member: &Client, until: Position) -> Result<()> {
        let mut session = member.start_session().causal_consistency(false).await?;
        if let Some(latest) = self.latest() {
            session.advance_cluster_time(&latest);
        }
        let local = member.database("local");
        let find = local.run_command(find(until));
        find.selection_criteria(Reach::Direct.criteria()).session(&mut session).await.map(drop)
    }
}

/// The request that a member holds, if any: one for all who wait.
#[derive(Debug)]
pub(crate) struct Hold {
    clock: Arc<Clock>,
    held: Mutex<Option<Held>>,
}

/// It outlives who stops waiting, for as long as the member may hold it: to abandon it would cost the
/// connection.
#[derive(Debug)]
struct Held {
    until: Position,
    done: watch::Receiver<()>,
    task: AbortHandle,
}

impl Hold {
    pub(crate) fn new(clock: Arc<Clock>) -> Self {
        Self { clock, held: Mutex::default() }
    }

    /// Returns once the member has applied the log up to there, or after a while, or if it cannot be
    /// asked. That is a hint only: it says nothing of terms.
    pub(crate) async fn until(&self, member: &Client, until: Position) {
        let mut done = self.join(member, until);
        // It never says anything but that it is gone.
        let _ = done.changed().await;
    }

    fn join(&self, member: &Client, until: Position) -> watch::Receiver<()> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = held.as_ref()
            && held.until == until
            && held.done.has_changed().is_ok()
        {
            return held.done.clone();
        }
        let (sender, done) = watch::channel(());
        let (clock, member) = (Arc::clone(&self.clock), member.clone());
        let task = tokio::spawn(async move {
            let _ = timeout(2 * LIMIT, clock.hold(&member, until)).await;
            drop(sender);
        });
        *held = Some(Held { until, done: done.clone(), task: task.abort_handle() });
        done
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// In a collection that does not exist: only the wait before it counts.
fn find(until: Position) -> Document {
    let limit = i64::try_from(LIMIT.as_millis()).unwrap_or(i64::MAX);
    doc! {
        "find": "antipode.none",
        "limit": 1,
        "maxTimeMS": limit,
        "readConcern": { "level": "local", "afterClusterTime": timestamp(until) },
    }
}

fn code(error: &Error) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}
