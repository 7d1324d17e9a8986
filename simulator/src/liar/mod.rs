//! A member that lies.
//!
//! Beside it runs a true machine, which keeps it a member in good standing and tells it what an honest one knows. The
//! lies are datagrams of its own, drawn from recipes ([`Lie`]): `standing` says wrong things about the others, `answers`
//! answers wrongly, `questions` asks what nobody would, `noise` sends what came, or nearly that.
//!
//! It speaks from its own address; with `forge-source` also from those of the others, whose answers it does not get.

mod answers;
mod forgery;
mod lie;
mod memory;
mod noise;
mod questions;
mod standing;

use std::sync::Arc;

use bytes::Bytes;
use heartsay_membership::{Config, Heartbeat, Status};
use heartsay_proto::gossip::Packet;
use heartsay_proto::gossip::packet::Body;
use heartsay_proto::gossip::{Ping, Pull};

pub(crate) use forgery::Letter;
pub use lie::Lie;

use crate::sim_rng::SimRng;
use forgery::{read, saying, written};
use memory::{Known, Memory};

/// A member that lies.
pub(crate) struct Liar {
    me: usize,
    lies: Vec<Lie>,
    /// Those about whom it lies; empty: about any.
    victims: Vec<usize>,
    forges_sources: bool,
    memory: Memory,
    config: Arc<Config>,
    dice: SimRng,
    /// Members that it has invented.
    invented: usize,
    unix_ms: u64,
}

impl Liar {
    pub(crate) fn new(
        me: usize,
        lies: Vec<Lie>,
        victims: Vec<usize>,
        forges_sources: bool,
        config: Arc<Config>,
        dice: SimRng,
    ) -> Self {
        let lies = if lies.is_empty() { Lie::ALL.to_vec() } else { lies };
        let memory = Memory::default();
        Self { me, lies, victims, forges_sources, memory, config, dice, invented: 0, unix_ms: 0 }
    }

    /// Its own machine has this member so.
    pub(crate) fn sees(&mut self, member: usize, heartbeat: Heartbeat, status: Status) {
        if member != self.me {
            self.memory.sees(member, heartbeat, status);
        }
    }

    /// Its own machine sends a datagram.
    pub(crate) fn overhear(&mut self, bytes: &[u8]) {
        if let Some(packet) = read(bytes, &self.config) {
            self.memory.overhear(self.me, packet);
        }
    }

    /// A datagram came. Says what it answers beside its own machine.
    pub(crate) fn hear(&mut self, from: usize, bytes: &Bytes) -> Vec<Letter> {
        let Some(packet) = read(bytes, &self.config) else { return Vec::new() };
        self.memory.hear(from, bytes, &packet);
        let lies = self.lies.clone();
        lies.into_iter().flat_map(|lie| self.answer(lie, from, &packet)).collect()
    }

    /// It is time for a lie: which, and the datagrams.
    pub(crate) fn lie(&mut self, unix_ms: u64) -> (Option<Lie>, Vec<Letter>) {
        self.unix_ms = unix_ms;
        let mut letters = self.spy();
        let unasked: Vec<Lie> = self.lies.iter().copied().filter(|lie| lie.is_told_unasked()).collect();
        let Some(lie) = unasked.get(self.dice.below(unasked.len())).copied() else { return (None, letters) };
        if let Some(on) = self.victim(lie) {
            letters.extend(self.tell(lie, on));
        }
        (Some(lie), letters)
    }

    /// It tells no lies any more.
    pub(crate) fn repent(&mut self) {
        self.lies.clear();
    }

    /// It asks for the records of those that it does not know yet.
    fn spy(&mut self) -> Vec<Letter> {
        let strangers = self.memory.strangers(self.me);
        let mut letters = Vec::new();
        for stranger in strangers.into_iter().take(SPIED) {
            let seq = self.number();
            let subject = self.memory.get(stranger).record.map_or(0, |record| record.subject);
            let ping = Body::Ping(Ping { subject, ..Ping::default() });
            letters.extend(self.letter(stranger, self.me, saying(seq, ping)));
            letters.extend(self.letter(stranger, self.me, saying(seq, Body::Pull(Pull::default()))));
        }
        letters
    }

    fn tell(&mut self, lie: Lie, on: usize) -> Vec<Letter> {
        match lie {
            Lie::Accuse => self.accuse(on),
            Lie::Verdict => self.convict(on),
            Lie::Unfit => self.put_out(on),
            Lie::Heartbeat => self.keep_alive(on),
            Lie::Ages => self.keep_all_alive(),
            Lie::GoodBye => self.say_good_bye(on),
            Lie::Restart => self.announce_restart(on),
            Lie::Forget => self.forget(on),
            Lie::Takeover => self.take_over(on),
            Lie::Move => self.move_away(on),
            Lie::Rival => self.rival(on),
            Lie::Tags => self.change_tags(on),
            Lie::Deaf => self.call_deaf(on),
            Lie::Invent => self.invent(on),
            Lie::LastWords => self.say_last_words(on),
            Lie::Wave => self.make_waves(on),
            Lie::Refuse => self.refuse(on),
            Lie::Twin => self.pose_as_twin(on),
            Lie::Joint => self.pose_as_asker(on),
            Lie::Ask => self.ask(on),
            Lie::Clock => self.shift_clocks(on),
            Lie::Narrow => self.narrow_paths(on),
            Lie::Cookie => self.bake_cookies(on),
            Lie::Echo => self.echo(),
            Lie::Replay => self.replay(),
            Lie::Mutate => self.mutate(),
            Lie::Lend | Lie::Vote | Lie::Fence | Lie::Vouch | Lie::Deny | Lie::Supply => Vec::new(),
        }
    }

    /// About whom to lie.
    fn victim(&mut self, lie: Lie) -> Option<usize> {
        // A death is hidden by what the dead one would say.
        let doubted = self.memory.doubted();
        let dead = matches!(lie, Lie::Heartbeat | Lie::Restart) && !doubted.is_empty();
        let from = if dead {
            doubted
        } else if self.victims.is_empty() {
            self.others()
        } else {
            self.victims.clone()
        };
        let others: Vec<usize> = from.into_iter().filter(|member| *member != self.me).collect();
        others.get(self.dice.below(others.len())).copied()
    }

    fn others(&self) -> Vec<usize> {
        self.memory.members().filter(|member| *member != self.me).collect()
    }

    /// Some others, at least one, in random order.
    fn some(&mut self, but: usize) -> Vec<usize> {
        let others: Vec<usize> = self.others().into_iter().filter(|other| *other != but).collect();
        let count = [1, 2, 3, others.len()][self.dice.below(4)];
        self.dice.choose(others.len(), count.min(others.len())).into_iter().map(|i| others[i]).collect()
    }

    /// Those to whom a lie about `on` is told: one, some or all, at times the victim itself.
    fn audience(&mut self, on: usize) -> Vec<usize> {
        let mut audience = self.some(on);
        if self.dice.chance(0.2) {
            audience.push(on);
        }
        audience
    }

    /// A number for a question.
    fn number(&mut self) -> u32 {
        (self.dice.word() as u32).max(1)
    }

    fn known(&self, member: usize) -> Known {
        self.memory.get(member)
    }

    /// The same packet for each of `to`, as `speaker` would send it.
    fn letters(&self, to: &[usize], speaker: usize, packet: &Packet) -> Vec<Letter> {
        to.iter().filter_map(|to| self.letter(*to, speaker, packet.clone())).collect()
    }

    /// A packet for `to` as `speaker` would send it; from its address, where sources are forged.
    fn letter(&self, to: usize, speaker: usize, mut packet: Packet) -> Option<Letter> {
        let known = self.known(speaker);
        if packet.sender == 0 {
            packet.sender = if known.tag == 0 { UNKNOWN } else { known.tag };
        }
        if packet.heartbeat == 0 {
            packet.heartbeat = known.heartbeat.max(1);
        }
        let from = if self.forges_sources { speaker } else { self.me };
        Some(Letter { to, from, bytes: written(&packet, &self.config)? })
    }
}

/// Members that it asks at once for their records.
const SPIED: usize = 8;
/// Tag of nobody.
const UNKNOWN: u64 = 99;
