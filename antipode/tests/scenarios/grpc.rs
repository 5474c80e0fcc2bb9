//! The same layers around tonic: each kind of call carries lineage both ways.
//!
//! The service is written by hand over texts, so that no compiler of `.proto` files is needed.

use std::time::Duration;

use antipode::lineage::WriteId;
use antipode::memory::MemoryStore;
use antipode::prelude::*;
use antipode::tower::BarrierLayer;
use futures_util::stream;
use tonic::{Code, Request};

use crate::services::{LIMIT, Test, posts_with_europe_cut_off, store, until_waiting};
use crate::texts::{Caller, Served, Texts};

/// A caller that depends on a write to "orders", and a service that writes to "posts".
async fn stage() -> Test<(MemoryStore, Served, Caller, LineageScope)> {
    let posts = store("posts")?;
    let served = Texts::writing_to(posts.clone()).serve(None).await?;
    let caller = Caller::to(&served).await?;
    let scope = LineageScope::from(Lineage::from(WriteId::unplaced("orders".parse()?)));
    Ok((posts, served, caller, scope))
}

/// That the caller learned of the service's first so many writes, and the service of the caller's.
fn both_ways(posts: &MemoryStore, scope: &LineageScope, came: &str, writes: u64) -> Test {
    assert_eq!(came, "orders", "the service's lineage when it was called");
    let known = scope.lineage();
    let [posted] = known.of_store("posts".parse()?) else { return Err(format!("{known:?}").into()) };
    assert_eq!(posted.position.0, writes);
    assert_eq!(posts.missed(), 0, "all of it ran in the request's scope");
    Ok(())
}

#[tokio::test]
async fn unary_calls_carry_lineage_both_ways() -> Test {
    let (posts, _served, mut caller, scope) = stage().await?;
    let came = scope.run(caller.unary("a")).await?;
    both_ways(&posts, &scope, &came, 1)
}

#[tokio::test]
async fn client_streams_carry_lineage_both_ways() -> Test {
    let (posts, _served, mut caller, scope) = stage().await?;
    let came = scope.run(caller.client_stream(stream::iter(["a", "b", "c"]))).await?;
    both_ways(&posts, &scope, &came, 3)
}

#[tokio::test]
async fn server_streams_carry_lineage_both_ways() -> Test {
    let (posts, _served, mut caller, scope) = stage().await?;
    let mut answers = scope.run(caller.server_stream("abc")).await?;
    let came = answers.message().await?.ok_or("an answer")?;
    while let Some(answer) = answers.message().await? {
        assert_eq!(answer, came);
    }
    both_ways(&posts, &scope, &came, 3)
}

#[tokio::test]
async fn streams_in_both_directions_carry_lineage_both_ways() -> Test {
    let (posts, _served, mut caller, scope) = stage().await?;
    let (sender, messages) = tokio::sync::mpsc::channel(1);
    let messages = tokio_stream::wrappers::ReceiverStream::new(messages);
    sender.send("a").await?;
    let mut answers = scope.run(caller.both_stream(messages)).await?;
    let came = answers.message().await?.ok_or("an answer")?;
    sender.send("b").await?;
    assert_eq!(answers.message().await?.as_ref(), Some(&came));
    assert!(scope.lineage().of_store("posts".parse()?).is_empty(), "only the trailer tells");
    drop(sender);
    assert_eq!(answers.message().await?, None);
    both_ways(&posts, &scope, &came, 2)
}

#[tokio::test]
async fn a_status_brings_what_was_written_before_the_failure() -> Test {
    let (posts, _served, mut caller, scope) = stage().await?;
    let status = scope.run(caller.unary("fail")).await.expect_err("told to fail");
    assert_eq!(status.code(), Code::Aborted);
    assert_eq!(status.message(), "orders,posts");
    both_ways(&posts, &scope, "orders", 1)
}

#[tokio::test]
async fn a_stream_that_breaks_off_keeps_its_status() -> Test {
    let (posts, _served, mut caller, scope) = stage().await?;
    let mut answers = scope.run(caller.server_stream("a!")).await?;
    let came = answers.message().await?.ok_or("an answer")?;
    assert_eq!(answers.message().await.expect_err("told to fail").code(), Code::Aborted);
    both_ways(&posts, &scope, &came, 1)
}

#[tokio::test]
async fn calls_given_up_leave_nothing_behind() -> Test {
    let (_posts, served, mut caller, scope) = stage().await?;
    scope.run(caller.unary("connect")).await?;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let (before, known) = (tasks(), scope.lineage());
    for _ in 0..20 {
        // Who gives a stream up lets go of what is sent, too: hyper does not while that goes on.
        let (sending, messages) = tokio::sync::mpsc::channel(1);
        let messages = tokio_stream::wrappers::ReceiverStream::new(messages);
        let mut answers = scope.run(caller.both_stream(messages)).await?;
        let mut stuck = caller.clone();
        tokio::select! {
            answer = answers.message() => return Err(format!("{answer:?}").into()),
            answer = scope.run(stuck.unary("stuck")) => return Err(format!("{answer:?}").into()),
            running = served.until_running(2) => running?,
        }
        drop((answers, sending));
        served.until_running(0).await?;
    }
    let ended = async {
        while tasks() > before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, ended).await?;
    assert_eq!(scope.lineage(), known);
    Ok(())
}

#[tokio::test]
async fn a_barrier_before_the_service_says_so_in_a_status() -> Test {
    let posts = posts_with_europe_cut_off()?;
    let registry = Registry::builder().store(posts.reading_from(["eu"])?).build().await?;
    let barrier = BarrierLayer::new(registry.clone())
        .deadline(Duration::from_millis(50))
        .deadline_header("x-request-deadline".parse()?);
    let served = Texts::writing_to(store("notes")?).serve(Some(barrier)).await?;
    let mut caller = Caller::to(&served).await?;
    let scope = LineageScope::new();
    scope.run(posts.shim().put("post", "hello")).await?;

    assert_eq!(scope.run(caller.unary("a")).await.expect_err("too late").code(), Code::Unavailable);
    let mut hurried = Request::new("a".to_owned());
    hurried.metadata_mut().insert("x-request-deadline", "10".parse()?);
    let status = scope.run(caller.send(hurried)).await.expect_err("too late");
    assert_eq!(status.code(), Code::DeadlineExceeded);

    let waiting = scope.run(async { registry.barrier().await }).await.expect_err("cut off");
    assert_eq!(antipode::tonic::status(&waiting).code(), Code::Unavailable);
    posts.heal("eu")?;
    scope.run(async { registry.barrier().deadline(LIMIT).await }).await?;
    assert_eq!(scope.run(caller.unary("a")).await?, "posts");
    until_waiting(&registry, 0).await
}
