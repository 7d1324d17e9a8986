//! The timers of a node: one table with the due time of each part's timer and the step it runs.

use crate::Instant;
use crate::detection::{Backing, Detection};
use crate::gossip::Gossip;
use crate::gossip::beacon;
use crate::gossip::leave::Leave;
use crate::node::Node;
use crate::roster::peers::is_other;
use crate::roster::state::BEACON_KEY;
use crate::transport::context::Context;

/// One reason to wake up.
struct Timer {
    /// For the trace.
    name: &'static str,
    due: fn(&Node) -> Instant,
    run: fn(&mut Node, Instant),
}

/// All timers. Those that are due at the same moment run in this order.
const TIMERS: [Timer; 22] = [
    Timer { name: "round", due: |node| node.gossip.next_round, run: Node::round },
    Timer {
        name: "eager exchange",
        due: |node| node.gossip.eager_at,
        run: |node, now| node.in_gossip(now, Gossip::eager_exchange),
    },
    Timer { name: "unanswered", due: |node| node.transport.requests.next(), run: Node::expire_requests },
    Timer { name: "probes", due: |node| node.detection.probes_due(), run: Node::step_probes },
    Timer {
        name: "extra probes",
        due: |node| node.detection.extra_probes.next(),
        run: |node, now| node.in_detection(now, Detection::step_extra_probes),
    },
    Timer {
        name: "direct paths",
        due: |node| node.detection.direct_paths.next(),
        run: |node, now| node.in_detection(now, Detection::step_paths),
    },
    Timer {
        name: "deaf",
        due: |node| node.detection.deaf.next(),
        run: |node, now| node.in_detection(now, Detection::step_deaf),
    },
    Timer {
        name: "testimony",
        due: |node| node.detection.testify_at,
        run: |node, now| node.in_detection(now, Detection::testify),
    },
    Timer { name: "verdicts", due: |node| node.detection.judge_at, run: Node::judge },
    Timer {
        name: "join",
        due: |node| node.gossip.join.next(),
        run: |node, now| node.in_gossip(now, Gossip::step_join),
    },
    Timer {
        name: "pulls",
        due: |node| node.gossip.pulls.next(),
        run: |node, now| node.in_gossip(now, Gossip::step_pulls),
    },
    Timer {
        name: "long states",
        due: |node| node.gossip.remainders.next(),
        run: |node, now| node.in_gossip(now, Gossip::step_remainders),
    },
    Timer {
        name: "joined",
        due: |node| node.gossip.join.complete_by(),
        run: |node, now| node.in_gossip(now, Gossip::completed),
    },
    Timer { name: "takeovers", due: |node| node.gossip.takeovers.next(), run: Node::step_takeovers },
    Timer { name: "path limits", due: |node| node.transport.path_limits.next(), run: Node::step_path_limits },
    Timer { name: "questions", due: |node| node.questions.asking.next(), run: Node::step_questions },
    Timer {
        name: "leave",
        due: |node| node.gossip.leave.as_ref().map_or(Instant::NEVER, Leave::next),
        run: |node, now| node.in_gossip(now, Gossip::step_leave),
    },
    Timer {
        name: "restarts",
        due: |node| node.gossip.restarts_end,
        run: |node, now| node.in_gossip(now, Gossip::end_restarts),
    },
    Timer { name: "recount", due: |node| node.quorum.recount_at, run: Node::count_presence },
    Timer { name: "renew lease", due: |node| node.quorum.voting.renew_at(), run: Node::renew_lease },
    Timer { name: "judge quorum", due: |node| node.quorum.voting.settles_at(), run: Node::judge_quorum },
    Timer {
        name: "news",
        due: |node| node.gossip.broadcast.next(),
        run: |node, now| node.in_gossip(now, Gossip::pass_on_news),
    },
];

impl Node {
    /// Runs the timers that are due.
    pub(super) fn on_timeout(&mut self, now: Instant) {
        self.detection.backing = match self.quorum.voting.electorate() {
            None => Backing::NoElectorate,
            Some(_) if self.quorum.is_proven_for(now, self.core.config.acceptable_pause) => Backing::Proven,
            Some(_) => Backing::Unproven,
        };
        for timer in &TIMERS {
            if now >= (timer.due)(self) {
                tracing::trace!(at = ?now, timer = timer.name);
                (timer.run)(self, now);
            }
        }
    }

    /// When the first timer is due.
    pub(super) fn next_wake_up(&self) -> Instant {
        TIMERS.iter().map(|timer| (timer.due)(self)).min().unwrap_or(Instant::NEVER)
    }

    fn in_gossip(&mut self, now: Instant, step: fn(&mut Gossip, Instant, &mut Context<'_>)) {
        let (gossip, mut ctx) = self.gossip();
        step(gossip, now, &mut ctx);
        self.settle(now);
    }

    fn in_detection(&mut self, now: Instant, step: fn(&mut Detection, Instant, &mut Context<'_>)) {
        let (detection, mut ctx) = self.detection();
        step(detection, now, &mut ctx);
        self.settle(now);
    }

    /// Once per slot: a heartbeat and exchanges, a look at all members, and housekeeping.
    fn round(&mut self, now: Instant) {
        self.in_gossip(now, Gossip::round);
        if self.roster.is_leaving() {
            return;
        }
        self.say_whether_we_hear(now);
        self.write_beacon(now);
        self.repeat_lost_quorum(now);
        self.look_at_silence(now);
        self.review_links(now);
        self.ask_holder(now);
        self.in_detection(now, Detection::review_own_membership);
        self.in_detection(now, Detection::look_for_deaf);
        self.in_detection(now, Detection::review_paths);
        self.quorum.recount_at = now;
        self.in_gossip(now, Gossip::tidy);
        self.questions.answering.tidy(now);
    }

    /// A refusal lasts as long as it comes again, with each exchange. A member that knows no other but the holder of its name
    /// has no exchange, and asks the holder itself.
    fn ask_holder(&mut self, now: Instant) {
        let me = self.core.me;
        let Some(holder) = self.detection.footing.holder() else { return };
        if !self.roster.iter().any(|member| is_other(member, me)) {
            let (gossip, mut ctx) = self.gossip();
            gossip.dial(now, &mut ctx, holder);
            self.settle(now);
        }
    }

    /// If the record has no room for one more key, there is no beacon: the operator's keys come first.
    fn write_beacon(&mut self, now: Instant) {
        let census = self.roster.census();
        if beacon::is_due(now, &self.core, census.alive + census.suspect) {
            let _ = self.set_state(now, &[(BEACON_KEY.to_owned(), Some(beacon::write(now, &self.core)))]);
        }
    }

    fn step_probes(&mut self, now: Instant) {
        let due = self.detection.due(now);
        self.each(now, due, Detection::step_probe);
    }

    /// Gives the verdicts that are due. Verdicts on gray members are also given by [`Self::review_links`], once per round.
    /// So this node gives each verdict on a time-out, when all waiting datagrams have been received.
    fn judge(&mut self, now: Instant) {
        let subjects = self.detection.take_to_judge();
        self.each(now, subjects, |detection, now, ctx, subject| {
            detection.judge_link(now, ctx, subject);
            detection.judge(now, ctx, subject);
        });
    }

    fn look_at_silence(&mut self, now: Instant) {
        let (detection, mut ctx) = self.detection();
        let surprising = detection.surprising(now, &mut ctx);
        self.each(now, surprising, Detection::ask_after);
        let (detection, mut ctx) = self.detection();
        let unheard = detection.unheard(now, &mut ctx);
        self.each(now, unheard, Detection::ask_after);
    }

    fn review_links(&mut self, now: Instant) {
        self.in_detection(now, Detection::count_flaps);
        let on_notice = self.detection.on_notice();
        self.each(now, on_notice, Detection::judge_link);
        let recorded = self.detection.recorded();
        self.each(now, recorded, Detection::review_link);
    }

    /// Runs a detection step for each of these members, and its effects before the next member.
    pub(super) fn each(
        &mut self,
        now: Instant,
        subjects: Vec<u64>,
        step: fn(&mut Detection, Instant, &mut Context<'_>, u64),
    ) {
        for subject in subjects {
            let (detection, mut ctx) = self.detection();
            step(detection, now, &mut ctx, subject);
            self.settle(now);
        }
    }

    fn step_path_limits(&mut self, now: Instant) {
        let (gossip, _, mut ctx) = self.parts();
        ctx.step_path_limits(now, |seed| gossip.join.has_heard(seed));
    }
}
