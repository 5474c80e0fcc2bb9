//! The same commands, sent with the driver and through the shim, get the same replies.
//!
//! Both use one server: the driver's commands go to database 0, the shim's to database 1.

use antipode_docker::RedisOptions;
use antipode_lineage::LineageScope;
use antipode_redis::redis::aio::{ConnectionLike, MultiplexedConnection};
use antipode_redis::redis::{
    AsyncCommands, Client, Cmd, Pipeline, RedisError, RedisResult, Script, Value, cmd, pipe,
};
use antipode_redis::{RedisShim, redis};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::stage::{Stage, depending, foreign, raw_client};

/// The driver and the shim, side by side.
struct Pair {
    stage: Stage,
    scope: LineageScope,
    plain: MultiplexedConnection,
    shim: RedisShim<MultiplexedConnection>,
}

impl Pair {
    async fn start(protocol: &str) -> Self {
        let stage = Stage::with(RedisOptions::default().replicas(0)).await;
        let connect = async |database: u8| {
            let url = format!("{}{database}?protocol={protocol}", stage.topology.primary().url());
            raw_client(&Client::open(url).unwrap()).await
        };
        let scope = depending(foreign(5));
        let shim = stage.store.shim(connect(1).await).within(scope.clone());
        let plain = connect(0).await;
        Self { stage, scope, plain, shim }
    }

    async fn connect(&self, database: u8) -> MultiplexedConnection {
        let url = format!("{}{database}", self.stage.topology.primary().url());
        raw_client(&Client::open(url).unwrap()).await
    }

    async fn both(&mut self, command: &Cmd, when: &str) {
        let plain = self.plain.req_packed_command(command).await;
        let shim = self.shim.req_packed_command(command).await;
        same(&plain, &shim, &format!("{when}: {}", text(command)));
    }

    async fn both_pipelines(&mut self, pipeline: &Pipeline, when: &str) {
        let text: Vec<String> = pipeline.cmd_iter().map(text).collect();
        let what = format!(
            "{when}: {} {}",
            if pipeline.is_transaction() { "atomic" } else { "plain" },
            text.join("; ")
        );
        let plain: RedisResult<Value> = pipeline.query_async(&mut self.plain).await;
        let shim: RedisResult<Value> = pipeline.query_async(&mut self.shim).await;
        same(&plain, &shim, &what);
    }
}

fn same<T: PartialEq + std::fmt::Debug>(plain: &RedisResult<T>, shim: &RedisResult<T>, what: &str) {
    let words = |error: &RedisError| (error.kind(), error.to_string());
    match (plain, shim) {
        (Ok(plain), Ok(shim)) => assert_eq!(shim, plain, "{what}"),
        (Err(plain), Err(shim)) => assert_eq!(words(shim), words(plain), "{what}"),
        (plain, shim) => panic!("{what}: the driver got {plain:?}, the shim {shim:?}"),
    }
}

fn text(command: &Cmd) -> String {
    String::from_utf8_lossy(&command.get_packed_command()).replace("\r\n", " ")
}

fn command(words: &str) -> Cmd {
    let mut command = Cmd::new();
    command.arg(words.split(' ').collect::<Vec<_>>());
    command
}

/// Commands in which `K` stands for any key.
const COMMANDS: &[&str] = &[
    "SET K a",
    "SET K b NX",
    "SET K 5 XX GET",
    "SET K c EX 100",
    "SET K d EX 0",
    "SET K d KEEPTTL",
    "SET K",
    "SETNX K 1",
    "GET K",
    "GETSET K 2",
    "GETDEL K",
    "GETEX K EX 100",
    "APPEND K x",
    "STRLEN K",
    "INCR K",
    "INCRBYFLOAT K 1.5",
    "DECRBY K 2",
    "SETRANGE K 3 x",
    "GETRANGE K 0 -1",
    "MSET K 1 K 2",
    "MSET K",
    "MGET K K nothing",
    "MSETNX K 1 K 2",
    "SETBIT K 7 1",
    "BITCOUNT K",
    "BITFIELD K INCRBY u8 0 1",
    "BITOP AND K K K",
    "LCS K K",
    "DEL K",
    "DEL K K",
    "UNLINK K",
    "EXISTS K K",
    "TYPE K",
    "EXPIRE K 100",
    "PERSIST K",
    "TTL nothing",
    "TOUCH K",
    "RENAME K K",
    "RENAMENX K K",
    "COPY K K",
    "OBJECT ENCODING K",
    "OBJECT HELP",
    "DUMP nothing",
    "LPUSH K a b",
    "RPUSH K 1 2 3",
    "LPUSHX K x",
    "LPOP K",
    "RPOP K 2",
    "LRANGE K 0 -1",
    "LLEN K",
    "LINDEX K 0",
    "LINSERT K BEFORE a z",
    "LSET K 0 q",
    "LREM K 0 a",
    "LTRIM K 0 1",
    "LMOVE K K LEFT RIGHT",
    "RPOPLPUSH K K",
    "LMPOP 2 K K LEFT",
    "LMPOP 5 K LEFT",
    "LPOS K a",
    "BLPOP K 0.01",
    "BLMOVE K K LEFT LEFT 0.01",
    "SADD K 1 2",
    "SREM K 1",
    "SMEMBERS K",
    "SISMEMBER K 1",
    "SMISMEMBER K 1 9",
    "SCARD K",
    "SINTER K K",
    "SUNIONSTORE K K K",
    "SINTERCARD 2 K K",
    "SMOVE K K 1",
    "SORT K ALPHA",
    "SORT K ALPHA STORE K",
    "SORT_RO K ALPHA DESC",
    "HSET K f 1 g 2",
    "HSETNX K f 3",
    "HGET K f",
    "HMGET K f nope",
    "HGETALL K",
    "HDEL K f",
    "HINCRBY K f 2",
    "HKEYS K",
    "HEXISTS K f",
    "HLEN K",
    "HSCAN K 0",
    "ZADD K 1 a 2.5 b",
    "ZADD K NX INCR 1 a",
    "ZSCORE K a",
    "ZRANGE K 0 -1 WITHSCORES",
    "ZRANGEBYSCORE K 0 5",
    "ZINCRBY K 1.25 a",
    "ZREM K a",
    "ZRANK K a",
    "ZCARD K",
    "ZUNIONSTORE K 2 K K",
    "ZUNION 2 K K WITHSCORES",
    "ZPOPMIN K",
    "ZMPOP 1 K MAX",
    "BZPOPMIN K 0.01",
    "ZMSCORE K a nope",
    "ZRANGESTORE K K 0 -1",
    "PFADD K a b",
    "PFCOUNT K K",
    "PFMERGE K K",
    "GEOADD K 13.36 38.11 p",
    "GEOPOS K p nope",
    "GEODIST K p p",
    "GEOSEARCH K FROMLONLAT 13 38 BYRADIUS 200 km ASC",
    "GEORADIUS K 13 38 200 km STORE K",
    "XADD K",
    "XADD K 1-1",
    "XADD K 0-0 f 1",
    "XADD K MAXLEN 10 *",
    "XLEN K",
    "XGROUP CREATE K g $",
    "XGROUP CREATE K g 0 MKSTREAM",
    "XREADGROUP GROUP g c COUNT 1 STREAMS K >",
    "XACK K g 1-1",
    "XDEL K 1-1",
    "XTRIM K MAXLEN 100",
    "XPENDING K g",
    "XREAD COUNT 1 STREAMS nothing 0",
    "XINFO GROUPS K",
    "XRANGE nothing - +",
    "EVAL return{KEYS[1],ARGV[1],1,false} 1 K x",
    "EVAL return(redis.call('GET',KEYS[1])) 1 K",
    "EVAL return(redis.call('LPUSH',KEYS[1],'x')) 1 K",
    "EVAL nonsense 0",
    "EVAL return(1) 5 K",
    "EVAL_RO return(redis.call('GET',KEYS[1])) 1 K",
    "EVAL return(redis.call('SET',KEYS[1],'x')) 1 K",
    "EVALSHA 0000000000000000000000000000000000000000 1 K",
    "EVAL_RO return(redis.call('SET',KEYS[1],'x')) 1 K",
    "FCALL nothing 1 K",
    "PING",
    "PING hello",
    "ECHO hello",
    "TIME now",
    "SELECT",
    "NOSUCHCOMMAND K",
    "GET",
    "GET K K",
    "WAIT 0 1",
    "PUBLISH K hello",
    "CONFIG GET maxmemory",
    "SCRIPT EXISTS 0000000000000000000000000000000000000000",
    "SUBSTR K 0 1",
    "set K lower",
];

const KEYS: &[&str] = &["a", "b", "{t}c", "d}e", "{}", ""];

fn any(random: &mut StdRng) -> Cmd {
    let template = COMMANDS.choose(random).copied().unwrap_or("PING");
    let mut command = Cmd::new();
    for word in template.split(' ') {
        command.arg(if word == "K" { KEYS.choose(random).copied().unwrap_or("a") } else { word });
    }
    command
}

#[tokio::test]
async fn every_command_gets_the_reply_that_the_driver_gets() {
    for protocol in ["resp2", "resp3"] {
        let mut pair = Pair::start(protocol).await;
        for template in COMMANDS {
            for key in KEYS {
                pair.both(&command(&template.replace('K', key)), protocol).await;
            }
        }
        assert!(!pair.scope.lineage().has_overflowed(), "nothing in here is opaque or unreadable");
    }
}

#[tokio::test]
async fn random_commands_and_pipelines_get_the_replies_that_the_driver_gets() {
    for (protocol, seed) in [("resp2", rand::random::<u64>()), ("resp3", rand::random())] {
        let mut pair = Pair::start(protocol).await;
        let random = &mut StdRng::seed_from_u64(seed);
        for round in 0..400 {
            let when = format!("{protocol}, seed {seed}, round {round}");
            pair.both(&any(random), &when).await;
            let mut pipeline = pipe();
            for index in 0..random.random_range(0..6) {
                pipeline.add_command(any(random));
                if index % 3 == 2 {
                    pipeline.ignore();
                }
            }
            if random.random() {
                pipeline.atomic();
            }
            if random.random() {
                pipeline.ignore_errors();
            }
            pair.both_pipelines(&pipeline, &when).await;
        }
    }
}

#[tokio::test]
async fn a_command_that_is_refused_takes_no_other_along() {
    let mut pair = Pair::start("resp2").await;
    let mut pipeline = pipe();
    pipeline.ignore_errors().cmd("SET").arg("a").arg(1).cmd("SET").arg("b").cmd("SET").arg("c").arg(1);
    pair.both_pipelines(&pipeline, "a wrong number of arguments").await;
    pair.both(redis::cmd("MGET").arg("a").arg("b").arg("c"), "the others were executed").await;
}

#[tokio::test]
async fn a_transaction_that_is_refused_says_which_command_was() {
    let mut pair = Pair::start("resp2").await;
    let mut refused = pipe();
    refused
        .atomic()
        .cmd("SET")
        .arg("a")
        .arg(1)
        .cmd("GET")
        .cmd("NOSUCHCOMMAND")
        .arg("a")
        .cmd("SET")
        .arg("b")
        .arg(1);
    pair.both_pipelines(&refused, "refused").await;
    let error = refused.query_async::<()>(&mut pair.shim).await.unwrap_err();
    let places: Vec<usize> = error.into_server_errors().unwrap().iter().map(|(place, _)| *place).collect();
    assert_eq!(places, [1, 2]);
    let kept: Option<String> = pair.shim.get("a").await.unwrap();
    assert_eq!(kept, None, "nothing of it was executed");
}

#[tokio::test]
async fn who_waits_for_no_reply_gets_none() {
    let mut pair = Pair::start("resp2").await;
    for words in ["SET a 1", "GET a", "PING"] {
        let mut silent = command(words);
        silent.set_no_response(true);
        pair.both(&silent, "without a response").await;
        pair.both(&command("GET a"), "afterwards").await;
    }
}

#[tokio::test]
async fn scripts_are_loaded_on_demand() {
    let mut pair = Pair::start("resp2").await;
    let script = Script::new("redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])");
    let reply: String = script.key("a").arg("x").invoke_async(&mut pair.shim).await.unwrap();
    assert_eq!(reply, "x");
}

#[tokio::test]
async fn scans_go_on_where_they_were() {
    let mut pair = Pair::start("resp2").await;
    let members: Vec<u32> = (0..2_000).collect();
    let () = pair.shim.sadd("a", &members).await.unwrap();
    let mut seen = Vec::new();
    let mut scan = pair.shim.sscan::<_, u32>("a").await.unwrap();
    while let Some(member) = scan.next_item().await {
        seen.push(member.unwrap());
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, members);
}

/// The shim's own transactions must not end the watch.
#[tokio::test]
async fn a_watch_lasts_until_the_transaction() {
    let mut pair = Pair::start("resp2").await;
    let mut rival = pair.connect(1).await;
    let () = pair.shim.set("a", 1).await.unwrap();
    for is_disturbed in [true, false] {
        let () = cmd("WATCH").arg("a").query_async(&mut pair.shim).await.unwrap();
        let seen: u32 = pair.shim.get("a").await.unwrap();
        let () = pair.shim.set("b", seen).await.unwrap();
        if is_disturbed {
            let () = rival.set("a", 10).await.unwrap();
        }
        let mut batch = pipe();
        batch.atomic().set("a", seen + 1).ignore().get("a");
        let sum: Option<(u32,)> = batch.query_async(&mut pair.shim).await.unwrap();
        assert_eq!(sum, (!is_disturbed).then_some((11,)));
    }
    // And no longer: the next ones are transactions of the shim again.
    let () = rival.set("a", 20).await.unwrap();
    let () = pair.shim.set("a", 21).await.unwrap();
    assert_eq!(pair.shim.get::<_, u32>("a").await.unwrap(), 21);
}

#[tokio::test]
async fn a_transaction_by_hand_is_refused_with_what_to_do() {
    let mut pair = Pair::start("resp2").await;
    let error = cmd("MULTI").exec_async(&mut pair.shim).await.unwrap_err();
    assert!(error.to_string().contains("pipe().atomic()"), "{error}");
    let reply: redis::Value = cmd("PING").query_async(&mut pair.shim).await.unwrap();
    assert_eq!(reply, Value::SimpleString("PONG".into()));
}
