//! The changes of a MongoDB collection as a source.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use antipode_barrier::{BarrierError, DEFAULT_DEADLINE, Registry};
use antipode_lineage::{LineageScope, StoreName};
use antipode_mongodb::mongodb::bson::{Document, deserialize_from_bson, doc, serialize_to_bson};
use antipode_mongodb::mongodb::change_stream::event::ResumeToken;
use antipode_mongodb::mongodb::error::{Error, Result};
use antipode_mongodb::mongodb::{Collection, bson};
use antipode_mongodb::{MongoChangeStream, MongoCollection, MongoEvent};
use futures_util::Stream;
use serde::de::DeserializeOwned;

use super::{Message, Source};

/// How many changes, from the first that is not handled, are read ahead.
const AHEAD: usize = 1_000;

/// How long what was handled may go unsaved.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// How long one saving may take.
const SAVE_LIMIT: Duration = Duration::from_secs(30);

/// The changes of a collection, to one worker: of each document one after the other, of others meanwhile.
///
/// How far they are handled is saved, as a resume token, in a document of a collection of yours: at most a
/// second later, and when the worker ends. After a crash the changes from there on come again. The first
/// start begins with the changes made after it.
///
/// What depends on writes that are not visible yet waits in a worker's hands: changes of other documents
/// pass it, and it counts as one of those that are handled at once. Past the [deadline](Self::deadline) it
/// is handed over again, after the worker's pause (fail-closed).
///
/// Run one worker per name: two with the same name each handle every change. If the oplog does not reach
/// back to the saved token any more, the driver says so and the worker ends.
pub struct MongoChanges<T> {
    shared: Arc<Shared<T>>,
    registry: Registry,
    deadline: Duration,
}

/// A change to be handled. It derefs to the shim's event.
pub struct Change<T> {
    place: Place,
    event: Arc<MongoEvent<T>>,
    is_done: bool,
    shared: Arc<Shared<T>>,
    registry: Registry,
    deadline: Duration,
}

struct Shared<T> {
    tokens: Collection<Document>,
    name: String,
    store: StoreName,
    state: Mutex<State<T>>,
}

struct State<T> {
    stream: MongoChangeStream<T>,
    /// The changes from the first that is not handled, in order.
    window: VecDeque<Slot>,
    /// The number of the first of them.
    first: u64,
    /// Documents of which a change is out, each with the changes behind that.
    lanes: HashMap<String, VecDeque<Held<T>>>,
    ready: VecDeque<(Place, Arc<MongoEvent<T>>)>,
    caller: Option<Waker>,
    /// Up to where all is handled, if that is not saved.
    unsaved: Option<ResumeToken>,
    saved: Instant,
}

struct Slot {
    token: ResumeToken,
    is_handled: bool,
}

type Held<T> = (u64, Arc<MongoEvent<T>>);

/// Where a change stands: its number, and its document.
#[derive(Clone)]
struct Place {
    number: u64,
    document: String,
}

impl<T: DeserializeOwned + Send + Sync + 'static> MongoChanges<T> {
    /// Watches the collection from where the worker of this name has come to, which is kept in `tokens`.
    ///
    /// # Errors
    /// The driver's.
    pub async fn watch(
        collection: &MongoCollection<T>,
        registry: &Registry,
        tokens: Collection<Document>,
        name: &str,
    ) -> Result<Self> {
        let kept = tokens.find_one(doc! { "_id": name }).await?;
        let kept = kept.and_then(|kept| kept.get("token").cloned());
        let kept: Option<ResumeToken> = kept.map(deserialize_from_bson).transpose()?;
        let is_first = kept.is_none();
        let stream = collection.watch().resume_after(kept).await?;
        let state = State {
            unsaved: if is_first { stream.resume_token() } else { None },
            stream,
            window: VecDeque::new(),
            first: 0,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            caller: None,
            saved: Instant::now(),
        };
        let (name, store) = (name.to_owned(), collection.store());
        let shared = Shared { tokens, name, store, state: Mutex::new(state) };
        // Else what happens until the first change is handled would be missed after a crash.
        shared.save().await?;
        Ok(Self { shared: Arc::new(shared), registry: registry.clone(), deadline: DEFAULT_DEADLINE })
    }

    /// How long what a change depends on is waited for. [`DEFAULT_DEADLINE`] by default.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> Source for MongoChanges<T> {
    type Message = Change<T>;
    type Error = Error;

    async fn recv(&self) -> Result<Change<T>> {
        let (place, event) = poll_fn(|cx| self.shared.state().poll(&self.shared, cx)).await?;
        let shared = Arc::clone(&self.shared);
        let (registry, deadline) = (self.registry.clone(), self.deadline);
        Ok(Change { place, event, is_done: false, shared, registry, deadline })
    }

    async fn close(self) -> Result<()> {
        self.shared.save().await
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> Message for Change<T> {
    fn scope(&self) -> LineageScope {
        LineageScope::from(self.event.lineage().clone())
    }

    /// An empty lineage of its writer counts as none: the change itself is always in there.
    fn has_lineage(&self) -> bool {
        let lineage = self.event.lineage();
        lineage.writes().len() > 1 || lineage.has_overflowed()
    }

    async fn visible(&self) -> std::result::Result<(), BarrierError> {
        self.registry.barrier_on(self.event.lineage()).deadline(self.deadline).await.map(drop)
    }

    async fn done(mut self) {
        self.is_done = true;
        let is_due = self.shared.state().handled(&self.place);
        if is_due && let Err(error) = self.shared.save().await {
            tracing::warn!(%error, "how far changes are handled was not saved: it will be tried again");
        }
    }
}

impl<T> Drop for Change<T> {
    fn drop(&mut self) {
        if !self.is_done {
            let (place, event) = (self.place.clone(), Arc::clone(&self.event));
            let mut state = self.shared.state();
            state.ready.push_back((place, event));
            state.call();
        }
    }
}

impl<T> Deref for Change<T> {
    type Target = MongoEvent<T>;

    fn deref(&self) -> &MongoEvent<T> {
        &self.event
    }
}

impl<T> Shared<T> {
    async fn save(&self) -> Result<()> {
        let Some(token) = self.state().unsaved.take() else { return Ok(()) };
        let saved = match tokio::time::timeout(SAVE_LIMIT, self.write(&token)).await {
            Ok(saved) => saved,
            Err(_) => Err(Error::custom(format!(
                "store {}: the resume token of {} was not saved in {} within {SAVE_LIMIT:?}: check the primary",
                self.store,
                self.name,
                self.tokens.namespace()
            ))),
        };
        let mut state = self.state();
        state.saved = Instant::now();
        if saved.is_err() && state.unsaved.is_none() {
            state.unsaved = Some(token);
        }
        saved
    }

    async fn write(&self, token: &ResumeToken) -> Result<()> {
        let token: bson::Bson = serialize_to_bson(token)?;
        let place = doc! { "_id": &self.name };
        self.tokens.update_one(place, doc! { "$set": { "token": token } }).upsert(true).await.map(drop)
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while the lock is held; a poisoned state is still a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: DeserializeOwned> State<T> {
    fn poll(
        &mut self,
        shared: &Shared<T>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Place, Arc<MongoEvent<T>>)>> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Poll::Ready(Ok(ready));
            }
            self.caller = Some(cx.waker().clone());
            if self.window.len() >= AHEAD {
                return Poll::Pending;
            }
            let event = match Pin::new(&mut self.stream).poll_next(cx) {
                Poll::Ready(Some(event)) => Arc::new(event?),
                Poll::Ready(None) => {
                    let Shared { name, store, .. } = shared;
                    let problem = format!(
                        "the changes in store {store} that {name} follows ended: was their collection dropped?"
                    );
                    return Poll::Ready(Err(Error::custom(problem)));
                }
                Poll::Pending => return Poll::Pending,
            };
            let number = self.first + self.window.len() as u64;
            self.window.push_back(Slot { token: event.id.clone(), is_handled: false });
            let document = event.document_key.as_ref().map(ToString::to_string).unwrap_or_default();
            match self.lanes.entry(document) {
                Entry::Occupied(lane) => lane.into_mut().push_back((number, event)),
                Entry::Vacant(lane) => {
                    let place = Place { number, document: lane.key().clone() };
                    lane.insert(VecDeque::new());
                    return Poll::Ready(Ok((place, event)));
                }
            }
        }
    }
}

impl<T> State<T> {
    /// A change is handled: the next one of its document may be. Says if it is time to save.
    fn handled(&mut self, place: &Place) -> bool {
        let at = place.number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some(slot) = at.and_then(|at| self.window.get_mut(at)) {
            slot.is_handled = true;
        }
        while let Some(slot) = self.window.pop_front_if(|slot| slot.is_handled) {
            self.first += 1;
            self.unsaved = Some(slot.token);
        }
        if let Entry::Occupied(mut lane) = self.lanes.entry(place.document.clone()) {
            match lane.get_mut().pop_front() {
                Some((number, event)) => self.ready.push_back((Place { number, ..place.clone() }, event)),
                None => drop(lane.remove()),
            }
        }
        self.call();
        self.unsaved.is_some() && self.saved.elapsed() >= SAVE_EVERY
    }

    fn call(&mut self) {
        if let Some(caller) = self.caller.take() {
            caller.wake();
        }
    }
}

impl<T> std::fmt::Debug for MongoChanges<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MongoChanges").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

impl<T> std::fmt::Debug for Change<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Change").field("number", &self.place.number).finish_non_exhaustive()
    }
}
