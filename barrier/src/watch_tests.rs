use std::time::Duration;

use antipode_lineage::{Epoch, StoreName};

use super::*;
use crate::{Ancestor, Frontier};

const OLD: Epoch = Epoch { history: 1, term: 1 };
const NEW: Epoch = Epoch { history: 1, term: 2 };

fn write(shard: u64, epoch: Epoch, position: u64) -> WriteId {
    let store = StoreName::parse("posts").unwrap();
    WriteId { store, shard: Shard(shard), epoch, position: Position(position) }
}

fn at(epoch: Epoch, position: u64) -> Frontiers {
    Frontier::new(epoch, Position(position)).into()
}

/// A watch under a clock that its test moves.
struct Simulation {
    watch: Watch<&'static str>,
    now: Instant,
}

impl Simulation {
    fn new() -> Self {
        let now = Instant::now();
        Self { watch: Watch::new(now), now }
    }

    fn join(&mut self, name: &'static str, writes: &[WriteId]) -> WaiterId {
        self.watch.join(self.now, name, Arc::from(writes)).0
    }

    /// Advances to the next probe and answers it.
    fn answer(&mut self, answer: Frontiers) -> Changes<&'static str> {
        let (number, begun) = self.begin();
        self.watch.answered(self.now, number, begun, &answer)
    }

    /// Advances to the next probe, lets the server hold it for that long, and answers.
    fn hold(&mut self, held: Duration, target: Target, answer: Frontiers) -> Changes<&'static str> {
        self.now = self.watch.pacing.due().map_or(self.now, |due| due.max(self.now));
        let (number, begun) =
            (self.watch.begin(self.now, Some(target), Wanted::Of(vec![target.shard])), self.now);
        self.now += held;
        self.watch.answered(self.now, number, begun, &answer)
    }

    fn fail(&mut self) -> Changes<&'static str> {
        let (number, _) = self.begin();
        self.watch.failed(number, ProbeError::new("refused"))
    }

    fn begin(&mut self) -> (u64, Instant) {
        loop {
            match self.watch.next(self.now) {
                Step::Sleep(until) => self.now = until,
                Step::Rest => panic!("nobody waits"),
                Step::Probe(wanted) | Step::Await(_, wanted) => {
                    return (self.watch.begin(self.now, None, wanted), self.now);
                }
            }
        }
    }
}

#[test]
fn waiters_end_in_the_order_of_their_positions() {
    let mut sim = Simulation::new();
    sim.join("late", &[write(0, OLD, 30)]);
    sim.join("soon", &[write(0, OLD, 10)]);
    sim.join("done", &[write(0, OLD, 5)]);
    let first = sim.answer(at(OLD, 5)).waiters;
    assert_eq!(first, [("late", Status::Pending), ("soon", Status::Pending), ("done", Status::Visible)]);
    assert_eq!(sim.answer(at(OLD, 9)).waiters, []);
    assert_eq!(sim.answer(at(OLD, 10)).waiters, [("soon", Status::Visible)]);
    assert_eq!(sim.answer(at(OLD, 31)).waiters, [("late", Status::Visible)]);
    assert_eq!(sim.watch.next(sim.now), Step::Rest);
}

#[test]
fn a_waiter_with_several_shards_waits_for_all() {
    let mut sim = Simulation::new();
    sim.join("both", &[write(1, OLD, 10), write(2, OLD, 10)]);
    let frontiers = |one, two| {
        let of = |shard, position| (Shard(shard), Frontier::new(OLD, Position(position)));
        [of(1, one), of(2, two)].into_iter().collect::<Frontiers>()
    };
    assert_eq!(sim.watch.next(sim.now), Step::Probe(Wanted::Of(vec![Shard(1), Shard(2)])));
    assert_eq!(sim.answer(frontiers(10, 9)).waiters, [("both", Status::Pending)]);
    assert_eq!(sim.answer(frontiers(10, 9)).waiters, []);
    assert_eq!(sim.answer(frontiers(10, 10)).waiters, [("both", Status::Visible)]);
}

#[test]
fn a_failover_is_judged_by_the_history() {
    let mut sim = Simulation::new();
    sim.join("kept", &[write(0, OLD, 100)]);
    sim.join("lost", &[write(0, OLD, 101)]);
    sim.join("next", &[write(0, NEW, 120)]);
    let before = sim.answer(at(OLD, 90)).waiters;
    assert_eq!(before, [("kept", Status::Pending), ("lost", Status::Pending), ("next", Status::Stranger)]);
    let ancestry = [Ancestor { epoch: OLD, end: Position(100) }];
    let promoted = Frontier::new(NEW, Position(110)).with_ancestry(ancestry);
    let after = sim.answer(promoted.clone().into()).waiters;
    assert_eq!(after, [("kept", Status::Visible), ("lost", Status::Lost), ("next", Status::Pending)]);
    let caught_up = Frontier { position: Position(120), ..promoted };
    assert_eq!(sim.answer(caught_up.into()).waiters, [("next", Status::Visible)]);
}

#[test]
fn a_frontier_that_goes_back_is_believed() {
    let mut sim = Simulation::new();
    sim.join("a", &[write(0, OLD, 100)]);
    sim.answer(at(OLD, 90));
    sim.answer(at(OLD, 20));
    let known = sim.watch.known().unwrap();
    let positions: Vec<_> = known.iter().map(|(_, frontier)| frontier.position).collect();
    assert_eq!(positions, [Position(20)], "a restore took it back");
}

#[test]
fn what_becomes_known_of_the_past_is_judged_by() {
    let mut sim = Simulation::new();
    sim.join("old", &[write(0, OLD, 100)]);
    assert_eq!(sim.answer(at(NEW, 200)).waiters, [("old", Status::Stranger)]);
    let ancestry = [Ancestor { epoch: OLD, end: Position(100) }];
    let same = Frontier::new(NEW, Position(200)).with_ancestry(ancestry);
    assert_eq!(sim.answer(same.into()).waiters, [("old", Status::Visible)]);
}

#[test]
fn a_newcomer_is_not_kept_waiting_by_those_who_wait_long() {
    let mut sim = Simulation::new();
    sim.join("stuck", &[write(0, OLD, 100)]);
    let start = sim.now;
    while sim.now - start < Duration::from_secs(3) {
        sim.answer(at(OLD, 1));
    }
    let gap = |sim: &Simulation| match sim.watch.next(sim.now) {
        Step::Sleep(until) => until - sim.now,
        step => panic!("{step:?}"),
    };
    assert!(gap(&sim) > Duration::from_millis(10));
    sim.join("newcomer", &[write(0, OLD, 2)]);
    assert!(gap(&sim) <= Duration::from_millis(1));
}

#[test]
fn a_failed_probe_forgets_what_was_known() {
    let mut sim = Simulation::new();
    sim.join("early", &[write(0, OLD, 100)]);
    sim.answer(at(OLD, 90));
    sim.join("joining", &[write(0, OLD, 80)]);
    assert_eq!(sim.fail().waiters, [("joining", Status::Down)]);
    assert!(sim.watch.known().is_none() && sim.watch.failure().is_some());
    let back = sim.answer(at(OLD, 100)).waiters;
    assert_eq!(back, [("early", Status::Visible), ("joining", Status::Visible)]);
    assert!(sim.watch.failure().is_none());
}

#[test]
fn an_asker_is_served_by_a_probe_that_begins_after_it() {
    let mut sim = Simulation::new();
    sim.join("waiter", &[write(0, OLD, 100)]);
    let (number, begun) = sim.begin();
    sim.watch.ask(sim.now, "asker", Wanted::All);
    let during = sim.watch.answered(sim.now, number, begun, &at(OLD, 1));
    assert!(during.askers.is_empty(), "that probe may have read the frontier before the question");
    assert!(matches!(sim.watch.next(sim.now), Step::Probe(Wanted::All) | Step::Sleep(_)));
    assert_eq!(sim.answer(at(OLD, 1)).askers, ["asker"]);
}

#[test]
fn who_leaves_leaves_nothing() {
    let mut sim = Simulation::new();
    let ids: Vec<_> = (0..1000).map(|position| sim.join("x", &[write(0, OLD, 1000 + position)])).collect();
    sim.answer(at(OLD, 1));
    sim.join("newcomer", &[write(0, OLD, 1)]);
    ids.into_iter().for_each(|id| sim.watch.leave(id));
    assert_eq!(sim.answer(at(OLD, 1)).waiters, [("newcomer", Status::Visible)]);
    assert!(sim.watch.is_idle() && sim.watch.queue.is_empty() && sim.watch.newcomers.is_empty());
}

#[test]
fn a_server_side_wait_gets_the_least_position() {
    let mut sim = Simulation::new();
    sim.join("b", &[write(0, OLD, 50)]);
    sim.join("a", &[write(0, OLD, 40)]);
    assert!(matches!(sim.watch.next(sim.now), Step::Probe(_)), "newcomers are told first where they stand");
    sim.answer(at(OLD, 1));
    let target = Target { shard: Shard::ONLY, epoch: OLD, position: Position(40) };
    assert_eq!(sim.watch.next(sim.now), Step::Await(target, Wanted::Of(vec![Shard::ONLY])));
}

#[test]
fn who_comes_while_the_server_holds_a_request_is_served_by_it_if_it_can() {
    let mut sim = Simulation::new();
    sim.join("first", &[write(0, OLD, 40)]);
    sim.answer(at(OLD, 1));
    let target = Target { shard: Shard::ONLY, epoch: OLD, position: Position(40) };
    let number = sim.watch.begin(sim.now, Some(target), Wanted::Of(vec![target.shard]));
    let join = |sim: &mut Simulation, writes: &[WriteId]| sim.watch.join(sim.now, "x", Arc::from(writes)).1;
    assert_eq!(join(&mut sim, &[write(0, OLD, 40)]), Status::Pending);
    assert_eq!(join(&mut sim, &[write(0, OLD, 50)]), Status::Pending);
    assert!(!sim.watch.has_questions());
    for other in [write(0, OLD, 39), write(0, OLD, 1), write(0, NEW, 60), write(1, OLD, 60)] {
        assert_eq!(join(&mut sim, &[other]), Status::Joining, "{other}");
        assert!(sim.watch.has_questions());
    }
    let reached = sim.watch.answered(sim.now, number, sim.now, &at(OLD, 50)).waiters;
    assert_eq!(reached.iter().filter(|(_, status)| *status == Status::Visible).count(), 5);
    assert_eq!(join(&mut sim, &[write(0, OLD, 60)]), Status::Joining, "nothing is held any more");
}

#[test]
fn probes_do_not_depend_on_how_many_wait() {
    let probes = |waiters: u64| {
        let mut sim = Simulation::new();
        let start = sim.now;
        for n in 0..waiters {
            sim.join("w", &[write(0, OLD, 1000 + n % 7)]);
        }
        let mut probes = 0;
        while sim.now - start < Duration::from_millis(150) {
            sim.answer(at(OLD, 1));
            probes += 1;
        }
        probes
    };
    assert_eq!(probes(1), probes(10_000));
    assert!(probes(1) < 150, "{} probes in 150 ms", probes(1));
}

fn of(shards: &[(u64, u64)]) -> Frontiers {
    shards.iter().map(|(shard, position)| (Shard(*shard), Frontier::new(OLD, Position(*position)))).collect()
}

#[test]
fn what_was_not_asked_for_is_believed_for_as_long_as_its_own_answer() {
    let mut sim = Simulation::new();
    sim.join("first", &[write(1, OLD, 10)]);
    sim.answer(of(&[(1, 10)]));
    let then = sim.now;
    sim.now += Duration::from_millis(100);
    sim.join("second", &[write(2, OLD, 10)]);
    sim.answer(of(&[(2, 10)]));
    let both = [write(1, OLD, 10), write(2, OLD, 10)];
    let known = sim.watch.known().unwrap();
    let ttl = Duration::from_millis(250);
    assert!(known.covers(&both, sim.now, ttl).is_some());
    assert!(known.covers(&both, then + Duration::from_millis(300), ttl).is_none(), "the first is older");
    assert!(known.covers(&both[1..], then + Duration::from_millis(300), ttl).is_some());
}

#[test]
fn a_shard_that_an_answer_leaves_out_is_forgotten() {
    let mut sim = Simulation::new();
    sim.join("first", &[write(1, OLD, 10)]);
    sim.join("second", &[write(2, OLD, 20)]);
    sim.answer(of(&[(1, 5), (2, 5)]));
    let changes = sim.answer(of(&[(2, 20)]));
    assert_eq!(changes.waiters, [("first", Status::Stranger), ("second", Status::Visible)]);
}

#[test]
fn what_was_seen_in_one_shard_holds_while_another_is_waited_for() {
    let mut sim = Simulation::new();
    sim.join("both", &[write(1, OLD, 10), write(2, OLD, 30)]);
    sim.answer(of(&[(1, 10), (2, 20)]));
    let next = sim.watch.next(sim.now + Duration::from_secs(1));
    assert!(matches!(next, Step::Await(_, Wanted::Of(shards)) if shards == [Shard(2)]));
    assert_eq!(sim.answer(of(&[(2, 30)])).waiters, [("both", Status::Visible)]);
}

#[test]
fn who_comes_during_a_probe_of_other_shards_is_no_stranger() {
    let mut sim = Simulation::new();
    sim.join("first", &[write(1, OLD, 10)]);
    let (number, begun) = sim.begin();
    sim.join("second", &[write(2, OLD, 10)]);
    let changes = sim.watch.answered(sim.now, number, begun, &of(&[(1, 5)]));
    assert_eq!(changes.waiters, [("first", Status::Pending)]);
    let changes = sim.answer(of(&[(1, 5), (2, 10)]));
    assert_eq!(changes.waiters, [("second", Status::Visible)]);
}

#[test]
fn a_lag_is_told_from_the_first_who_waits_and_its_end_by_the_last_look() {
    const MS: Duration = Duration::from_millis(1);
    let mut sim = Simulation::new();
    let began = sim.now;
    sim.join("done", &[write(0, OLD, 5)]);
    sim.now += MS;
    assert_eq!(sim.watch.behind(sim.now), Duration::ZERO, "nothing is known to be missing yet");
    sim.answer(at(OLD, 5));
    sim.join("done, too", &[write(0, OLD, 4)]);
    assert_eq!(sim.answer(at(OLD, 5)).detected, None, "it was never missing");
    sim.join("late", &[write(0, OLD, 10)]);
    sim.answer(at(OLD, 5));
    sim.now += 70 * MS;
    sim.join("later", &[write(0, OLD, 11)]);
    sim.answer(at(OLD, 6));
    assert_eq!(sim.watch.behind(sim.now), 70 * MS);
    let looked = sim.now;
    sim.now += 3 * MS;
    let changes = sim.answer(at(OLD, 11));
    assert_eq!(changes.detected, Some(sim.now - looked));
    assert_eq!(sim.watch.behind(sim.now), Duration::ZERO);
    assert!(sim.now - began >= 73 * MS);

    let waiting = write(0, OLD, 20);
    sim.join("held", &[waiting]);
    sim.answer(at(OLD, 11));
    let target = Target { shard: waiting.shard, epoch: waiting.epoch, position: waiting.position };
    assert_eq!(sim.hold(90 * MS, target, at(OLD, 20)).detected, None, "the server answered in time");
}
