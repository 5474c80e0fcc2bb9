//! An in-process, geo-replicated store: the embedded default, and the fastest way to see what
//! asynchronous replication does to an application.
//!
//! - [`MemoryStore`] has a primary region and replicas that its log reaches after a seeded [`Lag`].
//!   It is what is registered for barriers.
//! - [`MemoryShim`] reads and writes values, and carries lineage.
//! - [`Tail`] streams what a region applies: a topic.
//! - It holds a branch ledger, see [`Registry::branch`](antipode_barrier::Registry::branch): for branches
//!   that outlive their request in this process. A branch that has ended is known for an hour.
//! - Partitions, pauses, stops and failovers, with and without loss, are methods of [`MemoryStore`].
//!
//! All of it runs on tokio's clock, so that a test under `start_paused` takes no time.
//!
//! # The whole story
//!
//! A post is written in the US and announced; whoever reads it in Europe at once finds nothing, unless
//! a barrier waits for it.
//!
//! ```
//! use std::time::Duration;
//!
//! use antipode_barrier::Registry;
//! use antipode_lineage::LineageScope;
//! use antipode_memory::{Lag, MemoryStore};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let slow = Lag::of(Duration::from_millis(120));
//! let posts = MemoryStore::builder("posts").region("us").lagging("eu", slow).build()?;
//! let notices = MemoryStore::builder("notices").region("us").region("eu").build()?;
//!
//! // In Europe: a service that reads from the replicas there.
//! let registry = Registry::builder().store(posts.reading_from(["eu"])?).build().await?;
//! let mut inbox = notices.tail("eu")?;
//!
//! // In the US: a request writes a post, then a notice. The notice carries the request's lineage.
//! LineageScope::new()
//!     .run(async {
//!         posts.shim().put("post:1", "hello").await?;
//!         notices.shim().put("notice:1", "post:1").await
//!     })
//!     .await?;
//!
//! // The notice overtakes the post.
//! let notice = inbox.next().await?;
//! notice
//!     .scope()
//!     .run(async {
//!         assert_eq!(posts.shim().get("post:1").await?, None);
//!
//!         let report = registry.barrier().await?;
//!         assert!(report.prevented());
//!         assert_eq!(posts.shim().get("post:1").await?.as_deref(), Some(&b"hello"[..]));
//!         Ok(())
//!     })
//!     .await
//! # }
//! ```
//!
//! # It is not
//!
//! durable (it lives and ends with the process), or a model of consensus: failover happens when it is
//! told to. A read takes no time; only replication does.

mod builder;
mod cluster;
mod error;
mod faults;
mod ledger;
mod log;
mod region;
mod shim;
mod store;
mod tail;

pub use builder::MemoryBuilder;
pub use error::MemoryError;
pub use region::Lag;
pub use shim::{MemoryShim, MemoryTransaction};
pub use store::MemoryStore;
pub use tail::{Notice, Tail};
