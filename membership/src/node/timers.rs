//! The timers of a node: one table that says when each part wants to be called, and what is done then.

use crate::Instant;
use crate::detection::probe::Probe;
use crate::gossip::leave::Leave;
use crate::node::Node;

/// One reason to be called.
struct Timer {
    /// For the trace.
    name: &'static str,
    due: fn(&Node) -> Instant,
    run: fn(&mut Node, Instant),
}

/// All of them, in the order in which those that are due at one moment run.
const TIMERS: [Timer; 17] = [
    Timer { name: "round", due: |node| node.gossip.next_round, run: Node::round },
    Timer { name: "eager exchange", due: |node| node.gossip.eager_at, run: Node::eager_exchange },
    Timer { name: "unanswered", due: |node| node.transport.requests.next(), run: Node::expire_requests },
    Timer { name: "probes", due: Node::probes_due, run: Node::step_probes },
    Timer {
        name: "extra probes",
        due: |node| node.detection.extra_probes.next(),
        run: Node::step_extra_probes,
    },
    Timer { name: "testimony", due: |node| node.detection.testify_at, run: Node::testify },
    Timer { name: "join", due: |node| node.gossip.join.next(), run: Node::step_join },
    Timer { name: "pulls", due: |node| node.gossip.pulls.next(), run: Node::step_pulls },
    Timer { name: "long states", due: |node| node.gossip.remainders.next(), run: Node::step_remainders },
    Timer { name: "joined", due: |node| node.gossip.join.complete_by(), run: Node::completed },
    Timer { name: "path limits", due: |node| node.transport.path_limits.next(), run: Node::step_path_limits },
    Timer {
        name: "leave",
        due: |node| node.gossip.leave.as_ref().map_or(Instant::NEVER, Leave::next),
        run: Node::step_leave,
    },
    Timer { name: "restarts", due: |node| node.gossip.restarts_end, run: Node::end_restarts },
    Timer { name: "recount", due: |node| node.quorum.recount_at, run: Node::count_presence },
    Timer { name: "renew lease", due: |node| node.quorum.voting.renew_at(), run: Node::renew_lease },
    Timer { name: "judge quorum", due: |node| node.quorum.voting.settles_at(), run: Node::judge_quorum },
    Timer { name: "news", due: |node| node.gossip.broadcast.next(), run: Node::pass_on_news },
];

impl Node {
    /// Runs what is due.
    pub(super) fn on_timeout(&mut self, now: Instant) {
        for timer in &TIMERS {
            if now >= (timer.due)(self) {
                tracing::trace!(at = ?now, timer = timer.name);
                (timer.run)(self, now);
            }
        }
    }

    /// When the first is due.
    pub(super) fn next_wake_up(&self) -> Instant {
        TIMERS.iter().map(|timer| (timer.due)(self)).min().unwrap_or(Instant::NEVER)
    }

    fn probes_due(&self) -> Instant {
        self.detection.probes.values().map(Probe::next).min().unwrap_or(Instant::NEVER)
    }
}
