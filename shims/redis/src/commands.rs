//! The server's own table of its commands.
//!
//! Redis 7 says of every command whether it writes, and where its keys stand and what it does with
//! each ([key specifications](https://redis.io/docs/latest/develop/reference/key-specs/)); modules'
//! commands are among them. So nothing here knows commands by name.

use std::collections::HashMap;

use redis::Value;

/// The longest name of a command that the table is asked for, in bytes.
const MAX_NAME: usize = 64;

/// All commands of a server, by lower-case name.
#[derive(Debug, Default)]
pub(crate) struct CommandTable(HashMap<Box<[u8]>, Command>);

/// What the server says of one command.
#[derive(Debug, Default)]
pub(crate) struct Command {
    pub(crate) reads: bool,
    pub(crate) writes: bool,
    pub(crate) blocks: bool,
    /// Its keys hold streams.
    pub(crate) is_of_streams: bool,
    /// Its keys hold lists or sorted sets, from which others may pop and block.
    pub(crate) has_blocking_kin: bool,
    /// It runs whatever it is given: it is no write command by its flags.
    pub(crate) is_script: bool,
    /// It is about keys, not what they hold: how long they last, say.
    pub(crate) is_of_keys: bool,
    pub(crate) keys: Vec<KeySpec>,
    pub(crate) subcommands: CommandTable,
}

/// A group of a command's keys.
#[derive(Debug)]
pub(crate) struct KeySpec {
    pub(crate) usage: Usage,
    pub(crate) begin: Begin,
    pub(crate) find: Find,
}

/// What a command does with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    /// The key may be changed.
    pub(crate) is_written: bool,
    /// The key is removed, whatever it held.
    pub(crate) is_removed: bool,
    /// Part of the value may be removed, which may be all of it.
    pub(crate) may_empty: bool,
    /// The value, or part of it, is returned, copied, or taken into account.
    pub(crate) is_accessed: bool,
}

/// Where a group of keys begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// At this argument, the command's name being 0.
    Index(usize),
    /// After this word, looked for from an argument on; from the end backwards if negative.
    Keyword { word: Vec<u8>, from: i64 },
}

/// Which arguments from there are keys.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Find {
    /// Each `step`-th up to `last`: relative to the first, or to the end if negative. With a limit
    /// above 1, the first `1/limit` of the rest.
    Range { last: i64, step: usize, limit: usize },
    /// Their number stands `count` arguments on, the first of them `first` on.
    Counted { count: usize, first: usize, step: usize },
}

impl CommandTable {
    /// Reads the reply to `COMMAND`; `None` if it is none.
    pub(crate) fn parse(reply: &Value) -> Option<Self> {
        let Value::Array(commands) = reply else { return None };
        let table: HashMap<_, _> = commands.iter().filter_map(entry).collect();
        table.contains_key(b"get".as_slice()).then_some(Self(table))
    }

    /// The command, or the subcommand, that these arguments begin with.
    pub(crate) fn find(&self, name: &[u8], subname: Option<&[u8]>) -> Option<&Command> {
        let command = self.get(name)?;
        if command.subcommands.0.is_empty() {
            return Some(command);
        }
        subname.and_then(|subname| command.subcommands.get(subname))
    }

    fn get(&self, name: &[u8]) -> Option<&Command> {
        let mut lower = [0; MAX_NAME];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        self.0.get(&*lower)
    }
}

/// `[name, arity, flags, first, last, step, categories, tips, key specs, subcommands]`
fn entry(reply: &Value) -> Option<(Box<[u8]>, Command)> {
    let fields = items(reply)?;
    let name = bytes(fields.first()?)?;
    let flags = fields.get(2).and_then(items).unwrap_or_default();
    let has = |flag: &str| flags.iter().any(|held| bytes(held) == Some(flag.as_bytes()));
    let mut keys: Vec<KeySpec> =
        fields.get(8).and_then(items).unwrap_or_default().iter().filter_map(key_spec).collect();
    let (reads, writes) = (has("readonly"), has("write"));
    if keys.is_empty() {
        keys.extend(legacy_spec(fields, writes));
    }
    // `EVAL` is no write command by its flags, but may do anything with its keys.
    let is_script = !reads && !writes && keys.iter().any(|spec| spec.usage.is_written);
    let categories = fields.get(6).and_then(items).unwrap_or_default();
    let is_of = |category: &str| categories.iter().any(|held| bytes(held) == Some(category.as_bytes()));
    let subcommands = fields.get(9).and_then(items).unwrap_or_default().iter().filter_map(entry);
    let subcommands = subcommands.filter_map(|(name, command)| {
        let at = name.iter().position(|byte| *byte == b'|')?;
        Some((name.get(at + 1..)?.into(), command))
    });
    let subcommands = CommandTable(subcommands.collect());
    let command = Command {
        reads,
        writes: writes || is_script,
        blocks: has("blocking"),
        is_of_streams: is_of("@stream"),
        has_blocking_kin: is_of("@list") || is_of("@sortedset"),
        is_script,
        is_of_keys: is_of("@keyspace"),
        keys,
        subcommands,
    };
    Some((name.to_ascii_lowercase().into(), command))
}

/// Older modules give first, last and step only.
fn legacy_spec(fields: &[Value], writes: bool) -> Option<KeySpec> {
    let number = |at: usize| fields.get(at).and_then(int);
    let first = usize::try_from(number(3)?).ok().filter(|first| *first > 0)?;
    let last = number(4)?;
    let last = if last < 0 { last } else { last - i64::try_from(first).ok()? };
    let step = usize::try_from(number(5)?).ok()?;
    let usage = Usage { is_written: writes, is_removed: false, may_empty: writes, is_accessed: true };
    let find = Find::Range { last, step, limit: 0 };
    Some(KeySpec { usage, begin: Begin::Index(first), find })
}

fn key_spec(reply: &Value) -> Option<KeySpec> {
    let flags = member(reply, "flags")?;
    let flags = items(flags)?;
    let has = |flag: &str| flags.iter().any(|held| bytes(held) == Some(flag.as_bytes()));
    if has("not_key") {
        return None;
    }
    let usage = Usage {
        is_written: has("RW") || has("OW") || has("RM"),
        is_removed: has("RM"),
        may_empty: has("delete"),
        is_accessed: has("access"),
    };
    let begin = member(reply, "begin_search")?;
    let spec = member(begin, "spec")?;
    let begin = match bytes(member(begin, "type")?)? {
        b"index" => Begin::Index(count(spec, "index")?),
        b"keyword" => Begin::Keyword {
            word: bytes(member(spec, "keyword")?)?.to_vec(),
            from: int(member(spec, "startfrom")?)?,
        },
        _ => return None,
    };
    let find = member(reply, "find_keys")?;
    let spec = member(find, "spec")?;
    let find = match bytes(member(find, "type")?)? {
        b"range" => Find::Range {
            last: int(member(spec, "lastkey")?)?,
            step: count(spec, "keystep")?,
            limit: count(spec, "limit")?,
        },
        b"keynum" => Find::Counted {
            count: count(spec, "keynumidx")?,
            first: count(spec, "firstkey")?,
            step: count(spec, "keystep")?,
        },
        _ => return None,
    };
    Some(KeySpec { usage, begin, find })
}

fn count(map: &Value, name: &str) -> Option<usize> {
    usize::try_from(int(member(map, name)?)?).ok()
}

/// A member of a map, which RESP2 writes as a list of names and values.
fn member<'a>(map: &'a Value, name: &str) -> Option<&'a Value> {
    let named = |key: &Value| bytes(key) == Some(name.as_bytes());
    match map {
        Value::Map(pairs) => pairs.iter().find(|(key, _)| named(key)).map(|(_, value)| value),
        Value::Array(list) => list.as_chunks().0.iter().find(|[key, _]| named(key)).map(|[_, value]| value),
        _ => None,
    }
}

fn items(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(items) | Value::Set(items) => Some(items),
        _ => None,
    }
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        Value::VerbatimString { text, .. } => Some(text.as_bytes()),
        _ => None,
    }
}

fn int(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        _ => None,
    }
}
