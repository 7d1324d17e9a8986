//! Who is in the cluster: the members, sorted by the hash of their name.
//!
//! Everybody who knows the same lives has them in the same order, and any
//! range of hashes (a page) has the same sum of tags (its fingerprint). So two
//! sides find out in eight bytes whether they mean the same members, and can
//! then speak of them by position.

use core::ops::Range;
use std::sync::Arc;

use crate::Instant;
use crate::config::Config;
use crate::fingerprint::standing_code;
use crate::identity::{Heartbeat, HostId};
use crate::io::Rejected;
use crate::member::{Member, Status};
use crate::state::State;
use crate::tombstones::Tombstones;
use crate::wire::Claim;

/// The members, ourselves included.
#[derive(Debug)]
pub struct Roster {
    #[expect(clippy::vec_box, reason = "a newcomer among 10,000 moves pointers, not megabytes of entries")]
    members: Vec<Box<Member>>,
    tombstones: Tombstones,
    max_members: usize,
}

/// What taking a claim has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// The same life; what of it changed.
    Changed {
        /// Its heartbeat advanced.
        heartbeat: bool,
        /// Its state changed.
        state: bool,
        /// Its accusations or its verdict changed.
        standing: bool,
    },
}

impl Roster {
    pub fn new(me: Member, config: &Config) -> Self {
        Self {
            members: vec![Box::new(me)],
            tombstones: Tombstones::new(config.tombstones),
            max_members: config.max_members.max(1),
        }
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().map(Box::as_ref)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.members.iter_mut().map(Box::as_mut)
    }

    pub fn get(&self, hash: u64) -> Option<&Member> {
        self.at(self.rank(hash).ok()?)
    }

    pub fn get_mut(&mut self, hash: u64) -> Option<&mut Member> {
        let rank = self.rank(hash).ok()?;
        self.members.get_mut(rank).map(Box::as_mut)
    }

    /// Position of a member, or where it would stand.
    pub fn rank(&self, hash: u64) -> Result<usize, usize> {
        self.members.binary_search_by_key(&hash, |m| m.hash())
    }

    pub fn at(&self, rank: usize) -> Option<&Member> {
        self.members.get(rank).map(Box::as_ref)
    }

    /// The member whose life has this tag.
    pub fn by_tag(&self, tag: u64) -> Option<&Member> {
        // Tags share the upper half with the hash by which the roster is sorted.
        let first = self.members.partition_point(|m| m.hash() >> 32 < tag >> 32);
        self.members
            .get(first..)?
            .iter()
            .map(Box::as_ref)
            .take_while(|m| m.hash() >> 32 == tag >> 32)
            .find(|m| m.tag == tag)
    }

    /// Bits of hash that make pages of at most about [`PAGE`] members.
    pub fn page_bits(&self) -> u32 {
        let pages = self.members.len().div_ceil(PAGE).next_power_of_two();
        pages.trailing_zeros()
    }

    /// Positions of the members whose hash begins with `prefix`, of `bits` bits.
    pub fn range(&self, bits: u32, prefix: u32) -> Range<usize> {
        if bits == 0 {
            return 0..self.members.len();
        }
        let shift = 64 - bits.min(32);
        let begins_with = |m: &Member| m.hash() >> shift;
        let start = self.members.partition_point(|m| begins_with(m) < u64::from(prefix));
        let end = self.members.partition_point(|m| begins_with(m) <= u64::from(prefix));
        start..end
    }

    /// Positions of the members with `from <= hash`, and `hash < until` unless `until` is 0.
    pub fn range_of_hashes(&self, from: u64, until: u64) -> Range<usize> {
        let start = self.members.partition_point(|m| m.hash() < from);
        let end =
            if until == 0 { self.members.len() } else { self.members.partition_point(|m| m.hash() < until) };
        start..end.max(start)
    }

    pub fn slice(&self, range: Range<usize>) -> &[Box<Member>] {
        self.members.get(range).unwrap_or_default()
    }

    pub fn slice_mut(&mut self, range: Range<usize>) -> &mut [Box<Member>] {
        self.members.get_mut(range).unwrap_or_default()
    }

    pub fn tombstones(&self) -> &Tombstones {
        &self.tombstones
    }

    /// One fingerprint of everything: who, and in what standing.
    pub fn fingerprint(&self) -> u64 {
        let page = Sums::of(&self.members);
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
        let rank = match self.rank(claim.subject) {
            Ok(rank) => rank,
            Err(rank) => return self.insert(now, rank, claim, config),
        };
        let Some(member) = self.members.get_mut(rank) else { return Ok(Change::Same) };
        if claim.generation < member.life.generation {
            return Ok(Change::Stale);
        }
        if let Some(life) = &claim.life
            && life.host_id != member.life.host_id
            && member.is_present()
        {
            return Err(duplicate(member, life.host_id));
        }
        if claim.generation > member.life.generation {
            return Ok(match claim.life {
                None => Change::Unknown,
                Some(life) => {
                    let state = first_state(claim.delta.as_ref())?;
                    **member = Member::new(now, Arc::new(life), claim.standing, state, config);
                    Change::Restarted
                }
            });
        }
        if let Some(life) = &claim.life
            && life.tag != member.tag
        {
            // Two lives of one name began in the same millisecond. Whoever came first stays.
            return Err(duplicate(member, life.host_id));
        }
        merge(now, member, &claim, config)
    }

    /// Drops a member and remembers that it is gone.
    pub fn bury(&mut self, now: Instant, hash: u64) -> Option<Member> {
        let member = self.members.remove(self.rank(hash).ok()?);
        self.tombstones.bury(now, hash, member.life.generation);
        Some(*member)
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

    fn insert(
        &mut self,
        now: Instant,
        rank: usize,
        claim: Claim,
        config: &Config,
    ) -> Result<Change, Rejected> {
        let Some(life) = claim.life else { return Ok(Change::Unknown) };
        if self.members.len() >= self.max_members {
            return Err(Rejected::Full { cap: self.max_members, name: life.name });
        }
        let state = first_state(claim.delta.as_ref())?;
        let member = Member::new(now, Arc::new(life), claim.standing, state, config);
        self.members.insert(rank, Box::new(member));
        Ok(Change::New)
    }
}

/// Sums over a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Of the tags: who.
    pub lives: u64,
    /// Of the stamps: in what standing and with what state.
    pub stamps: u32,
}

impl Sums {
    pub fn of(members: &[Box<Member>]) -> Self {
        members.iter().fold(Self::default(), |sums, member| Self {
            lives: sums.lives.wrapping_add(spread(member.tag)),
            stamps: sums.stamps.wrapping_add(member.stamp),
        })
    }
}

/// Tags are structured (their upper half is the name's); a multiplication and
/// a shift make their sum depend on every bit.
fn spread(tag: u64) -> u64 {
    let mixed = tag.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
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
        standing != 0 && standing != mine && (standing % 4 == 3 || basis >= member.standing.heartbeat);
    Comparison {
        tell: state.is_gt() || (standing != mine && !theirs_is_news) || (mine != 0 && standing != mine),
        ask: state.is_lt() || (theirs_is_news && member.status != Status::Left),
    }
}

fn merge(now: Instant, member: &mut Member, claim: &Claim, config: &Config) -> Result<Change, Rejected> {
    let mut state = false;
    if let Some(delta) = &claim.delta
        && delta.until > member.state.version()
    {
        state = Arc::make_mut(&mut member.state).merge(delta)?;
    }
    let heartbeat = member.advance(now, claim.standing.heartbeat, &config.detector);
    let before = member.standing.clone();
    member.standing.join(&claim.standing);
    let standing = member.standing != before;
    if state || standing {
        member.restamp();
    }
    if heartbeat || state || standing {
        return Ok(Change::Changed { heartbeat, state, standing });
    }
    // Whoever still holds against it what a heartbeat has refuted should hear the heartbeat.
    let refuted = claim.standing.heartbeat < member.standing.heartbeat
        && claim.standing.status() != member.standing.status();
    Ok(if refuted { Change::Stale } else { Change::Same })
}

fn first_state(delta: Option<&crate::state::Delta>) -> Result<State, Rejected> {
    let mut state = State::default();
    if let Some(delta) = delta {
        state.merge(delta)?;
    }
    Ok(state)
}

fn duplicate(holder: &Member, newcomer: HostId) -> Rejected {
    Rejected::DuplicateName { name: holder.life.name.clone(), holder: holder.life.host_id, newcomer }
}

/// Most members of a page on average: the fingerprints then cost at most a
/// bit per member, and a page of them in the worst coding fits half a datagram.
const PAGE: usize = 192;
