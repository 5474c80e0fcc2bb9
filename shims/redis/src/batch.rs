//! One request to the server for one or more of the user's commands, and taking its replies apart.

use antipode_lineage::{Epoch, Lineage, Position, StoreName};
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerError, ServerErrorKind, Value, cmd};
use smallvec::SmallVec;

use crate::replication::Replication;
use crate::treatment::{Attached, Companions, Effect, Order, Treatment};
use crate::{companion, entries};

/// Where a user's command and its companions' commands are in the request.
#[derive(Debug)]
struct Place {
    effect: Effect,
    order: Order,
    companions: Expected,
    joins_entries: bool,
    is_opaque: bool,
}

/// The replies about a command's companions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) count: usize,
    tell_lifetime: bool,
}

/// A request, and what to expect of it.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) pipeline: Pipeline,
    /// The number of replies.
    pub(crate) count: usize,
    places: Vec<Place>,
}

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The replies to the user's commands.
    pub(crate) replies: Vec<Value>,
    /// The lineage of what was read.
    pub(crate) lineage: Lineage,
    /// Where the server was afterwards.
    pub(crate) replication: Option<Replication>,
    /// What happened, unless the server refused it.
    pub(crate) effect: Effect,
    /// The commands whose companions last longer than their keys.
    pub(crate) out_of_step: SmallVec<[usize; 2]>,
}

impl Batch {
    /// The commands one after the other, each in a transaction of its own with its companions, and
    /// one question for the position at the end: inside of a transaction it would be answered before
    /// the transaction is counted.
    pub(crate) fn new(treatments: &[Treatment<'_>], attached: &Attached) -> Self {
        let mut pipeline = Pipeline::with_capacity(treatments.len() * 7 + 1);
        let places = treatments.iter().map(|treatment| {
            let companions = treatment.companions(attached, false);
            let place = Place::new(treatment, Expected::of(&companions));
            match place.order {
                Order::Together => {
                    pipeline.cmd("MULTI").add_command(treatment.sent(attached));
                    add(&mut pipeline, companions.commands);
                    pipeline.cmd("EXEC");
                }
                Order::After => {
                    pipeline.add_command(treatment.sent(attached));
                    add(&mut pipeline, companions.commands);
                }
                Order::Between => {
                    pipeline.add_command(ask()).add_command(treatment.sent(attached));
                    add(&mut pipeline, companions.commands);
                    pipeline.add_command(ask());
                }
            }
            place
        });
        let places = places.collect();
        pipeline.add_command(ask());
        Self { count: pipeline.len(), pipeline, places }
    }

    /// Takes the replies apart.
    pub(crate) fn unpack(&self, store: StoreName, replies: Vec<Value>) -> RedisResult<Outcome> {
        let mut replies = replies.into_iter();
        let mut outcome = Outcome::default();
        for (at, place) in self.places.iter().enumerate() {
            place.unpack(store, at, &mut replies, &mut outcome)?;
        }
        outcome.replication = replies.next().as_ref().and_then(replication);
        Ok(outcome)
    }
}

impl Default for Outcome {
    fn default() -> Self {
        Self {
            replies: Vec::new(),
            lineage: Lineage::new(),
            replication: None,
            effect: Effect::Nothing,
            out_of_step: SmallVec::new(),
        }
    }
}

impl Outcome {
    pub(crate) fn happened(&mut self, effect: Effect) {
        // The strongest stays: a write is a write whatever was read beside it.
        self.effect = match (self.effect, effect) {
            (Effect::Writes, _) | (_, Effect::Writes) => Effect::Writes,
            (Effect::Runs, _) | (_, Effect::Runs) => Effect::Runs,
            (Effect::Reads, _) | (_, Effect::Reads) => Effect::Reads,
            (Effect::Nothing, Effect::Nothing) => Effect::Nothing,
        };
    }

    /// Takes in the replies about companions. A value whose lineage cannot be loaded depends on
    /// everything; that a lineage could not be stored must reach the user, who is told by
    /// [`fail`](Self::fail).
    pub(crate) fn learn(
        &mut self,
        store: StoreName,
        (at, effect): (usize, Effect),
        expected: Expected,
        mut replies: Vec<Value>,
    ) -> Option<Value> {
        // Of a refused command there are no replies.
        if expected.tell_lifetime
            && let Some(lifetime) = replies.pop()
            && !companion::is_for_good(&lifetime)
        {
            self.out_of_step.push(at);
        }
        let mut failure = None;
        for reply in replies {
            match reply {
                Value::ServerError(_) if effect != Effect::Reads => failure = failure.or(Some(reply)),
                // How many keys were removed, or how long a text is; that one was set.
                Value::Int(_) | Value::Okay => {}
                reply => self.lineage.join(&companion::lineage(store, &reply)),
            }
        }
        failure
    }

    /// Tells the user of what failed about the companions of a command that was executed.
    pub(crate) fn fail(&mut self, at: usize, failure: Value) {
        if let Some(reply) = self.replies.get_mut(at)
            && !matches!(reply, Value::ServerError(_))
        {
            *reply = failure;
        }
    }
}

impl Expected {
    pub(crate) fn of(companions: &Companions) -> Self {
        Self { count: companions.commands.len(), tell_lifetime: companions.tell_lifetime }
    }
}

impl Place {
    fn new(treatment: &Treatment<'_>, companions: Expected) -> Self {
        let order = if companions.count == 0 { Order::After } else { treatment.order };
        let Treatment { effect, joins_entries, is_opaque, .. } = *treatment;
        Self { effect, order, companions, joins_entries, is_opaque }
    }

    fn unpack(
        &self,
        store: StoreName,
        at: usize,
        replies: &mut impl Iterator<Item = Value>,
        outcome: &mut Outcome,
    ) -> RedisResult<()> {
        let count = self.companions.count;
        let mut take = |count: usize| -> RedisResult<Vec<Value>> {
            let taken: Vec<Value> = replies.take(count).collect();
            if taken.len() == count { Ok(taken) } else { Err(incomplete(store)) }
        };
        let (user, companions, is_refused) = match self.order {
            Order::After => {
                let user = one(store, take(1)?)?;
                let is_refused = matches!(user, Value::ServerError(_)) && self.effect != Effect::Runs;
                (user, take(count)?, is_refused)
            }
            Order::Between => {
                let before = place(&take(1)?);
                let user = one(store, take(1)?)?;
                let companions = take(count)?;
                // Where nothing was written meanwhile, value and lineage belong together.
                let after = place(&take(1)?);
                if before.is_none() || before != after {
                    outcome.lineage.join(&Lineage::everything());
                }
                (user, companions, false)
            }
            Order::Together => {
                let queued = take(2 + count)?;
                match one(store, take(1)?)? {
                    Value::Array(executed) if executed.len() == 1 + count => {
                        let mut executed = executed.into_iter();
                        let user = executed.next().ok_or_else(|| incomplete(store))?;
                        (user, executed.collect(), false)
                    }
                    // Refused as a whole: the first to say why is what the user should see.
                    Value::ServerError(abort) => {
                        // Without `MULTI`, which its ACL may forbid, each command had a fate of its own.
                        let began = !matches!(queued.first(), Some(Value::ServerError(_)));
                        let none_was_executed = began && is_abort(&abort);
                        let refusals =
                            queued.into_iter().find(|reply| matches!(reply, Value::ServerError(_)));
                        (refusals.unwrap_or(Value::ServerError(abort)), Vec::new(), none_was_executed)
                    }
                    _ => return Err(watched(store)),
                }
            }
        };
        if self.joins_entries {
            outcome.lineage.join(&entries::lineage(store, &user));
        }
        if self.is_opaque {
            outcome.lineage.join(&Lineage::everything());
        }
        if !is_refused {
            outcome.happened(self.effect);
        }
        outcome.replies.push(user);
        if let Some(failure) = outcome.learn(store, (at, self.effect), self.companions, companions) {
            outcome.fail(at, failure);
        }
        Ok(())
    }
}

fn add(pipeline: &mut Pipeline, commands: impl IntoIterator<Item = Cmd>) {
    for command in commands {
        pipeline.add_command(command);
    }
}

/// The question for the position.
pub(crate) fn ask() -> Cmd {
    let mut ask = cmd("INFO");
    ask.arg("replication");
    ask
}

/// The answer to [`ask`], if it is one.
pub(crate) fn replication(reply: &Value) -> Option<Replication> {
    match reply {
        Value::BulkString(text) => Replication::parse(std::str::from_utf8(text).ok()?),
        Value::VerbatimString { text, .. } | Value::SimpleString(text) => Replication::parse(text),
        _ => None,
    }
}

/// Where the log was, if the server counts.
fn place(answer: &[Value]) -> Option<(Epoch, Position)> {
    let replication = answer.first().and_then(replication)?;
    Some((replication.epoch(), replication.position()?))
}

fn one(store: StoreName, replies: Vec<Value>) -> RedisResult<Value> {
    replies.into_iter().next().ok_or_else(|| incomplete(store))
}

/// Whether it says that nothing of a transaction was executed.
pub(crate) fn is_abort(error: &ServerError) -> bool {
    error.kind() == Some(ServerErrorKind::ExecAbort)
}

pub(crate) fn incomplete(store: StoreName) -> RedisError {
    let detail = format!("store {store}");
    (ErrorKind::UnexpectedReturnType, "the server sent fewer replies than it was sent commands", detail)
        .into()
}

pub(crate) fn watched(store: StoreName) -> RedisError {
    let detail = format!("store {store}: send WATCH through the same shim");
    (ErrorKind::Client, "the connection watches keys without the shim's knowledge", detail).into()
}
