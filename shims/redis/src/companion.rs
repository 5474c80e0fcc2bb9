//! The key beside a key, which holds the lineage of its value.

use antipode_lineage::{Lineage, StoreName};
use redis::{Cmd, Value, cmd};

/// How long the lineage of a list or sorted set outlives its last element, in ms. Whoever was served
/// by a blocking pop asks for the lineage right after it, on the same connection, but others may
/// come between.
const GRACE: u32 = 10_000;

/// Brings companions in step with their keys, after the command in the same transaction.
///
/// `KEYS` are pairs of a key and its companion. `ARGV` has one letter a pair, then the grace in ms,
/// then the writer's lineage as fields and values. Letters: `s` the value was replaced, `j` changed,
/// `r` only read; in upper case, the value flowed into the reply or into the other keys, so its
/// lineage goes there. The reply is the lineage that flowed, as fields and values.
///
/// Neither the branches nor the entries that come together beside a value grow without end: more than a
/// lineage can hold are forgotten.
///
/// A server that takes no writes ran nothing that changed a key.
const SCRIPT: &str = "\
local f,m,o={},ARGV[1],{} \
for i=3,#ARGV,2 do f[ARGV[i]]=ARGV[i+1] end \
for i=1,#m do if m:byte(i)<97 then \
local h=redis.call('HGETALL',KEYS[2*i]) \
for j=1,#h,2 do local q,v=h[j],h[j+1] o[#o+1]=q o[#o+1]=v \
if not f[q] or f[q]<v then f[q]=v end end end end \
local function w(...) local r=redis.pcall(...) if type(r)=='table' and r.err then \
if r.err:find('^READONLY') then return end error(r) end return r end \
for i=1,#m do local c=m:sub(i,i):lower() if c~='r' then \
local k,n=KEYS[2*i-1],KEYS[2*i] local t=redis.call('PEXPIRETIME',k) \
if t==-2 then if ARGV[2]=='0' then w('DEL',n) else w('PEXPIRE',n,ARGV[2]) end else \
local g,a,z,x={},{},0,0 local y='0000000000000001' \
local function b(q) return q:sub(1,8)=='!branch/' and 1 or 0 end \
if c=='s' then w('DEL',n) else local h=redis.call('HGETALL',n) \
for j=1,#h,2 do g[h[j]]=h[j+1] z=z+1 x=x+b(h[j]) end end \
for q,v in pairs(f) do local h=g[q] if not h then z=z+1 x=x+b(q) end \
if not h or h<v then a[#a+1]=q a[#a+1]=v g[q]=v end end \
if #a>0 then if x>64 then w('DEL',n) z=z-x+1 a={'!branches',y} \
for q,v in pairs(g) do if b(q)==0 then a[#a+1]=q a[#a+1]=v end end end \
if z>512 then w('DEL',n) \
a={'!everything',y} if g['!weak'] then a[3]='!weak' a[4]=y end end \
w('HSET',n,unpack(a)) end \
if t<0 then w('PERSIST',n) else w('PEXPIREAT',n,t) end end end end \
return o";

/// The key that holds the lineage of this key's value: a hash, in the same hash slot.
///
/// `{tag}rest` has `antipode::{tag}rest`, any other key `k` has `antipode:{k}`. A key without a hash
/// tag that contains `}` lies in another slot than its companion, which only matters in a cluster.
pub(crate) fn companion(key: &[u8]) -> Vec<u8> {
    let tagged = tag(key).is_some();
    // The prefixes differ, as `{k}` and `k` would share a companion otherwise.
    let (before, after): (&[u8], &[u8]) = if tagged { (b"antipode::", b"") } else { (b"antipode:{", b"}") };
    [before, key, after].concat()
}

/// Whether a key is one that holds a lineage.
#[cfg(feature = "cluster")]
pub(crate) fn is_companion(key: &[u8]) -> bool {
    key.starts_with(b"antipode:")
}

/// The part of a key that is hashed for its slot, if it is not the whole key: what is between the
/// first `{` and the next `}`, unless empty.
pub(crate) fn tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|byte| *byte == b'{')?;
    let rest = key.get(open + 1..)?;
    let close = rest.iter().position(|byte| *byte == b'}')?;
    rest.get(..close).filter(|tag| !tag.is_empty())
}

/// A lineage as it is stored in companions.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl From<&Lineage> for Fields {
    fn from(lineage: &Lineage) -> Self {
        Self(lineage.to_fields().collect())
    }
}

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Replaced,
    Joined,
    Untouched,
}

/// A key as the script sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Touched<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) change: Change,
    pub(crate) flows: bool,
}

/// Whether what is left of an emptied key must wait for those who emptied it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Emptied {
    AtOnce,
    WithGrace,
}

/// Brings the companions in step with what a command did to the keys.
pub(crate) fn update(keys: &[Touched<'_>], emptied: Emptied, fields: &Fields) -> Cmd {
    let mut modes = String::with_capacity(keys.len());
    let mut eval = cmd("EVAL");
    eval.arg(SCRIPT).arg(2 * keys.len());
    for Touched { key, change, flows } in keys {
        eval.arg(*key).arg(companion(key));
        modes.push(match (change, flows) {
            (Change::Replaced, false) => 's',
            (Change::Replaced, true) => 'S',
            (Change::Joined, false) => 'j',
            (Change::Joined, true) => 'J',
            (Change::Untouched, false) => 'r',
            (Change::Untouched, true) => 'R',
        });
    }
    eval.arg(modes).arg(if emptied == Emptied::WithGrace { GRACE } else { 0 });
    for (field, value) in &fields.0 {
        eval.arg(field).arg(value);
    }
    eval
}

/// Stores the lineage of keys that have none.
pub(crate) fn store<'a>(keys: impl Iterator<Item = &'a [u8]>, fields: &Fields) -> impl Iterator<Item = Cmd> {
    keys.filter(|_| !fields.0.is_empty()).map(|key| {
        let mut set = cmd("HSET");
        set.arg(companion(key));
        for (field, value) in &fields.0 {
            set.arg(field).arg(value);
        }
        set
    })
}

/// Removes the lineage of keys that are gone.
pub(crate) fn remove<'a>(keys: impl Iterator<Item = &'a [u8]>) -> Cmd {
    let mut del = cmd("DEL");
    for key in keys {
        del.arg(companion(key));
    }
    del
}

/// Asks for the lineage of a key's value.
pub(crate) fn load(key: &[u8]) -> Cmd {
    let mut load = cmd("HGETALL");
    load.arg(companion(key));
    load
}

/// The lineage in a reply to [`load`] or [`update`]. What cannot be read stands for everything.
pub(crate) fn lineage(store: StoreName, reply: &Value) -> Lineage {
    match pairs(reply).map(Lineage::from_fields) {
        Some(Ok(lineage)) => lineage,
        Some(Err(error)) => unreadable(store, &error),
        None => unreadable(store, &format_args!("not a hash: {reply:?}")),
    }
}

fn unreadable(store: StoreName, error: &dyn std::fmt::Display) -> Lineage {
    tracing::warn!(%store, %error, "stored lineage cannot be read: it is taken as everything");
    Lineage::everything()
}

/// Fields and values; a text that is not UTF-8 is none of ours.
fn pairs(reply: &Value) -> Option<Vec<(&str, &str)>> {
    match reply {
        Value::Nil => Some(Vec::new()),
        Value::Map(pairs) => pairs.iter().map(|(field, value)| Some((text(field)?, text(value)?))).collect(),
        Value::Array(list) => {
            let (pairs, rest) = list.as_chunks();
            let pairs = pairs.iter().map(|[field, value]| Some((text(field)?, text(value)?)));
            rest.is_empty().then(|| pairs.collect()).flatten()
        }
        _ => None,
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_companion_shares_the_slot_of_its_key() {
        let name = |key: &str| String::from_utf8(companion(key.as_bytes())).unwrap();
        assert_eq!(name("post"), "antipode:{post}");
        assert_eq!(name("{user}.posts"), "antipode::{user}.posts");
        assert_eq!(name("a{user}b{c}"), "antipode::a{user}b{c}");
        for untagged in ["{}x", "a{}{b}", "a}b", "{a", "}", "{"] {
            assert_eq!(name(untagged), format!("antipode:{{{untagged}}}"));
        }
        assert_ne!(name("post"), name("{post}"));
        for key in ["post", "{user}.posts", "a{user}b{c}", "{a", "{"] {
            let own = tag(key.as_bytes()).unwrap_or(key.as_bytes());
            assert_eq!(tag(name(key).as_bytes()), Some(own), "{key}");
        }
    }

    #[test]
    fn a_lineage_that_cannot_be_read_is_never_less() {
        let store = StoreName::parse("posts").unwrap();
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let whole = Lineage::everything();
        assert_eq!(lineage(store, &Value::Array(Vec::new())), Lineage::new());
        assert_eq!(lineage(store, &Value::Array(vec![bulk("posts/0/1/0"), bulk("1")])), whole);
        assert_eq!(lineage(store, &Value::Array(vec![bulk("!weak")])), whole, "half a pair");
        assert_eq!(lineage(store, &Value::Map(vec![(Value::BulkString(vec![255]), bulk("1"))])), whole);
        assert_eq!(lineage(store, &Value::Int(1)), whole);
    }
}
