//! From the span that waited for a write to the span that made it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use antipode_barrier::{Observer, Wait};
use antipode_lineage::{Captured, WriteId};
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry::{Context, KeyValue};

/// How many writes are remembered by default: about 2 MB.
pub const DEFAULT_MAX_LINKS: usize = 10_000;

/// An [`Observer`] that remembers the span in which a position was captured, and links to it from the span
/// of the wait for that position. A clone shares the memory.
///
/// With the layer of `tracing-opentelemetry`, these are the spans `capture`, or the one in which the
/// operation ran if the position came with its reply, and `store_wait`. The link has the attribute
/// `antipode.write`.
///
/// ```
/// # use antipode::prelude::*;
/// use antipode::opentelemetry::WriteLinks;
///
/// # async fn example(posts: impl antipode::barrier::Store) -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::builder().store(posts).observer(WriteLinks::default()).build().await?;
/// # Ok(()) }
/// ```
///
/// # Limits
///
/// It knows the writes of this process, the latest of them. What another process wrote has no link: the
/// lineage carries positions, not traces. A lineage keeps the last write to each log, so that is the one
/// linked to; and where a read has put a later position in its place, there is none.
#[derive(Debug, Clone)]
pub struct WriteLinks {
    spans: Arc<Mutex<Spans>>,
}

#[derive(Debug)]
struct Spans {
    max: usize,
    of: HashMap<WriteId, SpanContext>,
    order: VecDeque<WriteId>,
}

impl WriteLinks {
    /// Remembers so many writes, and forgets the oldest.
    #[must_use]
    pub fn remembering(max: usize) -> Self {
        let spans = Spans { max, of: HashMap::new(), order: VecDeque::new() };
        Self { spans: Arc::new(Mutex::new(spans)) }
    }

    fn with<R>(&self, call: impl FnOnce(&mut Spans) -> R) -> R {
        call(&mut self.spans.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for WriteLinks {
    fn default() -> Self {
        Self::remembering(DEFAULT_MAX_LINKS)
    }
}

impl Observer for WriteLinks {
    fn captured(&self, captured: &Captured<'_>) {
        Context::map_current(|cx| {
            let span = cx.span();
            let span = span.span_context();
            if span.is_valid() {
                let placed = captured.writes.iter().filter(|write| !write.is_unplaced());
                self.with(|spans| placed.for_each(|write| spans.remember(*write, span)));
            }
        });
    }

    fn waited(&self, _: &Wait, writes: &[WriteId]) {
        let found: Vec<_> = self.with(|spans| {
            let known = writes.iter().filter_map(|write| Some((*write, spans.of.get(write)?.clone())));
            known.collect()
        });
        Context::map_current(|cx| {
            for (write, span) in found {
                cx.span().add_link(span, vec![KeyValue::new("antipode.write", write.to_string())]);
            }
        });
    }
}

impl Spans {
    /// The first stays: who captures the same position later has read it.
    fn remember(&mut self, write: WriteId, span: &SpanContext) {
        if self.max == 0 || self.of.contains_key(&write) {
            return;
        }
        if self.order.len() == self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.of.remove(&oldest);
        }
        self.of.insert(write, span.clone());
        self.order.push_back(write);
    }
}

#[cfg(test)]
mod tests {
    use antipode_lineage::{Epoch, Position, Shard};

    use super::*;

    #[test]
    fn the_memory_is_bounded_and_the_oldest_goes() {
        let links = WriteLinks::remembering(2);
        let epoch = Epoch { history: 1, term: 1 };
        let store = "posts".parse().unwrap();
        let at = |position| WriteId { store, shard: Shard::ONLY, epoch, position: Position(position) };
        let known = |links: &WriteLinks| {
            links.with(|spans| [1, 2, 3].map(|position| spans.of.contains_key(&at(position))))
        };
        for position in [1, 2, 1, 3] {
            links.with(|spans| spans.remember(at(position), &SpanContext::NONE));
        }
        assert_eq!(known(&links), [false, true, true]);
        assert_eq!(links.with(|spans| spans.order.len()), 2);
    }
}
