//! What is done before the first round.

use std::time::Duration;

use antipode::lineage::LineageScope;
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;

use super::stage::Stage;
use crate::Failure;
use crate::cli::Variant;
use crate::posts::{Access, Post};

/// How long the replica may take to get what is written before the first round.
const LIMIT: Duration = Duration::from_secs(60);
const CONCURRENCY: usize = 16;

/// Stores the posts to be updated or deleted, uses every way of access once, so that no round has to
/// connect first, and waits until the replica has it all.
pub(crate) async fn prepare(stage: &Stage, progress: &ProgressBar) -> Result<(), Failure> {
    if stage.cell.variant != Variant::Insert {
        progress.set_message("storing the first versions");
        let rounds = stream::iter(0..stage.rounds.len());
        let store =
            |number| async move { stage.posts.write(Access::Raw, &stage.version(number, 1)).await.map(drop) };
        rounds.map(store).buffer_unordered(CONCURRENCY).try_collect::<()>().await?;
    }
    let own = stage.cell.modes.iter().any(|mode| mode.access() == Access::Own);
    for access in [Access::Raw, Access::Shim].into_iter().chain(own.then_some(Access::Own)) {
        warm(stage, access).await?;
    }
    Ok(())
}

/// Writes and reads a post until it is found. Replicas apply in order, so they have all before it, too.
/// Its name is new: on servers that are there, a late replica may still have the posts of an earlier run.
async fn warm(stage: &Stage, access: Access) -> Result<(), Failure> {
    let name = format!("warm-{access:?}-{:x}", rand::random::<u64>());
    let mut post = Post::small(stage.id(&name), 1);
    let found = LineageScope::new().run(async {
        post.reference.session = stage.posts.write(access, &post).await?;
        while stage.posts.read(access, &post.reference).await?.is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    });
    // Drivers may wait for a server that has fallen silent for as long as that lasts.
    let late = Failure::TooLate { what: "replication of a post to the replica", seconds: LIMIT.as_secs() };
    tokio::time::timeout(LIMIT, found).await.unwrap_or(Err(late))
}
