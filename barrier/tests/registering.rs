//! Registering stores: what is refused, and what is shared. Simulated time.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod simulated;

use std::sync::Arc;
use std::time::Duration;

use antipode_barrier::{BoxFuture, CheckError, Registry, RegistryError, Replica, Store};
use antipode_lineage::StoreName;
use simulated::{SimStore, registry};

#[tokio::test]
async fn one_name_one_store() {
    let twice = Registry::builder().store(SimStore::new("posts", &[0])).store(SimStore::new("posts", &[0]));
    let error = twice.build().await.unwrap_err();
    assert!(
        matches!(error, RegistryError::Duplicate { .. }) && error.to_string().contains("posts"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_store_is_read_from_somewhere() {
    let nothing = SimStore { primary: None, ..SimStore::new("posts", &[]) };
    let error = Registry::builder().store(nothing).build().await.unwrap_err();
    assert!(matches!(error, RegistryError::NoReplica { .. }), "{error}");
    let only_primary = SimStore::new("posts", &[]);
    let report = registry([&only_primary]).await.barrier_on(&only_primary.lineage(100)).await.unwrap();
    assert_eq!(report.route(only_primary.name).unwrap().as_str(), "primary");
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_is_read_from_is_watched_once() {
    let mut posts = SimStore::new("posts", &[]);
    posts.replicas = posts.primary.iter().cloned().collect();
    let registry = registry([&posts]).await;
    let error = registry.barrier_on(&posts.lineage(101)).await.unwrap_err();
    assert!(error.is_unreachable(), "{error}");
    let counted = registry.probes(posts.name, posts.primary().name());
    assert_eq!(counted, Some(posts.primary().probes()), "one watcher sent them all");
}

/// A store whose check answers this.
struct Checked(SimStore, fn(StoreName) -> BoxFuture<'static, Result<(), CheckError>>);

impl Store for Checked {
    fn name(&self) -> StoreName {
        self.0.name
    }

    fn primary(&self) -> Option<Arc<dyn Replica>> {
        Store::primary(&self.0)
    }

    fn replicas(&self) -> Vec<Arc<dyn Replica>> {
        Store::replicas(&self.0)
    }

    fn check(&self) -> BoxFuture<'_, Result<(), CheckError>> {
        self.1(self.0.name)
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_keep_the_promise_is_refused() {
    let refused = Checked(SimStore::new("posts", &[0]), |store| {
        Box::pin(async move { Err(CheckError::new(store, "synchronous_commit is off: turn it on")) })
    });
    let error = Registry::builder().store(refused).build().await.unwrap_err();
    assert_eq!(error.to_string(), "store posts was refused: synchronous_commit is off: turn it on");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_does_not_hang_the_start() {
    let silent = Checked(SimStore::new("posts", &[0]), |_| Box::pin(std::future::pending()));
    let build = Registry::builder().store(silent).build();
    let error = tokio::time::timeout(Duration::from_secs(60), build).await.unwrap().unwrap_err();
    assert!(
        matches!(error, RegistryError::NoAnswer { .. }) && error.to_string().contains("posts"),
        "{error}"
    );
}
