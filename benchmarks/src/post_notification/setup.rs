//! What is done before the first round.

use std::time::{Duration, Instant};

use antipode::lineage::LineageScope;
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;

use super::rounds::Stage;
use crate::Failure;
use crate::cli::Variant;
use crate::posts::{Access, Post, Reference};

/// How long the replica may take to get what is written before the first round.
const LIMIT: Duration = Duration::from_secs(60);
const CONCURRENCY: usize = 16;

/// Stores the earlier versions of posts to be updated, uses every way of access once, so that no round
/// has to connect first, and waits until the replica has it all.
pub(crate) async fn prepare(stage: &Stage, progress: &ProgressBar) -> Result<(), Failure> {
    if stage.settings.variant == Variant::Update {
        progress.set_message("storing the first versions");
        let rounds = stream::iter(0..stage.rounds.len());
        let store =
            |number| async move { stage.posts.write(Access::Raw, &stage.settings.post(number, 1)).await };
        rounds.map(store).buffer_unordered(CONCURRENCY).try_collect::<()>().await?;
    }
    let warm = |id: &str| Post {
        reference: Reference { post: id.to_owned(), version: 1 },
        body: format!("{id} 1\n").into_bytes(),
    };
    let [raw, traced] = ["warm-raw", "warm-shim"].map(warm);
    stage.posts.write(Access::Raw, &raw).await?;
    LineageScope::new().run(stage.posts.write(Access::Shim, &traced)).await?;
    let started = Instant::now();
    for post in [&raw, &traced] {
        while stage.posts.read(Access::Raw, post.id()).await?.is_none() {
            if started.elapsed() > LIMIT {
                return Err(Failure::TooLate { what: "replication", seconds: LIMIT.as_secs() });
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    LineageScope::new().run(stage.posts.read(Access::Shim, traced.id())).await?;
    Ok(())
}
