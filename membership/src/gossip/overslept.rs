//! After a long sleep: those whom we know may be long forgotten by all others.
//!
//! Picture: a sailor home from years at sea. He gives nobody the news of the village before he has been through it once.
//!
//! Rule: who was away for longer than tombstones last, by its own clock or by the wall clock (a suspended host's own
//! clock stands still), says of a member no more than marks until it has heard it again: marks bring nobody into a
//! roster who is not there. Members not heard of by [`UNHEARD`] are dropped, without a stone: if they live, others tell of
//! them, or they do. Only beats after the first [`GONE_ROUND`] rounds count, as another sleeper may know later ones of the
//! dead than we do.
//!
//! Road not taken: to refuse a life whose heartbeat is far behind its line, whoever tells of it. The line is drawn by the
//! owner's wall clock at its start. That of a host without a clock of its own is wrong by years, and a host that was
//! suspended beats on behind its line; both live.

use core::time::Duration;

use crate::Instant;
use crate::io::MemberEventKind;
use crate::node::Node;
use crate::roster::member::Member;

impl Node {
    /// We were away for so long.
    pub(crate) fn note_absence(&mut self, now: Instant, away: Duration) {
        let (remembered, _) = self.core.config.tombstones;
        if away >= remembered {
            self.core.heard_after = now + self.core.config.interval * GONE_ROUND;
        }
    }

    /// Once per round: after a long sleep, drops those of whom nothing was heard since.
    pub(crate) fn drop_unheard(&mut self, now: Instant) {
        let slept = self.core.heard_after != Instant::EPOCH;
        if !slept || now < self.core.heard_after + self.core.config.interval * UNHEARD {
            return;
        }
        let unheard: Vec<u64> =
            self.roster.iter().filter(|m| !self.core.vouches_for(m)).map(Member::hash).collect();
        for hash in unheard {
            self.report(hash, MemberEventKind::Forgotten, &[], "not heard of since we slept");
            self.roster.remove(hash);
            self.detection.probes.remove(&hash);
        }
        self.core.heard_after = Instant::EPOCH;
        self.recount(now);
    }
}

/// Rounds in which what other sleepers know of the dead has gone round: several times what news needs.
const GONE_ROUND: u32 = 10;
/// Rounds more after which who lives has been heard of: heartbeats are under way for six at 1,000 members.
const UNHEARD: u32 = 15;
