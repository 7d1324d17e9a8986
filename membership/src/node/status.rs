//! Derives a member's status from the claims about it, and reports each change.

use std::borrow::Cow;

use crate::Instant;
use crate::detection::testimony::told_by;
use crate::identity::Heartbeat;
use crate::io::{Event, MemberEventKind};
use crate::node::Node;
use crate::node::quorum::FENCED;
use crate::quorum::Quorum;
use crate::roster::member::Member;
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
        let (out, heartbeat) = (member.marks().is_kept_out(), member.heartbeat);
        // The accusers behind the present status.
        let accusers = member.marks().accusations.iter().filter(|a| out || a.counts()).map(|a| a.by);
        let by: Vec<u64> = if before == after { Vec::new() } else { accusers.collect() };
        if out && after == Status::Down {
            self.roster.returns.keep_out(hash);
        }
        if before == after {
            self.look_at_return(now, hash, heartbeat);
            return;
        }
        self.roster.set_status(now, hash, after);
        self.recount(now);
        let shown = self.shows_change(now, hash, (before, since), after);
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
        // Electors have been asked about it since it became suspect, so their answers may suffice by now.
        if after == Status::Down && self.newly_fenced(now, hash) && !shown {
            self.report_verdict(hash, MemberEventKind::Fenced, &[], FENCED);
        }
        if matches!(after, Status::Down | Status::Left) {
            self.detection.forget(hash);
        }
        if shown {
            self.report_verdict(hash, kind, &by, reason);
        }
        self.gossip.broadcast.news(now, hash, false);
        let (detection, mut ctx) = self.detection();
        detection.on_status(now, &mut ctx, hash, (before, since), after);
    }

    /// Whether a member's change from `before`, which it took at `since`, to `after` is shown at once. A return is not
    /// while it is hearsay, and then the member is called; nor while it is in dispute (roster/returns.rs).
    fn shows_change(
        &mut self,
        now: Instant,
        hash: u64,
        (before, since): (Status, Instant),
        after: Status,
    ) -> bool {
        let present = matches!(after, Status::Alive | Status::Suspect | Status::Restarting);
        if self.roster.returns.get(hash).is_some() {
            // In again by hearsay, and down again: nothing has changed for any reader.
            if !present {
                self.roster.returns.end(hash);
            }
            return after == Status::Left;
        }
        let was_kept_out = before == Status::Down && self.roster.returns.let_in(hash);
        if before != Status::Down || !present || self.quorum.majority(now).quorum() != Quorum::Held {
            return true;
        }
        let Some(member) = self.roster.get(hash) else { return true };
        let hearsay = member.path.last_direct() != now && !member.says_settling() && !was_kept_out;
        let in_dispute = now.since(since) < self.core.config.acceptable_pause && self.finds_unfit(member);
        let heartbeats = (member.heartbeat, self.core.heartbeat_by(&self.roster, member, now));
        if !(hearsay || in_dispute) || (hearsay && !self.call(now, hash)) {
            return true;
        }
        let not_before = if in_dispute { now + self.core.config.news_time() } else { now };
        self.roster.returns.told(hash, heartbeats, since, not_before);
        false
    }

    /// Whether we, as its witness, want the life of this heartbeat out as unfit.
    fn finds_unfit(&self, member: &Member) -> bool {
        let said = member.marks().accusation(self.core.me, Evidence::Unfit);
        said.is_some_and(|a| a.basis >= member.heartbeat)
    }

    /// Others tell a newer heartbeat of a member that is alive by hearsay.
    fn look_at_return(&mut self, now: Instant, hash: u64, heartbeat: Heartbeat) {
        if self.roster.returns.goes_on(hash, heartbeat) {
            self.show_return(now, hash);
        } else if self.roster.returns.calls(hash, heartbeat) {
            self.call(now, hash);
        }
    }

    /// Probes a member, so that it speaks to us, or its silence is counted from now on. False if there is no budget for that.
    fn call(&mut self, now: Instant, hash: u64) -> bool {
        if self.detection.probe_budget.available(now) == 0 {
            return false;
        }
        let (detection, mut ctx) = self.detection();
        detection.ask_after(now, &mut ctx, hash);
        detection.is_probing(hash)
    }

    /// Shows as it is a member that is back without doubt, if it need not wait longer.
    pub(crate) fn show_return(&mut self, now: Instant, hash: u64) {
        if self.roster.returns.is_back(now, hash) {
            self.end_return(hash);
        }
    }

    fn end_return(&mut self, hash: u64) {
        self.roster.returns.end(hash);
        let kind = match self.roster.get(hash).map(|member| member.status) {
            Some(Status::Suspect) => MemberEventKind::Suspect,
            _ => MemberEventKind::Alive,
        };
        self.report_verdict(hash, kind, &[], "a newer heartbeat refutes it");
    }

    /// Without quorum, all of these are shown as they are.
    pub(crate) fn show_all_returns(&mut self) {
        let waiting: Vec<u64> = self.roster.returns.subjects().collect();
        waiting.into_iter().for_each(|hash| self.end_return(hash));
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
                Some(Evidence::Told) => {
                    told_by(marks.that_count().find_map(|accusation| accusation.source)).into()
                }
                Some(Evidence::Proven | Evidence::Silent | Evidence::Degraded | Evidence::Unfit) | None => {
                    "it does not answer".into()
                }
            },
            Status::Down if marks.last_words.is_some() => "its host says that the process has ended".into(),
            Status::Down => "others have called it down".into(),
        }
    }
}
