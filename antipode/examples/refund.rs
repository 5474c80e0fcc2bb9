//! An order is cancelled, and its refund is made after the reply, by another process: whoever looks at the wallet after
//! the reply must find the money there.
//!
//! Orders, and the ledger of branches, are in Postgres; the wallet, and the queue of refunds, in Redis. Europe reads
//! from replicas that trail by 20 ms. A barrier waits for the writes that the reply tells of, and the refund is none
//! of them yet. A *whole* barrier waits for the branch that the refund is, then for its writes. When the process that
//! refunds dies, the branch's lease turns that into an answer.
//!
//! ```sh
//! docker/install postgres redis
//! cargo run --release -p antipode --features postgres,redis,worker --example refund
//! ```

use std::env;
use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use antipode::postgres::sqlx::{self, PgPool};
use antipode::prelude::*;
use antipode::redis::redis::{AsyncCommands, Client};
use antipode::worker::{Entry, RedisStream, Worker};
use antipode_docker::{PostgresOptions, PostgresTopology, RedisOptions, RedisTopology};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::process::{Child, Command};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How far Europe's replicas trail.
const LAG: Duration = Duration::from_millis(20);

/// What a refund takes, apart from the stores.
const WORK: Duration = Duration::from_millis(20);

/// How long a refund may go without a sign of life, from being asked for until it is done.
const LEASE: Duration = Duration::from_secs(3);

const DEADLINE: Duration = Duration::from_secs(20);

const ORDERS: u32 = 50;

#[tokio::main]
async fn main() -> Outcome<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.split_first() {
        None => compare().await,
        Some((mode, addresses)) => {
            Shop::connect(addresses).await?.refund(addresses, mode == "die").await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Cancels orders and reads wallets. Fails if whole barriers make no difference.
async fn compare() -> Outcome<ExitCode> {
    let postgres = PostgresTopology::start(PostgresOptions::default().standbys(1)).await?;
    let redis = RedisTopology::start(RedisOptions::default().replicas(1)).await?;
    let addresses =
        [postgres.primary().url(), postgres.standby(0).url(), redis.primary().url(), redis.replica(0).url()];
    let shop = Shop::connect(&addresses).await?;
    let table = "CREATE TABLE orders (id text PRIMARY KEY, status text NOT NULL)";
    sqlx::raw_sql(table).execute(shop.orders.inner()).await?;
    shop.orders.create_branch_ledger().await?; // when deploying
    postgres.link(0).set_delay_to_client(LAG);
    redis.link(0).set_delay_to_client(LAG);

    println!("{ORDERS} orders are cancelled twice; a refund takes {WORK:?}, Europe trails by {LAG:?}");
    let process = refunds("work", &addresses)?;
    let prefix = shop.unpaid(Wait::Prefix).await?;
    let whole = shop.unpaid(Wait::Whole).await?;
    drop(process);
    println!("      barrier: {prefix} of {ORDERS} refunds were not there after it");
    println!("whole barrier: {whole} of {ORDERS} refunds were not there after it");

    let _process = refunds("die", &addresses)?;
    let reply = shop.cancel("the last one").await?;
    let barrier = shop.registry.barrier_on(&reply).whole().await;
    let is_abandoned = barrier.as_ref().is_err_and(BarrierError::is_abandoned);
    let ended = barrier.map_or_else(|error| error.to_string(), |_| "the money is there".to_owned());
    println!("and when the process dies in a refund, with a lease of {LEASE:?}: {ended}");
    let holds = prefix > 0 && whole == 0 && is_abandoned;
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The stores as each process has them.
struct Shop {
    orders: PostgresStore,
    wallet: RedisStore,
    registry: Registry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    Prefix,
    Whole,
}

impl Shop {
    async fn connect(addresses: &[String]) -> Outcome<Self> {
        let [orders, orders_eu, wallet, wallet_eu] = addresses else { return Err("four addresses".into()) };
        let orders = PostgresStore::builder("orders")
            .primary(PgPool::connect(orders).await?)
            .replica("eu", PgPool::connect(orders_eu).await?)
            .build()?;
        let wallet = RedisStore::builder("wallet")
            .primary(Client::open(wallet.as_str())?)
            .replica("eu", Client::open(wallet_eu.as_str())?)
            .build()?;
        let registry = Registry::builder().store(orders.clone()).store(wallet.clone()).deadline(DEADLINE);
        Ok(Self { orders, wallet, registry: registry.build().await? })
    }

    /// The service that cancels: its reply does not wait for the refund, but knows of it.
    async fn cancel(&self, order: &str) -> Outcome<Lineage> {
        let request = LineageScope::new();
        let cancel = async {
            let insert = "INSERT INTO orders (id, status) VALUES ($1, 'cancelled')";
            sqlx::query(insert).bind(order).execute(&self.orders.shim()).await?;
            // Registered before anyone can take it up.
            let refund = self.registry.branch(self.orders.name(), "refund").lease(LEASE).await?;
            let message = [("branch", refund.to_string()), ("order", order.to_owned())];
            let _: String = self.wallet.connection().await?.xadd("refunds", "*", &message).await?;
            Outcome::Ok(())
        };
        request.run(cancel).await?;
        Ok(request.settled().await) // `LineageLayer` does this for a response
    }

    /// The process that refunds: each message is handled in its lineage.
    async fn refund(&self, addresses: &[String], dies: bool) -> Outcome {
        let wallet = Client::open(addresses.get(2).ok_or("no wallet")?.as_str())?;
        let place = ["refunds", "tellers", "teller-1"];
        let queue = RedisStream::join(&self.wallet, &wallet, &self.registry, place).await?;
        let pay = async |message: &Entry| {
            let branch: String = message.get("branch").ok_or("no branch")?;
            let order: String = message.get("order").ok_or("no order")?;
            let refund = match self.registry.begin(branch.parse()?).await {
                Err(error) if error.is_closed() => return Ok(()), // delivered again
                refund => refund?,
            };
            if dies {
                std::process::abort();
            }
            tokio::time::sleep(WORK).await;
            let mut wallet = self.wallet.connection().await?;
            refund.run(wallet.set::<_, _, ()>(order, "paid back")).await?;
            refund.complete().await?;
            Outcome::Ok(())
        };
        Worker::new().run(queue, who_started_this_is_gone(), pay).await?;
        Ok(())
    }

    /// Cancels orders and looks at the wallet in Europe after each reply: how often the money was not there.
    async fn unpaid(&self, wait: Wait) -> Outcome<u32> {
        let unpaid = async |number| {
            let order = format!("{wait:?}-{number}");
            let reply = self.cancel(&order).await?;
            let look = async {
                let barrier = self.registry.barrier();
                match wait {
                    Wait::Prefix => barrier.await?,
                    Wait::Whole => barrier.whole().await?,
                };
                let paid: Option<String> = self.wallet.read_connection().await?.get(&order).await?;
                Outcome::Ok(u32::from(paid.is_none()))
            };
            LineageScope::from(reply).run(look).await
        };
        let orders = stream::iter(0..ORDERS).map(unpaid).buffer_unordered(4);
        orders.try_fold(0, async |sum, unpaid| Ok(sum + unpaid)).await
    }
}

/// Starts the process that refunds: this program again. It ends when this is dropped.
fn refunds(mode: &str, addresses: &[String]) -> Outcome<Child> {
    let mut process = Command::new(env::current_exe()?);
    process.arg(mode).args(addresses).stdin(std::process::Stdio::piped()).kill_on_drop(true);
    Ok(process.spawn()?)
}

async fn who_started_this_is_gone() {
    let end_of_input = || std::io::stdin().read_to_end(&mut Vec::new());
    let _ = tokio::task::spawn_blocking(end_of_input).await;
}
