//! Notifications through the log of an embedded store.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use antipode::barrier::{BoxFuture, OnMissing};
use antipode::lineage::{BAGGAGE_KEY, Baggage, Lineage, LineageCodec, LineageScope};
use antipode::memory::{Lag, MemoryError, MemoryStore, Notice, Tail};

use super::{Channel, Notification, Notifier, Subscription};
use crate::Failure;
use crate::posts::Reference;

/// How long a notification takes.
const DELAY: Duration = Duration::from_millis(1);
const REGION: &str = "eu";

/// One log for each channel. A message is a line with the post, and under it a W3C baggage header with
/// the lineage: the log lives in this process, but nothing gets to the reader except by this text.
pub(crate) struct MemoryNotifier {
    logs: Mutex<HashMap<Channel, MemoryStore>>,
    seed: u64,
    codec: LineageCodec,
}

impl MemoryNotifier {
    pub(crate) fn new(seed: u64) -> Self {
        Self { logs: Mutex::default(), seed, codec: LineageCodec::plain() }
    }

    fn log(&self, channel: Channel) -> Result<MemoryStore, Failure> {
        match self.logs.lock().unwrap_or_else(PoisonError::into_inner).entry(channel) {
            Entry::Occupied(log) => Ok(log.get().clone()),
            Entry::Vacant(place) => {
                let log = MemoryStore::builder("notifications").region("us").lagging(REGION, Lag::of(DELAY));
                let log = log.seed(self.seed).on_missing(OnMissing::Ignore).build();
                Ok(place.insert(log.map_err(failed("be built"))?).clone())
            }
        }
    }
}

impl Notifier for MemoryNotifier {
    fn version(&self) -> String {
        concat!("memory ", env!("CARGO_PKG_VERSION")).to_owned()
    }

    fn publish<'a>(&'a self, channel: Channel, post: &'a Reference) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let mut message = format!("{post}\n");
            if let Some(scope) = LineageScope::current() {
                message += &Baggage::default().write(&self.codec, &scope.settled().await).value;
            }
            let shim = self.log(channel)?.shim();
            shim.put(&post.post, message).await.map_err(failed("publish a notification"))?;
            Ok(())
        })
    }

    fn subscribe(&self, channel: Channel) -> BoxFuture<'_, Result<Box<dyn Subscription>, Failure>> {
        Box::pin(async move {
            let tail = self.log(channel)?.tail(REGION).map_err(failed("subscribe"))?;
            let subscription = MemorySubscription { tail, codec: self.codec.clone() };
            Ok(Box::new(subscription) as Box<dyn Subscription>)
        })
    }
}

struct MemorySubscription {
    tail: Tail,
    codec: LineageCodec,
}

impl Subscription for MemorySubscription {
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Notification>, Failure>> {
        Box::pin(async move {
            let notice = self.tail.next().await.map_err(failed("receive a notification"))?;
            Ok(vec![parse(&self.codec, &notice)?])
        })
    }
}

/// Reads the message's text, and nothing else of the notice.
fn parse(codec: &LineageCodec, notice: &Notice) -> Result<Notification, Failure> {
    let message = notice.value.as_deref().unwrap_or_default();
    let unread = || garbled(String::from_utf8_lossy(message).into_owned());
    let end = message.iter().position(|byte| *byte == b'\n').ok_or_else(unread)?;
    let (line, rest) = message.split_at(end);
    let post = Reference::parse(line).ok_or_else(unread)?;
    let header = rest.get(1..).unwrap_or_default();
    let lineage: Option<Lineage> = Baggage::read([header]).lineage(codec).map_err(|_| unread())?;
    let lineage_bytes = lineage.as_ref().map_or(0, |_| header.len().saturating_sub(BAGGAGE_KEY.len() + 1));
    Ok(Notification { post, lineage: lineage.unwrap_or_default(), lineage_bytes })
}

fn failed(operation: &'static str) -> impl FnOnce(MemoryError) -> Failure {
    Failure::store("memory", operation)
}

fn garbled(found: String) -> Failure {
    Failure::Garbled { what: "a notification", found }
}
