//! Detects two processes with one host id and one name, as after cloning a machine with its state directory.
//!
//! Picture: two people with the same passport number. Each first checks that the other is real; a renewed passport
//! leaves an old number behind, but no second person.
//!
//! Usually a later incarnation of ours than the present one is our own past: the clock was set back, or the state
//! directory comes from a backup. Then no process runs it any more, and we begin anew above it. So a member that hears
//! of another incarnation of its own name and host *at another address* first asks there. No answer means that it was
//! our past. An answer from the incarnation itself means a twin. Of two twins, the process that began later gives way,
//! like any newcomer with a taken name. The other begins anew above its generation and is the member again.
//!
//! Twins that reach other members but not each other would each take the other for its past, without end. But a past
//! incarnation never begins anew: if its generation is raised afterwards, a process must be running it. As the two
//! cannot compare when they began, the one with the higher address then gives way.
//!
//! Weak spot: each host's own clock tells when its process began. So the twin with the slower clock may be the one that
//! stays.

use core::net::SocketAddr;
use core::time::Duration;

use heartsay_proto::gossip;
use heartsay_proto::gossip::packet::Body;

use crate::Instant;
use crate::effect::Effect;
use crate::gossip::Gossip;
use crate::identity::Generation;
use crate::roster::incarnation::Incarnation;
use crate::transport::context::Context;
use crate::transport::requests::{Request, RequestKind};
use crate::transport::wire::{self, Detail};

/// Another incarnation of our name and host, while we do not know whether a process runs it.
#[derive(Clone, Copy, Debug)]
pub struct SuspectedClone {
    generation: Generation,
    address: SocketAddr,
    asked: u32,
    last: Instant,
}

impl Gossip {
    /// A claim tells of a later incarnation of our name and host at another address. `taken_in`: our peers hold our
    /// incarnation for the member.
    pub fn hear_of_twin(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        incarnation: &Incarnation,
        taken_in: bool,
    ) {
        let (generation, address) = (incarnation.generation, incarnation.address());
        if !taken_in && self.taken_for_past.is_some_and(|(at, last)| at == address && generation > last) {
            self.past_is_alive(ctx, incarnation);
            return;
        }
        match &mut self.clone_suspect {
            // A twin that begins anew while we ask it is still the same twin.
            Some(known) if now.since(known.last) < ASK_AGAIN * 4 => {
                if known.address == address {
                    known.generation = known.generation.max(generation);
                }
            }
            Some(_) | None => {
                self.clone_suspect = Some(SuspectedClone { generation, address, asked: 0, last: now });
                self.ask_clone(now, ctx);
            }
        }
    }

    fn ask_clone(&mut self, now: Instant, ctx: &mut Context<'_>) {
        let Some(clone_suspect) = &mut self.clone_suspect else { return };
        (clone_suspect.asked, clone_suspect.last) = (clone_suspect.asked + 1, now);
        let to = clone_suspect.address;
        let request = Request {
            subject: None,
            to,
            sent: now,
            deadline: now + ASK_AGAIN,
            kind: RequestKind::CloneProbe,
        };
        let seq = ctx.transport.requests.open(request);
        if ctx.transport.addresses.is_proven(now, to) {
            self.introduce_to_clone(now, ctx, to, seq, false);
        } else {
            // A copy answers to our own name; then we ask in full.
            ctx.ask_first(to, seq, ctx.core.me);
        }
    }

    /// Some process answers to our name at that address.
    pub fn clone_proven(&mut self, now: Instant, ctx: &mut Context<'_>, from: SocketAddr) {
        if self.clone_suspect.as_ref().is_some_and(|clone_suspect| clone_suspect.address == from) {
            self.ask_clone(now, ctx);
        }
    }

    /// Sends who we are, without our state: the address may be wrong.
    fn introduce_to_clone(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        to: SocketAddr,
        seq: u32,
        answer: bool,
    ) {
        let mut packet = ctx.packet(seq, Some(Body::Twin(gossip::Twin { began: ctx.core.began_as, answer })));
        packet.claims.push(wire::write_claim(now, ctx.roster.myself(), Detail::Full, 0, 0));
        ctx.send(to, &packet);
    }

    /// A request to a suspected twin was not answered in time.
    pub fn clone_unanswered(&mut self, now: Instant, ctx: &mut Context<'_>) {
        match &self.clone_suspect {
            Some(clone_suspect) if clone_suspect.asked < ASKED => self.ask_clone(now, ctx),
            Some(_) => self.clone_is_past(ctx),
            None => {}
        }
    }

    /// No process runs that incarnation any more.
    pub fn clone_is_past(&mut self, ctx: &mut Context<'_>) {
        let Some(clone_suspect) = self.clone_suspect.take() else { return };
        self.taken_for_past = Some((clone_suspect.address, clone_suspect.generation));
        if clone_suspect.generation >= ctx.roster.myself().incarnation.generation {
            ctx.effect(Effect::BeginAnew(clone_suspect.generation));
        }
    }

    /// The incarnation that we took for our past has been raised by a process that we do not reach.
    fn past_is_alive(&mut self, ctx: &mut Context<'_>, incarnation: &Incarnation) {
        if ctx.roster.myself().incarnation.address() > incarnation.address() {
            ctx.effect(held_by(incarnation));
        } else {
            self.taken_for_past = Some((incarnation.address(), incarnation.generation));
            ctx.effect(Effect::BeginAnew(incarnation.generation));
        }
    }

    /// Another incarnation of our name and host speaks for itself.
    pub fn on_twin(
        &mut self,
        now: Instant,
        ctx: &mut Context<'_>,
        (from, sender, seq): (SocketAddr, u64, u32),
        said: gossip::Twin,
        claims: Vec<gossip::Claim>,
        taken_in: bool,
    ) {
        let incarnation = claims.into_iter().find_map(|claim| wire::read_claim(now, claim).ok()?.incarnation);
        let myself = &ctx.roster.myself().incarnation;
        let is_twin = |incarnation: &Incarnation| {
            incarnation.tag == sender
                && incarnation.hash == myself.hash
                && incarnation.host_id == myself.host_id
                && incarnation.address() != myself.address()
                && ctx.core.generation_is_plausible(now, incarnation.generation)
        };
        let Some(incarnation) = incarnation.filter(is_twin) else { return };
        if !said.answer {
            let later = incarnation.generation > myself.generation;
            self.introduce_to_clone(now, ctx, from, seq, true);
            // The later incarnation has nothing to ask, and a refused one has been answered: two that asked at each
            // question of the other would never end.
            if later && !ctx.membership.refused {
                self.hear_of_twin(now, ctx, &incarnation, taken_in);
            }
            return;
        }
        if ctx.transport.requests.get(seq).is_none_or(|request| request.kind != RequestKind::CloneProbe) {
            return;
        }
        ctx.transport.requests.answered(seq);
        self.clone_suspect = None;
        let mine = (ctx.core.began_as, ctx.roster.myself().incarnation.address());
        let other = (said.began, incarnation.address());
        if mine > other && !taken_in {
            ctx.effect(held_by(&incarnation));
        } else if incarnation.generation >= ctx.roster.myself().incarnation.generation {
            ctx.effect(Effect::BeginAnew(incarnation.generation));
        }
    }
}

fn held_by(other: &Incarnation) -> Effect {
    Effect::NameHeld { holder: other.host_id, address: other.address(), generation: other.generation }
}

/// Time from one request to the next, and their number: two seconds in all, the acceptable pause by default. A twin
/// answers within a round trip. A restart at a new address is not asked about at all, because its old incarnation is
/// dead.
const ASK_AGAIN: Duration = Duration::from_millis(250);
const ASKED: u32 = 8;
