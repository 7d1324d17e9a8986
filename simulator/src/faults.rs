//! Trouble: what each kind does to the world, and when.

use core::time::Duration;

use heartsay_membership::{Command, HostId, Instant};

use crate::scenario::{Disk, Fault, Phase, Pick, What, Who};
use crate::world::{SimEvent, World};

/// One thing that the scenario does to the world.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FaultAction {
    /// A process starts.
    Start(usize),
    /// The trouble of this number in the scenario begins.
    Begin(usize),
    /// A process ends.
    Stop { fault: usize, member: usize },
    /// What comes and goes at a member: on or off, until when in all.
    Turn { fault: usize, member: usize, on: bool, until: Instant, first: bool },
    /// The same for a cut.
    TurnCut { fault: usize, cut: usize, on: bool, until: Instant },
    /// The same for a filter that refuses.
    TurnFilter { fault: usize, filter: usize, on: bool, until: Instant },
    /// One beat of a crash loop.
    Loop { fault: usize, member: usize, until: Instant },
    /// One beat of churn.
    Churn { fault: usize, until: Instant },
    /// A clock jumps or drifts.
    Clock { fault: usize, member: usize },
    /// A member says good-bye.
    Leave { fault: usize, member: usize },
    /// A second host claims the member's name.
    Duplicate { fault: usize, member: usize },
    /// A member begins to lie.
    BeginLies { fault: usize, member: usize, until: Instant },
    /// It is time for its next lie.
    Lie { fault: usize, member: usize, until: Instant },
}

impl World {
    pub(crate) fn act(&mut self, act: FaultAction) {
        match act {
            FaultAction::Start(member) => self.start(member),
            FaultAction::Begin(fault) => self.begin(fault),
            FaultAction::Stop { fault, member } => self.strike_dead(fault, member),
            FaultAction::Turn { fault, member, on, until, first } => {
                self.turn(fault, member, on, until, first);
            }
            FaultAction::TurnCut { fault, cut, on, until } => self.turn_cut(fault, cut, on, until),
            FaultAction::TurnFilter { fault, filter, on, until } => {
                self.turn_filter(fault, filter, on, until);
            }
            FaultAction::Loop { fault, member, until } => self.crash_loop(fault, member, until),
            FaultAction::Churn { fault, until } => self.churn(fault, until),
            FaultAction::Clock { fault, member } => self.clock(fault, member),
            FaultAction::Leave { fault, member } => {
                self.disturb(|| format!("n{member} is told to leave"));
                if let Some(process) = &mut self.hosts[member].process {
                    process.leaving = true;
                    self.chronicle.struck(self.now, fault, member);
                }
                self.command(member, Command::Leave);
                if let Some(back) = self.scenario.faults[fault].back_after {
                    self.at(self.now + back.0, FaultAction::Start(member));
                }
            }
            FaultAction::Duplicate { fault, member } => {
                self.chronicle.struck(self.now, fault, member);
                self.disturb(|| format!("a second host claims the name n{member}"));
                let twin = self.add_host(Some(member));
                self.start(twin);
            }
            FaultAction::BeginLies { fault, member, until } => self.begin_lies(fault, member, until),
            FaultAction::Lie { fault, member, until } => self.tell_lie(fault, member, until),
        }
    }

    fn begin(&mut self, fault: usize) {
        let Some(f) = self.scenario.faults.get(fault).cloned() else { return };
        let until = f.lasts.map_or(Instant::NEVER, |lasts| self.now + lasts.0);
        match f.what {
            What::Join => return self.join(fault, &f),
            What::Churn => return self.at(self.now, FaultAction::Churn { fault, until }),
            What::Cut => {
                let sides = self.both_ends(&f);
                return self.begin_cut(fault, &sides, !f.both, until);
            }
            What::Refuse => {
                let sides = self.both_ends(&f);
                let sides = self.sides(&sides);
                let filter = self.network.plan_filter(sides, !f.both);
                return self.turn_filter(fault, filter, true, until);
            }
            What::Partition => {
                let sides = self.deal(f.sides.as_deref().unwrap_or(&[]), f.pick);
                return self.begin_cut(fault, &sides, f.one_way, until);
            }
            What::Crash
            | What::Vanish
            | What::Restart
            | What::CrashLoop
            | What::Pause
            | What::Block
            | What::Slow
            | What::ClockStep
            | What::ClockDrift
            | What::Lossy
            | What::Corrupt
            | What::DuplicateName
            | What::Leave
            | What::Lie => {}
        }
        for member in self.choose(f.who.as_ref(), f.pick, &[]) {
            let mut at = self.now + f.over.map_or(Duration::ZERO, |over| self.dice.within(over.0));
            if let (Phase::Apart, Some(on), Some(off)) = (f.phase, f.on, f.off) {
                at += self.dice.within(on.0 + off.0);
            }
            let act = match f.what {
                What::Crash | What::Vanish | What::Restart => FaultAction::Stop { fault, member },
                What::CrashLoop => FaultAction::Loop { fault, member, until },
                What::Pause | What::Block | What::Slow | What::Lossy | What::Corrupt => {
                    FaultAction::Turn { fault, member, on: true, until, first: true }
                }
                What::ClockStep | What::ClockDrift => FaultAction::Clock { fault, member },
                What::DuplicateName => FaultAction::Duplicate { fault, member },
                What::Leave => FaultAction::Leave { fault, member },
                What::Lie => FaultAction::BeginLies { fault, member, until },
                What::Join | What::Churn | What::Cut | What::Refuse | What::Partition => continue,
            };
            self.at(at, act);
        }
    }

    pub(crate) fn at(&mut self, at: Instant, act: FaultAction) {
        if at != Instant::NEVER {
            self.queue.push(at, SimEvent::FaultAction(act));
        }
    }

    /// The members that are named, one by one or by zone; `None`: they are drawn, or all.
    fn named(&self, who: &Who) -> Option<Vec<usize>> {
        let zones = (0..self.hosts.len()).map(|member| self.network.zone(member));
        // A second host of a name is no member.
        let members =
            |named: Vec<usize>| named.into_iter().filter(|m| self.hosts[*m].subject == *m).collect();
        who.named(zones).map(members)
    }

    /// Draws members that are up and not among `but`.
    pub(crate) fn choose(&mut self, who: Option<&Who>, pick: Pick, but: &[usize]) -> Vec<usize> {
        let up: Vec<usize> =
            (0..self.hosts.len()).filter(|m| self.oracle.members()[*m].up && !but.contains(m)).collect();
        let default = Who::Count(1);
        let who = who.unwrap_or(&default);
        if let Some(named) = self.named(who) {
            return named.into_iter().filter(|n| up.contains(n)).collect();
        }
        let count = who.drawn(up.len()).unwrap_or(0);
        match pick {
            Pick::Random => self.dice.choose(up.len(), count).into_iter().map(|i| up[i]).collect(),
            Pick::Neighbours => {
                let first = self.dice.below(up.len());
                up.iter().cycle().skip(first).take(count).copied().collect()
            }
        }
    }

    /// The two ends of a cut of links. Members that are named stand there whether they run or not, and are not drawn for
    /// the other end.
    fn both_ends(&mut self, f: &Fault) -> [Vec<usize>; 2] {
        let named = |who: &Option<Who>| who.as_ref().and_then(|who| self.named(who));
        let (from, to) = (named(&f.from), named(&f.to));
        let from = from.unwrap_or_else(|| self.choose(f.from.as_ref(), f.pick, to.as_deref().unwrap_or(&[])));
        let to = to.unwrap_or_else(|| self.choose(f.to.as_ref(), f.pick, &from));
        [from, to]
    }

    /// Deals all members out to the sides of a partition; the last takes the rest. Named members stand on their side
    /// whether they run or not.
    fn deal(&mut self, sides: &[Who], pick: Pick) -> Vec<Vec<usize>> {
        let all = self.hosts.len();
        let mut dealt: Vec<Vec<usize>> = Vec::new();
        let mut taken: Vec<usize> = sides.iter().filter_map(|side| self.named(side)).flatten().collect();
        for (i, side) in sides.iter().enumerate() {
            if let Some(named) = self.named(side) {
                dealt.push(named);
                continue;
            }
            let chosen = if i + 1 == sides.len() {
                (0..all).filter(|m| !taken.contains(m)).collect()
            } else {
                self.choose(Some(&Who::Count(side.drawn(all).unwrap_or(0))), pick, &taken)
            };
            taken.extend(&chosen);
            dealt.push(chosen);
        }
        dealt
    }

    fn begin_cut(&mut self, fault: usize, sides: &[Vec<usize>], one_way: bool, until: Instant) {
        let side_of = self.sides(sides);
        let cut = self.network.plan_cut(side_of, one_way);
        self.turn_cut(fault, cut, true, until);
    }

    /// The side of each member, from 1 on; 0: none.
    fn sides(&self, sides: &[Vec<usize>]) -> Vec<u8> {
        let mut side_of = vec![0; self.hosts.len()];
        for (side, members) in (1u8..).zip(sides) {
            for &member in members {
                side_of[member] = side;
            }
        }
        side_of
    }

    fn turn_filter(&mut self, fault: usize, filter: usize, on: bool, until: Instant) {
        let now = self.now;
        self.network.set_filter(filter, on, now);
        self.chronicle.parted(now, fault, &self.network.filters()[filter].side, on);
        self.disturb(|| format!("a filter {}", if on { "refuses" } else { "lets pass again" }));
        let next = self.next_turn(fault, on, until);
        self.at(next, FaultAction::TurnFilter { fault, filter, on: !on, until });
    }

    fn turn_cut(&mut self, fault: usize, cut: usize, on: bool, until: Instant) {
        let now = self.now;
        self.network.set_cut(cut, on, now);
        let sides = &self.network.cuts()[cut].side;
        self.chronicle.parted(now, fault, sides, on);
        if let Some(film) = &mut self.recording {
            film.cut(now, cut, sides, on);
        }
        let shape: Vec<usize> = (1..=sides.iter().copied().max().unwrap_or(0))
            .map(|side| sides.iter().filter(|s| **s == side).count())
            .collect();
        self.disturb(|| format!("cut between {shape:?} members {}", if on { "begins" } else { "heals" }));
        let next = self.next_turn(fault, on, until);
        self.at(next, FaultAction::TurnCut { fault, cut, on: !on, until });
    }

    fn turn(&mut self, fault: usize, member: usize, on: bool, until: Instant, first: bool) {
        let Some(f) = self.scenario.faults.get(fault).cloned() else { return };
        // What has begun ends also on a host whose process has gone meanwhile.
        if on && self.hosts[member].process.is_none() {
            if !first {
                self.oracle.truth(member).relieve(self.now);
            }
            return;
        }
        self.disturb(|| format!("n{member}: {:?} {}", f.what, if on { "begins" } else { "ends" }));
        if on {
            self.chronicle.struck(self.now, fault, member);
        } else {
            self.chronicle.relieved(self.now, fault);
        }
        if first {
            self.oracle.truth(member).strike();
            self.open_episode(member, false);
        }
        let now = self.now;
        self.record(|film| film.trouble(now, member, f.what.word(), on));
        self.afflict(member, &f, on);
        let next = self.next_turn(fault, on, until);
        if !on && (next == Instant::NEVER || self.now >= until) {
            self.oracle.truth(member).relieve(self.now);
            return;
        }
        self.at(next, FaultAction::Turn { fault, member, on: !on, until, first: false });
    }

    /// When what is now on (or off) changes next; never, when it is over.
    fn next_turn(&self, fault: usize, on: bool, until: Instant) -> Instant {
        let f = &self.scenario.faults[fault];
        if on {
            f.on.map_or(until, |on| (self.now + on.0).min(until))
        } else if self.now >= until {
            Instant::NEVER
        } else {
            let next = f.off.map_or(Instant::NEVER, |off| self.now + off.0);
            if next >= until { Instant::NEVER } else { next }
        }
    }

    fn afflict(&mut self, member: usize, f: &Fault, on: bool) {
        let h = &mut self.hosts[member];
        let step = |count: u16| if on { count + 1 } else { count.saturating_sub(1) };
        let share = |share: Option<f64>| if on { share.unwrap_or(0.0) } else { 0.0 };
        match f.what {
            What::Pause => h.paused = step(h.paused),
            What::Block => {
                h.blocked = step(h.blocked);
                if h.blocked == 0 {
                    self.flush(member);
                }
            }
            What::Slow => h.work = f.work.filter(|_| on).map_or(Duration::ZERO, |work| work.0),
            What::Lossy => {
                let edge = self.network.edge(member);
                (edge.send, edge.receive) = (share(f.send), share(f.receive));
            }
            What::Corrupt => self.network.edge(member).corrupt = share(f.share),
            What::Crash
            | What::Vanish
            | What::Restart
            | What::CrashLoop
            | What::ClockStep
            | What::ClockDrift
            | What::Cut
            | What::Refuse
            | What::Partition
            | What::DuplicateName
            | What::Leave
            | What::Join
            | What::Churn
            | What::Lie => {}
        }
        if !on {
            self.serve(member);
        }
    }

    fn strike_dead(&mut self, fault: usize, member: usize) {
        let Some(f) = self.scenario.faults.get(fault).cloned() else { return };
        if self.hosts[member].process.is_none() {
            return;
        }
        let back = f.back_after.map(|back| back.0).or((f.what == What::Restart).then_some(RESTART));
        self.chronicle.struck(self.now, fault, member);
        let vanishes = f.what == What::Vanish;
        self.stop(member, vanishes);
        if !vanishes {
            self.speak_last(member, &f);
        }
        if back.is_none_or(|back| back >= NOTICEABLE) {
            self.open_episode(member, true);
        }
        if f.disk == Disk::Lost {
            let id = u128::from(self.dice.word()) << 64 | u128::from(self.dice.word());
            let h = &mut self.hosts[member];
            (h.host_id, h.stored) = (HostId(id), 0);
        }
        if let Some(back) = back {
            self.at(self.now + back, FaultAction::Start(member));
        }
    }

    fn crash_loop(&mut self, fault: usize, member: usize, until: Instant) {
        let Some(f) = self.scenario.faults.get(fault).cloned() else { return };
        let Some(every) = f.every.filter(|_| self.now < until) else { return };
        self.chronicle.struck(self.now, fault, member);
        let ran = self.hosts[member].process.is_some();
        self.stop(member, false);
        if ran {
            self.speak_last(member, &f);
        }
        self.at(self.now + (every.0 / 2).min(RESTART), FaultAction::Start(member));
        self.at(self.now + every.0, FaultAction::Loop { fault, member, until });
    }

    fn churn(&mut self, fault: usize, until: Instant) {
        let Some(every) = self.scenario.faults.get(fault).and_then(|f| f.every) else { return };
        if self.now >= until {
            return;
        }
        // Contacts stay: who replaces them would be a change of configuration, not churn.
        let contacts: Vec<usize> = (0..self.scenario.start.contacts).collect();
        if let Some(&member) = self.choose(None, Pick::Random, &contacts).first() {
            self.chronicle.struck(self.now, fault, member);
            self.stop(member, true);
            self.open_episode(member, true);
        }
        let newcomer = self.add_host(None);
        self.start(newcomer);
        self.at(self.now + every.0, FaultAction::Churn { fault, until });
    }

    fn join(&mut self, fault: usize, f: &Fault) {
        let count = f.who.as_ref().map_or(1, |who| match who {
            Who::Count(k) => *k,
            Who::Share(_) | Who::All | Who::Named(_) | Who::Zones(_) => {
                who.drawn(self.scenario.nodes).unwrap_or(0)
            }
        });
        for i in 0..count as u32 {
            let wait = match (f.every, f.over) {
                (Some(every), _) => every.0 * i,
                (None, Some(over)) => self.dice.within(over.0),
                (None, None) => Duration::ZERO,
            };
            let newcomer = self.add_host(None);
            self.chronicle.struck(self.now + wait, fault, newcomer);
            self.at(self.now + wait, FaultAction::Start(newcomer));
        }
    }

    fn clock(&mut self, fault: usize, member: usize) {
        let Some(f) = self.scenario.faults.get(fault).cloned() else { return };
        let now = self.now;
        self.disturb(|| format!("n{member}: {:?}", f.what));
        self.chronicle.struck(now, fault, member);
        let h = &mut self.hosts[member];
        if let Some(by) = f.by {
            let by = by.0.as_micros() as i64;
            h.wall.step(now, if f.back { -by } else { by });
        }
        if let Some(ppm) = f.ppm {
            h.wall.drift(now, ppm);
            if let Some(process) = &mut h.process {
                process.clock.drift(now, ppm);
            }
        }
    }
}

/// An absence of this length must be noticed by all before its end.
const NOTICEABLE: Duration = Duration::from_secs(30);
/// A process under a supervisor is back this soon (systemd's default is 100 ms; images must load).
const RESTART: Duration = Duration::from_millis(500);
