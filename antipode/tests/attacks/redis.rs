//! What forged positions cost a real server: counted by the server itself.

use std::time::Duration;

use antipode::barrier::{BarrierError, OnMissing, Registry};
use antipode::edge::Inbound;
use antipode::lineage::{Lineage, LineageScope, Position, WriteId};
use antipode::redis::RedisStore;
use antipode::redis::redis::aio::MultiplexedConnection;
use antipode::redis::redis::{AsyncCommands, Client, cmd};
use antipode_docker::{RedisNode, RedisOptions, RedisTopology};
use futures_util::future::join_all;

use crate::samples::{PLAIN, member, request};

const DEADLINE: Duration = Duration::from_secs(20);

/// How often a server was asked for its place, by whomever.
async fn asked(node: &RedisNode) -> u64 {
    let mut server: MultiplexedConnection =
        Client::open(node.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let stats: String = cmd("INFO").arg("commandstats").query_async(&mut server).await.unwrap();
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_info:calls="));
    line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or_default()
}

#[tokio::test]
async fn s1_forged_positions_cost_redis_one_question_each_and_together_a_few() {
    const MANY: u64 = 1_000;
    let topology = RedisTopology::start(RedisOptions::default().replicas(1)).await.unwrap();
    let client = |node: &RedisNode| Client::open(node.url()).unwrap();
    let (primary, replica) = (topology.primary(), topology.replica(0));
    let store = RedisStore::builder("posts").primary(client(primary)).replica("eu", client(replica));
    let store = store.on_missing(OnMissing::Ignore).build().unwrap();
    let registry = Registry::builder().store(store.clone()).deadline(DEADLINE).build().await.unwrap();
    let scope = LineageScope::new();
    let mut posts = store.connection().await.unwrap().within(scope.clone());
    let () = posts.set("post", "hello").await.unwrap();
    let lineage = scope.settled().await;
    let [real] = *lineage.writes() else { panic!("one write: {lineage}") };
    registry.barrier_on(&lineage).await.unwrap();

    let serve = |position: u64| {
        let forged = Lineage::from(WriteId { position: Position(position), ..real });
        let headers = request([member(&PLAIN, &forged)]);
        let admitted = Inbound::accept(PLAIN).admit(&headers).unwrap();
        let registry = &registry;
        async move { LineageScope::from(admitted.lineage).run(async { registry.barrier().await }).await }
    };
    let ahead = real.position.0 + (1 << 40);
    for number in 0..10 {
        let before = [asked(primary).await, asked(replica).await];
        assert!(serve(ahead + number).await.unwrap_err().is_unreachable());
        // Asking for the count counts, too.
        let more = [asked(primary).await - before[0] - 1, asked(replica).await - before[1] - 1];
        // The replica is asked at its own pace meanwhile, as for any write that is on its way.
        assert!(more[0] <= 1 && more[1] >= 1, "questions of the primary and the replica: {more:?}");
    }

    let before = [asked(primary).await, asked(replica).await];
    let ended = join_all((0..MANY).map(|number| serve(ahead + number))).await;
    assert!(ended.iter().all(|ended| ended.as_ref().is_err_and(BarrierError::is_unreachable)));
    let more = [asked(primary).await - before[0] - 1, asked(replica).await - before[1] - 1];
    assert!(more.iter().all(|asked| *asked < MANY / 2), "{MANY} forged positions, questions: {more:?}");
    println!("{MANY} forged positions at once asked the primary and the replica {more:?} times");
}
