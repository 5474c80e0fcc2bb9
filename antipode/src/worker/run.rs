//! The harness itself.

use std::error::Error;
use std::fmt::Display;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Message, Source};

/// Runs a handler for each message of a [`Source`], in the message's lineage.
///
/// Handlers run at once up to [`concurrency`](Self::concurrency), in the task that calls
/// [`run`](Self::run): spawn work that needs a core of its own (`.in_current_lineage()`), or run several
/// workers. A handler that panics ends its worker, by that panic; its message is handed over again.
#[derive(Debug, Clone)]
pub struct Worker {
    concurrency: usize,
    drain: Duration,
    pause: Duration,
}

/// What became of the messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Handled, and done.
    pub handled: u64,
    /// Handlers that failed. Their messages are handed over again.
    pub failed: u64,
    /// Messages whose dependencies were not visible in time. They are handed over again. Not those that a
    /// source kept back itself, as Kafka's gate does.
    pub late: u64,
    /// Messages that had no lineage, and so did not wait. If all writers propagate theirs, a hop in
    /// between lost it.
    pub without_lineage: u64,
    /// Handlers that were still at work when draining had to end. Their messages are handed over again.
    pub cut_off: u64,
}

/// Why a worker ended that was not told to, or did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// The source hands over nothing any more.
    #[error("worker ends because its source failed: run it again when that is mended")]
    Source {
        /// Why.
        source: Box<dyn Error + Send + Sync>,
        /// What became of the messages until then.
        tally: Tally,
    },
    /// The source could not be told what was handled last.
    #[error("worker's source did not close: what was handled last may be handed over again")]
    Close {
        /// Why.
        source: Box<dyn Error + Send + Sync>,
        /// What became of the messages.
        tally: Tally,
    },
}

impl Worker {
    /// 16 handlers at once, 30 s to drain, 1 s of pause after a failure.
    #[must_use]
    pub fn new() -> Self {
        Self { concurrency: 16, drain: Duration::from_secs(30), pause: Duration::from_secs(1) }
    }

    /// How many messages are in hand at once; at least one.
    #[must_use]
    pub fn concurrency(self, messages: usize) -> Self {
        Self { concurrency: messages.max(1), ..self }
    }

    /// How long handlers may go on after the worker was told to stop.
    #[must_use]
    pub fn drain_within(self, limit: Duration) -> Self {
        Self { drain: limit, ..self }
    }

    /// How long a message whose handler failed stays in hand, before it is handed over again. To give one
    /// up, return `Ok`.
    #[must_use]
    pub fn pause_after_failure(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// Handles messages until `stop` is ready. Then no more are taken; those in hand are handled, for as
    /// long as [`drain_within`](Self::drain_within) allows; what is done is committed.
    ///
    /// Dropped before its end, it cuts off its handlers, and commits nothing more.
    ///
    /// # Errors
    /// [`WorkerError::Source`], after draining in the same way, and [`WorkerError::Close`].
    pub async fn run<S, H, E>(
        &self,
        source: S,
        stop: impl Future<Output = ()>,
        handler: H,
    ) -> Result<Tally, WorkerError>
    where
        S: Source,
        H: AsyncFn(&S::Message) -> Result<(), E>,
        E: Display,
    {
        let mut tally = Tally::default();
        let mut in_hand = FuturesUnordered::new();
        let (stopping, stopped) = watch::channel(());
        let mut stop = pin!(stop);
        let failed = loop {
            tokio::select! {
                biased;
                () = &mut stop => break None,
                Some(outcome) = in_hand.next() => tally.count(outcome),
                message = source.recv(), if in_hand.len() < self.concurrency => match message {
                    Ok(message) => {
                        tally.without_lineage += u64::from(!message.has_lineage());
                        in_hand.push(self.handle(message, &handler, stopped.clone()));
                    }
                    Err(error) => break Some(error),
                },
            }
        };
        drop(stopping);
        let drained = async {
            while let Some(outcome) = in_hand.next().await {
                tally.count(outcome);
            }
        };
        let drained = timeout(self.drain, drained).await;
        tally.cut_off = in_hand.len() as u64;
        if drained.is_err() {
            tracing::warn!(cut_off = tally.cut_off, "handlers were cut off: their messages come again");
        }
        drop(in_hand);
        let closed = source.close().await;
        match (failed, closed) {
            (Some(error), _) => Err(WorkerError::Source { source: Box::new(error), tally }),
            (None, Err(error)) => Err(WorkerError::Close { source: Box::new(error), tally }),
            (None, Ok(())) => Ok(tally),
        }
    }

    async fn handle<M, H, E>(&self, message: M, handler: &H, mut stopped: watch::Receiver<()>) -> Outcome
    where
        M: Message,
        H: AsyncFn(&M) -> Result<(), E>,
        E: Display,
    {
        let outcome = match message.visible().await {
            Ok(()) => message.scope().run(handler(&message)).await.map_err(|error| {
                tracing::warn!(%error, "a handler failed: its message comes again");
                Outcome::Failed
            }),
            Err(error) => {
                tracing::warn!(%error, "a message is late: it comes again");
                Err(Outcome::Late)
            }
        };
        match outcome {
            Ok(()) => {
                message.done().await;
                Outcome::Handled
            }
            Err(outcome) => {
                // In hand meanwhile. The sender goes when the worker is told to stop.
                let _ = timeout(self.pause, stopped.changed()).await;
                outcome
            }
        }
    }
}

impl Default for Worker {
    fn default() -> Self {
        Self::new()
    }
}

enum Outcome {
    Handled,
    Failed,
    Late,
}

impl Tally {
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Handled => self.handled += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Late => self.late += 1,
        }
    }
}

impl WorkerError {
    /// What became of the messages until then.
    #[must_use]
    pub fn tally(&self) -> Tally {
        match self {
            Self::Source { tally, .. } | Self::Close { tally, .. } => *tally,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU32, Ordering};

    use antipode_lineage::LineageScope;
    use tokio::sync::Notify;
    use tokio::time::Instant;

    use super::*;

    /// Hands over the same message whenever it is asked.
    struct Same;

    impl Source for Same {
        type Message = Same;
        type Error = Infallible;

        async fn recv(&self) -> Result<Same, Infallible> {
            Ok(Same)
        }

        async fn close(self) -> Result<(), Infallible> {
            Ok(())
        }
    }

    impl Message for Same {
        fn scope(&self) -> LineageScope {
            LineageScope::new()
        }

        fn has_lineage(&self) -> bool {
            true
        }

        async fn done(self) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_whose_handler_failed_stays_in_hand_for_the_pause() {
        let (attempts, enough, pause) = (AtomicU32::new(0), Notify::new(), Duration::from_secs(7));
        let begun = Instant::now();
        let handle = async |_: &Same| {
            if attempts.fetch_add(1, Ordering::Relaxed) == 2 {
                enough.notify_one();
            }
            Err("the mail server is down")
        };
        let worker = Worker::new().concurrency(1).pause_after_failure(pause);
        let tally = worker.run(Same, enough.notified(), handle).await.unwrap();
        assert_eq!((tally.failed, begun.elapsed()), (3, pause * 2), "a stop ends the last pause");
    }
}
