//! The loop between the queue and the machines: the same dozen lines as the agent's.

use core::time::Duration;

use bytes::Bytes;
use heartsay_membership::{Command, Input, Instant, Output, Transmit};

use super::{SimEvent, World};
use crate::host::{Packet, Stamp, number};
use crate::network::HEADER;

impl World {
    /// Handles what waits at `host` and what its timer asks for.
    pub(crate) fn serve(&mut self, host: usize) {
        loop {
            let h = &mut self.hosts[host];
            let Some(process) = &h.process else { return };
            if h.paused > 0 || self.now < h.busy_until {
                return;
            }
            let timer_due = process.wants <= self.now;
            let mail_due = h.blocked == 0 && !h.inbox.is_empty();
            if mail_due && !(timer_due && h.inbox.timer_next) {
                h.inbox.timer_next = !h.work.is_zero();
                if let Some(parcel) = h.inbox.pop() {
                    self.deliver(host, parcel);
                }
            } else if timer_due {
                h.inbox.timer_next = false;
                self.hand(host, TIMEOUT, Input::Timeout, &[]);
            } else {
                return;
            }
        }
    }

    pub(crate) fn command(&mut self, host: usize, command: Command) {
        self.hand(host, COMMAND, Input::Command(command), &[]);
    }

    /// Sends what waited at the edge of `host`.
    pub(crate) fn flush(&mut self, host: usize) {
        for (transmit, stamp) in std::mem::take(&mut self.hosts[host].outbox) {
            self.carry(host, &transmit, &stamp);
        }
    }

    pub(super) fn arrive(&mut self, to: usize, parcel: Packet) {
        let h = &mut self.hosts[to];
        if h.process.is_none() {
            self.network.lost.nobody += 1;
            if let Packet::Datagram { from, bytes, .. } = parcel
                && !h.silent
                && self.network.refusals()
                && let Some(delay) = self.network.carry_refusal(self.now, to, from)
            {
                self.queue.push(self.now + delay, SimEvent::Refuse { at: from, to, quoted: quote(&bytes) });
            }
            return;
        }
        let idle = h.paused == 0 && h.blocked == 0 && self.now >= h.busy_until && h.inbox.is_empty();
        if idle {
            self.deliver(to, parcel);
            return;
        }
        // A blocked member's edge holds everything (Lifeguard); a paused or slow one has a socket buffer.
        let bound = if h.blocked > 0 { usize::MAX } else { SOCKET_BUFFER };
        if !h.inbox.push(parcel, bound) {
            self.network.lost.buffer += 1;
        }
        self.serve(to);
    }

    pub(super) fn wake(&mut self, host: usize) {
        let now = self.now;
        let h = &mut self.hosts[host];
        let Some(process) = h.process.as_mut().filter(|p| p.armed == Some(now)) else { return };
        process.armed = None;
        self.serve(host);
        self.arm(host);
    }

    pub(super) fn tell_time(&mut self, host: usize, life: u64) {
        let h = &self.hosts[host];
        if h.lives != life || h.process.is_none() {
            return;
        }
        self.queue.push(self.now + Duration::from_secs(60), SimEvent::WallClock { host, life });
        if h.paused == 0 {
            let unix_ms = h.wall.read(self.now) / 1000;
            self.hand(host, WALL_CLOCK, Input::WallClock { unix_ms }, &unix_ms.to_le_bytes());
        }
    }

    /// The whole contract: hand in one input with the time, then drain.
    pub(super) fn hand(&mut self, host: usize, kind: u8, input: Input<'_>, traced: &[u8]) {
        let now = self.now;
        let Some(mut process) = self.hosts[host].process.take() else { return };
        self.trace.input(now, host, kind, traced);
        self.proofs.acts(now, host);
        let local = Instant::from_micros(process.clock.read(now));
        if let Err(rejected) = process.node.handle(local, input) {
            *self.rejected.entry(rejected.reason()).or_default() += 1;
        }
        let mut events = std::mem::take(&mut self.events);
        let wants = loop {
            match process.node.poll_output() {
                Output::Transmit(transmit) => self.depart(host, transmit),
                Output::Event(event) => events.push(event),
                Output::Timeout(when) => break process.clock.when(when.as_micros()),
            }
        };
        process.spins = if kind == TIMEOUT && wants <= now { process.spins + 1 } else { 0 };
        let patient = self.judge.spins(now, host, process.spins);
        process.wants = if patient { wants } else { now + Duration::from_millis(1) };
        let size = process.node.members();
        let h = &mut self.hosts[host];
        h.process = Some(process);
        if !h.work.is_zero() {
            h.busy_until = now + h.work;
            self.queue.push(h.busy_until, SimEvent::Ready(host));
        }
        self.arm(host);
        let names = self.oracle.members().len();
        self.judge.size(now, &self.hosts[host].name, size, names);
        for event in events.drain(..) {
            self.note(host, event);
        }
        self.events = events;
        self.judge.proof(now, host, &self.hosts, &mut self.proofs);
        if self.config.fence {
            self.judge.fences(now, host, &self.hosts);
        }
        if self.judge.is_thorough() {
            self.inspect(host, false);
        }
    }

    fn deliver(&mut self, host: usize, parcel: Packet) {
        match parcel {
            Packet::Datagram { from, bytes, stamp } => {
                self.proofs.received(self.now, host, from, stamp.as_deref());
                let address = self.hosts[from].address;
                self.hand(host, DATAGRAM, Input::Datagram { from: address, bytes: &bytes }, &bytes);
                if self.hosts[host].liar.is_some() {
                    self.hear_as_liar(host, from, &bytes);
                }
            }
            Packet::Refused { to, quoted } => {
                let to = self.hosts[to].address;
                self.hand(host, REFUSED, Input::Refused { to, quoted: &quoted }, &quoted);
            }
        }
    }

    /// Sees to it that the queue holds a wake-up no later than the machine wants one.
    fn arm(&mut self, host: usize) {
        let now = self.now;
        let h = &mut self.hosts[host];
        let Some(process) = &mut h.process else { return };
        if process.wants == Instant::NEVER || (h.paused > 0 && process.wants <= now) {
            return;
        }
        let at = process.wants.max(h.busy_until).max(now);
        if process.armed.is_none_or(|armed| armed > at || armed < now) {
            process.armed = Some(at);
            self.queue.push(at, SimEvent::Wake(host));
        }
    }

    fn depart(&mut self, host: usize, transmit: Transmit) {
        let h = &mut self.hosts[host];
        self.judge.datagram(self.now, &h.name, transmit.bytes.len());
        let stamp = self.proofs.stamp(host);
        if let Some(liar) = &mut h.liar {
            liar.overhear(&transmit.bytes);
        }
        if h.blocked > 0 {
            h.outbox.push((transmit, stamp));
        } else {
            self.carry(host, &transmit, &stamp);
        }
    }

    fn carry(&mut self, host: usize, transmit: &Transmit, stamp: &Stamp) {
        let h = &mut self.hosts[host];
        let size = transmit.bytes.len();
        h.second.bytes += (size + HEADER) as u32;
        h.second.datagrams += 1;
        self.judge.sent(self.now, host, h.second.datagrams);
        let work = h.work;
        let Some(to) = number(transmit.to).filter(|&to| to < self.hosts.len()) else { return };
        if self.network.refuses(host, to) {
            if let Some(delay) = self.network.refuse(self.now, host, to) {
                let quoted = quote(&transmit.bytes);
                self.queue.push(self.now + work + delay, SimEvent::Refuse { at: host, to, quoted });
            }
            return;
        }
        let mut arrivals = std::mem::take(&mut self.arrivals);
        self.network.carry(self.now, host, to, &transmit.bytes, &mut arrivals);
        let (name, to_name) = (self.hosts[host].name.as_str(), self.hosts[to].name.as_str());
        self.trace.sent(self.now, host, name, to_name, size, arrivals.len());
        for (delay, bytes) in arrivals.drain(..) {
            let arrives = SimEvent::Arrive { to, from: host, bytes, stamp: stamp.clone() };
            self.queue.push(self.now + work + delay, arrives);
        }
        self.arrivals = arrivals;
    }
}

/// What a kernel quotes of a datagram that it refuses.
fn quote(bytes: &Bytes) -> Bytes {
    bytes.slice(..bytes.len().min(MOST_QUOTED))
}

/// Linux sends ICMP messages of up to 576 bytes; 56 of them are two IP headers, its own and that of UDP.
const MOST_QUOTED: usize = 520;
const DATAGRAM: u8 = 1;
const REFUSED: u8 = 2;
const TIMEOUT: u8 = 3;
const WALL_CLOCK: u8 = 4;
const COMMAND: u8 = 5;
/// Linux' default `rmem_default`.
const SOCKET_BUFFER: usize = 212_992;
