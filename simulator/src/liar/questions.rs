//! Questions and words that nobody would say.

use heartsay_proto::gossip::packet::Body;
use heartsay_proto::gossip::{
    Claim, Exchange, Lead, Lease, Packet, Page, Ping, Pong, ProbeRequest, Pull, Refusal, Tally, Twin, Want,
};

use super::Liar;
use super::forgery::{Letter, in_full, saying, telling};

impl Liar {
    fn subject(&self, member: usize) -> u64 {
        self.known(member).record.map_or(0, |record| record.subject)
    }

    /// A wave with a proof, and more votes than there are.
    pub(super) fn make_waves(&mut self, on: usize) -> Vec<Letter> {
        let (seq, number, group) = (self.number(), self.dice.below(4) as u32, self.dice.below(5) as u32);
        let wave = 1 + self.dice.below(3) as u32;
        let lease = Lease { wave, answered: self.dice.below(3) as u32, answered_ms: 1, ..self.lease() };
        let relay = self.subject(on);
        let lead = self.dice.chance(0.3).then_some(Lead { number, group, groups: 4, relay });
        let mut letters = Vec::new();
        for to in self.some(self.me) {
            let subject = self.subject(to);
            let near = self.known(to).seq.wrapping_add(self.dice.below(3) as u32);
            let seq = if self.dice.chance(0.5) { near.max(1) } else { seq };
            let ping = Ping { subject, lead, ..Ping::default() };
            let packet = Packet { lease: Some(lease.clone()), ..saying(seq, Body::Ping(ping)) };
            letters.extend(self.letter(to, on, packet));
            let tally = Tally { number, group, votes: u32::MAX / 2, ..Tally::default() };
            letters.extend(self.letter(to, on, saying(0, Body::Tally(tally))));
        }
        letters
    }

    pub(super) fn refuse(&mut self, on: usize) -> Vec<Letter> {
        let reason = 1 + self.dice.below(3) as u32;
        let holder = in_full(&self.known(on)).map(|mut claim| {
            let other = self.dice.word().to_be_bytes().repeat(2);
            claim.body.iter_mut().for_each(|body| body.host_id = other.clone().into());
            claim
        });
        let seq = self.known(on).seq;
        let body = Body::Refusal(Refusal { reason });
        let packet = Packet { claims: holder.into_iter().collect(), ..saying(seq, body) };
        let speaker = self.some(on).first().copied().unwrap_or(self.me);
        self.letter(on, speaker, packet).into_iter().collect()
    }

    pub(super) fn pose_as_twin(&mut self, on: usize) -> Vec<Letter> {
        let began = self.unix_ms.saturating_sub([0, 3_600_000][self.dice.below(2)]);
        let answer = self.dice.chance(0.5);
        let later = 1 + self.dice.below(3) as u64;
        let claim =
            in_full(&self.known(on)).map(|claim| Claim { generation: claim.generation + later, ..claim });
        let packet = saying(self.number(), Body::Twin(Twin { began, answer }));
        let packet = Packet { claims: claim.into_iter().collect(), ..packet };
        self.letter(on, on, packet).into_iter().collect()
    }

    /// "n1 asks whether you hear it", and "ask n2 for me", by true names.
    pub(super) fn pose_as_asker(&mut self, on: usize) -> Vec<Letter> {
        let mut letters = Vec::new();
        let path_from = self.subject(on);
        for to in self.some(on) {
            let ping = Ping { subject: self.subject(to), path_from, ..Ping::default() };
            let seq = self.number();
            letters.extend(self.letter(to, self.me, saying(seq, Body::Ping(ping))));
            let Some(body) = self.known(on).record.and_then(|record| record.body) else { continue };
            let (subject, path) = (path_from, self.dice.chance(0.7));
            let request = ProbeRequest { subject, ip: body.ip, port: body.port, path };
            let seq = self.number();
            letters.extend(self.letter(to, self.me, saying(seq, Body::ProbeRequest(request))));
        }
        letters
    }

    /// Questions in the name of the victim, which gets the answers where sources are forged.
    pub(super) fn ask(&mut self, on: usize) -> Vec<Letter> {
        let mut letters = Vec::new();
        for to in self.some(on) {
            let wants = self.others().into_iter().map(|member| Want {
                tag: self.known(member).tag,
                since: 0,
                known: false,
            });
            let wants = wants.take(20).collect();
            let body = match self.dice.below(4) {
                0 => Body::Pull(Pull::default()),
                1 => Body::Exchange(Exchange { step: 3, wants, ..Exchange::default() }),
                2 => {
                    let page = Page { lives: self.dice.word(), ..Page::default() };
                    Body::Exchange(Exchange { step: 1, pages: vec![page], ..Exchange::default() })
                }
                _ => Body::Ping(Ping { padding: vec![0; 1000].into(), ..Ping::default() }),
            };
            let seq = self.number();
            letters.extend(self.letter(to, on, saying(seq, body)));
        }
        letters
    }

    pub(super) fn shift_clocks(&mut self, on: usize) -> Vec<Letter> {
        let beat = 1 + self.dice.below(1 << 21) as u32;
        let exchange = Exchange { step: 1, ..self.memory.exchange.clone().unwrap_or_default() };
        let packet = Packet { beat, ..saying(self.number(), Body::Exchange(exchange)) };
        let to = self.some(self.me);
        self.letters(&to, on, &packet)
    }

    pub(super) fn narrow_paths(&mut self, on: usize) -> Vec<Letter> {
        let longest = [1, 512, u32::MAX][self.dice.below(3)];
        let packet = Packet { longest, ..telling(Vec::new()) };
        let to = self.some(on);
        self.letters(&to, on, &packet)
    }

    pub(super) fn bake_cookies(&mut self, on: usize) -> Vec<Letter> {
        let (cookie, cookie_back) = (self.dice.word() as u32, self.dice.word() as u32);
        let seq = self.known(on).seq;
        let packet = Packet { cookie, cookie_back, ..saying(seq, Body::Pong(Pong::default())) };
        let speaker = self.some(on).first().copied().unwrap_or(self.me);
        self.letter(on, speaker, packet).into_iter().collect()
    }
}
