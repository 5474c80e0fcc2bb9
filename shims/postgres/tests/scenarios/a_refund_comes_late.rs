//! An order is cancelled, and the reply leaves before the refund has started, in another process. Orders
//! are in Postgres, the wallet is in Redis: whoever looks after the reply finds the order cancelled, and
//! the money not there.

use std::process::Stdio;
use std::time::Duration;

use antipode_barrier::{BarrierError, Registry, Report, Store};
use antipode_docker::{RedisOptions, RedisTopology};
use antipode_lineage::{Branch, Lineage, LineageCodec, LineageScope, StoreName};
use antipode_postgres::PostgresStore;
use antipode_postgres::sqlx::postgres::PgPoolOptions;
use antipode_postgres::sqlx::{self, PgPool};
use antipode_redis::RedisStore;
use antipode_redis::redis::{AsyncCommands, Client};
use futures_util::{StreamExt, stream};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::posts::{PATIENCE, Test, execute, shared};

const CODEC: LineageCodec = LineageCodec::plain();
/// What the refund takes, apart from the stores.
const WORK: Duration = Duration::from_millis(20);
/// Rounds at a time.
const AT_ONCE: usize = 20;
const PROCESS: &str = "a_refund_comes_late::the_process_that_refunds";

/// The stores as each of the processes has them, by their addresses in this order: primary and standby of
/// the orders, primary and replica of the wallet.
struct Service {
    orders: PostgresStore,
    wallet: RedisStore,
    registry: Registry,
}

impl Service {
    async fn connect(addresses: &[String]) -> Test<Self> {
        let [orders, standby, wallet, replica] = addresses else { panic!("{addresses:?}") };
        let pool = async |url: &str| -> Test<PgPool> {
            Ok(PgPoolOptions::new().max_connections(8).acquire_timeout(PATIENCE).connect(url).await?)
        };
        let orders =
            PostgresStore::builder("orders").primary(pool(orders).await?).replica("eu", pool(standby).await?);
        let wallet = RedisStore::builder("wallet")
            .primary(Client::open(wallet.as_str())?)
            .replica("eu", Client::open(replica.as_str())?)
            .response_timeout(PATIENCE);
        let (orders, wallet) = (orders.capture_limit(PATIENCE).build()?, wallet.build()?);
        let registry = Registry::builder().store(orders.clone()).store(wallet.clone()).deadline(PATIENCE);
        let registry = registry.probe_limit(PATIENCE / 3).build().await?;
        Ok(Self { orders, wallet, registry })
    }

    /// Cancels an order and starts its refund; what leaves with the reply, which does not wait for it.
    async fn cancel(&self, order: &str, ledger: StoreName, lease: Duration, how: &Refunds) -> Test<Lineage> {
        let request = LineageScope::new();
        let refund = self.registry.branch(ledger, "refund").lease(lease).within(&request).await?;
        let mut transaction = self.orders.shim().within(request.clone()).begin().await?;
        let cancel = sqlx::query("INSERT INTO orders (name, status) VALUES ($1, 'cancelled')").bind(order);
        cancel.execute(&mut transaction).await?;
        transaction.commit().await?;
        let lineage = request.settled().await;
        how.send(refund, &lineage, order).await?;
        Ok(lineage)
    }

    /// Reads the wallet behind the barrier: whether the money is missing.
    async fn is_missing(&self, order: &str, barrier: Result<Report, BarrierError>) -> Test<bool> {
        barrier?;
        let paid: Option<String> = self.wallet.read_connection().await?.get(order).await?;
        Ok(paid.is_none())
    }
}

/// The process that refunds.
struct Refunds {
    process: Child,
    orders: Mutex<ChildStdin>,
    says: Lines<BufReader<ChildStdout>>,
}

impl Refunds {
    /// A test of this program that is a service.
    fn start(addresses: &[String], speed: &str) -> Test<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--exact", PROCESS, "--ignored", "--nocapture"]);
        command.env("REFUND_ADDRESSES", addresses.join(" ")).env("REFUND_SPEED", speed);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn()?;
        let says = BufReader::new(process.stdout.take().expect("piped")).lines();
        let orders = Mutex::new(process.stdin.take().expect("piped"));
        Ok(Self { process, orders, says })
    }

    async fn send(&self, refund: Branch, lineage: &Lineage, order: &str) -> Test {
        let line = format!("{refund} {} {order}\n", CODEC.encode(lineage));
        Ok(self.orders.lock().await.write_all(line.as_bytes()).await?)
    }

    async fn until(&mut self, word: &str) -> Test {
        while let Some(line) = self.says.next_line().await? {
            if line.contains(word) {
                return Ok(());
            }
        }
        Err(format!("the process that refunds ended before it said {word}").into())
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "is a service, started by the other tests of this file"]
async fn the_process_that_refunds() -> Test {
    let Ok(addresses) = std::env::var("REFUND_ADDRESSES") else { return Ok(()) };
    let is_stuck = std::env::var("REFUND_SPEED").is_ok_and(|speed| speed == "stuck");
    let addresses: Vec<String> = addresses.split(' ').map(str::to_owned).collect();
    let service: &'static Service = Box::leak(Box::new(Service::connect(&addresses).await?));
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = orders.next_line().await? {
        tokio::spawn(async move {
            let [refund, lineage, order] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let message = LineageScope::from(CODEC.decode(lineage)?);
            let open = message.run(service.registry.begin(refund.parse()?)).await?;
            if is_stuck {
                println!("refund-begun");
                std::future::pending::<()>().await;
            }
            sleep(WORK).await;
            let paid = async {
                let () = service.wallet.connection().await?.set(order, "paid back").await?;
                Test::Ok(())
            };
            open.run(paid).await?;
            open.complete().await?;
            Test::Ok(())
        });
    }
    Ok(())
}

/// What the reader's barrier waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    Prefix,
    Whole,
}

/// Runs the rounds and counts those where the money was missing.
async fn violations(
    service: &Service,
    refunds: &Refunds,
    ledger: StoreName,
    rounds: usize,
    wait: Wait,
) -> usize {
    let round = async |number: usize| {
        let order = format!("{ledger}-{wait:?}-{number}");
        let reply = service.cancel(&order, ledger, PATIENCE, refunds).await.unwrap();
        let reader = LineageScope::from(CODEC.decode(CODEC.encode(&reply)).unwrap());
        let read = async {
            let barrier = service.registry.barrier();
            let barrier = if wait == Wait::Whole { barrier.whole() } else { barrier };
            service.is_missing(&order, barrier.await).await.unwrap()
        };
        usize::from(reader.run(read).await)
    };
    let rounds = stream::iter(0..rounds).map(round).buffer_unordered(AT_ONCE);
    rounds.fold(0, async |sum, missing| sum + missing).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_whole_barrier_sees_the_refund_and_a_killed_one_is_abandoned() -> Test {
    let topology = shared().await?;
    let redis = RedisTopology::start(RedisOptions::default()).await?;
    let standby = topology.standbys().first().expect("a standby");
    let addresses = [topology.primary().url(), standby.url(), redis.primary().url(), redis.replica(0).url()];
    let service = Service::connect(&addresses).await?;
    execute(service.orders.inner(), "CREATE TABLE orders (name text PRIMARY KEY, status text)").await?;
    service.orders.migrate_table("orders").await?;
    service.orders.create_branch_ledger().await?;

    let refunds = Refunds::start(&addresses, "quick")?;
    for ledger in [service.orders.name(), service.wallet.name()] {
        let prefix = violations(&service, &refunds, ledger, 200, Wait::Prefix).await;
        let whole = violations(&service, &refunds, ledger, 1_000, Wait::Whole).await;
        println!("ledger in {ledger}: violations {prefix} of 200 (prefix), {whole} of 1000 (whole)");
        assert!(prefix > 0, "the anomaly shows");
        assert_eq!(whole, 0);
    }

    for ledger in [service.orders.name(), service.wallet.name()] {
        let mut stuck = Refunds::start(&addresses, "stuck")?;
        let order = format!("{ledger}-killed");
        let reply = service.cancel(&order, ledger, Duration::from_secs(5), &stuck).await?;
        stuck.until("refund-begun").await?;
        stuck.process.kill().await?;
        let killed = Instant::now();
        let error = service.registry.barrier_on(&reply).whole().await.expect_err("nobody completes it");
        println!("ledger in {ledger}, lease 5 s: {error} ({:?} after the kill)", killed.elapsed());
        assert!(error.is_abandoned(), "{error}");
        service.registry.barrier_on(&reply).await?;
    }
    Ok(())
}
