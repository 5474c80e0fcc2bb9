//! Posts in the embedded store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use antipode::barrier::{BoxFuture, OnMissing, Store};
use antipode::memory::{Lag, MemoryStore};

use super::{Access, EU, POSTS, Post, Posts, Reference};
use crate::Failure;

/// A region `us` and one, `eu`, that its log reaches late.
pub(crate) struct MemoryPosts {
    writer: MemoryStore,
    reader: MemoryStore,
    lag_us: AtomicU64,
}

impl MemoryPosts {
    pub(crate) fn open(seed: u64) -> Result<Self, Failure> {
        let store = MemoryStore::builder(POSTS).region("us").region(EU).seed(seed);
        // The mode without lineage uses the shim too, for want of a driver, outside of any lineage.
        let writer = store.on_missing(OnMissing::Ignore).build().map_err(failed("be built"))?;
        let reader = writer.reading_from([EU]).map_err(failed("be read from"))?;
        Ok(Self { writer, reader, lag_us: AtomicU64::new(0) })
    }
}

impl Posts for MemoryPosts {
    fn reader(&self) -> Arc<dyn Store> {
        Arc::new(self.reader.clone())
    }

    fn version(&self) -> String {
        concat!("memory ", env!("CARGO_PKG_VERSION")).to_owned()
    }

    fn set_lag(&self, lag: Duration) -> Result<(), Failure> {
        self.lag_us.store(u64::try_from(lag.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.writer.set_lag(EU, Lag::of(lag)).map_err(failed("set its lag"))
    }

    fn exact_lag(&self) -> Option<Duration> {
        Some(Duration::from_micros(self.lag_us.load(Ordering::Relaxed)))
    }

    fn write<'a>(
        &'a self,
        _access: Access,
        post: &'a Post,
    ) -> BoxFuture<'a, Result<Option<String>, Failure>> {
        Box::pin(async move {
            let shim = self.writer.shim();
            let written = match &post.body {
                Some(body) => shim.put(post.id(), body).await,
                None => shim.delete(post.id()).await,
            };
            written.map(|_| None).map_err(failed("store a post"))
        })
    }

    fn read<'a>(
        &'a self,
        access: Access,
        post: &'a Reference,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Failure>> {
        Box::pin(async move {
            let body = match access {
                Access::Raw | Access::Own => self.reader.peek(EU, &post.post),
                Access::Shim => self.reader.shim().get(&post.post).await,
            };
            Ok(body.map_err(failed("read a post"))?.map(|body| body.to_vec()))
        })
    }
}

fn failed(operation: &'static str) -> impl FnOnce(antipode::memory::MemoryError) -> Failure {
    Failure::store("memory", operation)
}
