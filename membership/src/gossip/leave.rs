//! Says good-bye, for good or for a restart, and makes sure that other members heard it.

use core::time::Duration;

use heartsay_proto::gossip;
use heartsay_proto::gossip::packet::Body;

use crate::Instant;
use crate::effect::Effect;
use crate::gossip::Gossip;
use crate::io::{Event, MemberEventKind};
use crate::roster::member::Member;
use crate::roster::peers;
use crate::roster::peers::is_other;
use crate::roster::standing::{Marks, Restart, Status};
use crate::transport::context::Context;
use crate::transport::requests::{Request, RequestKind};
use crate::transport::wire::Detail;

/// A good-bye under way.
#[derive(Debug)]
pub struct Leave {
    asked: usize,
    acknowledged: usize,
    deadline: Instant,
    tick: Instant,
    done: bool,
}

impl Leave {
    pub fn next(&self) -> Instant {
        if self.done { Instant::NEVER } else { self.tick.min(self.deadline) }
    }
}

impl Gossip {
    /// Marks ourselves as left, or as restarting for a time, asks a few peers for confirmation, and broadcasts it.
    pub fn say_good_bye(&mut self, now: Instant, ctx: &mut Context<'_>, back_within: Option<Duration>) {
        let me = ctx.core.me;
        if let Some(mut myself) = ctx.roster.get_mut(me) {
            let restart = back_within.map(|within| Restart::of(now, myself.heartbeat, within));
            myself.mark(&Marks { left: restart.is_none(), restart, ..Marks::default() });
        }
        if back_within.is_some() {
            ctx.roster.set_status(now, me, Status::Restarting);
        } else {
            ctx.roster.set_status(now, me, Status::Left);
            ctx.report(me, MemberEventKind::Left, &[], "asked to leave");
        }
        ctx.effect(Effect::Leaving);
        self.broadcast.news(now, me, false);
        self.leave = Some(Leave {
            asked: 0,
            acknowledged: 0,
            deadline: now + ctx.core.config.leave_timeout,
            tick: now,
            done: false,
        });
        self.tell_good_bye(now, ctx);
    }

    pub fn good_bye_heard(&mut self) {
        if let Some(leave) = &mut self.leave {
            leave.acknowledged += 1;
        }
    }

    pub fn step_leave(&mut self, now: Instant, ctx: &mut Context<'_>) {
        let Some(leave) = self.leave.as_mut().filter(|leave| now >= leave.next()) else { return };
        let others = ctx.roster.iter().filter(|m| is_other(m, ctx.core.me)).count();
        // The first check comes one tick after the start: both waves of the broadcast have left by then.
        if leave.acknowledged >= CONFIRMATIONS.min(others) || now >= leave.deadline {
            leave.done = true;
            let (acknowledged, asked) = (leave.acknowledged, leave.asked);
            ctx.emit(Event::LeaveDone { acknowledged, asked });
        } else {
            self.tell_good_bye(now, ctx);
        }
    }

    fn tell_good_bye(&mut self, now: Instant, ctx: &mut Context<'_>) {
        let me = ctx.core.me;
        let addresses = &ctx.transport.addresses;
        let fit = |m: &Member| is_other(m, me) && addresses.reaches(now, m);
        let targets: Vec<_> = peers::sample(ctx.roster, &mut ctx.core.rng, ASKED, fit)
            .into_iter()
            .map(|m| (m.hash(), m.incarnation.address()))
            .collect();
        if let Some(leave) = &mut self.leave {
            leave.asked += targets.len();
            leave.tick = now + TICK;
        }
        for (subject, to) in targets {
            let deadline = now + ctx.core.patience(ctx.roster.get(subject));
            let seq = ctx.transport.requests.open(Request {
                subject: Some(subject),
                to,
                sent: now,
                deadline,
                kind: RequestKind::Leave,
            });
            let body = Body::Ping(gossip::Ping { subject, ..Default::default() });
            let Some(mut filler) = ctx.filler(to, seq, Some(body)) else { return };
            let _ = filler.try_claim(ctx.claim(now, to, ctx.roster.myself(), Detail::Thin));
            ctx.send(to, &filler.finish());
        }
    }
}

/// This many peers are told directly, and this many must confirm.
const ASKED: usize = 6;
const CONFIRMATIONS: usize = 3;
/// From one check of the confirmations to the next; other peers are asked when too few have come.
const TICK: Duration = Duration::from_millis(200);
