//! A pipeline with its companions inside of the same transaction: an atomic one of the user's, or one that
//! the shim sends like that because it is less work for the server.

use std::collections::HashSet;

use antipode_lineage::StoreName;
use redis::{ErrorKind, Pipeline, RedisError, RedisResult, ServerError, Value};

use crate::batch::{Expected, Outcome, ask, incomplete, is_abort, replication};
use crate::treatment::{Attached, Companions, Effect, Treatment};
use crate::{companion, entries};

/// The request, and what to expect of it.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) pipeline: Pipeline,
    /// The number of replies before that of the transaction, and from there on.
    pub(crate) replies: (usize, usize),
    /// How many of the latter come before that of the transaction, the first of them about its beginning.
    queued: usize,
    users: usize,
    /// Whose companions they are, in the order of their replies.
    owners: Vec<(usize, Expected)>,
}

/// Whose transaction it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The user's. The driver puts `MULTI` before and `EXEC` after what it is given, and turns a refusal
    /// into an error with the places of the refused commands. So the user's commands come first, in their
    /// places, then those about companions, then an `EXEC` of our own and the question for the position;
    /// a last `MULTI` goes with the driver's `EXEC`.
    Users,
    /// The shim's.
    Shims,
}

impl Transaction {
    pub(crate) fn new(whose: Whose, treatments: &[Treatment<'_>], attached: &Attached) -> Self {
        let mut pipeline = Pipeline::with_capacity(5 * treatments.len() + 4);
        if whose == Whose::Shims {
            pipeline.cmd("MULTI");
        }
        let mut owners = Vec::new();
        for treatment in treatments {
            pipeline.add_command(treatment.sent(attached));
        }
        let mut add = |owner: usize, companions: Companions| {
            owners.push((owner, Expected::of(&companions)));
            for command in companions.commands {
                pipeline.add_command(command);
            }
        };
        // What was read had its lineage before the transaction changed it.
        let (mut ordered, writes): (Vec<_>, Vec<_>) =
            treatments.iter().enumerate().partition(|(_, treatment)| treatment.effect == Effect::Reads);
        ordered.extend(writes);
        let named_again = named_again(treatments);
        for run in ordered.chunk_by(|(_, a), (_, b)| a.replaces_for_good() && b.replaces_for_good()) {
            match run {
                [(owner, one)] => add(*owner, one.companions(attached, named_again.contains(owner))),
                // Several that only replace values share a command.
                [(owner, _), ..] => {
                    let names = run.iter().flat_map(|(_, each)| each.names());
                    add(*owner, companion::replace(names, &attached.stored).into());
                }
                [] => {}
            }
        }
        let queued = pipeline.len();
        pipeline.cmd("EXEC").add_command(ask());
        let (replies, queued) = match whose {
            Whose::Users => {
                pipeline.cmd("MULTI").atomic();
                ((1 + queued, 4), 0)
            }
            Whose::Shims => ((0, queued + 2), queued),
        };
        Self { pipeline, replies, queued, users: treatments.len(), owners }
    }

    /// Takes the replies apart: none to the user where nothing was executed.
    pub(crate) fn unpack(
        &self,
        store: StoreName,
        treatments: &[Treatment<'_>],
        replies: Vec<Value>,
    ) -> RedisResult<Outcome> {
        let mut replies = replies.into_iter();
        for (at, reply) in replies.by_ref().take(self.queued).enumerate() {
            if at == 0
                && let Value::ServerError(refusal) = reply
            {
                return Err(no_transaction(store, &refusal));
            }
        }
        let (Some(executed), Some(position)) = (replies.next(), replies.next()) else {
            return Err(incomplete(store));
        };
        let mut outcome = Outcome { replication: replication(&position), ..Outcome::default() };
        let mut users = match executed {
            Value::Array(users) => users,
            Value::ServerError(refusal) if is_abort(&refusal) => return Err(refusal.into()),
            Value::ServerError(refusal) => return Err(no_transaction(store, &refusal)),
            // A watched key changed: none was executed either.
            _ => return Ok(outcome),
        };
        let count: usize = self.owners.iter().map(|(_, expected)| expected.count).sum();
        if users.len() != self.users + count {
            return Err(incomplete(store));
        }
        let mut companions = users.split_off(self.users).into_iter();
        for (treatment, user) in treatments.iter().zip(&users) {
            if treatment.effect == Effect::Runs || !matches!(user, Value::ServerError(_)) {
                outcome.happened(treatment.effect);
            }
            if treatment.joins_entries {
                outcome.lineage.join(&entries::lineage(store, user));
            }
            if treatment.is_opaque {
                outcome.lineage.join(&antipode_lineage::Lineage::everything());
            }
        }
        outcome.replies = users;
        for (owner, expected) in &self.owners {
            let replies = companions.by_ref().take(expected.count).collect();
            let effect = treatments.get(*owner).map_or(Effect::Writes, |treatment| treatment.effect);
            if let Some(failure) = outcome.learn(store, (*owner, effect), *expected, replies) {
                outcome.fail(*owner, failure);
            }
        }
        Ok(outcome)
    }
}

/// The commands of which a key is named by a later one, too.
fn named_again(treatments: &[Treatment<'_>]) -> HashSet<usize> {
    let mut later = HashSet::new();
    let mut again = HashSet::new();
    for (at, treatment) in treatments.iter().enumerate().rev() {
        if treatment.names().any(|name| later.contains(name)) {
            again.insert(at);
        }
        later.extend(treatment.names());
    }
    again
}

/// What was executed is not known.
fn no_transaction(store: StoreName, refusal: &ServerError) -> RedisError {
    let detail = format!("store {store}: {refusal}: allow MULTI and EXEC");
    (ErrorKind::Client, "the server takes no transactions", detail).into()
}
