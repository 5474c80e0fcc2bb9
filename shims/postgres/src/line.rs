//! The one connection per server that asks for positions, on behalf of all who need one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use antipode_barrier::ProbeError;
use antipode_lineage::Epoch;
use sqlx::PgPool;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::access::was_refused;
use crate::sample::{Histories, Sample, Session};

/// How long a [`Mark`] says something about now.
const FRESH: Duration = Duration::from_secs(1);
/// A connection that did not answer for so long, until all who waited gave up, is not used again.
const SUSPECT: Duration = Duration::from_secs(1);

type Answer = Result<(Sample, Mark), ProbeError>;

/// Samples one server. Callers that ask while a sample is under way share the next one.
///
/// The connection belongs to a task, not to a caller: requests end all the time with a capture under
/// way, and the connection must survive that.
#[derive(Debug)]
pub(crate) struct Line {
    pool: PgPool,
    role: Role,
    last: Arc<Mutex<Option<Mark>>>,
    worker: Mutex<Option<Worker>>,
}

/// What the server was registered as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Primary,
    Replica,
}

/// Which server process a sample came from, and the history it was in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    connection: u64,
    pub(crate) epoch: Epoch,
    at: Instant,
}

#[derive(Debug)]
enum Request {
    Sample(oneshot::Sender<Answer>),
    /// Only the mark is wanted.
    Mark,
}

#[derive(Debug)]
struct Worker {
    requests: mpsc::UnboundedSender<Request>,
    /// Ends the task when dropped.
    _task: JoinSet<()>,
}

impl Line {
    pub(crate) fn new(pool: PgPool, role: Role) -> Self {
        Self { pool, role, last: Arc::default(), worker: Mutex::default() }
    }

    /// A sample that began after this call.
    pub(crate) async fn sample(&self) -> Result<Sample, ProbeError> {
        Ok(self.ask().await?.0)
    }

    /// The same; an error if another server, in another history, has come in place of the one marked.
    pub(crate) async fn sample_since(&self, since: Option<Mark>) -> Result<Sample, SampleError> {
        let (sample, after) = self.ask().await?;
        match since {
            Some(before) if before.turned_over(&after) => {
                Err(SampleError::TurnedOver { before: before.epoch })
            }
            _ => Ok(sample),
        }
    }

    /// Has the mark refreshed, beside the caller.
    pub(crate) fn refresh_mark(&self) {
        self.submit(Request::Mark);
    }

    /// What the last sample saw, if it was just now.
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.last_mark().filter(|mark| mark.at.elapsed() < FRESH)
    }

    /// What the last sample saw, however long ago.
    pub(crate) fn last_mark(&self) -> Option<Mark> {
        *lock(&self.last)
    }

    async fn ask(&self) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.submit(Request::Sample(reply));
        answer.await.unwrap_or_else(|_| Err(ProbeError::new("the server did not answer")))
    }

    fn submit(&self, mut request: Request) {
        let mut worker = lock(&self.worker);
        if let Some(running) = worker.as_ref() {
            match running.requests.send(request) {
                Ok(()) => return,
                // Its runtime is gone.
                Err(mpsc::error::SendError(unsent)) => request = unsent,
            }
        }
        let (requests, received) = mpsc::unbounded_channel();
        let task = Task {
            pool: self.pool.clone(),
            role: self.role,
            last: Arc::clone(&self.last),
            session: None,
            connections: lock(&self.last).map_or(0, |mark| mark.connection),
            histories: Histories::default(),
            recovered_on: None,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(task.serve(received));
        // The task receives as long as it lives.
        let _ = requests.send(request);
        *worker = Some(Worker { requests, _task: tasks });
    }
}

/// Why there is no sample of the server that was meant.
#[derive(Debug)]
pub(crate) enum SampleError {
    /// It did not answer.
    Failed,
    /// Another one answers in its place, in another history.
    TurnedOver { before: Epoch },
}

impl From<ProbeError> for SampleError {
    fn from(_: ProbeError) -> Self {
        SampleError::Failed
    }
}

impl Request {
    fn is_gone(&self) -> bool {
        matches!(self, Request::Sample(reply) if reply.is_closed())
    }
}

impl Mark {
    /// Whether a later sample came from another server in another history. One connection's server may
    /// be promoted: it keeps what it showed.
    fn turned_over(&self, later: &Mark) -> bool {
        self.connection != later.connection && self.epoch != later.epoch
    }
}

struct Task {
    pool: PgPool,
    role: Role,
    last: Arc<Mutex<Option<Mark>>>,
    session: Option<Session>,
    /// How many connections were made.
    connections: u64,
    histories: Histories,
    /// The history in which the server was last seen in recovery.
    recovered_on: Option<Epoch>,
}

impl Task {
    async fn serve(mut self, mut requests: mpsc::UnboundedReceiver<Request>) {
        while let Some(first) = requests.recv().await {
            let mut waiting = vec![first];
            while let Ok(next) = requests.try_recv() {
                waiting.push(next);
            }
            waiting.retain(|request| !request.is_gone());
            if waiting.is_empty() {
                continue;
            }
            let answered = tokio::select! {
                answer = self.ask() => Some(answer),
                () = given_up(&mut waiting) => None,
            };
            let Some(answer) = answered else {
                self.session = None;
                continue;
            };
            for request in waiting {
                if let Request::Sample(reply) = request {
                    let _ = reply.send(answer.clone());
                }
            }
        }
    }

    async fn ask(&mut self) -> Answer {
        let reused = self.session.is_some();
        let sample = match self.try_ask().await {
            // The server, or something between, had closed the connection since.
            Err(error) if reused && !was_refused(&error) => self.try_ask().await,
            sample => sample,
        };
        let sample = sample.map_err(ProbeError::new)?;
        self.check_role(&sample)?;
        let mark = Mark { connection: self.connections, epoch: sample.frontier.epoch, at: Instant::now() };
        *lock(&self.last) = Some(mark);
        Ok((sample, mark))
    }

    /// The session is put back only when it is sound.
    async fn try_ask(&mut self) -> sqlx::Result<Sample> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => {
                self.connections += 1;
                Session::connect(&self.pool.connect_options()).await?
            }
        };
        let sample = session.sample(&mut self.histories).await?;
        self.session = Some(session);
        Ok(sample)
    }

    /// A promotion begins a timeline. A standby that became a primary without one (its
    /// `standby.signal` was removed) writes a history of its own under the old name.
    fn check_role(&mut self, sample: &Sample) -> Result<(), ProbeError> {
        let epoch = sample.frontier.epoch;
        if sample.recovering {
            self.recovered_on = Some(epoch);
        } else if self.role == Role::Replica && self.recovered_on == Some(epoch) {
            let text = format!("the replica left recovery on timeline {} without beginning one", epoch.term);
            return Err(ProbeError::new(text));
        }
        Ok(())
    }
}

/// Ends when nobody waits any more, and not just since the request ended that did.
async fn given_up(waiting: &mut [Request]) {
    let since = Instant::now();
    for request in waiting {
        if let Request::Sample(reply) = request {
            reply.closed().await;
        }
    }
    sleep_until(since + SUSPECT).await;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while these locks are held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_another_server_in_another_history_has_turned_over() {
        let mark =
            |connection, term| Mark { connection, epoch: Epoch { history: 7, term }, at: Instant::now() };
        let before = mark(1, 1);
        assert!(!before.turned_over(&mark(1, 1)));
        assert!(!before.turned_over(&mark(2, 1)), "the connection was made again");
        assert!(!before.turned_over(&mark(1, 2)), "promoted");
        assert!(before.turned_over(&mark(2, 2)));
    }
}
