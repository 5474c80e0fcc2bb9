//! What the shim does about a command.

use antipode_lineage::Lineage;
use redis::{Arg, Cmd};
use smallvec::SmallVec;

use crate::commands::{Command, CommandTable};
use crate::companion::{self, Change, Emptied, Stored, Touched};
use crate::entries;
use crate::expiring::Expiring;
use crate::keys::{self, Keys};

/// A lineage in the forms in which it is written.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    pub(crate) lineage: Lineage,
    pub(crate) stored: Stored,
}

impl From<Lineage> for Attached {
    fn from(lineage: Lineage) -> Self {
        Self { stored: Stored::from(&lineage), lineage }
    }
}

/// The commands about a command's companions.
#[derive(Debug, Default)]
pub(crate) struct Companions {
    pub(crate) commands: SmallVec<[Cmd; 4]>,
    /// The last one asks how long the key lasts: its companion stays for good.
    pub(crate) tell_lifetime: bool,
}

impl FromIterator<Cmd> for Companions {
    fn from_iter<I: IntoIterator<Item = Cmd>>(commands: I) -> Self {
        Self { commands: commands.into_iter().collect(), tell_lifetime: false }
    }
}

impl From<Cmd> for Companions {
    fn from(command: Cmd) -> Self {
        std::iter::once(command).collect()
    }
}

/// What a command does to a store, as far as lineage goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing: no keys, or administration.
    Nothing,
    Reads,
    Writes,
    /// Whatever a script does: at a replica it can only read.
    Runs,
}

/// How a command and those about its companions are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// One after the other: what blocks cannot be part of a transaction.
    After,
    /// One after the other between two questions for the position, because a transaction of the shim
    /// would end the user's `WATCH`.
    Between,
    /// In one transaction.
    Together,
}

/// A command as the user gave it, understood.
#[derive(Debug)]
pub(crate) struct Treatment<'a> {
    command: &'a Cmd,
    arguments: Arguments<'a>,
    pub(crate) effect: Effect,
    keys: Keys<'a>,
    pub(crate) order: Order,
    /// The lineage read is in the entries of the reply, not in companions.
    pub(crate) has_entries: bool,
    /// And it is joined from there.
    pub(crate) joins_entries: bool,
    is_stream: bool,
    emptied: Emptied,
    /// All it does is to change one value, which stays there as long as before.
    only_changes: bool,
    /// It may give its keys another lifetime.
    gives_lifetime: bool,
    /// It reads keys that no one can tell beforehand.
    pub(crate) is_opaque: bool,
    pub(crate) watch: Watch,
}

/// What a command does to a connection's watch over keys, which lasts until the next transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watch {
    Unchanged,
    Begins,
    Ends,
    /// `MULTI` by hand: what follows would not be executed when it is sent.
    Multi,
}

/// Commands about values that may change how long they last as well.
const GIVING_LIFETIMES: [&str; 6] = ["SET", "GETSET", "GETEX", "SETEX", "PSETEX", "MSETEX"];

type Arguments<'a> = SmallVec<[&'a [u8]; 8]>;

impl<'a> Treatment<'a> {
    pub(crate) fn of(table: &CommandTable, command: &'a Cmd) -> Self {
        let arguments: Arguments<'a> = command
            .args_iter()
            .map(|argument| match argument {
                Arg::Simple(bytes) => bytes,
                // A scan's cursor is never a key.
                _ => b"0",
            })
            .collect();
        let mut this = Self {
            command,
            arguments,
            effect: Effect::Nothing,
            keys: Keys::new(),
            order: Order::Together,
            has_entries: false,
            joins_entries: false,
            is_stream: false,
            emptied: Emptied::AtOnce,
            only_changes: false,
            gives_lifetime: false,
            is_opaque: false,
            watch: Watch::Unchanged,
        };
        let known = this.arguments.first().and_then(|name| table.find(name, this.arguments.get(1).copied()));
        if let Some(known) = known {
            this.understand(known);
        }
        this
    }

    fn understand(&mut self, known: &Command) {
        self.watch = if self.is("WATCH") {
            Watch::Begins
        } else if ["EXEC", "DISCARD", "UNWATCH", "RESET"].iter().any(|name| self.is(name)) {
            Watch::Ends
        } else if self.is("MULTI") {
            Watch::Multi
        } else {
            Watch::Unchanged
        };
        self.keys = known.keys(&self.arguments);
        if self.is("SORT") || self.is("SORT_RO") {
            (self.keys, self.is_opaque) = keys::of_sort(&self.arguments);
        }
        self.effect = match (known.writes, known.reads) {
            (true, _) if known.is_script => Effect::Runs,
            (true, _) => Effect::Writes,
            (false, true) if !self.keys.is_empty() => Effect::Reads,
            _ => Effect::Nothing,
        };
        self.is_stream = known.is_of_streams;
        self.has_entries = self.is_stream && self.keys.iter().any(|key| key.usage.is_accessed)
            || self.is("XAUTOCLAIM")
            || self.is("XCLAIM");
        self.joins_entries = self.has_entries;
        if known.blocks {
            self.order = Order::After;
        }
        if known.has_blocking_kin || self.effect == Effect::Runs {
            self.emptied = Emptied::WithGrace;
        }
        self.gives_lifetime = self.effect == Effect::Writes
            && (known.is_of_keys || GIVING_LIFETIMES.iter().any(|name| self.is(name)))
            && !self.replaces_for_good()
            && !self.keys.iter().all(|key| key.usage.is_removed);
        self.only_changes = self.effect == Effect::Writes
            && !self.gives_lifetime
            && matches!(self.keys.as_slice(), [key] if key.usage.is_written && !key.usage.may_empty);
    }

    /// Notes its keys if they may expire from now on.
    pub(crate) fn note(&self, expiring: &Expiring) {
        if self.gives_lifetime {
            self.names().for_each(|name| expiring.note(name));
        }
    }

    /// The same where its key is known to expire: what is stored for good would have to be changed in a
    /// second request.
    pub(crate) fn knowing(self, expiring: &Expiring) -> Self {
        let only_changes = self.only_changes && !self.names().any(|name| expiring.has(name));
        Self { only_changes, ..self }
    }

    pub(crate) fn is_write(&self) -> bool {
        matches!(self.effect, Effect::Writes | Effect::Runs)
    }

    /// The same on a connection that watches keys.
    pub(crate) fn watched(self) -> Self {
        let order = if self.effect == Effect::Reads { Order::Between } else { Order::After };
        Self { order, ..self }
    }

    /// The same, leaving the lineage of entries to those who handle them.
    pub(crate) fn leaving_entries(self) -> Self {
        Self { joins_entries: false, ..self }
    }

    /// The command as it is sent.
    pub(crate) fn sent(&self, attached: &Attached) -> Cmd {
        if self.is_stream && self.is("XADD") {
            return entries::with_lineage(self.command, &self.arguments, &attached.lineage);
        }
        self.command.clone()
    }

    /// The commands that store its lineage, or load that of what it read.
    ///
    /// In a transaction they come after all of the user's commands, of which a later one may have moved on what
    /// this one changed: then its keys are `named_again`.
    pub(crate) fn companions(&self, attached: &Attached, named_again: bool) -> Companions {
        if !self.has_companions() {
            return Companions::default();
        }
        if !self.keys.iter().any(|key| key.usage.is_written) || self.effect == Effect::Reads {
            return self.names().map(companion::load).collect();
        }
        if self.keys.iter().all(|key| key.usage.is_removed) {
            return companion::remove(self.names()).into();
        }
        if self.replaces_for_good() {
            return companion::replace(self.names(), &attached.stored).into();
        }
        match self.keys.as_slice() {
            [key] if let Some(lifetime) = self.replaces_for() => {
                companion::replace_for(lifetime, key.name, &attached.stored).into()
            }
            [key] if self.only_changes && !attached.stored.tidies() => {
                let load = key.usage.is_accessed.then(|| companion::load(key.name));
                let join = companion::join(key.name, &attached.stored);
                let tell_lifetime = join.is_some();
                let commands = load.into_iter().chain(join.into_iter().flatten()).collect();
                Companions { commands, tell_lifetime }
            }
            _ => self.by_script(attached, if named_again { Emptied::PassedOn } else { self.emptied }).into(),
        }
    }

    /// The command that does whatever is to be done about its companions.
    pub(crate) fn bring_in_step(&self, attached: &Attached) -> Cmd {
        self.by_script(attached, self.emptied)
    }

    fn by_script(&self, attached: &Attached, emptied: Emptied) -> Cmd {
        let replaces = self.replaces();
        let touched = self.keys.iter().map(|key| Touched {
            key: key.name,
            change: match (key.usage.is_written, replaces) {
                (false, _) => Change::Untouched,
                (true, true) => Change::Replaced,
                (true, false) => Change::Joined,
            },
            flows: key.usage.is_accessed && !(replaces && self.is("SET")),
        });
        let touched: SmallVec<[Touched<'_>; 2]> = touched.collect();
        if self.is_opaque {
            return companion::update(&touched, emptied, &Stored::from(&Lineage::everything()));
        }
        companion::update(&touched, emptied, &attached.stored)
    }

    /// Whether it can be part of a transaction that the shim makes of a pipeline.
    pub(crate) fn fits_together(&self) -> bool {
        self.order == Order::Together && self.has_companions()
    }

    fn has_companions(&self) -> bool {
        self.effect != Effect::Nothing && !self.is_stream && !self.keys.is_empty()
    }

    /// The names of its keys.
    pub(crate) fn names(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.keys.iter().map(|key| key.name)
    }

    /// Whether the whole value is replaced, by a command that cannot fail half-way: an old value that
    /// stays must keep its lineage. Everything else is taken as a partial update.
    fn replaces(&self) -> bool {
        let keeps_lifetime = || match self.arguments.as_slice() {
            [_, _, _, option] => self.is("SET") && option.eq_ignore_ascii_case(b"KEEPTTL"),
            _ => false,
        };
        self.replaces_for_good() || self.replaces_for().is_some() || keeps_lifetime()
    }

    /// The same for a value that expires: the options of `SET` that say when.
    fn replaces_for(&self) -> Option<[&'a [u8]; 2]> {
        let (option, time): (&[u8], _) = match *self.arguments.as_slice() {
            [_, _, _, option, time] if self.is("SET") => (option, time),
            [_, _, time, _] if self.is("SETEX") => (b"EX", time),
            [_, _, time, _] if self.is("PSETEX") => (b"PX", time),
            _ => return None,
        };
        let is = |word: &str| option.eq_ignore_ascii_case(word.as_bytes());
        let takes_time = is("EX") || is("PX") || is("EXAT") || is("PXAT");
        (takes_time && is_lifetime(time)).then_some([option, time])
    }

    /// The same for values that stay for good.
    pub(crate) fn replaces_for_good(&self) -> bool {
        let count = self.arguments.len();
        self.is("SET") && count == 3 || self.is("MSET") && count >= 3 && !count.is_multiple_of(2)
    }

    fn is(&self, name: &str) -> bool {
        self.arguments.first().is_some_and(|given| given.eq_ignore_ascii_case(name.as_bytes()))
    }
}

/// A number of seconds or milliseconds, or a date, that no server refuses.
fn is_lifetime(text: &[u8]) -> bool {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<u64>().ok());
    number.is_some_and(|number| (1..=10_000_000_000_000).contains(&number)) && !text.starts_with(b"+")
}
