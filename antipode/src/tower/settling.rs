//! Until nothing of a request is under way.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use antipode_lineage::{Lineage, LineageScope};

/// A scope, and the wait for what it came to depend on.
pub(crate) struct Settling {
    scope: LineageScope,
    under_way: Option<Pin<Box<dyn Future<Output = Lineage> + Send>>>,
}

impl Settling {
    pub(crate) fn new(scope: LineageScope) -> Self {
        Self { scope, under_way: None }
    }

    pub(crate) fn scope(&self) -> &LineageScope {
        &self.scope
    }

    /// What the scope depends on. Waits for captures under way, which have limits of their own; without any
    /// it allocates nothing.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Lineage> {
        if self.under_way.is_none()
            && let Some(lineage) = self.scope.try_settled()
        {
            return Poll::Ready(lineage);
        }
        let scope = &self.scope;
        let under_way = self.under_way.get_or_insert_with(|| {
            let scope = scope.clone();
            Box::pin(async move { scope.settled().await })
        });
        let lineage = ready!(under_way.as_mut().poll(cx));
        self.under_way = None;
        Poll::Ready(lineage)
    }
}
