//! Wrong things about others: that they are silent, alive, gone, elsewhere, or something else.

use bytes::Bytes;
use heartsay_membership::{BEACON_KEY, QUORUM_KEY, ZONE};
use heartsay_proto::ages::{Age, encode};
use heartsay_proto::gossip::packet::Body;
use heartsay_proto::gossip::{Claim, Exchange};
use heartsay_proto::{LastSecret, LastWords};

use super::forgery::{
    DEGRADED, Letter, PROVEN, REFUSED, SILENT, UNFIT, about, accusation, entry, in_full, saying, telling,
};
use super::{Liar, memory::Known};
use crate::host::address;

impl Liar {
    /// A claim about `on` goes to its audience, in the name of one of the others or of the liar.
    fn spread(&mut self, on: usize, claim: Option<Claim>) -> Vec<Letter> {
        let Some(claim) = claim else { return Vec::new() };
        let audience = self.audience(on);
        let speaker =
            if self.dice.chance(0.5) { self.me } else { self.some(on).first().copied().unwrap_or(on) };
        let speaker = if self.dice.chance(0.2) { on } else { speaker };
        self.letters(&audience, speaker, &telling(vec![claim]))
    }

    /// With the identity of the subject or without.
    fn claim(&mut self, known: &Known) -> Option<Claim> {
        if self.dice.chance(0.3) { in_full(known) } else { about(known) }
    }

    /// So many others accuse the member, as of this heartbeat.
    fn accused(&mut self, on: usize, count: usize, kinds: &[u32], basis: u64) -> Option<Claim> {
        let kind = kinds[self.dice.below(kinds.len())];
        let claim = self.claim(&self.known(on))?;
        let others: Vec<usize> = self.others().into_iter().filter(|other| *other != on).collect();
        let by = self.dice.choose(others.len(), count.min(others.len()));
        let accusations = by.into_iter().filter_map(|i| accusation(&self.known(others[i]), kind, basis));
        Some(Claim { accusations: accusations.collect(), ..claim })
    }

    pub(super) fn accuse(&mut self, on: usize) -> Vec<Letter> {
        let basis = self.known(on).heartbeat + [0, 1, 2, 5, 60, 119][self.dice.below(6)];
        let count = 1 + self.dice.below(5);
        let claim = self.accused(on, count, &[SILENT, PROVEN, REFUSED], basis);
        self.spread(on, claim)
    }

    pub(super) fn convict(&mut self, on: usize) -> Vec<Letter> {
        let basis = self.known(on).heartbeat + [0, 1, 2, 5, 60, 119][self.dice.below(6)];
        let count = self.dice.below(4);
        let claim = self.accused(on, count, &[PROVEN, REFUSED], basis);
        self.spread(on, claim.map(|claim| Claim { down: 1 + basis, ..claim }))
    }

    pub(super) fn put_out(&mut self, on: usize) -> Vec<Letter> {
        let basis = self.known(on).heartbeat + [12, 40, 60, 240, 470][self.dice.below(5)];
        let count = 2 + self.dice.below(2);
        let claim = self.accused(on, count, &[UNFIT, UNFIT, UNFIT, DEGRADED], basis);
        let down = if self.dice.chance(0.6) { 1 + basis } else { 0 };
        self.spread(on, claim.map(|claim| Claim { down, ..claim }))
    }

    pub(super) fn keep_alive(&mut self, on: usize) -> Vec<Letter> {
        let known = self.known(on);
        let heartbeat = known.heartbeat + [1, 2, 3, 10, 120, 100_000][self.dice.below(6)];
        let claim = self.claim(&known).map(|claim| Claim { heartbeat, ..claim });
        self.spread(on, claim)
    }

    /// The pages of its own last exchange, with everybody as new as can be.
    pub(super) fn keep_all_alive(&mut self) -> Vec<Letter> {
        let Some(mut exchange) = self.memory.exchange.clone() else { return Vec::new() };
        let count = self.others().len() + 1;
        let age = [0, -1, -3, -100][self.dice.below(4)];
        for page in exchange.pages.iter_mut().filter(|page| page.bits == 0) {
            let mut ages = Vec::new();
            encode(&vec![Age::of(age); count], &mut ages);
            page.ages = Bytes::from(ages);
        }
        let (to, speaker) = (self.some(self.me), self.some(self.me).first().copied());
        let packet = saying(self.number(), Body::Exchange(Exchange { step: 1, ..exchange }));
        self.letters(&to, speaker.unwrap_or(self.me), &packet)
    }

    pub(super) fn say_good_bye(&mut self, on: usize) -> Vec<Letter> {
        let claim = self.claim(&self.known(on)).map(|claim| Claim { left: true, ..claim });
        self.spread(on, claim)
    }

    pub(super) fn announce_restart(&mut self, on: usize) -> Vec<Letter> {
        let restart_ms = 1 + [0, 5_000, 60_000, u32::MAX - 1][self.dice.below(4)];
        let claim = self.claim(&self.known(on)).map(|claim| Claim { restart_ms, ..claim });
        self.spread(on, claim)
    }

    pub(super) fn forget(&mut self, on: usize) -> Vec<Letter> {
        let later = [0, 0, 1, 3_600_000, 30 * 3_600_000][self.dice.below(5)];
        let claim = about(&self.known(on)).map(|claim| Claim {
            subject: claim.subject,
            generation: claim.generation + later,
            forgotten: true,
            ..Claim::default()
        });
        self.spread(on, claim)
    }

    /// A later life, at the address of the liar, of another member, or where it is.
    fn later_life(&mut self, on: usize, later: u64) -> Option<Claim> {
        let mut claim = in_full(&self.known(on))?;
        claim.generation += later;
        claim.heartbeat = 1;
        let at = [self.me, self.me, on, self.some(on).first().copied()?][self.dice.below(4)];
        if let (Some(body), core::net::IpAddr::V4(ip)) = (claim.body.as_mut(), address(at).ip()) {
            body.ip = ip.octets().to_vec().into();
            body.ref_unix_ms += later;
        }
        Some(claim)
    }

    pub(super) fn take_over(&mut self, on: usize) -> Vec<Letter> {
        let later = [1, 1_000, 3_600_000, 23 * 3_600_000][self.dice.below(4)];
        let claim = self.later_life(on, later);
        self.spread(on, claim)
    }

    pub(super) fn move_away(&mut self, on: usize) -> Vec<Letter> {
        let heartbeat = self.known(on).heartbeat;
        let mut claim = self.later_life(on, 1);
        if let Some(claim) = &mut claim {
            claim.heartbeat = heartbeat;
            claim.body.iter_mut().for_each(|body| body.moves += 1);
        }
        self.spread(on, claim)
    }

    pub(super) fn rival(&mut self, on: usize) -> Vec<Letter> {
        let later = [0, 1, 60_000][self.dice.below(3)];
        let host_id = self.dice.word().to_be_bytes().repeat(2);
        let earlier = self.dice.chance(0.5);
        let mut claim = self.later_life(on, later);
        if let Some(body) = claim.as_mut().and_then(|claim| claim.body.as_mut()) {
            body.host_id = host_id.into();
            if earlier {
                body.ref_unix_ms = body.ref_unix_ms.saturating_sub(3_600_000);
            }
        }
        self.spread(on, claim)
    }

    pub(super) fn change_tags(&mut self, on: usize) -> Vec<Letter> {
        let known = self.known(on);
        let version = known.record.as_ref().map_or(0, |record| record.version);
        let ahead = [1, 2, 1_000, 1 << 40][self.dice.below(4)];
        let (key, value) = [
            ("tag/role", "forged"),
            (ZONE, "nowhere"),
            ("tag/evil", "1"),
            (BEACON_KEY, "7"),
            (BEACON_KEY, "2097151"),
        ][self.dice.below(5)];
        let claim = self.claim(&known).map(|claim| Claim {
            entries: vec![entry(key, value, version + ahead)],
            since: version,
            version: version + ahead,
            ..claim
        });
        self.spread(on, claim)
    }

    pub(super) fn call_deaf(&mut self, on: usize) -> Vec<Letter> {
        let known = self.known(on);
        let version = known.record.as_ref().map_or(0, |record| record.version);
        let ahead = 1 + self.dice.below(50) as u64;
        let value = ["lost", "hearing", "settling"][self.dice.below(3)];
        let claim = self.claim(&known).map(|claim| Claim {
            entries: vec![entry(QUORUM_KEY, value, version + ahead)],
            since: version,
            version: version + ahead,
            ..claim
        });
        self.spread(on, claim)
    }

    /// A few members more, at one address, at many, or at that of the victim.
    pub(super) fn invent(&mut self, on: usize) -> Vec<Letter> {
        let mut claims = Vec::new();
        let at = self.dice.below(3);
        for _ in 0..INVENTED_AT_ONCE {
            let Some(mut claim) = in_full(&self.known(on)) else { return Vec::new() };
            if self.invented >= MOST_INVENTED {
                break;
            }
            let Some(body) = claim.body.as_mut() else { break };
            body.name = format!("x{}", self.invented);
            body.host_id = self.dice.word().to_be_bytes().repeat(2).into();
            match at {
                0 => body.ip = vec![10, 99, 0, 1].into(),
                1 => body.ip = vec![10, 98, 0, 1 + self.invented as u8].into(),
                _ => {}
            }
            self.invented += 1;
            claims.push(Claim { subject: 0, ..claim });
        }
        let audience = self.some(self.me);
        self.letters(&audience, self.me, &telling(claims))
    }

    pub(super) fn say_last_words(&mut self, on: usize) -> Vec<Letter> {
        let Some(record) = self.known(on).record else { return Vec::new() };
        let mut secret = [0; 16];
        secret.copy_from_slice(&self.dice.word().to_be_bytes().repeat(2));
        let secret = LastSecret::new(secret);
        let audience = self.audience(on);
        let words = LastWords { subject: record.subject, secret, told: 2 }.write();
        let bytes = Bytes::copy_from_slice(&words);
        let straight = audience.iter().map(|to| Letter { to: *to, from: self.me, bytes: bytes.clone() });
        let mut letters: Vec<Letter> = straight.collect();
        let heartbeat = self.known(on).heartbeat;
        let claim = about(&self.known(on)).map(|claim| Claim {
            down: 1 + heartbeat + 2,
            last_words: secret.bytes().to_vec().into(),
            ..claim
        });
        letters.extend(self.spread(on, claim));
        letters
    }
}

const INVENTED_AT_ONCE: usize = 8;
/// Of all those that it invents in one run. The rosters of the others take no more than their caps either.
const MOST_INVENTED: usize = 200;
