//! A pipeline with its companions inside of the same transaction: an atomic one of the user's, or one that
//! the shim sends like that because it is less work for the server.

use antipode_lineage::StoreName;
use redis::{Cmd, Pipeline, RedisResult, Value};

use crate::batch::{Outcome, ask, incomplete, learn, replication};
use crate::treatment::{Attached, Effect, Treatment};
use crate::{companion, entries};

/// The request, and what to expect of it.
///
/// The driver puts `MULTI` before and `EXEC` after what it is given, and turns a refusal into an
/// error with the places of the refused commands. So the user's commands come first, in their
/// places, then those about companions, then an `EXEC` of our own and the question for the position;
/// a last `MULTI` goes with the driver's `EXEC`.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) pipeline: Pipeline,
    /// The number of replies before that of the transaction.
    pub(crate) skipped: usize,
    users: usize,
    /// Whose companion each is, in the order of their replies.
    owners: Vec<(usize, Effect)>,
}

/// The transaction's, the position's, and two about the empty transaction at the end.
pub(crate) const REPLIES: usize = 4;

impl Transaction {
    pub(crate) fn new(treatments: &[Treatment<'_>], attached: &Attached) -> Self {
        let mut pipeline = Pipeline::with_capacity(3 * treatments.len() + 3);
        let mut owners = Vec::new();
        for treatment in treatments {
            pipeline.add_command(treatment.sent(attached));
        }
        let mut add = |owner: usize, effect: Effect, command: Cmd| {
            owners.push((owner, effect));
            pipeline.add_command(command);
        };
        // What was read had its lineage before the transaction changed it.
        let (mut ordered, writes): (Vec<_>, Vec<_>) =
            treatments.iter().enumerate().partition(|(_, treatment)| treatment.effect == Effect::Reads);
        ordered.extend(writes);
        for run in ordered.chunk_by(|(_, a), (_, b)| a.replaces_for_good() && b.replaces_for_good()) {
            // Several that only replace values share the command that removes what these had.
            let share = run.len() > 1;
            if share && let Some((owner, first)) = run.first() {
                let names = run.iter().flat_map(|(_, each)| each.names());
                add(*owner, first.effect, companion::remove(names));
            }
            for (owner, each) in run {
                let commands = if share {
                    companion::store(each.names(), &attached.fields).collect()
                } else {
                    each.companions(attached)
                };
                commands.into_iter().for_each(|command| add(*owner, each.effect, command));
            }
        }
        let skipped = 1 + pipeline.len();
        pipeline.cmd("EXEC").add_command(ask()).cmd("MULTI").atomic();
        Self { pipeline, skipped, users: treatments.len(), owners }
    }

    /// Takes the replies apart: one reply to the user, the transaction's.
    pub(crate) fn unpack(
        &self,
        store: StoreName,
        treatments: &[Treatment<'_>],
        replies: Vec<Value>,
    ) -> RedisResult<Outcome> {
        let mut replies = replies.into_iter();
        let (Some(executed), Some(position)) = (replies.next(), replies.next()) else {
            return Err(incomplete(store));
        };
        let mut outcome = Outcome { replication: replication(&position), ..Outcome::default() };
        let Value::Array(mut users) = executed else {
            // A watched key changed: nothing was executed.
            outcome.replies.push(executed);
            return Ok(outcome);
        };
        if users.len() != self.users + self.owners.len() {
            return Err(incomplete(store));
        }
        let companions = users.split_off(self.users);
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
        for ((owner, effect), companion) in self.owners.iter().zip(companions) {
            if let Some(failure) = learn(store, *effect, [companion], &mut outcome.lineage)
                && let Some(user) = users.get_mut(*owner)
                && !matches!(user, Value::ServerError(_))
            {
                *user = failure;
            }
        }
        outcome.replies.push(Value::Array(users));
        Ok(outcome)
    }
}
