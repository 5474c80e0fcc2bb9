//! What a caller is told of the lineage.

use std::task::{Context, Poll, ready};

use antipode_lineage::{Lineage, LineageCodec, LineageScope};
use http::HeaderMap;

use super::headers;
use super::settling::Settling;

/// What the scope came to depend on that the caller does not know yet.
pub(crate) struct Reply {
    settling: Settling,
    /// What the caller sent or was told last, and how it reads that; `None` for callers that are told
    /// nothing.
    told: Option<(Lineage, LineageCodec)>,
}

/// What the caller does not know yet.
pub(crate) struct News<'r> {
    lineage: &'r Lineage,
    codec: &'r LineageCodec,
}

impl Reply {
    pub(crate) fn new(scope: LineageScope, told: Option<(Lineage, LineageCodec)>) -> Self {
        Self { settling: Settling::new(scope), told }
    }

    /// Calls the function in the scope.
    pub(crate) fn enter<R>(&mut self, call: impl FnOnce() -> R) -> R {
        self.settling.enter(call)
    }

    /// The scope, once there is nothing more to tell.
    pub(crate) fn into_scope(self) -> Option<LineageScope> {
        self.settling.into_scope()
    }

    /// The lineage, if there is more in it than the caller knows. Waits for captures under way.
    pub(crate) fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<Option<News<'_>>> {
        let Some((told, codec)) = &mut self.told else { return Poll::Ready(None) };
        if self.settling.is_settled_at(told) {
            return Poll::Ready(None);
        }
        let lineage = ready!(self.settling.poll(cx));
        if *told == lineage {
            return Poll::Ready(None);
        }
        *told = lineage;
        Poll::Ready(Some(News { lineage: told, codec }))
    }
}

impl News<'_> {
    /// Puts it into a response's headers or trailers.
    pub(crate) fn put(&self, headers: &mut HeaderMap) {
        let _ = headers::put(headers, self.codec, self.lineage, None);
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply").finish_non_exhaustive()
    }
}
