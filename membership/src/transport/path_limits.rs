//! Path limits: finds out how long a datagram may be on the way to each address.
//!
//! Picture: a low bridge. Bicycles come back, lorries do not, and there is no sign.
//!
//! A tunnel may carry less than the network behind it, and the message that says so may be filtered. To the protocol
//! that looks like the loss of some datagrams, always the same ones: a newcomer's roster, a long tag. So the path is
//! measured (packetization layer path MTU discovery, RFC 8899).
//!
//! Rule: datagrams of [`FLOOR`] bytes are assumed to pass everywhere. If longer ones leave and nothing shows that they
//! arrive, a padded ping and a bare one leave together, and their pongs come back alike. If only the bare one comes
//! back, several times, the path is *narrow*: both sides keep to the floor, and measure again every ten minutes.
//!
//! Which direction loses them shows one more padded ping, whose answer is bare: if that comes back, the way out is whole.
//!
//! This costs nothing while nothing long is sent, and nothing while long datagrams are answered.
//!
//! Weak spot: one floor and no search for the exact size in between. *Road not taken*: halving the interval, as RFC
//! 8899 does. It gains bytes on a path that should be repaired anyway.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;

use heartsay_proto::gossip::packet::Body;
use heartsay_proto::{Budget, Message, gossip};

use crate::Instant;
use crate::config::Config;
use crate::identity::Name;
use crate::io::Event;
use crate::roster::Roster;
use crate::roster::member::Member;
use crate::roster::peers;
use crate::roster::peers::is_other;
use crate::transport::context::Context;
use crate::transport::requests::{Request, RequestKind};

/// A path on which long datagrams get lost while short ones arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NarrowPath {
    /// The address at its other end.
    pub to: SocketAddr,
    /// The member there, if known.
    pub name: Option<Name>,
    /// Bytes of a datagram that was seen to pass.
    pub passes: usize,
    /// Bytes of a datagram that was seen to get lost.
    pub lost: usize,
    /// The other side says so; we have not measured it.
    pub told: bool,
    /// What we send arrives; what the other side sends gets lost. `false`: the other direction loses them, or both do, or the
    /// other side cannot tell.
    pub inbound: bool,
}

/// What is known about the paths to a few addresses; empty while no path is in doubt.
#[derive(Debug)]
pub struct PathLimits {
    paths: Vec<Path>,
    /// Long requests under way.
    asked: VecDeque<(u32, SocketAddr)>,
    /// No path is measured before then.
    pause_until: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Path {
    to: SocketAddr,
    /// Long datagrams sent since anything showed that they arrive.
    doubts: u8,
    /// A short request was answered since.
    short_passes: bool,
    /// The next call to this address, about which nothing is known, is a short one.
    short_turn: bool,
    /// Padded pings lost in a row: alone, while the bare one came back, and together with the bare one.
    lost: u8,
    vain: u8,
    found: Found,
    way: Way,
    /// When the next step for this path is due.
    next: Instant,
}

/// The outcome of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// Long datagrams pass.
    Whole,
    /// Only short ones pass. `measured`: shown by pings; otherwise a seed answered only short calls.
    Narrow {
        measured: bool,
    },
    /// The other side has said so since then. `shown`: for too long to be a newcomer's guess.
    Told {
        since: Instant,
        shown: bool,
    },
}

/// Which direction of a narrow path loses long datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Unknown,
    /// A padded ping is under way, whose answer is bare.
    Asked,
    /// Only what the other side sends.
    Inbound,
}

impl PathLimits {
    pub fn new() -> Self {
        Self { paths: Vec::new(), asked: VecDeque::new(), pause_until: Instant::EPOCH }
    }

    pub fn next(&self) -> Instant {
        self.paths.iter().map(|path| path.next).min().unwrap_or(Instant::NEVER).max(self.pause_until)
    }

    /// Whether datagrams to `to` have to be short.
    fn is_short(&self, to: SocketAddr, joined: bool) -> bool {
        // For nearly all nodes this is one test of an empty `Vec`.
        !self.paths.is_empty()
            && (self.is_our_own(joined)
                || self.get(to).is_some_and(|path| path.is_narrow() || path.short_turn))
    }

    /// Whether to tell the other side.
    fn is_to_tell(&self, to: SocketAddr, joined: bool) -> bool {
        !self.paths.is_empty()
            && (self.is_our_own(joined) || self.get(to).is_some_and(|path| path.is_found_narrow()))
    }

    /// Whether the limit lies in our own link: several paths are narrow and none is whole. A newcomer concludes that
    /// from the first narrow path.
    fn is_our_own(&self, joined: bool) -> bool {
        let narrow = self.paths.iter().filter(|path| path.is_found_narrow()).count();
        narrow >= if joined { SEVERAL } else { 1 } && self.paths.iter().all(|path| path.found != Found::Whole)
    }

    /// The paths on which long datagrams get lost while short ones arrive.
    pub fn narrow(&self, config: &Config, roster: &Roster) -> Vec<NarrowPath> {
        let name =
            |to| roster.iter().find(|m| m.incarnation.address() == to).map(|m| m.incarnation.name.clone());
        let view = |path: &Path| NarrowPath {
            to: path.to,
            name: name(path.to),
            passes: FLOOR,
            lost: config.datagram.limit(),
            told: matches!(path.found, Found::Told { .. }),
            inbound: path.way == Way::Inbound,
        };
        self.paths.iter().filter(|path| path.is_shown()).map(view).collect()
    }

    /// How many paths are known to be narrow.
    pub fn count(&self) -> usize {
        self.paths.iter().filter(|path| path.is_shown()).count()
    }

    /// How many paths are being measured, or are about to be.
    pub fn measuring(&self) -> usize {
        let is_measured = |path: &&Path| match path.found {
            Found::Nothing => path.doubts >= DOUBTFUL,
            Found::Narrow { .. } => path.way == Way::Asked,
            Found::Whole | Found::Told { .. } => false,
        };
        self.paths.iter().filter(is_measured).count()
    }

    fn get(&self, to: SocketAddr) -> Option<&Path> {
        self.paths.iter().find(|path| path.to == to)
    }

    fn get_mut(&mut self, to: SocketAddr) -> Option<&mut Path> {
        self.paths.iter_mut().find(|path| path.to == to)
    }

    fn entry(&mut self, to: SocketAddr) -> Option<&mut Path> {
        if self.get(to).is_none() {
            if self.paths.len() >= MOST {
                // Drops the oldest entry of the least useful kind.
                let place = self.paths.iter().position(|path| !path.is_narrow()).unwrap_or(0);
                self.paths.remove(place);
            }
            self.paths.push(Path::new(to));
        }
        self.get_mut(to)
    }

    /// Something long left, and nothing shows yet whether it arrives.
    fn doubt(&mut self, now: Instant, to: SocketAddr, doubts: u8) {
        let Some(path) = self.entry(to).filter(|path| !path.is_narrow()) else { return };
        path.doubts = path.doubts.saturating_add(doubts);
        // A path that was whole a moment ago is measured again only when that time is over.
        if path.doubts >= DOUBTFUL && path.found == Found::Nothing {
            path.next = path.next.min(now);
        }
    }

    /// Something long arrived, or the other side knows what we know.
    fn arrived(&mut self, to: SocketAddr) {
        if self.paths.is_empty() {
            return;
        }
        if let Some(path) = self.get_mut(to) {
            path.doubts = 0;
        }
        self.paths.retain(|path| path.to != to || path.found != Found::Nothing);
    }
}

impl Path {
    fn new(to: SocketAddr) -> Self {
        Self {
            to,
            doubts: 0,
            short_passes: false,
            short_turn: false,
            lost: 0,
            vain: 0,
            found: Found::Nothing,
            way: Way::Unknown,
            next: Instant::NEVER,
        }
    }

    fn is_narrow(&self) -> bool {
        self.is_found_narrow() || matches!(self.found, Found::Told { .. })
    }

    /// Worth showing to people: more than a newcomer's guess.
    fn is_shown(&self) -> bool {
        matches!(self.found, Found::Narrow { measured: true } | Found::Told { shown: true, .. })
    }

    fn is_found_narrow(&self) -> bool {
        matches!(self.found, Found::Narrow { .. })
    }
}

impl Context<'_> {
    /// Room for a packet inside a datagram to `to`, as far as the path and the proof of the address allow.
    pub fn packet_limit(&self, to: SocketAddr) -> usize {
        let unproven = self.transport.addresses.room(self.core.last_call, to);
        self.path_limit(to).min(unproven.saturating_sub(self.frame()))
    }

    /// Room for a packet inside a datagram to `to`, as far as the path allows.
    pub fn path_limit(&self, to: SocketAddr) -> usize {
        let (whole, keyring) = (self.core.config.datagram, &self.core.config.keyring);
        if self.transport.path_limits.is_short(to, self.membership.is_joined()) {
            Budget::new(FLOOR).unwrap_or(whole).for_frame(keyring).saturating_sub(LONGEST_FIELD)
        } else {
            whole.for_frame(keyring)
        }
    }

    /// The value of `longest` in a datagram to `to`.
    pub fn longest(&self, to: SocketAddr) -> u32 {
        let narrow = self.transport.path_limits.is_to_tell(to, self.membership.is_joined());
        if narrow { u32::try_from(FLOOR).unwrap_or(0) } else { 0 }
    }

    /// Groups the addresses by what a datagram to them looks like, largest room first.
    pub fn alike(&self, targets: &[SocketAddr]) -> Vec<Vec<SocketAddr>> {
        let mut groups: Vec<((usize, u32), Vec<SocketAddr>)> = Vec::new();
        for to in targets {
            let looks = (self.packet_limit(*to), self.longest(*to));
            match groups.iter_mut().find(|(others, _)| *others == looks) {
                Some((_, group)) => group.push(*to),
                None => groups.push((looks, vec![*to])),
            }
        }
        groups.sort_by_key(|((limit, _), _)| core::cmp::Reverse(*limit));
        groups.into_iter().map(|(_, group)| group).collect()
    }

    /// A datagram of `length` bytes leaves.
    pub fn note_length(&mut self, now: Instant, to: SocketAddr, packet: &gossip::Packet, length: usize) {
        if length <= FLOOR {
            return;
        }
        let limits = &mut self.transport.path_limits;
        match &packet.body {
            // A lost answer is noticed by the member that asked; a measurement has its own evaluation.
            Some(Body::Supply(_) | Body::Pong(_) | Body::ProbeReport(_)) => {}
            Some(Body::Exchange(exchange)) if exchange.step == 2 => {}
            Some(Body::Ping(ping)) if !ping.padding.is_empty() => {}
            _ if packet.seq == 0 => limits.doubt(now, to, 1),
            _ => {
                if limits.asked.len() >= MOST {
                    limits.asked.pop_front();
                }
                limits.asked.push_back((packet.seq, to));
                limits.doubt(now, to, 1);
            }
        }
    }

    /// `request` was answered.
    pub fn note_passage(&mut self, now: Instant, seq: u32, request: &Request) {
        let limits = &mut self.transport.path_limits;
        if limits.paths.is_empty() {
            return;
        }
        if let Some(place) = limits.asked.iter().position(|(asked, _)| *asked == seq) {
            limits.asked.remove(place);
            limits.arrived(request.to);
        } else if let Some(path) = limits.get_mut(request.to) {
            path.short_passes = true;
            // With no member known there is no member to ping: the calls themselves have measured the path.
            if request.kind == RequestKind::Dial && path.found == Found::Nothing && path.doubts >= SHORT_AFTER
            {
                path.found = Found::Narrow { measured: false };
                path.next = now;
            }
        }
    }

    /// Calls to a seed that does not answer are alternately short and long, because the long ones may not arrive.
    pub fn take_turn(&mut self, to: SocketAddr) {
        if let Some(path) = self.transport.path_limits.get_mut(to)
            && path.doubts >= SHORT_AFTER
            && path.found == Found::Nothing
        {
            path.short_turn = !path.short_turn;
        }
    }

    /// A request whose answer is long was not answered.
    pub fn doubt_answers(&mut self, now: Instant, from: SocketAddr) {
        if self.core.config.datagram.limit() > FLOOR {
            self.transport.path_limits.doubt(now, from, 1);
        }
    }

    /// Both sides know the same, so what was sent has arrived.
    pub fn note_agreement_with(&mut self, from: SocketAddr) {
        self.transport.path_limits.arrived(from);
    }

    /// A router says that a datagram to `to` was too long for it.
    pub fn on_too_long(&mut self, now: Instant, to: SocketAddr) {
        if self.core.config.datagram.limit() > FLOOR {
            self.transport.path_limits.doubt(now, to, DOUBTFUL);
        }
    }

    /// The other side's report on the path to us.
    pub fn hear_longest(&mut self, now: Instant, from: SocketAddr, longest: u32) {
        let limits = &mut self.transport.path_limits;
        if longest == 0 {
            if let Some(Found::Told { shown, .. }) = limits.get(from).map(|path| path.found) {
                limits.paths.retain(|path| path.to != from);
                if shown {
                    self.tell_of_path(from, false);
                }
            }
            return;
        }
        let Some(path) = limits.entry(from).filter(|path| !path.is_found_narrow()) else { return };
        let (since, before) = match path.found {
            Found::Told { since, shown } => (since, shown),
            Found::Nothing | Found::Whole | Found::Narrow { .. } => (now, false),
        };
        let shown = now.since(since) >= NO_GUESS;
        *path = Path { found: Found::Told { since, shown }, next: now + AGAIN, ..Path::new(from) };
        if shown && !before {
            self.tell_of_path(from, true);
        }
    }

    /// Measures the next path that is due.
    pub fn step_path_limits(&mut self, now: Instant, has_heard: impl Fn(SocketAddr) -> bool) {
        if now < self.transport.path_limits.next() {
            return;
        }
        let Some(path) = self.transport.path_limits.paths.iter().find(|path| path.next <= now).copied()
        else {
            return;
        };
        let (me, to) = (self.core.me, path.to);
        let member =
            self.roster.iter().find(|m| m.incarnation.address() == to && is_other(m, me)).map(Member::hash);
        match (path.found, member) {
            // The report has expired.
            (Found::Told { shown, .. }, _) => {
                self.transport.path_limits.paths.retain(|path| path.to != to);
                if shown {
                    self.tell_of_path(to, false);
                }
            }
            // Kept beside narrow ones, because it shows that our own link is not the cause.
            (Found::Whole, _) if path.doubts < DOUBTFUL => {
                if self.transport.path_limits.paths.iter().any(Path::is_found_narrow) {
                    self.look_again(to, now + WHOLE_FOR);
                } else {
                    self.transport.path_limits.paths.retain(|path| path.to != to);
                }
            }
            (Found::Nothing | Found::Whole | Found::Narrow { .. }, Some(subject)) => {
                self.measure_path(now, subject, to);
            }
            (Found::Narrow { measured: true }, None) => {
                self.transport.path_limits.paths.retain(|path| path.to != to);
                self.tell_of_path(to, false);
            }
            (Found::Narrow { measured: false }, None) if self.membership.is_joined() => {
                self.transport.path_limits.paths.retain(|path| path.to != to);
            }
            (Found::Narrow { measured: false }, None) => self.look_again(to, now + PAUSE),
            (Found::Nothing | Found::Whole, None) => {
                let heard = has_heard(to);
                let Some(path) = self.transport.path_limits.get_mut(to) else { return };
                path.next = Instant::NEVER;
                if path.short_passes || heard {
                    path.found = Found::Narrow { measured: false };
                    path.next = now + PAUSE;
                }
            }
        }
    }

    /// Measures the paths to some members that are there, one after the other, whether there is a doubt or not.
    pub fn measure_some(&mut self, now: Instant) {
        if self.core.config.datagram.limit() <= FLOOR {
            return;
        }
        let me = self.core.me;
        let there = |m: &Member| is_other(m, me) && m.is_present();
        let some = peers::sample(self.roster, &mut self.core.rng, SOME, there);
        let addresses: Vec<SocketAddr> = some.iter().map(|m| m.incarnation.address()).collect();
        for to in addresses {
            self.transport.path_limits.doubt(now, to, DOUBTFUL);
        }
    }

    /// Asks which direction of a narrow path loses long datagrams.
    fn ask_way(&mut self, now: Instant, to: SocketAddr) {
        let me = self.core.me;
        let member = self.roster.iter().find(|m| m.incarnation.address() == to && is_other(m, me));
        let Some(subject) = member.map(Member::hash) else { return };
        if !self.transport.egress.affords(now, self.core.config.datagram.limit()) {
            return;
        }
        if let Some(path) = self.transport.path_limits.get_mut(to) {
            path.way = Way::Asked;
        }
        self.send_long(now, subject, to, true);
    }

    fn send_long(&mut self, now: Instant, subject: u64, to: SocketAddr, bare: bool) {
        let deadline = now + self.core.patience(self.roster.get(subject));
        let kind = RequestKind::PathProbe { long: true };
        let request = Request { subject: Some(subject), to, sent: now, deadline, kind };
        let seq = self.transport.requests.open(request);
        let ping =
            |padding: usize| gossip::Ping { subject, padding: zeros(padding), bare, ..Default::default() };
        let mut packet = self.packet(seq, Some(Body::Ping(ping(0))));
        let padding = self.longest_packet().saturating_sub(packet.encoded_len() + PADDING_HEAD);
        packet.body = Some(Body::Ping(ping(padding)));
        self.core.stats.probes += 1;
        self.send(to, &packet);
    }

    fn look_again(&mut self, to: SocketAddr, when: Instant) {
        if let Some(path) = self.transport.path_limits.get_mut(to) {
            path.next = when;
        }
    }

    /// Sends one bare ping and one as long as a datagram may be.
    fn measure_path(&mut self, now: Instant, subject: u64, to: SocketAddr) {
        if !self.transport.egress.affords(now, self.core.config.datagram.limit() * 2) {
            // A ping that our own limiter holds back would look lost.
            self.transport.path_limits.pause_until = now + PAUSE;
            return;
        }
        let deadline = now + self.core.patience(self.roster.get(subject));
        self.transport.path_limits.pause_until = now + PAUSE;
        if let Some(path) = self.transport.path_limits.get_mut(to) {
            path.short_passes = false;
            if path.way == Way::Asked {
                path.way = Way::Unknown;
            }
            // In case the end of this measurement is never reported.
            path.next = now + PAUSE * 10;
        }
        let kind = RequestKind::PathProbe { long: false };
        let seq =
            self.transport.requests.open(Request { subject: Some(subject), to, sent: now, deadline, kind });
        let packet = self.packet(seq, Some(Body::Ping(gossip::Ping { subject, ..Default::default() })));
        self.core.stats.probes += 1;
        self.send(to, &packet);
        self.send_long(now, subject, to, false);
    }

    /// Room for a packet in a datagram that measures a path, beside the other fields it may carry.
    fn longest_packet(&self) -> usize {
        self.core.config.datagram.for_frame(&self.core.config.keyring).saturating_sub(LONGEST_FIELD)
    }

    /// Cuts the answer to a measurement to the length that a datagram may have.
    pub fn fit_padding(&mut self, now: Instant, packet: &mut gossip::Packet) {
        let affordable = self.transport.egress.affords(now, self.core.config.datagram.limit());
        let over = packet.encoded_len().saturating_sub(self.longest_packet());
        if let Some(Body::Pong(pong)) = &mut packet.body {
            // A short answer is better than one that our own limiter holds back.
            let length = if affordable { pong.padding.len().saturating_sub(over) } else { 0 };
            pong.padding.truncate(length);
        }
    }

    /// A measurement was answered.
    pub fn path_probe_answered(&mut self, now: Instant, to: SocketAddr, long: bool) {
        let Some(path) = self.transport.path_limits.get_mut(to) else { return };
        if !long {
            path.short_passes = true;
            return;
        }
        if path.way == Way::Asked {
            path.way = Way::Inbound;
            self.tell_of_path(to, true);
            return;
        }
        let was_narrow = path.found == Found::Narrow { measured: true };
        *path = Path { found: Found::Whole, next: now + WHOLE_FOR, ..Path::new(to) };
        if was_narrow {
            self.tell_of_path(to, false);
        }
    }

    /// The long ping of a measurement did not come back.
    pub fn path_probe_lost(&mut self, now: Instant, to: SocketAddr) {
        let Some(path) = self.transport.path_limits.get_mut(to) else { return };
        if path.way == Way::Asked {
            path.way = Way::Unknown;
            return;
        }
        if core::mem::take(&mut path.short_passes) {
            path.lost += 1;
        } else {
            path.vain += 1;
        }
        let known = path.found == Found::Narrow { measured: true };
        if path.lost < ENOUGH && path.vain < ENOUGH * 2 {
            path.next = now;
            // Continue a measurement that has begun without a pause.
            self.transport.path_limits.pause_until = now;
            return;
        }
        let (narrow, way) = (path.lost >= ENOUGH || path.is_found_narrow(), path.way);
        *path = Path { way, ..Path::new(to) };
        if !narrow {
            // It answers nothing at all: that is for the failure detection.
            self.transport.path_limits.arrived(to);
            return;
        }
        path.found = Found::Narrow { measured: true };
        path.next = now + AGAIN;
        if !known {
            self.tell_of_path(to, true);
            self.ask_way(now, to);
        }
        self.compare_with_another(now);
    }

    /// Measures another path, to tell whether our own link or only this path is narrow.
    fn compare_with_another(&mut self, now: Instant) {
        let limits = &self.transport.path_limits;
        let narrow = limits.paths.iter().filter(|path| path.is_found_narrow()).count();
        if narrow >= SEVERAL || limits.paths.iter().any(|path| path.found == Found::Whole) {
            return;
        }
        let me = self.core.me;
        let unknown = |m: &Member| is_other(m, me) && limits.get(m.incarnation.address()).is_none();
        let another = peers::sample(self.roster, &mut self.core.rng, 1, unknown);
        if let Some(to) = another.first().map(|m| m.incarnation.address()) {
            self.transport.path_limits.doubt(now, to, DOUBTFUL);
        }
    }

    fn tell_of_path(&mut self, to: SocketAddr, narrow: bool) {
        self.emit(Event::PathLimited { to, narrow });
    }
}

fn zeros(length: usize) -> bytes::Bytes {
    vec![0; length].into()
}

/// Bytes of a datagram that passes everywhere: [`Budget::MIN`] says why.
const FLOOR: usize = Budget::MIN;
/// Size of the field `longest` in a packet: a tag and two bytes of number.
const LONGEST_FIELD: usize = 3;
/// Size of the head of `padding` in a ping: a tag, two bytes of length, and one more for the ping's own length.
const PADDING_HEAD: usize = 4;
/// Long datagrams without a sign that they arrive, after which a path is measured: two waves of news and two exchanges,
/// so that usual loss hardly ever causes a measurement.
const DOUBTFUL: u8 = 4;
/// Long calls without an answer, after which every other one is short: a second of calling.
const SHORT_AFTER: u8 = 2;
/// Padded pings lost, each beside a bare one that came back, after which a path counts as narrow. RFC 8899 takes three
/// (`MAX_PROBES`). With four, three hundred measurements at 10 % loss and seventy at 30 % find one path narrow by
/// mistake, until it is measured again.
const ENOUGH: u8 = 4;
/// A path found narrow is measured again after this time (RFC 8899, `PMTU_RAISE_TIMER`).
const AGAIN: Duration = Duration::from_secs(600);
/// For this long a path that was whole is not doubted. Honest guess.
const WHOLE_FOR: Duration = Duration::from_secs(60);
/// A newcomer's guess is measured within some seconds; a report that lasts longer is shown to people.
const NO_GUESS: Duration = Duration::from_secs(10);
/// Between measurements of two paths: they cost at most 2.5 kB/s.
const PAUSE: Duration = Duration::from_secs(1);
/// This many narrow paths, with no whole one, mean that our own link is narrow.
const SEVERAL: usize = 3;
/// Paths that are measured at an operator's wish: four seconds' worth.
const SOME: usize = 4;
/// Most paths remembered, and most long requests under way.
const MOST: usize = 64;
