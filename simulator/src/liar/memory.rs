//! What a liar has learnt of the others, from its true machine and from what came.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use heartsay_membership::{Heartbeat, Status};
use heartsay_proto::gossip::packet::Body;
use heartsay_proto::gossip::{Claim, Exchange, Packet};

use crate::sim_rng::SimRng;

/// What a liar knows.
#[derive(Default)]
pub(super) struct Memory {
    members: BTreeMap<usize, Known>,
    /// Datagrams that came, and from whom.
    heard: VecDeque<(usize, Bytes)>,
    /// The first step of an exchange that its own machine has sent last.
    pub(super) exchange: Option<Exchange>,
    /// Mark of the electorate that the others were told.
    pub(super) electorate: u32,
}

/// What it knows of one member.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// Its record.
    pub(super) record: Option<Claim>,
    /// Tag of its life; 0: not heard of yet.
    pub(super) tag: u64,
    /// Its heartbeat, and what the liar's own machine thinks of it.
    pub(super) heartbeat: Heartbeat,
    pub(super) status: Option<Status>,
    /// The number of the last question that it asked the liar.
    pub(super) seq: u32,
}

impl Memory {
    /// The true machine beside the liar has this member so.
    pub(super) fn sees(&mut self, member: usize, heartbeat: Heartbeat, status: Status) {
        let known = self.members.entry(member).or_default();
        known.heartbeat = known.heartbeat.max(heartbeat);
        known.status = Some(status);
    }

    /// A datagram came.
    pub(super) fn hear(&mut self, from: usize, bytes: &Bytes, packet: &Packet) {
        let known = self.members.entry(from).or_default();
        known.tag = packet.sender;
        known.heartbeat = known.heartbeat.max(packet.heartbeat);
        if packet.seq != 0 {
            known.seq = packet.seq;
        }
        if let Some(lease) = &packet.lease {
            self.electorate = lease.electorate;
        }
        for claim in &packet.claims {
            let Some(body) = &claim.body else { continue };
            if let Some(member) = number(&body.name) {
                let known = self.members.entry(member).or_default();
                let older = known.record.as_ref().is_none_or(|old| old.generation <= claim.generation);
                if older {
                    known.record = Some(Claim {
                        subject: claim.subject,
                        generation: claim.generation,
                        body: claim.body.clone(),
                        version: claim.version,
                        ..Claim::default()
                    });
                }
            }
        }
        if self.heard.len() >= KEPT {
            self.heard.pop_front();
        }
        self.heard.push_back((from, bytes.clone()));
    }

    /// The liar's own machine sent a packet.
    pub(super) fn overhear(&mut self, me: usize, packet: Packet) {
        let known = self.members.entry(me).or_default();
        (known.tag, known.heartbeat) = (packet.sender, packet.heartbeat);
        if let Some(Body::Exchange(exchange)) = packet.body
            && exchange.step == 1
            && exchange.pages.iter().any(|page| !page.ages.is_empty())
        {
            self.exchange = Some(exchange);
        }
    }

    pub(super) fn get(&self, member: usize) -> Known {
        self.members.get(&member).cloned().unwrap_or_default()
    }

    /// Members by number.
    pub(super) fn members(&self) -> impl Iterator<Item = usize> {
        self.members.keys().copied()
    }

    /// Members of which the record is not known yet, or the tag.
    pub(super) fn strangers(&self, me: usize) -> Vec<usize> {
        let unknown = |(_, known): &(&usize, &Known)| known.record.is_none() || known.tag == 0;
        self.members.iter().filter(unknown).map(|(member, _)| *member).filter(|m| *m != me).collect()
    }

    /// Members in trouble, as its own machine sees it.
    pub(super) fn doubted(&self) -> Vec<usize> {
        let doubted = |known: &Known| matches!(known.status, Some(Status::Suspect | Status::Down));
        self.members.iter().filter(|(_, known)| doubted(known)).map(|(member, _)| *member).collect()
    }

    /// One of the datagrams that came.
    pub(super) fn recall(&self, dice: &mut SimRng) -> Option<(usize, Bytes)> {
        self.heard.get(dice.below(self.heard.len())).cloned()
    }
}

/// Number of the member of this name.
pub(super) fn number(name: &str) -> Option<usize> {
    name.strip_prefix('n')?.parse().ok()
}

/// Datagrams that are kept to be sent again.
const KEPT: usize = 256;
