//! The laws of the gate: nothing lost, nothing out of order within a key, no commit past what is
//! handled, no more kept than allowed.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { parked: 6, window: 10 };

const KEYS: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    Fetch(usize, Visible),
    Check(Visible),
    Wake(u8),
    Next,
    Done(u8),
    GiveBack(u8),
    Commit,
    CommitFails,
    /// The partition goes to another consumer, and comes back.
    Rebalance(usize),
    /// The process is killed and started again.
    Crash,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Visible {
    Now,
    Later,
}

/// From raw numbers, which are made and shrunk a lot faster than a tree of strategies.
fn step([which, one, two]: [u8; 3]) -> Step {
    let visible = if one.is_multiple_of(2) { Visible::Now } else { Visible::Later };
    match which % 45 {
        0..12 => Step::Fetch(usize::from(two % 2), visible),
        12..18 => Step::Check(visible),
        18..22 => Step::Wake(one),
        22..30 => Step::Next,
        30..38 => Step::Done(one),
        38..40 => Step::GiveBack(one),
        40..42 => Step::Commit,
        42 => Step::CommitFails,
        43 => Step::Rebalance(usize::from(two % 2)),
        _ => Step::Crash,
    }
}

/// Two logs, whose offsets have gaps: what is in them, what is handled, and where the group stands.
struct World {
    core: Core<(usize, i64)>,
    logs: [Vec<(i64, u64)>; 2],
    fetched: [usize; 2],
    committed: [i64; 2],
    paused: [bool; 2],
    handled: HashSet<(usize, i64)>,
    waits: Vec<Ticket>,
    out: Vec<(Ticket, (usize, i64))>,
    /// Of the time before a crash or a rebalance: they are done late, or never.
    zombies: Vec<Ticket>,
}

impl World {
    fn new(keys: &[Vec<(u8, i64)>; 2]) -> Self {
        let log = |keys: &Vec<(u8, i64)>| {
            let mut at = 0;
            let record = |(key, gap): &(u8, i64)| {
                at += 1 + gap;
                (at, u64::from(*key))
            };
            keys.iter().map(record).collect()
        };
        let mut world = Self {
            core: Core::new(LIMITS),
            logs: [log(&keys[0]), log(&keys[1])],
            fetched: [0; 2],
            committed: [0; 2],
            paused: [false; 2],
            handled: HashSet::new(),
            waits: Vec::new(),
            out: Vec::new(),
            zombies: Vec::new(),
        };
        world.core.assign("posts", 0);
        world.core.assign("posts", 1);
        world
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Fetch(partition, visible) => self.fetch(partition, visible),
            Step::Check(visible) => self.check(visible),
            Step::Wake(index) if !self.waits.is_empty() => {
                let ticket = self.waits.swap_remove(usize::from(index) % self.waits.len());
                self.core.release(ticket, |_| ());
            }
            Step::Next => {
                if let Some((ticket, record)) = self.core.next() {
                    self.hand_over(ticket, record);
                }
            }
            Step::Done(index) if !self.out.is_empty() => {
                let (ticket, record) = self.out.swap_remove(usize::from(index) % self.out.len());
                self.handled.insert(record);
                self.core.done(ticket);
            }
            Step::GiveBack(index) if !self.out.is_empty() => {
                let (ticket, record) = self.out.swap_remove(usize::from(index) % self.out.len());
                self.core.give_back(ticket, record);
            }
            Step::Commit => {
                for place in self.core.uncommitted() {
                    self.commit(&place);
                }
            }
            Step::CommitFails => {
                let _unheard = self.core.uncommitted();
                self.core.say_again();
            }
            Step::Rebalance(partition) => {
                if let Some(place) = self.core.revoke("posts", partition as i32) {
                    self.commit(&place);
                }
                self.restart(partition);
            }
            Step::Crash => {
                self.core = Core::new(LIMITS);
                self.waits.clear();
                for partition in [0, 1] {
                    self.restart(partition);
                }
                // The handlers died with it.
                self.zombies.clear();
            }
            Step::Wake(_) | Step::Done(_) | Step::GiveBack(_) => {}
        }
        self.settle();
    }

    fn restart(&mut self, partition: usize) {
        let (gone, kept) =
            std::mem::take(&mut self.out).into_iter().partition(|(_, (from, _))| *from == partition);
        self.out = kept;
        let gone: Vec<(Ticket, (usize, i64))> = gone;
        self.zombies.extend(gone.iter().map(|(ticket, _)| *ticket));
        let position = self.committed[partition];
        self.fetched[partition] = self.logs[partition].iter().take_while(|(at, _)| *at < position).count();
        self.paused[partition] = false;
        self.core.assign("posts", partition as i32);
        // What the revoked assignment's handlers say counts for nothing.
        for zombie in self.zombies.drain(..) {
            self.core.done(zombie);
        }
    }

    fn fetch(&mut self, partition: usize, visible: Visible) {
        if self.paused[partition] {
            return;
        }
        let Some((offset, key)) = self.logs[partition].get(self.fetched[partition]).copied() else { return };
        self.fetched[partition] += 1;
        let record = (partition, offset);
        let arrived = self.core.arrive("posts", partition as i32, offset, LaneId(key));
        let (ticket, turn) = arrived.expect("assigned");
        match (turn, visible) {
            (Turn::First, Visible::Now) => self.hand_over(ticket, record),
            (Turn::First, Visible::Later) => {
                self.core.park(ticket, record);
                self.waits.push(ticket);
            }
            (Turn::Behind, _) => self.core.park(ticket, record),
        }
    }

    fn check(&mut self, visible: Visible) {
        let Some(ticket) = self.core.unchecked() else { return };
        if self.core.waiting(ticket).is_none() {
            return;
        }
        match visible {
            Visible::Now => self.core.release(ticket, |_| ()),
            Visible::Later => self.waits.push(ticket),
        }
    }

    fn hand_over(&mut self, ticket: Ticket, (partition, offset): (usize, i64)) {
        let log = &self.logs[partition];
        let (_, key) = log[log.partition_point(|(at, _)| *at < offset)];
        for (at, _) in log.iter().filter(|(at, of)| *of == key && *at < offset) {
            assert!(self.handled.contains(&(partition, *at)), "{at} of key {key} comes before {offset}");
        }
        assert!(
            !self.out.iter().any(|(_, record)| *record == (partition, offset)),
            "handed over twice at once"
        );
        self.out.push((ticket, (partition, offset)));
    }

    fn commit(&mut self, place: &RecordPlace) {
        let partition = place.partition as usize;
        for (at, _) in self.logs[partition].iter().filter(|(at, _)| *at < place.offset) {
            assert!(self.handled.contains(&(partition, *at)), "{at} is committed and not handled");
        }
        assert!(place.offset >= self.committed[partition], "committed backwards");
        self.committed[partition] = place.offset;
    }

    fn settle(&mut self) {
        for flow in self.core.flow() {
            let (partition, paused) = match flow {
                Flow::Pause(_, partition) => (partition, true),
                Flow::Resume(_, partition) => (partition, false),
            };
            assert_ne!(self.paused[partition as usize], paused, "told once");
            self.paused[partition as usize] = paused;
        }
        for held in &self.core.partitions {
            // What was handed over, at most one of each key, may come back on top.
            assert!(held.lanes.parked() <= LIMITS.parked + KEYS, "bounded");
            assert!(held.window.len() <= LIMITS.window, "bounded");
        }
    }

    /// Everything becomes visible and is handled.
    fn drain(&mut self) {
        let mut rounds = 0;
        while (0..2).any(|partition| self.committed[partition] < self.end(partition)) {
            rounds += 1;
            assert!(rounds < 1_000, "stuck");
            for partition in [0, 1] {
                self.step(Step::Fetch(partition, Visible::Now));
            }
            self.step(Step::Check(Visible::Now));
            while let Some(ticket) = self.waits.pop() {
                self.core.release(ticket, |_| ());
            }
            self.step(Step::Next);
            while let Some((ticket, record)) = self.out.pop() {
                self.handled.insert(record);
                self.core.done(ticket);
            }
            self.step(Step::Commit);
        }
    }

    fn end(&self, partition: usize) -> i64 {
        self.logs[partition].last().map_or(0, |(at, _)| at + 1)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_lost_reordered_or_committed_early(
        logs in [prop::collection::vec((0..KEYS as u8, 0..3_i64), 0..30), prop::collection::vec((0..KEYS as u8, 0..3_i64), 0..30)],
        steps in prop::collection::vec(any::<[u8; 3]>(), 0..120),
    ) {
        let mut world = World::new(&logs);
        for raw in steps {
            world.step(step(raw));
        }
        world.drain();
        prop_assert_eq!(world.core.parked(), 0);
        prop_assert_eq!(world.core.paused(), 0);
        for (partition, log) in world.logs.iter().enumerate() {
            for (at, _) in log {
                prop_assert!(world.handled.contains(&(partition, *at)), "{} of {} is lost", at, partition);
            }
            prop_assert_eq!(world.committed[partition], world.end(partition));
        }
    }
}

fn core() -> Core<&'static str> {
    let mut core = Core::new(LIMITS);
    core.assign("posts", 0);
    core
}

#[test]
fn one_key_does_not_hold_another() {
    let mut core = core();
    let (stuck, turn) = core.arrive("posts", 0, 10, LaneId(1)).unwrap();
    assert_eq!(turn, Turn::First);
    core.park(stuck, "stuck");
    let (behind, turn) = core.arrive("posts", 0, 11, LaneId(1)).unwrap();
    assert_eq!(turn, Turn::Behind);
    core.park(behind, "behind");
    let (free, turn) = core.arrive("posts", 0, 12, LaneId(2)).unwrap();
    assert_eq!(turn, Turn::First);
    core.done(free);
    assert_eq!(core.uncommitted()[0].offset, 10);
    assert!(core.next().is_none());
    core.release(stuck, |_| ());
    assert_eq!(core.next().unwrap(), (stuck, "stuck"));
    assert!(core.next().is_none(), "the first one is still being handled");
    core.done(stuck);
    let next = core.unchecked().unwrap();
    assert_eq!(core.waiting(next), Some(&"behind"));
    assert_eq!(core.uncommitted()[0].offset, 11);
}

#[test]
fn what_a_revoked_assignment_had_counts_for_nothing() {
    let mut core = core();
    let (old, _) = core.arrive("posts", 0, 10, LaneId(1)).unwrap();
    assert_eq!(core.revoke("posts", 0).unwrap().offset, 10);
    core.assign("posts", 0);
    let (new, _) = core.arrive("posts", 0, 10, LaneId(1)).unwrap();
    core.done(old);
    assert_eq!(core.uncommitted()[0].offset, 10, "a late word of the old assignment");
    core.give_back(old, "old");
    assert!(core.unchecked().is_none());
    core.done(new);
    assert_eq!(core.uncommitted()[0].offset, 11);
    assert!(core.arrive("posts", 7, 0, LaneId(1)).is_none(), "not assigned");
}

#[test]
fn a_log_that_was_cut_is_handled_as_it_is_now() {
    let mut core = core();
    let [kept, out, parked] =
        [10, 11, 12].map(|at| core.arrive("posts", 0, at, LaneId(at as u64)).unwrap().0);
    core.park(kept, "kept");
    core.park(parked, "cut off");
    let (behind, _) = core.arrive("posts", 0, 13, LaneId(10)).unwrap();
    core.park(behind, "cut off behind the one that is kept");
    // 11 and 12 were lost, others come in their place.
    let (again, turn) = core.arrive("posts", 0, 11, LaneId(11)).unwrap();
    assert_eq!(turn, Turn::Behind, "the one that was lost is still being handled");
    core.park(again, "again");
    assert_eq!(core.waiting(parked), None);
    assert_eq!(core.waiting(kept), Some(&"kept"));
    assert_eq!(core.parked(), 2);
    core.give_back(out, "cut off, too");
    let next = core.unchecked().unwrap();
    assert_eq!(core.waiting(next), Some(&"again"));
    core.release(kept, |_| ());
    core.next().unwrap();
    core.done(kept);
    assert!(core.unchecked().is_none(), "nothing is left behind it");
    assert_eq!(core.uncommitted()[0].offset, 11);
    core.release(next, |_| ());
    core.next().unwrap();
    core.done(next);
    assert_eq!(core.uncommitted()[0].offset, 12);
}

#[test]
fn an_assignment_replaces_the_one_before() {
    let mut core = core();
    let (old, _) = core.arrive("posts", 0, 10, LaneId(1)).unwrap();
    core.assign("posts", 0);
    assert_eq!(core.partitions.len(), 1);
    core.done(old);
    assert!(core.uncommitted().is_empty());
}

#[test]
fn a_late_word_about_a_record_that_was_cut_off_lets_nobody_pass() {
    let mut core = core();
    let (old, _) = core.arrive("posts", 0, 10, LaneId(1)).unwrap();
    core.park(old, "cut off while its dead letter was written");
    let (new, turn) = core.arrive("posts", 0, 10, LaneId(1)).unwrap();
    assert_eq!(turn, Turn::First);
    core.done(old);
    assert_eq!(core.arrive("posts", 0, 11, LaneId(1)).unwrap().1, Turn::Behind);
    core.done(new);
    assert_eq!(core.uncommitted()[0].offset, 11);
}
