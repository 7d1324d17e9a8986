//! A verdict on a member that speaks to us is not believed.
//!
//! Picture: an obituary, while its subject is on the telephone.
//!
//! A verdict by silence needs a silence as long as the acceptable pause. Whatever others say, and in whose name: a
//! datagram of the member itself that came after that silence must have begun says otherwise. This costs nothing, since
//! we only look at what came.
//!
//! Weak spot: of a member that we have not heard in that time, which in large clusters is most of them, we know no better.

use crate::Instant;
use crate::core::Core;
use crate::detection::Detection;
use crate::detection::witnesses;
use crate::roster::member::Member;
use crate::roster::standing::{Evidence, Marks};

impl Detection {
    /// Whether `member` has spoken to us although these marks say that it had fallen silent by then. What we found out
    /// ourselves weighs more.
    pub fn has_heard_it_since(&self, now: Instant, core: &Core, member: &Member, marks: &Marks) -> bool {
        let sure = marks.accusations.iter().filter(|a| !a.weak);
        let refused = sure.clone().filter(|a| a.kind == Evidence::Refused).map(|a| a.began);
        let told = sure.filter(|a| a.is_told_by(&core.config.sources));
        // Of a process or a machine that is gone all know sooner than by its silence.
        let gone = if refused.clone().count() >= witnesses::REFUSED {
            refused.min()
        } else {
            told.map(|a| a.began).min()
        };
        let fell_silent = gone.unwrap_or(now - core.config.acceptable_pause);
        // A suspended member speaks without a newer heartbeat.
        let spoke = member.path.last_direct().min(member.detector.last());
        !self.is_doubted(member.hash()) && spoke > fell_silent + core.patience(Some(member))
    }
}
