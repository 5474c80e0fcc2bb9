//! What a caller is told of the lineage.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use antipode_lineage::{Lineage, LineageCodec, LineageScope};
use http::HeaderMap;

use super::headers;

/// What the scope came to depend on that the caller does not know yet.
pub(crate) struct Reply {
    scope: LineageScope,
    /// What the caller sent or was told last, and how it reads that; `None` for callers that are told
    /// nothing.
    told: Option<(Lineage, Arc<LineageCodec>)>,
    settling: Option<Pin<Box<dyn Future<Output = Lineage> + Send>>>,
}

/// What the caller does not know yet.
pub(crate) struct News<'r> {
    lineage: &'r Lineage,
    codec: &'r LineageCodec,
}

impl Reply {
    pub(crate) fn new(scope: LineageScope, told: Option<(Lineage, Arc<LineageCodec>)>) -> Self {
        Self { scope, told, settling: None }
    }

    pub(crate) fn scope(&self) -> &LineageScope {
        &self.scope
    }

    /// The lineage, if there is more in it than the caller knows. Waits for captures under way, which have
    /// limits of their own; without any it allocates nothing.
    pub(crate) fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<Option<News<'_>>> {
        let Some((told, codec)) = &mut self.told else { return Poll::Ready(None) };
        let known = if self.settling.is_none() { self.scope.try_settled() } else { None };
        let lineage = match known {
            Some(lineage) => lineage,
            None => {
                let scope = &self.scope;
                let settling = self.settling.get_or_insert_with(|| {
                    let scope = scope.clone();
                    Box::pin(async move { scope.settled().await })
                });
                let lineage = ready!(settling.as_mut().poll(cx));
                self.settling = None;
                lineage
            }
        };
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
        f.debug_struct("Reply").field("scope", &self.scope).finish_non_exhaustive()
    }
}
