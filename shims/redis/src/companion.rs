//! The key beside a key, which holds the lineage of its value: a text, `field=value ` for each entry.
//!
//! Two lineages are joined by appending one to the other, which a server does for nearly nothing; whoever
//! reads them keeps the greater position of each field. What was appended is tidied up now and then, by the
//! script that also brings lifetimes in step and follows values from key to key.

use std::hash::{BuildHasher, Hasher, RandomState};

use antipode_lineage::{Lineage, StoreName};
use redis::{Cmd, Value, cmd};

/// How long the lineage of a list or sorted set outlives its last element, in ms. Whoever was served
/// by a blocking pop asks for the lineage right after it, on the same connection, but others may
/// come between.
const GRACE: i32 = 10_000;

/// How much is appended beside a value, in bytes and on average, before it is tidied up.
const UNTIDY: u64 = 2_048;

/// Brings companions in step with their keys, after the command in the same transaction.
///
/// `KEYS` are pairs of a key and its companion. `ARGV` has one letter a pair, then for how many ms what is
/// beside a key that is gone stays there (joined as well, if that is negative), then the writer's lineage. Letters: `s` the value was replaced, `j` changed, `r` only read; in upper
/// case, the value flowed into the reply or into the other keys, so its lineage goes there. The reply is
/// the lineage that flowed.
///
/// Neither the branches nor the entries that come together beside a value grow without end: more than a
/// lineage can hold are forgotten. A text that is no lineage becomes everything.
///
/// A server that takes no writes ran nothing that changed a key.
const SCRIPT: &str = "\
local f,m,o,y={},ARGV[1],{},'0000000000000001' \
local function join(g,s) local rest=s:gsub('([^= ]+)=([^= ]+) ?',function(q,v) \
if #v~=16 or v:find('[^0-9a-f]') then g['!everything']=y end \
if not g[q] or g[q]<v then g[q]=v end return '' end) \
if rest~='' then g['!everything']=y end end \
local function branch(q) return q:sub(1,8)=='!branch/' end \
local function w(...) local r=redis.pcall(...) if type(r)=='table' and r.err then \
if r.err:find('^READONLY') then return end error(r) end return r end \
join(f,ARGV[3]) \
local e=tonumber(ARGV[2]) \
for i=1,#m do if m:byte(i)<97 then local s=redis.call('GET',KEYS[2*i]) \
if s then o[#o+1]=s join(f,s) end end end \
for i=1,#m do local c=m:sub(i,i):lower() if c~='r' then \
local k,n=KEYS[2*i-1],KEYS[2*i] local t=redis.call('PEXPIRETIME',k) \
if t==-2 and e==0 then w('DEL',n) elseif t==-2 and e>0 then w('PEXPIRE',n,e) else \
local g,s,d={},'',c=='s' \
if not d then s=redis.call('GET',n) or '' join(g,s) end \
for q,v in pairs(f) do if not g[q] or g[q]<v then g[q]=v d=true end end \
local z,x=0,0 for q in pairs(g) do z=z+1 if branch(q) then x=x+1 end end \
if x>64 then for q in pairs(g) do if branch(q) then g[q]=nil end end g['!branches']=y z=z-x+1 end \
if z>512 then g={['!everything']=y,['!weak']=g['!weak']} end \
local a={} for q,v in pairs(g) do a[#a+1]=q..'='..v..' ' end a=table.concat(a) \
if a=='' then w('DEL',n) elseif t==-2 then w('SET',n,a,'PX',-e) \
elseif d or #a<#s then if t<0 then w('SET',n,a) else w('SET',n,a,'PXAT',t) end \
elseif t<0 then w('PERSIST',n) else w('PEXPIREAT',n,t) end end end end \
return table.concat(o,' ')";

/// The key that holds the lineage of this key's value: a text, in the same hash slot.
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
pub(crate) struct Stored(String);

impl From<&Lineage> for Stored {
    fn from(lineage: &Lineage) -> Self {
        let mut text = String::new();
        for (field, value) in lineage.to_fields() {
            text.extend([&field, "=", &value, " "]);
        }
        Self(text)
    }
}

impl Stored {
    /// Whether the one who joins this tidies up as well: by a chance in proportion to its length, so that
    /// neither long lineages nor many writers make more wait beside a value, and nobody has to count it.
    pub(crate) fn tidies(&self) -> bool {
        let chance = RandomState::new().build_hasher().finish() % UNTIDY;
        u64::try_from(self.0.len()).is_ok_and(|len| chance < len)
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

/// What becomes of the lineage beside a key that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Emptied {
    AtOnce,
    /// It waits for those who emptied the key.
    WithGrace,
    /// It is joined, and waits for a later command of the same transaction, which has moved the value on.
    PassedOn,
}

/// Brings the companions in step with what a command did to the keys.
pub(crate) fn update(keys: &[Touched<'_>], emptied: Emptied, stored: &Stored) -> Cmd {
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
    let stays = match emptied {
        Emptied::AtOnce => 0,
        Emptied::WithGrace => GRACE,
        Emptied::PassedOn => -GRACE,
    };
    eval.arg(modes).arg(stays).arg(&stored.0);
    eval
}

/// Joins a lineage, if there is any, to that of a key's value, and asks how long that lasts: see
/// [`is_for_good`]. Until somebody says otherwise the lineage stays for good: it must not go before the
/// value, whatever lifetime was left beside an earlier one.
pub(crate) fn join(key: &[u8], stored: &Stored) -> Option<[Cmd; 3]> {
    if stored.0.is_empty() {
        return None;
    }
    let companion = companion(key);
    let [mut append, mut persist, mut lifetime] = ["APPEND", "PERSIST", "PEXPIRETIME"].map(cmd);
    append.arg(&companion).arg(&stored.0);
    persist.arg(&companion);
    lifetime.arg(key);
    Some([append, persist, lifetime])
}

/// Whether a key is there and stays, as its companion does after [`join`].
pub(crate) fn is_for_good(lifetime: &Value) -> bool {
    matches!(lifetime, Value::Int(-1))
}

/// Stores the lineage of values that replaced others, for good.
pub(crate) fn replace<'a>(keys: impl Iterator<Item = &'a [u8]>, stored: &Stored) -> Cmd {
    if stored.0.is_empty() {
        return remove(keys);
    }
    let mut set = cmd("MSET");
    for key in keys {
        set.arg(companion(key)).arg(&stored.0);
    }
    set
}

/// The same for one that lasts as long as the options of `SET` say.
pub(crate) fn replace_for(lifetime: [&[u8]; 2], key: &[u8], stored: &Stored) -> Cmd {
    if stored.0.is_empty() {
        return remove([key].into_iter());
    }
    let mut set = cmd("SET");
    set.arg(companion(key)).arg(&stored.0).arg(&lifetime);
    set
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
    let mut load = cmd("GET");
    load.arg(companion(key));
    load
}

/// The lineage in a reply to [`load`] or [`update`]. What cannot be read stands for everything.
pub(crate) fn lineage(store: StoreName, reply: &Value) -> Lineage {
    let pairs = match reply {
        Value::Nil => return Lineage::new(),
        Value::BulkString(text) => std::str::from_utf8(text).ok().map(pairs),
        _ => None,
    };
    match pairs.map(Lineage::from_fields) {
        Some(Ok(lineage)) => lineage,
        Some(Err(error)) => unreadable(store, &error),
        None => unreadable(store, &format_args!("not a text of fields and values: {reply:?}")),
    }
}

fn unreadable(store: StoreName, error: &dyn std::fmt::Display) -> Lineage {
    tracing::warn!(%store, %error, "stored lineage cannot be read: it is taken as everything");
    Lineage::everything()
}

/// Fields and values. Something else is a field without a value, which nothing of ours is.
fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = text.split(' ').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

#[cfg(test)]
mod tests {
    use antipode_lineage::{Epoch, Position, Shard, WriteId};

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
        let bulk = |text: &[u8]| Value::BulkString(text.to_vec());
        let whole = Lineage::everything();
        assert_eq!(lineage(store, &Value::Nil), Lineage::new());
        assert_eq!(lineage(store, &bulk(b"")), Lineage::new());
        for text in [b"posts/0/1/0=1 ".as_slice(), b"!weak", b"!weak=", b"=", b"\xff=1", b"!weak=1=1"] {
            assert_eq!(lineage(store, &bulk(text)), whole, "{text:?}");
        }
        assert_eq!(lineage(store, &Value::Int(1)), whole);
        assert_eq!(lineage(store, &Value::Array(Vec::new())), whole);
    }

    #[test]
    fn lineages_are_joined_by_appending() {
        let store = StoreName::parse("posts").unwrap();
        let [mut a, mut b] = [3, 5].map(|position| {
            let epoch = Epoch { history: 7, term: 1 };
            Lineage::from(WriteId { store, shard: Shard::ONLY, epoch, position: Position(position) })
        });
        b.add(WriteId::unplaced(StoreName::parse("orders").unwrap()));
        let [of_a, of_b] = [&a, &b].map(|lineage| Stored::from(lineage).0);
        a.join(&b);
        for appended in [format!("{of_a}{of_b}"), format!("{of_b}{of_a}"), format!("{of_b} {of_a}{of_b}")] {
            assert_eq!(lineage(store, &Value::BulkString(appended.into_bytes())), a);
        }
    }

    #[test]
    fn the_more_is_appended_the_sooner_it_is_tidied_up() {
        let tidying = |len: usize| (0..1_000).filter(|_| Stored("x".repeat(len)).tidies()).count();
        assert_eq!((tidying(0), tidying(2_048)), (0, 1_000));
        assert!((1..500).contains(&tidying(200)), "one in ten");
    }
}
