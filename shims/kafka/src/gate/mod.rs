//! The causal delivery gate.

mod builder;
mod core;
mod dead_letter;
mod delivery;
mod held;
mod lanes;
mod policy;
mod rebalances;
mod seat;
mod waits;
mod window;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use antipode_barrier::{Barrier, Registry, Store};
use antipode_lineage::{Lineage, StoreName};
use futures_util::stream::{FuturesUnordered, StreamExt};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{CommitMode, Consumer, MessageStream};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use tokio::task::{consume_budget, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

pub use self::builder::GateBuilder;
pub use self::dead_letter::DEAD_LETTER_HEADER;
pub use self::delivery::Delivery;
pub use self::policy::{Keyless, OnLate};

use self::core::{Flow, Ticket};
use self::dead_letter::DeadLetters;
use self::held::{Held, Shared, Terms};
use self::lanes::{LaneId, Turn};
use self::rebalances::{Rebalances, list};
use self::seat::{Seat, SeatLock};
use self::waits::Ended;
use crate::{Error, KafkaConsumer, KafkaStore};

/// How many records pass until the clock is looked at for the next commit.
const COMMIT_CHECK: u32 = 256;

/// After how many commits everything is said again, whether there is news or not: of a commit that the
/// broker refuses nobody hears. The driver tells of those that it makes by itself only.
const COMMITS_UNHEARD: u32 = 10;

/// How long the driver may go without being asked for a record, while kept ones are handed over: it takes
/// a consumer that does not ask for a dead one, after `max.poll.interval.ms`.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// How many records are parked until others get their turn.
const PARKED_AT_ONCE: u32 = 64;

/// How long the last commit and the leaving of the group may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(30);

/// A consumer that hands over a record only when what its writer depended on is visible on the stores
/// that the handler reads.
///
/// - A record whose dependencies are not visible yet is parked, with the later ones of its key. **Other
///   keys pass it.** Within a key (of one partition) records are handed over one after the other: the
///   next one when the one before is [done](Delivery::done).
/// - What is kept is bounded: beyond the [capacity](GateBuilder::capacity) a partition is paused until
///   half of it is free.
/// - A record past its [deadline](GateBuilder::deadline), or whose dependencies are known to be lost,
///   goes the way of [`OnLate`].
/// - **Offsets are committed only past what is handled**: the commit stands at the first record of the
///   partition that is not done. After a restart or a rebalance the records from there on come again,
///   also those that were done: handling is at least once, and in the order of the key.
/// - A record with an unreadable lineage waits for all that the primaries have; one without lineage
///   waits for nothing.
///
/// One gate may be shared by many handlers, each calling [`recv`](Self::recv): as many keys are handled
/// at once. Nothing runs in between calls: call it at least every `max.poll.interval.ms`, also while
/// handlers are busy.
///
/// When a partition is revoked while a handler is at work on one of its records, the next consumer is
/// handed that record as well, at once: the two handlers overlap.
///
/// ```no_run
/// use std::time::Duration;
///
/// use antipode_barrier::Registry;
/// use antipode_kafka::rdkafka::ClientConfig;
/// use antipode_kafka::{Gate, KafkaStore, OnLate};
///
/// # async fn example(registry: Registry, notifications: KafkaStore) -> Result<(), Box<dyn std::error::Error>> {
/// let mut config = ClientConfig::new();
/// config.set("bootstrap.servers", "kafka.example:9092").set("group.id", "mailer");
/// let gate = Gate::builder(&notifications, &registry)
///     .config(&config)
///     .topics(["notifications"])
///     .stores(["posts".parse()?])
///     .deadline(Duration::from_secs(30))
///     .on_late(OnLate::DeadLetter("notifications-late".to_owned()))
///     .build()?;
/// loop {
///     let delivery = gate.recv().await?;
///     // The post that the notification is about can be read here.
///     delivery.scope().run(async { /* … */ }).await;
///     delivery.done();
/// }
/// # }
/// ```
pub struct Gate {
    consumer: Arc<KafkaConsumer<Rebalances>>,
    shared: Arc<Shared>,
    rules: Rules,
    dead_letters: Option<DeadLetters>,
    hasher: RandomState,
    seat: SeatLock,
    /// Calls one of those who wait for a record.
    caller: Waker,
}

struct Rules {
    registry: Registry,
    stores: Option<Arc<[StoreName]>>,
    deadline: Duration,
    on_late: OnLate,
    keyless: Keyless,
    commit_every: Duration,
}

type Stream<'a> = MessageStream<'a, Rebalances>;

enum Event<'a> {
    Message(Result<BorrowedMessage<'a>, KafkaError>),
    Changed,
}

impl Gate {
    /// Begins a gate for records of `store`'s topics, whose dependencies are looked up in `registry`.
    pub fn builder(store: &KafkaStore, registry: &Registry) -> GateBuilder {
        GateBuilder::new(store.clone(), registry.clone())
    }

    fn new(
        consumer: KafkaConsumer<Rebalances>,
        shared: Arc<Shared>,
        rules: Rules,
        dead_letters: Option<DeadLetters>,
    ) -> Self {
        let mut commits = interval(rules.commit_every.max(Duration::from_millis(1)));
        commits.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (waits, committed) = (FuturesUnordered::new(), Instant::now());
        let seat = Seat { waits, commits, keeping: None, committed, unheard: 0, passed: 0 };
        Self {
            consumer: Arc::new(consumer),
            caller: Waker::from(Arc::clone(&shared)),
            shared,
            rules,
            dead_letters,
            hasher: RandomState::new(),
            seat: SeatLock::new(seat),
        }
    }

    /// The next record to handle. May be dropped at any time without losing one.
    ///
    /// # Errors
    /// [`Error::Late`] under [`OnLate::Fail`]; [`Error::DeadLetter`] if a dead letter could not be
    /// written, which is tried again; [`Error::Consume`] from the driver. The gate goes on with the next
    /// call.
    pub async fn recv(&self) -> Result<Delivery<'_>, Error> {
        consume_budget().await;
        // Whoever goes, with a record or without, leaves the gate to the next.
        let _leaving = Leaving(&self.shared);
        let mut stream = self.consumer.inner().stream();
        loop {
            if let Poll::Ready(outcome) = self.turn(&mut stream) {
                return outcome;
            }
            self.shared.called().await;
        }
    }

    /// Records in memory that wait.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.shared.core().parked()
    }

    /// Partitions that are paused because too many of their records wait.
    #[must_use]
    pub fn paused(&self) -> usize {
        self.shared.core().paused()
    }

    /// Commits what is handled and leaves the group. Records that are parked or not done come to the
    /// next consumer. A gate that is dropped leaves as well, but blocks its thread meanwhile.
    ///
    /// # Errors
    /// [`Error::Consume`] if the last commit fails, or takes more than 30 s: what was handled since the
    /// one before will be handed over again.
    pub async fn close(self) -> Result<(), Error> {
        let failed = self.failed();
        let handled = {
            let mut core = self.shared.core();
            core.say_again();
            core.uncommitted()
        };
        let Self { consumer, .. } = self;
        let left = spawn_blocking(move || {
            let committed = match handled.is_empty() {
                true => Ok(()),
                false => list(&handled).and_then(|list| consumer.commit(&list, CommitMode::Sync)),
            };
            consumer.unsubscribe();
            committed
        });
        match timeout(CLOSE_LIMIT, left).await {
            Ok(Ok(committed)) => committed.map_err(failed),
            Ok(Err(_)) | Err(_) => Err(failed(KafkaError::Canceled)),
        }
    }

    /// A record, if there is one for the caller. Pending: somebody is called when there may be one.
    fn turn<'a>(&'a self, stream: &mut Stream<'a>) -> Poll<Result<Delivery<'a>, Error>> {
        for _ in 0..PARKED_AT_ONCE {
            // As it waits or as it goes, whoever holds it sees to it that somebody is called.
            let Some(mut seat) = self.seat.take() else { return Poll::Pending };
            // What was kept comes first, but not at the cost of those who wait, nor of the place in the
            // group.
            if let Some(ended) = self.ended_wait(&mut seat) {
                self.ended(&mut seat, ended)?;
                continue;
            }
            if let Some(delivery) = self.advance(&mut seat) {
                return Poll::Ready(Ok(delivery));
            }
            let Event::Message(message) = ready!(self.event(&mut seat, stream)) else { continue };
            let first = self.arrived(message.map_err(self.failed())?);
            // Others need not wait while this one is looked at.
            drop(seat);
            if let Some(delivery) = first.and_then(|(message, ticket)| self.handed_over(message, ticket)) {
                return Poll::Ready(Ok(delivery));
            }
        }
        self.caller.wake_by_ref();
        Poll::Pending
    }

    /// Does what needs no waiting.
    fn advance(&self, seat: &mut Seat) -> Option<Delivery<'_>> {
        seat.passed += 1;
        if seat.passed >= COMMIT_CHECK {
            seat.passed = 0;
            if seat.committed.elapsed() >= self.rules.commit_every {
                self.commit(seat);
            }
        }
        // Asked before the clock: most records are handed over as they come.
        if self.shared.is_idle() || seat.keeping.get_or_insert_with(Instant::now).elapsed() >= POLL_EVERY {
            return None;
        }
        let mut core = self.shared.core();
        for flow in core.flow() {
            self.regulate(&flow);
        }
        while let Some(ticket) = core.unchecked() {
            let Some(held) = core.waiting(ticket) else { continue };
            if self.barrier(&held.terms.lineage, &self.rules.registry).is_known() {
                core.release(ticket, |_| ());
            } else {
                seat.waits.push(self.wait(ticket, &held.terms));
            }
        }
        let (ticket, held) = core.next()?;
        Some(Delivery::kept(*held, ticket, &self.shared))
    }

    fn ended_wait(&self, seat: &mut Seat) -> Option<Ended> {
        if seat.waits.is_empty() {
            return None;
        }
        match seat.waits.poll_next_unpin(&mut Context::from_waker(&self.caller)) {
            Poll::Ready(ended) => ended,
            Poll::Pending => None,
        }
    }

    fn event<'a>(&'a self, seat: &mut Seat, stream: &mut Stream<'a>) -> Poll<Event<'a>> {
        let mut cx = Context::from_waker(&self.caller);
        seat.keeping = None;
        if let Poll::Ready(Some(message)) = stream.poll_next_unpin(&mut cx) {
            return Poll::Ready(Event::Message(message));
        }
        while seat.commits.poll_tick(&mut cx).is_ready() {
            self.commit(seat);
        }
        if self.shared.is_idle() { Poll::Pending } else { Poll::Ready(Event::Changed) }
    }

    /// Takes a record in, in the order of arrival. The first of its key is the caller's; behind another it
    /// is parked.
    fn arrived<'a>(&self, message: BorrowedMessage<'a>) -> Option<(BorrowedMessage<'a>, Ticket)> {
        let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
        let lane = self.lane(&message);
        let mut core = self.shared.core();
        // Else it has gone to another consumer meanwhile.
        let (ticket, turn) = core.arrive(topic, partition, offset, lane)?;
        if turn == Turn::First {
            return Some((message, ticket));
        }
        let terms = Terms::new(self.shared.store.writer_lineage(&message), Some(Instant::now()));
        core.park(ticket, Box::new(Held { message: message.detach(), terms }));
        None
    }

    /// Hands the first record of its key over if nothing stands against it, else keeps it, to be looked at
    /// again and waited for.
    fn handed_over<'a>(&'a self, message: BorrowedMessage<'a>, ticket: Ticket) -> Option<Delivery<'a>> {
        let terms = Terms::new(self.shared.store.writer_lineage(&message), None);
        if self.barrier(&terms.lineage, &self.rules.registry).is_known() {
            return Some(Delivery::fresh(message, ticket, terms, &self.shared));
        }
        let terms = Terms { since: Some(Instant::now()), ..terms };
        let held = Box::new(Held { message: message.detach(), terms });
        // Says that there is something to do: whoever holds the seat now may have looked already.
        self.shared.change(|core| core.give_back(ticket, held));
        None
    }

    fn barrier<'b>(&'b self, lineage: &'b Lineage, registry: &'b Registry) -> Barrier<'b> {
        selected(registry.barrier_on(lineage), self.rules.stores.as_deref())
    }

    fn lane(&self, message: &BorrowedMessage<'_>) -> LaneId {
        LaneId(match (message.key(), self.rules.keyless) {
            (Some(key), _) => self.hasher.hash_one(key),
            (None, Keyless::InOrder) => 0,
            (None, Keyless::Independent) => self.hasher.hash_one(message.offset()),
        })
    }

    fn regulate(&self, flow: &Flow) {
        let (Flow::Pause(topic, partition) | Flow::Resume(topic, partition)) = flow;
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(topic, *partition);
        let told = match flow {
            Flow::Pause(..) => self.consumer.pause(&list),
            Flow::Resume(..) => self.consumer.resume(&list),
        };
        if let Err(error) = told {
            // It has gone to another consumer meanwhile.
            tracing::debug!(%error, topic, partition, "cannot pause or resume");
        }
    }

    fn commit(&self, seat: &mut Seat) {
        seat.committed = Instant::now();
        seat.unheard += 1;
        let mut core = self.shared.core();
        if seat.unheard >= COMMITS_UNHEARD {
            seat.unheard = 0;
            core.say_again();
        }
        let handled = core.uncommitted();
        drop(core);
        if handled.is_empty() {
            return;
        }
        if let Err(error) = list(&handled).and_then(|list| self.consumer.commit(&list, CommitMode::Async)) {
            tracing::debug!(%error, "a commit failed, it will be repeated");
        }
    }

    fn failed(&self) -> impl Fn(KafkaError) -> Error + use<> {
        let store = self.shared.store.name();
        move |source| Error::Consume { store, source: Box::new(source) }
    }
}

/// A caller of [`recv`](Gate::recv) that goes.
struct Leaving<'a>(&'a Arc<Shared>);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.call();
    }
}

fn selected<'a>(barrier: Barrier<'a>, stores: Option<&'a [StoreName]>) -> Barrier<'a> {
    match stores {
        Some(stores) => barrier.only(stores),
        None => barrier,
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("store", &self.shared.store.name()).finish_non_exhaustive()
    }
}
