//! Derives a member's status from the claims about it, and reports each change.

use std::borrow::Cow;

use crate::Instant;
use crate::io::{Event, MemberEventKind};
use crate::node::Node;
use crate::roster::standing::{Evidence, Status};

impl Node {
    /// A member's heartbeat advanced, which may void what was held against it.
    pub(crate) fn after_heartbeat(&mut self, now: Instant, hash: u64) {
        let (detection, mut ctx) = self.detection();
        detection.close_refuted_probe(now, &mut ctx, hash);
        self.refresh(now, hash, "a newer heartbeat refutes it");
    }

    /// Brings a member's status in line with its marks, and reports the change.
    pub(crate) fn refresh(&mut self, now: Instant, hash: u64, reason: impl Into<Cow<'static, str>>) {
        let Some(member) = self.roster.get(hash) else { return };
        let (before, after, since) = (member.status, member.standing(), member.since());
        if before == after {
            return;
        }
        // The accusers behind the present status.
        let out = member.marks().is_kept_out();
        let by: Vec<u64> =
            member.marks().accusations.iter().filter(|a| out || a.counts()).map(|a| a.by).collect();
        self.roster.set_status(now, hash, after);
        self.recount(now);
        if after == Status::Restarting {
            self.detection.forget(hash);
            self.transport.requests.forgive(hash);
            self.gossip.watch_restart(&self.roster, hash);
        }
        // For a program that only routes to the member nothing has changed.
        let unseen = matches!(
            (before, after),
            (Status::Alive, Status::Restarting) | (Status::Restarting, Status::Alive)
        );
        if unseen {
            // All members see the end of a restart by themselves.
            if after == Status::Restarting {
                self.gossip.broadcast.news(now, hash, false);
            }
            return;
        }
        let kind = match after {
            Status::Alive | Status::Restarting => {
                self.core.stats.suspicions_refuted += 1;
                MemberEventKind::Alive
            }
            Status::Suspect => MemberEventKind::Suspect,
            Status::Down => MemberEventKind::Down,
            Status::Left => MemberEventKind::Left,
        };
        if before == Status::Down || matches!(after, Status::Alive | Status::Restarting | Status::Left) {
            self.quorum.fence.open(hash);
        }
        if after == Status::Down {
            // Electors have been asked about it since it became suspect, so their answers may suffice by now.
            self.newly_fenced(now, hash);
        }
        if matches!(after, Status::Down | Status::Left) {
            self.detection.forget(hash);
        }
        self.report_verdict(hash, kind, &by, reason);
        self.gossip.broadcast.news(now, hash, false);
        let (detection, mut ctx) = self.detection();
        detection.on_status(now, &mut ctx, hash, (before, since), after);
    }

    /// Reports a change of one member's status; with a verdict, also whether the member is fenced.
    pub(crate) fn report_verdict(
        &mut self,
        hash: u64,
        kind: MemberEventKind,
        by: &[u64],
        reason: impl Into<Cow<'static, str>>,
    ) {
        let Some(mut event) = self.context().member_event(hash, kind, by, reason) else { return };
        if self.core.config.fence && matches!(kind, MemberEventKind::Down | MemberEventKind::Fenced) {
            event.fenced = self.roster.get(hash).map(|member| self.quorum.fence.stands(member));
        }
        self.emit(Event::Member(event));
    }

    /// The reason for a member's status, in one sentence.
    pub(super) fn reason_for(&self, subject: u64) -> Cow<'static, str> {
        let Some(member) = self.roster.get(subject) else { return "".into() };
        let marks = member.marks();
        match member.standing() {
            Status::Alive => "a newer heartbeat refutes it".into(),
            Status::Restarting => "it says that it restarts".into(),
            Status::Left => "it said good-bye".into(),
            Status::Suspect => match marks.that_count().map(|a| a.kind).max() {
                Some(Evidence::Refused) => "its host refuses datagrams: the process is gone".into(),
                Some(Evidence::Proven | Evidence::Silent | Evidence::Degraded | Evidence::Unfit) | None => {
                    "it does not answer".into()
                }
            },
            Status::Down => {
                format!("called down as of heartbeat {}", marks.down.unwrap_or(member.heartbeat)).into()
            }
        }
    }
}
