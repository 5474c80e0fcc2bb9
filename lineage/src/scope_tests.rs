use super::*;
use crate::{Epoch, Position, Shard};

const LIMIT: Duration = Duration::from_secs(5);

fn store() -> StoreName {
    StoreName::parse("posts").unwrap()
}

fn at(position: u64) -> WriteId {
    let epoch = Epoch { history: 1, term: 1 };
    WriteId { store: store(), shard: Shard::ONLY, epoch, position: Position(position) }
}

#[tokio::test]
async fn spawned_tasks_inherit_only_when_told() {
    LineageScope::new()
        .run(async {
            assert!(tokio::spawn(async { LineageScope::current().is_none() }).await.unwrap());
            let told = async { LineageScope::current().unwrap().add(at(1)) }.in_current_lineage();
            tokio::spawn(told).await.unwrap();
            assert_eq!(LineageScope::current().unwrap().lineage(), at(1).into());
        })
        .await;
    assert!(LineageScope::current().is_none());
}

#[tokio::test]
async fn forks_are_apart_until_joined() {
    let request = LineageScope::from(Lineage::from(at(1)));
    let fork = request.fork();
    fork.add(at(5));
    assert_eq!(request.lineage(), at(1).into());
    request.join_scope(&fork);
    assert_eq!(request.lineage(), at(5).into());
}

#[test]
fn an_entered_scope_is_current_until_the_call_returns() {
    let [outer, inner] = [LineageScope::from(Lineage::from(at(1))), LineageScope::new()];
    let current = || LineageScope::current().map(|scope| scope.lineage().writes().len());
    assert_eq!(outer.enter(|| (current(), inner.enter(current), current())), (Some(1), Some(0), Some(1)));
    assert_eq!(current(), None);
}

#[test]
fn a_scope_is_moved_in_and_back_also_by_a_panic() {
    let mut place = Some(LineageScope::from(Lineage::from(at(1))));
    let outer = LineageScope::new();
    let current = || LineageScope::current().map(|scope| scope.lineage().writes().len());
    outer.enter(|| {
        let counted = LineageScope::enter_held(&mut place, || (current(), Arc::strong_count(&outer.state)));
        assert_eq!(counted, (Some(1), 2), "nothing is cloned but by `enter`");
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            LineageScope::enter_held(&mut place, || panic!("a handler may fail in any way"))
        }));
        assert!(panicked.is_err());
        assert_eq!(current(), Some(0), "the outer one is current again");
        assert_eq!(LineageScope::enter_held(&mut None, current), Some(0), "an empty place changes nothing");
    });
    assert_eq!(place.map(|scope| scope.lineage()), Some(at(1).into()));
    assert_eq!(current(), None);
}

#[test]
fn forks_take_the_baggage_along() {
    let request = LineageScope::new();
    assert_eq!(request.baggage(), None);
    request.set_baggage(Baggage::read(["user=alice"]));
    assert_eq!(request.fork().baggage().as_deref(), Some(&Baggage::read(["user=alice"])));
}

#[tokio::test(start_paused = true)]
async fn a_deferred_capture_is_never_silently_less() {
    let request = LineageScope::new();
    request.defer(WriteId::unplaced(store()), LIMIT, async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some(at(7).into())
    });
    let fork = request.fork();
    assert_eq!(request.lineage(), WriteId::unplaced(store()).into());
    assert_eq!(request.settled().await, at(7).into());
    drop(request);
    assert_eq!(fork.settled().await, at(7).into(), "a fork waits for the capture it was born with");
}

#[tokio::test(start_paused = true)]
async fn a_failed_or_slow_capture_leaves_an_unplaced_write() {
    let request = LineageScope::new();
    request.defer(WriteId::unplaced(store()), LIMIT, async { None });
    request.defer(WriteId::unplaced(store()), LIMIT, std::future::pending());
    request.defer(WriteId::unplaced(store()), LIMIT, async { panic!("a capture may fail in any way") });
    let settled = tokio::time::timeout(LIMIT * 2, request.settled()).await.unwrap();
    assert_eq!(settled, WriteId::unplaced(store()).into());
}

#[tokio::test(start_paused = true)]
async fn captures_are_told_by_the_handle_that_made_them() {
    #[derive(Default)]
    struct Told(Mutex<Vec<(Option<Duration>, bool)>>);
    impl CaptureObserver for Told {
        fn captured(&self, captured: &crate::Captured<'_>) {
            self.0.lock().unwrap().push((captured.took, captured.is_unplaced()));
        }
    }
    let told = Arc::new(Told::default());
    let request = LineageScope::new();
    let handle = request.clone().told_to(Arc::clone(&told) as Arc<dyn CaptureObserver>);
    request.add(at(1));
    handle.add(at(2));
    handle.defer(WriteId::unplaced(store()), LIMIT, async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some(at(3).into())
    });
    handle.defer(WriteId::unplaced(store()), LIMIT, std::future::pending());
    request.settled().await;
    let told = told.0.lock().unwrap();
    assert_eq!(*told, [(None, false), (Some(Duration::from_secs(1)), false), (Some(LIMIT), true)]);
}

#[tokio::test]
async fn a_capture_ends_with_its_scope() {
    let (alive, gone) = tokio::sync::oneshot::channel::<()>();
    let request = LineageScope::new();
    request.defer(WriteId::unplaced(store()), LIMIT * 1000, async move {
        let _alive = alive;
        std::future::pending().await
    });
    drop(request);
    assert!(tokio::time::timeout(LIMIT, gone).await.unwrap().is_err());
}

#[tokio::test]
async fn no_capture_comes_back_twice_from_where_it_was_taken_along() {
    let request = LineageScope::new();
    request.defer(WriteId::unplaced(store()), LIMIT, std::future::pending());
    for _ in 0..4 {
        request.join_scope(&request.fork());
        request.join_scope(&request.clone());
    }
    assert_eq!(request.lock().captures.len(), 1, "else they would double each time");
}
