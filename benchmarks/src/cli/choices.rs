//! What can be chosen on the command line, by name.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

use crate::Failure;

/// A store. Kafka keeps no posts, and the embedded store has no driver to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub(crate) enum StoreKind {
    Memory,
    Postgres,
    Redis,
    Mongodb,
    Kafka,
}

impl StoreKind {
    /// Those that keep posts.
    pub(crate) const POSTS: [Self; 4] = [Self::Memory, Self::Postgres, Self::Redis, Self::Mongodb];
    /// Those with a driver that a shim wraps.
    pub(crate) const DRIVERS: [Self; 4] = [Self::Postgres, Self::Redis, Self::Mongodb, Self::Kafka];
    /// Those that carry notifications.
    pub(crate) const NOTIFIERS: [Self; 5] =
        [Self::Memory, Self::Redis, Self::Postgres, Self::Mongodb, Self::Kafka];

    pub(crate) fn not_built(self) -> Failure {
        Failure::NotBuilt { store: self.to_string() }
    }

    /// # Errors
    /// [`Failure::NotBuilt`].
    pub(crate) fn must_be_built(self) -> Result<(), Failure> {
        let built = match self {
            Self::Memory => true,
            Self::Postgres => cfg!(feature = "postgres"),
            Self::Redis => cfg!(feature = "redis"),
            Self::Mongodb => cfg!(feature = "mongodb"),
            Self::Kafka => cfg!(feature = "kafka"),
        };
        if built { Ok(()) } else { Err(self.not_built()) }
    }

    /// The mode that uses the store's own strongest means.
    pub(crate) fn own_mode(self) -> Option<Mode> {
        match self {
            Self::Postgres => Some(Mode::RemoteApply),
            Self::Redis => Some(Mode::Wait),
            Self::Mongodb => Some(Mode::CausalSession),
            Self::Memory | Self::Kafka => None,
        }
    }
}

/// What a round does to its post.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Variant {
    /// It is new.
    Insert,
    /// A new version replaces one that Europe has already.
    Update,
    /// It is deleted, and Europe has it still.
    Delete,
}

impl Variant {
    pub(crate) const ALL: [Self; 3] = [Self::Insert, Self::Update, Self::Delete];
}

/// What a round does about causality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// Nothing: bare drivers, no lineage.
    Off,
    /// Shims and lineage, but no barrier.
    Propagate,
    /// A barrier before the read.
    Barrier,
    /// Polling for the post's existence before the read, without pause, as the paper's artifact does.
    Poll,
    /// A sleep of the lag and 10 ms before the read.
    Sleep,
    /// Postgres: the write waits until the standby has applied it.
    RemoteApply,
    /// Redis: the write waits for the replica to acknowledge it.
    Wait,
    /// MongoDB: majority writes, and a causally consistent session that travels with the notification.
    CausalSession,
}

impl Mode {
    /// Those that run where nothing else is asked for.
    pub(crate) const USUAL: [Self; 3] = [Self::Off, Self::Propagate, Self::Barrier];

    /// What it is, in a sentence without its subject.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Off => "bare drivers, no lineage: what happens if nothing is done",
            Self::Propagate => "shims and lineage, but no barrier",
            Self::Barrier => "shims, lineage, and a barrier before the read",
            Self::Poll => {
                "the paper's published artifact: asks for the post's key without pause until it exists; \
                 blind to new versions and to deletions"
            }
            Self::Sleep => "sleeps for the lag and 10 ms before the read: who knows the lag?",
            Self::RemoteApply => {
                "Postgres' synchronous_commit = remote_apply: each commit waits until the standby has applied it"
            }
            Self::Wait => {
                "Redis' WAIT 1 after the write, on its connection: one replica has it, whichever that is"
            }
            Self::CausalSession => {
                "MongoDB's causally consistent session, majority writes and reads: its times travel with the \
                 notification, the secondary waits"
            }
        }
    }

    /// Whether it can be had with posts in this store.
    pub(crate) fn applies_to(self, posts: StoreKind) -> bool {
        match self {
            Self::Off | Self::Propagate | Self::Barrier | Self::Poll | Self::Sleep => true,
            Self::RemoteApply | Self::Wait | Self::CausalSession => posts.own_mode() == Some(self),
        }
    }
}

/// The name that the value has on the command line.
macro_rules! named_as_given {
    ($($kind:ty),+) => {
        $(impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.to_possible_value().map_or(Ok(()), |value| f.pad(value.get_name()))
            }
        })+
    };
}

named_as_given!(StoreKind, Variant, Mode);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_means_of_a_store_are_no_mode_of_another() {
        for store in StoreKind::POSTS {
            for mode in Mode::value_variants() {
                let own = [Mode::RemoteApply, Mode::Wait, Mode::CausalSession].contains(mode);
                assert_eq!(mode.applies_to(store), !own || store.own_mode() == Some(*mode), "{store} {mode}");
            }
        }
    }
}
