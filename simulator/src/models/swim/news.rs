//! Claims on their way to all members: piggybacked, gossiped, exchanged in full.

use core::time::Duration;

use heartsay_membership::{Instant, Status};

use super::wire::{Claim, Kind, put};
use super::{Peer, Swim};
use crate::models::Stage;

/// A claim on its way to all members.
#[derive(Clone, Copy, Debug)]
pub(super) struct News {
    pub(super) claim: Claim,
    pub(super) sent: u32,
}

impl Swim {
    pub(super) fn spread(&mut self, claim: Claim) {
        self.news.retain(|news| {
            news.claim.member != claim.member
                || news.claim.from != claim.from
                    && news.claim.status == Status::Suspect
                    && claim.status == Status::Suspect
        });
        self.news.push(News { claim, sent: 0 });
    }

    pub(super) fn send(
        &mut self,
        to: usize,
        kind: Kind,
        sequence: u32,
        target: usize,
        first: Option<Claim>,
        stage: &mut Stage,
    ) {
        let mut bytes = vec![kind as u8];
        bytes.extend(sequence.to_le_bytes());
        bytes.extend((target as u16).to_le_bytes());
        if let Some(claim) = first {
            put(&mut bytes, claim);
        }
        // Each claim is handed on 4 · ceil(log10(N + 1)) times, the least told first.
        let times = RETRANSMIT * libm::ceil(libm::log10(self.living() as f64 + 1.0)) as u32;
        self.news.sort_by_key(|news| news.sent);
        for news in self.news.iter_mut().take(MOST_CLAIMS) {
            put(&mut bytes, news.claim);
            news.sent += 1;
        }
        self.news.retain(|news| news.sent < times);
        stage.send(to, bytes.into());
    }

    pub(super) fn pull(&mut self, to: usize, kind: Kind, stage: &mut Stage) {
        let all: Vec<Claim> = (0..self.peers.len())
            .map(|member| {
                let peer = &self.peers[member];
                let own = member == self.part.me;
                let incarnation = if own { self.incarnation } else { peer.incarnation };
                Claim { member, status: peer.status, incarnation, from: self.part.me }
            })
            .collect();
        for (i, part) in all.chunks(MOST_CLAIMS).enumerate() {
            // Only the first datagram asks for an answer.
            let kind = if i == 0 { kind } else { Kind::Pulled };
            let mut bytes = vec![kind as u8, 0, 0, 0, 0, 0, 0];
            part.iter().for_each(|claim| put(&mut bytes, *claim));
            stage.send(to, bytes.into());
        }
    }

    pub(super) fn gossip(&mut self, now: Instant, stage: &mut Stage) {
        self.next_gossip = now + GOSSIP;
        if self.news.is_empty() {
            return;
        }
        let recent = |peer: &Peer| peer.status != Status::Down || now.since(peer.changed) < GOSSIP_TO_DEAD;
        for to in self.some(FANOUT, |_, peer| recent(peer)) {
            if !self.news.is_empty() {
                self.send(to, Kind::Gossip, 0, 0, None, stage);
            }
        }
    }
}

/// The push-pull interval stretches beyond 32 members (memberlist's pushPullScale).
pub(super) fn pull_interval(nodes: usize) -> Duration {
    let scale = (libm::ceil(libm::log2(nodes.max(1) as f64) - 5.0).max(0.0)) as u32 + 1;
    Duration::from_secs(30) * scale
}

const RETRANSMIT: u32 = 4;
pub(super) const GOSSIP: Duration = Duration::from_millis(200);
const FANOUT: usize = 3;
const GOSSIP_TO_DEAD: Duration = Duration::from_secs(30);
/// Claims that fit a datagram of 1,400 bytes.
const MOST_CLAIMS: usize = 140;
