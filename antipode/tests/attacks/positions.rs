//! Attacks by what a well-formed lineage says: what they cost a service, and whom.

use std::time::Duration;

use antipode::barrier::{BarrierError, Registry, Report};
use antipode::edge::Inbound;
use antipode::lineage::{Epoch, Lineage, LineageScope, MAX_ENTRIES, Position, Shard, StoreName, WriteId};
use antipode::memory::{Lag, MemoryStore};
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::samples::{PLAIN, member, name, request, write};

const DEADLINE: Duration = Duration::from_secs(2);

struct Service {
    posts: MemoryStore,
    registry: Registry,
    /// A write that all regions have.
    real: WriteId,
}

impl Service {
    async fn start() -> Self {
        let lag = Lag::of(Duration::from_millis(20));
        let posts = MemoryStore::builder("posts").region("us").lagging("eu", lag).build().unwrap();
        let reader = posts.reading_from(["eu"]).unwrap();
        let registry = Registry::builder().store(reader).deadline(DEADLINE).build().await.unwrap();
        let scope = LineageScope::new();
        let real = scope.run(posts.shim().put("post", "hello")).await.unwrap();
        registry.barrier_on(&real.into()).await.unwrap();
        Self { posts, registry, real }
    }

    /// What a request with this lineage gets: through the headers, into the barrier.
    async fn serve(&self, lineage: &Lineage) -> Result<Report, BarrierError> {
        let admitted = Inbound::accept(PLAIN).admit(&request([member(&PLAIN, lineage)])).unwrap();
        assert_eq!(admitted.lineage, *lineage);
        let scope = LineageScope::from(admitted.lineage);
        scope.run(async { self.registry.barrier().await }).await
    }

    fn at(&self, position: u64) -> Lineage {
        WriteId { position: Position(position), ..self.real }.into()
    }

    fn questions(&self, region: &str) -> u64 {
        self.registry.probes(name("posts"), region.parse().unwrap()).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn s1_a_far_future_position_costs_one_question_and_no_wait() {
    let service = Service::start().await;
    for (forged, position) in [1 << 40, 1 << 62, u64::MAX - 2, u64::MAX - 1].into_iter().enumerate() {
        // So that no earlier answer is still believed.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = ["primary", "eu"].map(|region| service.questions(region));
        let began = Instant::now();
        let error = service.serve(&service.at(position)).await.unwrap_err();
        assert!(error.is_unreachable(), "{forged}: {error}");
        assert!(began.elapsed() < DEADLINE / 10, "refused, not waited out");
        let after = ["primary", "eu"].map(|region| service.questions(region));
        let asked = [after[0] - before[0], after[1] - before[1]];
        // The replica is asked once, and once more to hold a request until the position is there.
        assert!(asked[0] == 1 && asked[1] <= 2, "primary and replica, for {position}: {asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn s1_ten_thousand_forged_requests_at_once_cost_a_few_questions() {
    let service = Service::start().await;
    let before = service.questions("primary");
    let lineages: Vec<_> = (0..10_000).map(|at| service.at((1 << 40) + at)).collect();
    let ended = join_all(lineages.iter().map(|forged| service.serve(forged))).await;
    assert!(ended.iter().all(|ended| ended.as_ref().is_err_and(BarrierError::is_unreachable)));
    let asked = service.questions("primary") - before;
    assert!(asked <= 4, "{asked} questions");
    assert_eq!(service.registry.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn s1_nobody_waits_past_the_deadline_for_a_primary_that_is_silent() {
    let service = Service::start().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    service.posts.pause("us").unwrap();
    let began = Instant::now();
    let error = service.serve(&service.at(1 << 40)).await.unwrap_err();
    assert!(error.is_timeout() || error.is_store_down(), "{error}");
    assert!(began.elapsed() <= DEADLINE + Duration::from_millis(5), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn s2_fenceposts_are_told_apart_and_extremes_are_refused() {
    let service = Service::start().await;
    let Position(last) = service.real.position;
    for visible in [0, 1, last - 1, last] {
        service.serve(&service.at(visible)).await.unwrap();
    }
    for ahead in [last + 1, 1 << 32, 1 << 63, u64::MAX - 1] {
        assert!(service.serve(&service.at(ahead)).await.unwrap_err().is_unreachable(), "{ahead}");
    }
    // The greatest of all stands for "somewhere": what the primary has now is waited for.
    service.serve(&service.at(u64::MAX)).await.unwrap();
    for foreign in [Epoch { history: u64::MAX, term: u64::MAX }, Epoch { history: 1, term: 0 }] {
        let forged = WriteId { epoch: foreign, ..service.real };
        assert!(service.serve(&forged.into()).await.is_err(), "{forged}");
    }
}

#[tokio::test(start_paused = true)]
async fn s4_as_many_shards_as_fit_cost_one_question() {
    let service = Service::start().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = ["primary", "eu"].map(|region| service.questions(region));
    let shards = (0..MAX_ENTRIES as u64).map(|shard| WriteId { shard: Shard(shard), ..service.real });
    let began = Instant::now();
    assert!(service.serve(&shards.collect()).await.is_err());
    assert!(began.elapsed() <= DEADLINE + Duration::from_millis(5));
    let after = ["primary", "eu"].map(|region| service.questions(region));
    assert!(after[0] - before[0] <= 1, "the primary is asked once: {before:?} {after:?}");
}

#[tokio::test(start_paused = true)]
async fn s4_more_entries_than_a_lineage_holds_are_everything() {
    let service = Service::start().await;
    let crowd: Lineage = (0..MAX_ENTRIES as u64 + 1).map(|shard| write("posts", shard, 1)).collect();
    assert!(crowd.has_overflowed());
    service.serve(&crowd).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn s4_waiters_past_the_limit_are_refused_at_once() {
    let posts = MemoryStore::builder("posts").region("us").region("eu").build().unwrap();
    let reader = posts.reading_from(["eu"]).unwrap();
    let registry =
        Registry::builder().store(reader).max_waiting(10).deadline(DEADLINE).build().await.unwrap();
    posts.cut("eu").unwrap();
    let real = LineageScope::new().run(posts.shim().put("post", "hello")).await.unwrap();
    let lineage = Lineage::from(real);
    let ended = join_all((0..1_000).map(|_| async { registry.barrier_on(&lineage).await })).await;
    let refused = ended.iter().filter(|ended| ended.as_ref().is_err_and(BarrierError::is_too_many));
    assert_eq!(refused.count(), 990);
}

#[tokio::test(start_paused = true)]
async fn s5_stores_that_nobody_registered_are_skipped_and_never_asked_for() {
    let service = Service::start().await;
    let before = ["primary", "eu"].map(|region| service.questions(region));
    let unknown: Lineage = (0..100_u64).map(|at| write(&format!("unknown-{at}"), 0, u64::MAX - 1)).collect();
    let report = service.serve(&unknown).await.unwrap();
    assert_eq!(report.skipped(), 100, "counted");
    assert_eq!(["primary", "eu"].map(|region| service.questions(region)), before, "nobody was asked");
    assert_eq!(service.registry.probes(name("unknown-1"), "us".parse().unwrap()), None);
}

#[test]
fn s5_no_injected_name_is_a_store() {
    for injected in ["posts'; drop table posts--", "../posts", "posts\r\n", "{posts}", "posts*", "POSTS", ""]
    {
        assert!(StoreName::parse(injected).is_err(), "{injected:?}");
    }
}
