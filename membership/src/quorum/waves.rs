//! Waves: how members of larger clusters prove a majority at little cost.
//!
//! A relay pings all members once per period. Their answers prove a majority to the relay, as of the start of the wave.
//! The ping of the next wave carries this proof and names the last answer that came from its receiver. So the ping is
//! the answer to that answer, and the receiver has a proof without asking for one: one datagram in each direction per
//! period. Two relays are at work, half a period apart. The next of the draw joins in when their waves do not come.
//!
//! In a cluster of more than [`FLAT`] members a relay pings only leaders. Each leader passes the wave on to one group,
//! and tells the relay how many votes of the group have answered. Groups are disjoint, so their votes add up. A large
//! group has leaders of its own.

use core::time::Duration;
use std::collections::BTreeMap;

use heartsay_proto::gossip;

use crate::Instant;
use crate::quorum::lease::Proof;
use crate::quorum::{Ballot, Count, Lease};
use crate::roster::fingerprint;

/// Waves that we begin, pass on, and answer.
#[derive(Debug)]
pub struct Waves {
    /// The electors that may begin waves, best first; we may be one of them.
    pub relays: Vec<u64>,
    /// When we began to count.
    since: Instant,
    /// Number of our newest wave, and when it began.
    number: Option<u32>,
    began: Option<Instant>,
    /// When the newest wave is to be followed by another out of turn; `NEVER`: once it has proven a majority.
    again: Option<Instant>,
    /// Waves under way: those that we began, and those that we pass on.
    pub open: Vec<Wave>,
    /// When a wave of each relay last came, by its place.
    heard: [Option<Instant>; RELAYS],
    /// The votes of each group in our waves, and as of when.
    tallies: BTreeMap<u32, (Instant, Count)>,
    /// The number of groups that the tallies are about.
    groups: u32,
    /// For each group, how its leaders have fared.
    groups_led: BTreeMap<u32, Led>,
    /// Our last answers to pings of waves, by the member that sent the ping.
    answers: BTreeMap<u64, Answers>,
}

/// The last two answers: number of the ping, and when we answered.
#[derive(Clone, Copy, Debug)]
struct Answers {
    newest: (u32, Instant),
    before: Option<(u32, Instant)>,
}

/// How the leaders of a group have fared.
#[derive(Clone, Copy, Debug, Default)]
struct Led {
    /// How many have been passed over for good.
    turn: usize,
    /// Whether the present one was passed over in the last wave.
    missed: bool,
}

/// A wave under way.
#[derive(Debug)]
pub struct Wave {
    /// The place of the relay that began it.
    pub rank: u32,
    pub number: u32,
    pub began: Instant,
    pub relay: u64,
    /// The member that asked us to pass it on, and our group; `None`: the wave is ours.
    pub under: Option<(u64, u32)>,
    pub targets: Vec<Target>,
    /// The votes of each smaller group, if there are such.
    tallies: BTreeMap<u32, Count>,
    /// The votes that we have told the relay.
    pub told: Option<u32>,
}

/// A ping that is due in a wave.
#[derive(Clone, Copy, Debug)]
pub struct Ping {
    pub member: u64,
    /// The group that the member is to lead, and the number of groups.
    pub lead: Option<(u32, u32)>,
}

/// A member that is pinged in a wave.
#[derive(Clone, Debug)]
pub struct Target {
    pub member: u64,
    /// The group that it is to lead, and the number of groups.
    pub lead: Option<(u32, u32)>,
    /// The members that lead the group in its place, the last one first.
    substitutes: Vec<u64>,
    /// How many have not answered in this wave and were passed over.
    passed: usize,
    asked: Option<Instant>,
    tries: u32,
}

impl Target {
    pub fn new(member: u64) -> Self {
        Self { member, lead: None, substitutes: Vec::new(), passed: 0, asked: None, tries: 0 }
    }

    /// A leader has not answered: the next one of the draw leads its group.
    fn pass_over(&mut self) {
        if let Some(next) = self.substitutes.pop() {
            (self.member, self.asked, self.tries) = (next, None, 0);
            self.passed += 1;
        }
    }

    fn has_answered(&self, lease: &Lease, began: Instant) -> bool {
        self.asked.is_some() && lease.has_answered(self.member, began)
    }
}

impl Wave {
    /// Whether all members have answered, and all leaders told the votes of their groups.
    pub fn is_complete(&self, lease: &Lease) -> bool {
        let told = |target: &Target| target.lead.is_none_or(|(group, _)| self.tallies.contains_key(&group));
        self.targets.iter().all(|target| target.has_answered(lease, self.began) && told(target))
    }

    /// The votes of those that have answered, ours among them. In a group that is divided, our vote is that of a smaller
    /// group.
    pub fn votes(&self, me: u64, lease: &Lease, ballot: &Ballot) -> Count {
        if self.is_divided() {
            let mut count = Count::default();
            self.tallies.values().for_each(|votes| count.join(votes));
            return count;
        }
        let there = self.targets.iter().filter(|target| target.has_answered(lease, self.began));
        ballot.count(there.map(|target| target.member).chain([me]))
    }

    fn is_divided(&self) -> bool {
        self.targets.iter().any(|target| target.lead.is_some())
    }

    /// Whether this leader was asked to lead this group and has answered.
    fn is_led_by(&self, leader: u64, group: u32, lease: &Lease) -> bool {
        self.targets.iter().any(|target| {
            target.member == leader
                && target.lead.is_some_and(|(led, _)| led == group)
                && target.has_answered(lease, self.began)
        })
    }

    /// Takes the targets that are to be pinged now, at most `room`. Returns them and when the next is due. `retry`: how
    /// long to wait for the answer of a member.
    pub fn step(
        &mut self,
        now: Instant,
        lease: &Lease,
        room: usize,
        retry: impl Fn(u64) -> Duration,
    ) -> (Vec<Ping>, Instant) {
        let (mut due, mut next) = (Vec::new(), Instant::NEVER);
        let began = self.began;
        for target in self.targets.iter_mut().filter(|target| !target.has_answered(lease, began)) {
            let at = target.asked.map_or(now, |asked| asked + retry(target.member));
            if target.tries >= TRIES_OF_A_LEADER && at <= now {
                target.pass_over();
            }
            if target.tries >= TRIES {
                continue;
            }
            if at > now || due.len() >= room {
                next = next.min(at.max(now));
                continue;
            }
            (target.asked, target.tries) = (Some(now), target.tries + 1);
            next = next.min(now + retry(target.member));
            due.push(Ping { member: target.member, lead: target.lead });
        }
        (due, next)
    }

    /// When votes are to be told to the member that asked us to pass the wave on; `hold`: how long a group waits for all
    /// of its members.
    pub fn tells_at(&self, lease: &Lease, votes: u32, hold: Duration) -> Instant {
        let hold = if self.is_divided() { hold * 3 / 2 } else { hold };
        let complete = self.is_complete(lease);
        match self.told {
            _ if self.under.is_none() => Instant::NEVER,
            None if complete => self.began,
            None => self.began + hold,
            Some(told) if told >= votes => Instant::NEVER,
            Some(_) if complete => self.began,
            Some(_) => self.began + hold * 2,
        }
    }
}

impl Waves {
    pub fn new(now: Instant) -> Self {
        Self {
            relays: Vec::new(),
            since: now,
            number: None,
            began: None,
            again: None,
            open: Vec::new(),
            heard: [None; RELAYS],
            tallies: BTreeMap::new(),
            groups: 0,
            groups_led: BTreeMap::new(),
            answers: BTreeMap::new(),
        }
    }

    /// Our place among the relays.
    fn rank(&self, me: u64) -> Option<usize> {
        self.relays.iter().position(|relay| *relay == me)
    }

    /// When we begin our next wave. The first two relays do so once per period, half a period apart. The others step in,
    /// one `step` after the other, when less than two waves of better places come.
    pub fn begins_at(&self, me: u64, period: Duration, step: Duration) -> Instant {
        let Some(rank) = self.rank(me) else { return Instant::NEVER };
        if let Some(again) = self.again.filter(|again| *again < Instant::NEVER) {
            return again;
        }
        let regular = self.began.map_or(self.since, |began| began + period);
        if rank == 0 {
            return regular;
        }
        if rank < AT_WORK {
            let middle = self.heard.first().copied().flatten().map(|heard| heard + period / 2);
            // A span of one period, so that one of the two lies in it.
            let slack = period / 4;
            let in_step = |at: &Instant| *at + slack >= regular && *at < regular + slack * 3;
            return middle
                .and_then(|middle| [middle, middle + period].into_iter().find(in_step))
                .unwrap_or(regular);
        }
        let mut better: Vec<Instant> = self.heard.iter().take(rank).flatten().copied().collect();
        better.sort_unstable_by(|a, b| b.cmp(a));
        let second = better.get(AT_WORK - 1).copied().unwrap_or(self.since);
        let place = u32::try_from(rank - AT_WORK).unwrap_or(0);
        regular.max(second + period + period / 4 + step * place)
    }

    /// Whether we are at work as a relay.
    fn is_at_work(&self, now: Instant, period: Duration) -> bool {
        self.began.is_some_and(|began| now.since(began) < period * 2)
    }

    /// Begins a wave to `members`, ourselves not among them.
    pub fn begin(&mut self, (now, me, period): (Instant, u64, Duration), members: &[u64]) {
        let Some(rank) = self.rank(me).and_then(|rank| u32::try_from(rank).ok()) else { return };
        // The first wave after a pause cannot carry a proof by our count. The second does, and need not wait.
        self.again = (self.again.is_none() && !self.is_at_work(now, period)).then_some(Instant::NEVER);
        self.review_leaders();
        // Two relays rarely use the same numbers.
        let number = self.number.unwrap_or(u32::try_from(me >> 32).unwrap_or(0)).wrapping_add(1);
        self.number = Some(number);
        self.began = Some(now);
        let groups = groups_of(members.len());
        if groups != self.groups {
            self.groups = groups;
            self.tallies.clear();
            self.groups_led.clear();
        }
        let targets = divide(me, (rank, 0, 1), members, groups, &self.groups_led);
        let tallies = BTreeMap::new();
        self.open.push(Wave {
            rank,
            number,
            began: now,
            relay: me,
            under: None,
            targets,
            tallies,
            told: None,
        });
    }

    /// Passes a wave on: `asker`, a relay or a leader, asks us to lead a group with these members.
    pub fn pass_on(&mut self, now: Instant, asker: u64, rank: u32, lead: gossip::Lead, group: &[u64]) {
        let under = Some((asker, lead.group));
        let known = |wave: &Wave| wave.under == under && wave.number == lead.number;
        let for_asker = self.open.iter().filter(|wave| wave.under.is_some_and(|(under, _)| under == asker));
        if self.open.iter().any(known) || for_asker.count() >= MOST_FOR_ONE || self.open.len() >= MOST_OPEN {
            return;
        }
        let group = group.get(..MOST_IN_A_GROUP).unwrap_or(group);
        let parts = if group.len() > FLAT { square_root(group.len()) } else { 1 };
        let none = BTreeMap::new();
        let targets = divide(lead.relay, (rank, lead.group, lead.groups), group, parts, &none);
        let (number, relay, tallies) = (lead.number, lead.relay, BTreeMap::new());
        self.open.push(Wave { rank, number, began: now, relay, under, targets, tallies, told: None });
    }

    /// A leader that was passed over in two waves in a row is so from now on: its substitute knows the group by then. After
    /// one, which a short burst of losses explains, it keeps its group: members borrow only from a leader that has heard
    /// their last answer.
    fn review_leaders(&mut self) {
        let Some(wave) = self.open.iter().rfind(|wave| wave.under.is_none()) else { return };
        for target in &wave.targets {
            let Some((group, _)) = target.lead else { continue };
            let led = self.groups_led.entry(group).or_default();
            match target.passed {
                0 => led.missed = false,
                _ if !led.missed => led.missed = true,
                passed => *led = Led { turn: led.turn.wrapping_add(passed), missed: false },
            }
        }
    }

    /// Our newest wave has proven a majority as of `as_of`. Returns whether another is to follow at once.
    pub fn has_proven(&mut self, now: Instant, as_of: Instant) -> bool {
        let is_first = self.again == Some(Instant::NEVER) && self.began.is_some_and(|began| as_of >= began);
        if is_first {
            self.again = Some(now);
        }
        is_first
    }

    /// Ends waves that are over.
    pub fn tidy(&mut self, now: Instant, period: Duration) {
        self.open.retain(|wave| now.since(wave.began) < period * 2);
    }

    /// A leader tells how many votes of its group have answered. Returns what all groups prove together, if the wave is
    /// ours.
    pub fn hear_tally(
        &mut self,
        (now, length): (Instant, Duration),
        (leader, me): (u64, u64),
        tally: gossip::Tally,
        (lease, ballot): (&Lease, &Ballot),
    ) -> Option<(Proof, Vec<u32>)> {
        let asked =
            |wave: &&mut Wave| wave.number == tally.number && wave.is_led_by(leader, tally.group, lease);
        let wave = self.open.iter_mut().find(asked)?;
        let groups = wave.targets.iter().find_map(|target| target.lead).map_or(1, |(_, groups)| groups);
        // A leader can say no more than its group has by our own count.
        let of_group =
            |elector: &u64| *elector != wave.relay && group_of(wave.relay, *elector, groups) == tally.group;
        let most = ballot.count(ballot.electors.iter().map(|(elector, _)| *elector).filter(of_group));
        let votes = Count { votes: tally.votes, tie: tally.tie, zones: tally.zones }.at_most(&most);
        wave.tallies.insert(tally.group, votes.clone());
        if wave.under.is_some() {
            return None;
        }
        let told = (wave.began, votes);
        let known = self.tallies.entry(tally.group).or_default();
        if *known < told {
            *known = told;
        }
        self.proven(now, length, ballot, me)
    }

    /// What the votes of all groups and our own prove, and how many of each zone that are.
    fn proven(&self, now: Instant, length: Duration, ballot: &Ballot, me: u64) -> Option<(Proof, Vec<u32>)> {
        let own = (now, ballot.count([me]));
        let mut newest: Vec<(Instant, Count)> = self.tallies.values().cloned().chain([own]).collect();
        newest.sort_unstable_by(|a, b| b.cmp(a));
        let as_of = ballot.majority_as_of(&newest, Count::join)?;
        let mut there = Count::default();
        newest.iter().filter(|(at, _)| now.since(*at) < length).for_each(|(_, votes)| there.join(votes));
        Some((Proof { as_of, present: ballot.present(&there) }, there.zones))
    }

    /// A wave of this relay has come.
    pub fn came(&mut self, now: Instant, rank: u32) {
        if let Some(heard) = usize::try_from(rank).ok().and_then(|rank| self.heard.get_mut(rank)) {
            *heard = Some(now);
        }
    }

    /// Whether a member that pings us in a wave hears us: it names an answer of ours to its last wave (`named`: when we gave
    /// that), or this is its first. The waves of a relay that does not hear prove nothing, however punctual: others have to
    /// step in.
    pub fn hears_us(&self, now: Instant, sender: u64, named: Option<Instant>, period: Duration) -> bool {
        !self.answers.contains_key(&sender) || named.is_some_and(|at| now.since(at) < period * 3 / 2)
    }

    /// We have answered a ping of a wave.
    pub fn answered(&mut self, now: Instant, sender: u64, number: u32) {
        let newest = (number, now);
        self.answers
            .entry(sender)
            .and_modify(|answers| *answers = Answers { newest, before: Some(answers.newest) })
            .or_insert(Answers { newest, before: None });
    }

    /// When we answered the ping of `sender` with this number, if that was one of its last two.
    pub fn answered_at(&self, sender: u64, number: u32) -> Option<Instant> {
        let answers = self.answers.get(&sender)?;
        let of = |(of, at): (u32, Instant)| (of == number).then_some(at);
        of(answers.newest).or_else(|| answers.before.and_then(of))
    }

    /// The members that ping us in waves, the last first.
    pub fn askers(&self) -> Vec<u64> {
        let mut askers: Vec<(Instant, u64)> =
            self.answers.iter().map(|(asker, answers)| (answers.newest.1, *asker)).collect();
        askers.sort_unstable_by(|a, b| b.cmp(a));
        askers.into_iter().map(|(_, asker)| asker).collect()
    }

    /// Forgets those that asked long ago.
    pub fn forget(&mut self, now: Instant, length: Duration) {
        self.answers.retain(|_, answers| now.since(answers.newest.1) < length * 2);
    }
}

/// As of when the proof that a ping of a wave carries is good for us. Its sender had a proof of this `age` when the ping
/// left, and had heard our answer of `answered` for this long (`since`). We are in two-way contact with it as of our
/// answer, and its proof is good as of its own time. The sender measured both times by its clock, which may differ from
/// ours by two hundredths ([`DOUBT`]).
pub fn borrowed_in_a_wave(answered: Instant, since: Duration, age: Duration) -> Option<Instant> {
    let (since, age) = (since - since / DOUBT, age + age / DOUBT);
    if age <= since {
        return Some(answered);
    }
    let older = age - since;
    (older <= answered.since(Instant::EPOCH)).then(|| answered - older)
}

/// The group of a member in the waves of `relay`.
pub fn group_of(relay: u64, member: u64, groups: u32) -> u32 {
    let drawn = fingerprint::of_pair(relay, member) % u64::from(groups.max(1));
    u32::try_from(drawn).unwrap_or(0)
}

/// The members to ping: all of them, or the leaders of `parts` groups. `within`: the relay's place, and the group that
/// they are themselves, of how many. `led`: how the leaders of each group have fared.
fn divide(
    relay: u64,
    (rank, group, groups): (u32, u32, u32),
    members: &[u64],
    parts: u32,
    led: &BTreeMap<u32, Led>,
) -> Vec<Target> {
    if parts <= 1 {
        return members.iter().map(|member| Target::new(*member)).collect();
    }
    // A remainder by a multiple of `groups` says the group too.
    let all = groups.saturating_mul(parts);
    let mut of: BTreeMap<u32, Vec<(bool, u64, u64)>> = BTreeMap::new();
    for member in members {
        let drawn = fingerprint::of_pair(LEADERS ^ u64::from(groups), *member);
        // The two relays at work draw from different halves, so that few members lead for both.
        let other_half = drawn % 2 != u64::from(rank % 2);
        of.entry(group_of(relay, *member, all)).or_default().push((other_half, drawn, *member));
    }
    debug_assert!(of.keys().all(|part| part % groups.max(1) == group), "members of another group");
    of.into_iter()
        .filter_map(|(part, mut candidates)| {
            candidates.sort_unstable();
            let turn = led.get(&part).map_or(0, |led| led.turn) % candidates.len();
            let in_turn = candidates.iter().cycle().skip(turn).map(|(.., member)| *member);
            let mut drawn: Vec<u64> = in_turn.take(candidates.len().min(1 + SUBSTITUTES)).collect();
            drawn.reverse();
            let leader = drawn.pop()?;
            Some(Target { lead: Some((part, all)), substitutes: drawn, ..Target::new(leader) })
        })
        .collect()
}

/// Into how many groups the members of a cluster are divided: so that relays and leaders ping about as many.
fn groups_of(members: usize) -> u32 {
    match members {
        ..=FLAT => 1,
        n if n <= TWO_LEVELS => square_root(members),
        _ => (1_u32..).find(|root| root.saturating_pow(3) as usize >= members).unwrap_or(1),
    }
}

fn square_root(members: usize) -> u32 {
    u32::try_from(members.isqrt()).unwrap_or(u32::MAX)
}

/// Relays that are at work at a time, so that the loss of one costs nothing.
pub const AT_WORK: usize = 2;
/// Relays that are drawn. A cut may take all but one of them at a time; the members that are gone are drawn no more.
pub const RELAYS: usize = 8;
/// Members that a relay pings itself: at 90 bytes each it sends 4.5 kB/s with the shipped settings.
pub const FLAT: usize = 32;
/// Above this many members groups are divided once more.
const TWO_LEVELS: usize = 400;
/// How often a member is pinged in one wave.
const TRIES: u32 = 3;
/// How often a leader is pinged in one wave before another leads its group.
const TRIES_OF_A_LEADER: u32 = 2;
/// How many others may lead a group in one wave. Where two fifths of all members are cut off, one group of 40 has no leader
/// then.
const SUBSTITUTES: usize = 3;
/// Waves that we pass on for one member at a time; two are under way when one is late.
const MOST_FOR_ONE: usize = 3;
/// Waves under way at a time.
const MOST_OPEN: usize = 16;
/// Members in a group: twice what a relay of a cluster of 10,000 members asks for.
const MOST_IN_A_GROUP: usize = 1024;
/// A part of each time that another clock has measured. If one clock is a hundredth fast and the other a hundredth slow,
/// they differ by one part in 49.5.
const DOUBT: u32 = 49;
/// Salt of the draw of leaders.
const LEADERS: u64 = 0x006c_6561_6465_7273;
