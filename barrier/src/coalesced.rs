//! One sample for all who asked before it began.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// Samples something on behalf of many callers: each gets a sample that *began after* it asked, and
/// callers that ask while one is under way share the next.
///
/// Shims capture positions through it: a position sampled at any time after a write's
/// acknowledgement covers the write, so a hundred writes need one sample.
#[derive(Debug, Default)]
pub struct Coalesced<T> {
    /// How many callers have asked.
    asked: AtomicU64,
    /// The last sample, and how many had asked when it began.
    last: Mutex<Option<(u64, T)>>,
}

impl<T: Clone> Coalesced<T> {
    /// Nothing sampled yet.
    #[must_use]
    pub fn new() -> Self {
        Self { asked: AtomicU64::new(0), last: Mutex::new(None) }
    }

    /// A sample that began after this call. `take` runs only if no one else's serves.
    ///
    /// # Errors
    /// Those of `take`; the next caller in line then tries again.
    pub async fn sample<E>(&self, take: impl AsyncFnOnce() -> Result<T, E>) -> Result<T, E> {
        let mine = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        // An async lock: held over the sample on purpose, it is the queue of those who wait for it.
        let mut last = self.last.lock().await;
        if let Some((served, sample)) = last.as_ref()
            && *served >= mine
        {
            return Ok(sample.clone());
        }
        let serves = self.asked.load(Ordering::Acquire);
        let sample = take().await?;
        *last = Some((serves, sample.clone()));
        Ok(sample)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn callers_share_the_sample_that_begins_after_them() {
        let (samples, taken) = (Coalesced::new(), Cell::new(0));
        let take = async || {
            taken.set(taken.get() + 1);
            let sample = taken.get();
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok::<_, Infallible>(sample)
        };
        let late = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            futures_util::future::join(samples.sample(take), samples.sample(take)).await
        };
        let (first, (second, third)) = futures_util::future::join(samples.sample(take), late).await;
        assert_eq!((first, second, third), (Ok(1), Ok(2), Ok(2)), "two late callers share one sample");
    }
}
