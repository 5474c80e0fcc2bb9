//! Waiting with a deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// How long a server may take to start, to stop, or to change its role.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// How often a condition is looked at again.
const PACE: Duration = Duration::from_millis(10);

/// Looks at a condition until it holds (`Ok(Some(_))`) or cannot hold any more (`Err`).
/// `Ok(None)` when the limit passed first; a look that takes longer than the limit is abandoned.
///
/// Not an `AsyncFnMut`: the compiler cannot tell for every lifetime that the futures of one are
/// `Send`, so those of the public API would not be.
pub(crate) async fn until<T, E, L>(limit: Duration, mut look: impl FnMut() -> L) -> Result<Option<T>, E>
where
    L: Future<Output = Result<Option<T>, E>>,
{
    let deadline = Instant::now() + limit;
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        match timeout(left, look()).await {
            Ok(Ok(None)) => sleep(PACE).await,
            Ok(outcome) => return outcome,
            Err(_) => break,
        }
    }
    Ok(None)
}
