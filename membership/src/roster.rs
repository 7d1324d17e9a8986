//! Who is in the cluster: the members, sorted by the hash of their name.
//!
//! Everybody who knows the same lives has them in the same order, and any
//! range of hashes (a page) has the same sum of tags (its fingerprint). So two
//! sides find out in eight bytes whether they mean the same members, and can
//! then speak of them by position.
//!
//! Picture: a card index. Each drawer holds an equal range of hashes; there are
//! twice as many when they get too full. A page of the wire is some drawers, or part of one. A newcomer moves the cards
//! of one drawer only (`drawer.rs`).

use core::net::SocketAddr;
use core::ops::Range;
use core::time::Duration;

use heartsay_detector::DetectorConfig;

use crate::Instant;
use crate::bodies::Bodies;
use crate::config::Config;
use crate::drawer::{DRAWER, Drawer, InHand, Sums};
use crate::fingerprint::standing_code;
use crate::identity::{Heartbeat, HostId};
use crate::io::Rejected;
use crate::member::{Member, touch_files};
use crate::pulse::{self, Pulse};
use crate::standing::{Standing, Status};
use crate::state::{KeyChange, Merged, State};
use crate::tombstones::Tombstones;
use crate::wire::Claim;

/// The members, ourselves included.
#[derive(Debug)]
pub struct Roster {
    /// `1 << bits` of them, by the first `bits` bits of the hash.
    drawers: Vec<Drawer>,
    bits: u32,
    len: usize,
    census: Census,
    tombstones: Tombstones,
    max_members: usize,
    bodies: Bodies,
}

/// How many members have which status, the node itself included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Nothing speaks against them.
    pub alive: u32,
    /// They said that they restart.
    pub restarting: u32,
    /// Accused, and not judged yet.
    pub suspect: u32,
    /// Judged.
    pub down: u32,
    /// Said good-bye, and not forgotten yet.
    pub left: u32,
}

/// What taking a claim has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing that we did not know.
    Same,
    /// We know better, and the one who said it should be told.
    Stale,
    /// It is about a life that we do not know, and does not say enough to take it in.
    Unknown,
    /// The member was dropped, or a stone set for one we never had.
    Forgotten,
    /// A name that we did not have.
    New,
    /// A later life of a name that we had.
    Restarted,
    /// A later life of the same process, which is at another address now.
    Moved {
        /// Where it was.
        from: SocketAddr,
    },
    /// The same life; what of it changed.
    Changed {
        /// Its heartbeat advanced.
        heartbeat: bool,
        /// Something of its state is new to us, and may be to others.
        state: bool,
        /// Values of its state that changed.
        values: Vec<KeyChange>,
        /// Its accusations or its verdict changed.
        standing: bool,
    },
}

impl Roster {
    pub fn new(me: Member, config: &Config) -> Self {
        let mut census = Census::default();
        *census.of(me.status) += 1;
        Self {
            drawers: vec![Drawer::new(me)],
            bits: 0,
            len: 1,
            census,
            tombstones: Tombstones::new(config.tombstones),
            max_members: config.max_members.max(1),
            bodies: config.bodies.clone(),
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// How many members have which status, ourselves included.
    pub fn census(&self) -> Census {
        self.census
    }

    pub fn iter(&self) -> impl Iterator<Item = &Member> + Clone {
        self.drawers.iter().flat_map(|drawer| &drawer.members)
    }

    /// Everybody with the hash of the name.
    pub fn entries(&self) -> impl Iterator<Item = (u64, &Member)> {
        self.drawers.iter().flat_map(|drawer| drawer.hashes().zip(&drawer.members))
    }

    /// The hashes of those in good standing.
    pub fn alive(&self) -> impl Iterator<Item = u64> {
        let drawers = self.drawers.iter();
        let all = drawers.flat_map(|drawer| drawer.riders.iter().zip(&drawer.pulses));
        all.filter(|(_, pulse)| pulse.is_alive()).map(|(rider, _)| rider.hash)
    }

    /// Whether anybody has said in which zone it is.
    pub fn is_zoned(&self) -> bool {
        self.drawers.iter().any(|drawer| drawer.zoned)
    }

    /// The hashes of those present whose silence has become surprising. It is of members with a rhythm only.
    pub fn overdue(&mut self, now: Instant, config: &DetectorConfig) -> Vec<u64> {
        let mut overdue = Vec::new();
        let ticks = pulse::ticks(now);
        for drawer in &mut self.drawers {
            for (pulse, member) in drawer.pulses.iter_mut().zip(&drawer.members) {
                if pulse.is_calm(ticks) || pulse.is_gone() {
                    continue;
                }
                if !member.has_rhythm() {
                    // Only its next heartbeat can give it one.
                    pulse.calm_until_heard();
                } else if member.detector.is_overdue(now, config) {
                    overdue.push(member.hash());
                } else {
                    pulse.calm(member.detector.overdue_from(config));
                }
            }
        }
        overdue
    }

    /// Takes our own absence off everybody's silence.
    pub fn shift(&mut self, now: Instant, away: Duration) {
        for member in self.drawers.iter_mut().flat_map(|drawer| &mut drawer.members) {
            member.detector.shift(now, away);
        }
    }

    pub fn get(&self, hash: u64) -> Option<&Member> {
        let drawer = self.drawers.get(self.drawer_of(hash))?;
        drawer.members.get(drawer.find(hash).ok()?)
    }

    pub fn get_mut(&mut self, hash: u64) -> Option<InHand<'_>> {
        let at = self.drawer_of(hash);
        let drawer = self.drawers.get_mut(at)?;
        drawer.take_in_hand(drawer.find(hash).ok()?)
    }

    /// Touches all that will be looked for, step by step: what lies far away is then on its way together, and is not waited for
    /// one by one.
    pub fn touch(&self, hashes: &[u64]) {
        for hash in hashes {
            if let Some(drawer) = self.drawers.get(self.drawer_of(*hash)) {
                drawer.touch(*hash);
            }
        }
        let known: Vec<&Member> = hashes.iter().filter_map(|hash| self.get(*hash)).collect();
        touch_files(&known);
    }

    /// Position of a member.
    pub fn rank(&self, hash: u64) -> Option<usize> {
        let at = self.drawer_of(hash);
        let before: usize = self.drawers.iter().take(at).map(|d| d.members.len()).sum();
        Some(before + self.drawers.get(at)?.find(hash).ok()?)
    }

    pub fn at(&self, mut rank: usize) -> Option<&Member> {
        for drawer in &self.drawers {
            match rank.checked_sub(drawer.members.len()) {
                Some(rest) => rank = rest,
                None => return drawer.members.get(rank),
            }
        }
        None
    }

    /// The member whose life has this tag, by its hash.
    pub fn by_tag(&self, tag: u64) -> Option<u64> {
        // Tags share the upper half with the hash by which the roster is sorted.
        let drawer = self.drawers.get(self.drawer_of(tag))?;
        let (Ok(first) | Err(first)) = drawer.find(tag >> 32 << 32);
        let mut same = drawer.riders.get(first..)?.iter().take_while(|rider| rider.hash >> 32 == tag >> 32);
        same.find(|rider| rider.tag() == tag).map(|rider| rider.hash)
    }

    /// Gives a member another status.
    pub fn set_status(&mut self, now: Instant, hash: u64, status: Status) {
        let Some(mut member) = self.get_mut(hash) else { return };
        let before = member.status;
        member.report(now, status);
        drop(member);
        *self.census.of(before) -= 1;
        *self.census.of(status) += 1;
    }

    /// Bits of hash that make pages of at most about [`PAGE`] members.
    pub fn page_bits(&self) -> u32 {
        self.len.div_ceil(PAGE).next_power_of_two().trailing_zeros()
    }

    /// The members whose hash begins with `prefix`, of `bits` bits.
    pub fn page(&self, bits: u32, prefix: u32) -> impl Iterator<Item = &Member> + Clone {
        self.parts(bits, prefix).flat_map(|(drawer, range)| drawer.members.get(range).unwrap_or_default())
    }

    /// Their pulses, drawer by drawer.
    pub fn pulses(&self, bits: u32, prefix: u32) -> impl Iterator<Item = &[Pulse]> {
        self.parts(bits, prefix).map(|(drawer, range)| drawer.pulses.get(range).unwrap_or_default())
    }

    /// How many they are.
    pub fn page_len(&self, bits: u32, prefix: u32) -> usize {
        self.parts(bits, prefix).map(|(_, range)| range.len()).sum()
    }

    /// The drawers of a page with their numbers and the places of its members, to note heartbeats of those in good
    /// standing, which no rider speaks of. For everything else there is [`Self::get_mut`].
    pub fn parts_mut(
        &mut self,
        bits: u32,
        prefix: u32,
    ) -> impl Iterator<Item = (usize, &mut Drawer, Range<usize>)> {
        let (drawers, from, to) = self.span(bits, prefix);
        let numbers = drawers.clone();
        let drawers = self.drawers.get_mut(drawers).unwrap_or_default();
        numbers.zip(drawers).map(move |(number, drawer)| {
            let range = drawer.between(from, to);
            (number, drawer, range)
        })
    }

    /// The number of a member's drawer, and its place there.
    pub fn place(&self, hash: u64) -> Option<(usize, usize)> {
        let number = self.drawer_of(hash);
        Some((number, self.drawers.get(number)?.find(hash).ok()?))
    }

    /// Sums over a page.
    pub fn sums(&self, bits: u32, prefix: u32) -> Sums {
        let part = |(drawer, range): (&Drawer, Range<usize>)| {
            if range.len() == drawer.riders.len() {
                return drawer.sums;
            }
            Sums::of(drawer.riders.get(range).unwrap_or_default())
        };
        self.parts(bits, prefix).map(part).fold(Sums::default(), Sums::plus)
    }

    /// Tags with `from <= hash`, and `hash < until` unless `until` is 0, each with its member.
    pub fn between(&self, from: u64, until: u64) -> impl Iterator<Item = (u64, &Member)> {
        let last = until.wrapping_sub(1);
        let drawers = self.drawers.get(self.drawer_of(from)..=self.drawer_of(last)).unwrap_or_default();
        drawers.iter().flat_map(move |drawer| {
            let range = drawer.between(from, last);
            let riders = drawer.riders.get(range.clone()).unwrap_or_default();
            riders.iter().map(|rider| rider.tag()).zip(drawer.members.get(range).unwrap_or_default())
        })
    }

    pub fn tombstones(&self) -> &Tombstones {
        &self.tombstones
    }

    /// One fingerprint of everything: who, and in what standing.
    pub fn fingerprint(&self) -> u64 {
        let page = self.sums(0, 0);
        page.lives ^ u64::from(page.stamps).rotate_left(32)
    }

    /// Takes a claim about somebody else. The statuses before and after are
    /// the caller's to compare and to report.
    ///
    /// # Errors
    /// A name held by another living host, a full roster, a value over its limit; nothing was changed.
    pub fn apply(&mut self, now: Instant, claim: Claim, config: &Config) -> Result<Change, Rejected> {
        let buried = self.tombstones.generation(claim.subject);
        if claim.forgotten {
            return Ok(self.forget(now, &claim));
        }
        if buried.is_some_and(|generation| generation >= claim.generation) {
            return Ok(Change::Stale);
        }
        let bodies = &self.bodies;
        let at = drawer_of(self.bits, claim.subject);
        let Some(drawer) = self.drawers.get_mut(at) else { return Ok(Change::Unknown) };
        let place = match drawer.find(claim.subject) {
            Ok(place) => place,
            Err(place) => return self.insert(now, claim, config, (at, place)),
        };
        let Some(mut member) = drawer.take_in_hand(place) else { return Ok(Change::Unknown) };
        if claim.generation < member.life.generation {
            return Ok(Change::Stale);
        }
        if let Some(life) = &claim.life
            && life.host_id != member.life.host_id
            && keeps_its_name(now, &member, &claim.standing)
            && !life.is_before(&member.life)
        {
            return Err(duplicate(&member, life.host_id));
        }
        if claim.generation > member.life.generation {
            return Ok(match claim.life {
                None => Change::Unknown,
                Some(ref life) if life.continues(&member.life) && !member.marks().left => {
                    let from = member.life.address();
                    follow(now, &mut member, claim, config, bodies)?;
                    Change::Moved { from }
                }
                Some(life) => {
                    let (life, state) = bodies.share(life, first_state(claim.delta.as_ref())?);
                    let before = member.status;
                    *member = Member::new(now, life, claim.standing, state, config);
                    *self.census.of(before) -= 1;
                    *self.census.of(member.status) += 1;
                    Change::Restarted
                }
            });
        }
        if let Some(life) = &claim.life
            && life.tag != member.tag()
        {
            // Two lives of one name began in the same millisecond. Whoever came first stays.
            return Err(duplicate(&member, life.host_id));
        }
        merge(now, &mut member, &claim, config, bodies)
    }

    /// Drops a member and remembers that it is gone.
    pub fn bury(&mut self, now: Instant, hash: u64) -> Option<Member> {
        let member = self.remove(hash)?;
        self.tombstones.bury(now, hash, member.life.generation);
        Some(member)
    }

    /// Drops a member.
    pub fn remove(&mut self, hash: u64) -> Option<Member> {
        let at = self.drawer_of(hash);
        let drawer = self.drawers.get_mut(at)?;
        let place = drawer.find(hash).ok()?;
        let member = drawer.take(place);
        self.len -= 1;
        *self.census.of(member.status) -= 1;
        self.resize();
        Some(member)
    }

    /// Gives back the room that was kept for newcomers.
    pub fn fit(&mut self) {
        self.drawers.iter_mut().for_each(Drawer::fit);
    }

    pub fn age_tombstones(&mut self, now: Instant) {
        self.tombstones.age(now);
    }

    fn forget(&mut self, now: Instant, claim: &Claim) -> Change {
        match self.get(claim.subject) {
            Some(member) if member.life.generation > claim.generation => Change::Stale,
            Some(_) => {
                self.bury(now, claim.subject);
                Change::Forgotten
            }
            None if self.tombstones.generation(claim.subject) >= Some(claim.generation) => Change::Same,
            None => {
                self.tombstones.bury(now, claim.subject, claim.generation);
                Change::Forgotten
            }
        }
    }

    /// Takes a newcomer in, at the place of its drawer where it belongs.
    fn insert(
        &mut self,
        now: Instant,
        claim: Claim,
        config: &Config,
        (at, place): (usize, usize),
    ) -> Result<Change, Rejected> {
        let Some(life) = claim.life else { return Ok(Change::Unknown) };
        if self.len >= self.max_members {
            return Err(Rejected::Full { cap: self.max_members, name: life.name });
        }
        let (life, state) = self.bodies.share(life, first_state(claim.delta.as_ref())?);
        let member = Member::new(now, life, claim.standing, state, config);
        if let Some(drawer) = self.drawers.get_mut(at) {
            *self.census.of(member.status) += 1;
            drawer.put(place, member);
            self.len += 1;
        }
        self.resize();
        Ok(Change::New)
    }

    /// More drawers when they are too full, fewer when they are nearly empty.
    fn resize(&mut self) {
        while self.len > DRAWER << self.bits {
            self.bits += 1;
            self.drawers = core::mem::take(&mut self.drawers).into_iter().flat_map(Drawer::halve).collect();
        }
        while self.bits > 0 && self.len < DRAWER << self.bits >> 2 {
            self.bits -= 1;
            let mut halves = core::mem::take(&mut self.drawers).into_iter();
            while let (Some(mut first), Some(second)) = (halves.next(), halves.next()) {
                first.append(second);
                self.drawers.push(first);
            }
        }
    }

    fn drawer_of(&self, hash: u64) -> usize {
        drawer_of(self.bits, hash)
    }

    /// The drawers that a page covers, and of each the places that belong to the page.
    fn parts(&self, bits: u32, prefix: u32) -> impl Iterator<Item = (&Drawer, Range<usize>)> + Clone {
        let (drawers, from, to) = self.span(bits, prefix);
        let drawers = self.drawers.get(drawers).unwrap_or_default();
        drawers.iter().map(move |drawer| (drawer, drawer.between(from, to)))
    }

    /// The drawers that a page covers, and its first and last hash.
    fn span(&self, bits: u32, prefix: u32) -> (Range<usize>, u64, u64) {
        let (from, to) = bounds(bits, prefix);
        let (first, last) = (self.drawer_of(from), self.drawer_of(to));
        (first..last + 1, from, to)
    }
}

/// First and last hash that begins with `prefix`, of `bits` bits.
fn bounds(bits: u32, prefix: u32) -> (u64, u64) {
    if bits == 0 {
        return (0, u64::MAX);
    }
    let shift = 64 - bits.min(32);
    let from = u64::from(prefix) << shift;
    (from, from | (u64::MAX >> bits.min(32)))
}

fn drawer_of(bits: u32, hash: u64) -> usize {
    if bits == 0 { 0 } else { usize::try_from(hash >> (64 - bits)).unwrap_or(usize::MAX) }
}

impl Census {
    fn of(&mut self, status: Status) -> &mut u32 {
        match status {
            Status::Alive => &mut self.alive,
            Status::Restarting => &mut self.restarting,
            Status::Suspect => &mut self.suspect,
            Status::Down => &mut self.down,
            Status::Left => &mut self.left,
        }
    }
}

/// Which side knows more, from what a list says of one life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// We know something that they do not.
    pub tell: bool,
    /// They know something that we do not.
    pub ask: bool,
}

/// Compares what we hold with a line of their list.
pub fn compare(member: &Member, version: u64, standing: u64) -> Comparison {
    let mine = standing_code(member);
    let state = member.state.version().cmp(&version);
    // An accusation or verdict based on a heartbeat that we have seen surpassed is no news.
    let basis: Heartbeat = standing / 4;
    let theirs_is_news =
        standing != 0 && standing != mine && (standing % 4 == 3 || basis >= member.heartbeat);
    Comparison {
        tell: state.is_gt() || (standing != mine && !theirs_is_news) || (mine != 0 && standing != mine),
        ask: state.is_lt() || (theirs_is_news && member.status != Status::Left),
    }
}

/// Goes on with a later life of the same process.
fn follow(
    now: Instant,
    member: &mut Member,
    claim: Claim,
    config: &Config,
    bodies: &Bodies,
) -> Result<(), Rejected> {
    let Some(life) = claim.life else { return Ok(()) };
    let mut state = member.state.clone();
    if let Some(delta) = claim.delta.as_ref().filter(|delta| delta.until > state.version()) {
        state.merge(delta)?;
    }
    let (life, state) = bodies.share(life, state);
    member.follow(life, state, config);
    member.advance(now, claim.standing.heartbeat, &config.detector);
    member.mark(&claim.standing.marks);
    Ok(())
}

fn merge(
    now: Instant,
    member: &mut Member,
    claim: &Claim,
    config: &Config,
    bodies: &Bodies,
) -> Result<Change, Rejected> {
    let mut merged = Merged::default();
    if let Some(delta) = &claim.delta {
        let file = &mut **member;
        merged = file.state.merge(delta)?;
        if merged != Merged::default() {
            bodies.share_state(&file.life, &mut file.state);
        }
    }
    let Merged { advanced, changes: values } = merged;
    let state = advanced || !values.is_empty();
    let heartbeat = member.advance(now, claim.standing.heartbeat, &config.detector);
    let standing = member.mark(&claim.standing.marks);
    if advanced && !standing {
        member.restamp();
    }
    if heartbeat || state || standing {
        return Ok(Change::Changed { heartbeat, state, values, standing });
    }
    // Whoever still holds against it what a heartbeat has refuted should hear the heartbeat.
    let refuted = claim.standing.heartbeat < member.heartbeat && claim.standing.status() != member.standing();
    Ok(if refuted { Change::Stale } else { Change::Same })
}

fn first_state(delta: Option<&crate::state::Delta>) -> Result<State, Rejected> {
    let mut state = State::default();
    if let Some(delta) = delta {
        state.merge(delta)?;
    }
    Ok(state)
}

/// Whether another host's life of its name is refused. Of one that is suspect not for ever: whoever tells of another has
/// seen ours down, and nobody may be left to agree with us that it is. At once, when the other is down too and takes nothing
/// from anybody; or else when ours has had all the time that there is to refute. If it lives, it begins anew when it hears of
/// the other.
fn keeps_its_name(now: Instant, member: &Member, other: &Standing) -> bool {
    match member.status {
        Status::Alive | Status::Restarting => true,
        Status::Suspect => {
            let other_lives = matches!(other.status(), Status::Alive | Status::Restarting | Status::Suspect);
            other_lives && now.since(member.since()) < NAME_KEPT
        }
        Status::Down | Status::Left => false,
    }
}

fn duplicate(holder: &Member, newcomer: HostId) -> Rejected {
    Rejected::DuplicateName { name: holder.life.name.clone(), holder: holder.life.host_id, newcomer }
}

/// So long a suspect keeps its name against a host that lives: several times what a verdict takes where there is anybody to
/// give it, and what a refutation takes under any loss that we stand.
const NAME_KEPT: Duration = Duration::from_secs(30);
/// Most members of a page on average: the fingerprints then cost at most a
/// bit per member, and a page of them in the worst coding fits half a datagram.
const PAGE: usize = 192;
