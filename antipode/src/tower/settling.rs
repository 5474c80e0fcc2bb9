//! Until nothing of a request is under way.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use antipode_lineage::{Lineage, LineageScope};

/// A scope, and the wait for what it came to depend on.
pub(crate) struct Settling {
    /// Away while it is entered.
    scope: Option<LineageScope>,
    under_way: Option<Pin<Box<dyn Future<Output = Lineage> + Send>>>,
}

impl Settling {
    pub(crate) fn new(scope: LineageScope) -> Self {
        Self { scope: Some(scope), under_way: None }
    }

    pub(crate) fn into_scope(self) -> Option<LineageScope> {
        self.scope
    }

    /// Calls the function with the scope as the current one.
    pub(crate) fn enter<R>(&mut self, call: impl FnOnce() -> R) -> R {
        LineageScope::enter_held(&mut self.scope, call)
    }

    /// Whether the scope depends on just this, and nothing is under way.
    pub(crate) fn is_settled_at(&self, lineage: &Lineage) -> bool {
        let same = |scope: &LineageScope| scope.look_settled(|settled| settled == lineage);
        self.under_way.is_none() && self.scope.as_ref().and_then(same) == Some(true)
    }

    /// What the scope depends on. Waits for captures under way, which have limits of their own; without any
    /// it allocates nothing.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Lineage> {
        let Some(scope) = &self.scope else { return Poll::Ready(Lineage::everything()) };
        if self.under_way.is_none()
            && let Some(lineage) = scope.try_settled()
        {
            return Poll::Ready(lineage);
        }
        let under_way = self.under_way.get_or_insert_with(|| {
            let scope = scope.clone();
            Box::pin(async move { scope.settled().await })
        });
        let lineage = ready!(under_way.as_mut().poll(cx));
        self.under_way = None;
        Poll::Ready(lineage)
    }
}
