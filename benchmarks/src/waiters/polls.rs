//! Waiting as the paper's published artifact does: every waiter asks the replica for the key of each
//! write it depends on, again and again without pause, until it is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::task::JoinSet;

use super::{DEADLINE, Stage, Turn};
use crate::Failure;
use crate::posts::{Access, Post};

/// Each waiter is a task that polls over the connections of its service: a pool, or one that is shared.
pub(crate) async fn run(stage: &Arc<Stage>, post: &Post, waiters: u32) -> Result<Turn, Failure> {
    stage.posts.write(Access::Raw, post).await?;
    let acknowledged = Instant::now();
    let queries = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..waiters {
        let (stage, queries, post) = (Arc::clone(stage), Arc::clone(&queries), post.reference.clone());
        tasks.spawn(async move {
            let mut asked = 0;
            let poll = async {
                loop {
                    asked += 1;
                    if stage.posts.read(Access::Raw, &post).await?.is_some() {
                        return Ok::<_, Failure>(acknowledged.elapsed());
                    }
                    // The embedded store answers without waiting; let the other waiters run.
                    tokio::task::yield_now().await;
                }
            };
            let wait = tokio::time::timeout(DEADLINE, poll).await;
            queries.fetch_add(asked, Ordering::Relaxed);
            let late = Failure::TooLate { what: "what was polled for", seconds: DEADLINE.as_secs() };
            Ok::<_, Failure>((wait.map_err(|_| late)??, asked))
        });
    }
    let mut turn = Turn { questions: 0, waits: Vec::with_capacity(waiters as usize), late: 0 };
    while let Some(ended) = tasks.join_next().await {
        let (wait, asked) = ended??;
        turn.waits.push(wait);
        turn.late += u64::from(asked == 1);
    }
    turn.questions = queries.load(Ordering::Relaxed);
    Ok(turn)
}
