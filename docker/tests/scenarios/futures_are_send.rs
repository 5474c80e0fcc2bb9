//! The futures of the public API move between threads, also where a trait asks for it, which is
//! stricter than `tokio::spawn`. The compiler alone decides.

use antipode_docker::{
    Member, PostgresNode, PostgresOptions, PostgresTopology, Proxy, RedisClusterOptions,
    RedisClusterTopology, RedisNode, RedisOptions, RedisTopology, Takeover, TopologyError,
};

type Done = Result<(), TopologyError>;

/// A system under test, such as the conformance suite's.
trait Steps: Sized + Sync {
    type Node: Sync;

    fn start() -> impl Future<Output = Result<Self, TopologyError>> + Send;
    fn fail_over(&self) -> impl Future<Output = Done> + Send;
    fn disturb(node: &Self::Node) -> impl Future<Output = Done> + Send;
}

impl Steps for PostgresTopology {
    type Node = PostgresNode;

    async fn start() -> Result<Self, TopologyError> {
        Self::start(PostgresOptions::default()).await
    }

    async fn fail_over(&self) -> Done {
        self.promote(0).await?;
        self.follow(1, Member::Replica(0)).await?;
        self.rejoin_as_standby(Member::Primary, Member::Replica(0)).await
    }

    async fn disturb(node: &PostgresNode) -> Done {
        node.pause().await?;
        node.resume().await?;
        node.kill().await?;
        node.restart().await?;
        node.set_setting("work_mem", "1MB").await?;
        node.is_in_recovery().await?;
        node.stop().await
    }
}

impl Steps for RedisTopology {
    type Node = RedisNode;

    async fn start() -> Result<Self, TopologyError> {
        Self::start(RedisOptions::default()).await
    }

    async fn fail_over(&self) -> Done {
        self.promote(0).await?;
        self.follow(1, Member::Replica(0)).await?;
        self.rejoin_as_replica(Member::Primary, Member::Replica(0)).await
    }

    async fn disturb(node: &RedisNode) -> Done {
        node.pause().await?;
        node.resume().await?;
        node.kill().await?;
        node.restart().await?;
        node.set_setting("maxmemory", "1gb").await?;
        node.is_replica().await?;
        node.stop().await
    }
}

impl Steps for RedisClusterTopology {
    type Node = RedisNode;

    async fn start() -> Result<Self, TopologyError> {
        Self::start(RedisClusterOptions::default()).await
    }

    async fn fail_over(&self) -> Done {
        self.migrate(0..=9, self.primary(0), self.primary(1)).await?;
        self.failover(self.replica(0, 0), Takeover::Alone).await?;
        self.rejoin(self.primary(0)).await
    }

    async fn disturb(node: &RedisNode) -> Done {
        RedisTopology::disturb(node).await
    }
}

fn assert_send<T: Send>(_: T) {}

#[test]
fn futures_move_between_threads() {
    assert_send(<PostgresTopology as Steps>::start());
    assert_send(<RedisTopology as Steps>::start());
    assert_send(<RedisClusterTopology as Steps>::start());
    assert_send(Proxy::start(([127, 0, 0, 1], 1).into()));
    let _of_a_cluster = |cluster: &RedisClusterTopology| {
        assert_send(cluster.fail_over());
        assert_send(RedisClusterTopology::disturb(cluster.primary(0)));
    };
    let _of_a_topology = |postgres: &PostgresTopology, redis: &RedisTopology| {
        assert_send(postgres.fail_over());
        assert_send(redis.fail_over());
        assert_send(PostgresTopology::disturb(postgres.primary()));
        assert_send(RedisTopology::disturb(redis.primary()));
    };
}
