//! Askers who share questions.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{FutureExt, Shared};
use tokio::time::timeout;

use crate::BoxFuture;

/// How long a question is waited for before the next one is asked beside it.
const PATIENCE: Duration = Duration::from_millis(250);

type Question<T> = Shared<BoxFuture<'static, Option<T>>>;

/// A line at a server, for shims that ask it where a write stands: while a question is under way, those
/// who come up form a group, which asks one question for all. However many ask, a server gets one after
/// the other, or one every 250 ms while it does not answer.
///
/// The answer that one gets is always to a question that was sent after one had come: a question under
/// way may have been answered already. Whoever waits drives the question; if all of them are gone, it
/// is not asked any further.
#[derive(Debug)]
pub struct Line<T: Clone> {
    places: Arc<Mutex<Places<T>>>,
}

#[derive(Debug)]
struct Places<T: Clone> {
    under_way: Option<Question<T>>,
    /// Not sent yet.
    next: Option<Question<T>>,
}

impl<T: Clone + Send + Sync + 'static> Line<T> {
    /// A line where nobody stands.
    #[must_use]
    pub fn new() -> Self {
        Self { places: Arc::new(Mutex::new(Places { under_way: None, next: None })) }
    }

    /// The answer to a question sent from now on; `None` if it got none. Of a group, only the first
    /// one's `ask` is used. Has no limit of its own: give it one.
    pub async fn ask<F>(&self, ask: F) -> Option<T>
    where
        F: Future<Output = Option<T>> + Send + 'static,
    {
        let question = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            match &places.next {
                Some(next) => next.clone(),
                None => {
                    let previous = places.under_way.clone();
                    let question = send(Arc::clone(&self.places), previous, ask).boxed().shared();
                    places.next.insert(question).clone()
                }
            }
        };
        question.await
    }
}

impl<T: Clone + Send + Sync + 'static> Default for Line<T> {
    fn default() -> Self {
        Self::new()
    }
}

async fn send<T: Clone>(
    places: Arc<Mutex<Places<T>>>,
    previous: Option<Question<T>>,
    ask: impl Future<Output = Option<T>>,
) -> Option<T> {
    if let Some(previous) = previous {
        // It is driven by whoever waits for it: those who asked it may be gone.
        let _ = timeout(PATIENCE, previous).await;
    }
    {
        let mut places = places.lock().unwrap_or_else(PoisonError::into_inner);
        places.under_way = places.next.take();
    }
    ask.await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    /// A server that answers with the number of the question, when it is let.
    #[derive(Debug, Default)]
    struct Server {
        asked: AtomicUsize,
        answer: Notify,
    }

    impl Server {
        fn ask(self: &Arc<Self>) -> impl Future<Output = Option<usize>> + Send + 'static {
            let server = Arc::clone(self);
            async move {
                let number = server.asked.fetch_add(1, Ordering::SeqCst);
                server.answer.notified().await;
                Some(number)
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_come_while_a_question_is_under_way_share_the_next() {
        let (server, line) = (Arc::<Server>::default(), Line::new());
        let mut first = Box::pin(line.ask(server.ask()));
        assert!(first.as_mut().now_or_never().is_none());
        let mut others: Vec<_> = (0..100).map(|_| Box::pin(line.ask(server.ask()))).collect();
        for other in &mut others {
            assert!(other.as_mut().now_or_never().is_none());
        }
        assert_eq!(server.asked.load(Ordering::SeqCst), 1);
        server.answer.notify_one();
        assert_eq!(first.await, Some(0));
        for (at, other) in others.iter_mut().enumerate() {
            if at == 0 {
                assert!(other.as_mut().now_or_never().is_none());
                server.answer.notify_one();
            }
            assert_eq!(other.await, Some(1), "the question before was sent too early");
        }
        assert_eq!(server.asked.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_its_askers_left_holds_nobody_up() {
        let (server, line) = (Arc::<Server>::default(), Line::new());
        let mut first = Box::pin(line.ask(server.ask()));
        assert!(first.as_mut().now_or_never().is_none());
        drop(first);
        let mut left = Box::pin(line.ask(server.ask()));
        assert!(left.as_mut().now_or_never().is_none());
        drop(left);
        // The server never answers the first.
        let mut second = Box::pin(line.ask(server.ask()));
        let answered = timeout(PATIENCE * 2, &mut second).await;
        assert!(answered.is_err() && server.asked.load(Ordering::SeqCst) == 2);
        server.answer.notify_one();
        server.answer.notify_one();
        assert!(second.await.is_some());
    }
}
