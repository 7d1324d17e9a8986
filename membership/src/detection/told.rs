//! Takes the word of a source outside the cluster: a hypervisor, a cloud, a BMC that knows what a member's machine does.
//!
//! Rule: the word makes the member suspect, has its witnesses look at once, and spares the verdict the acceptable pause
//! (`verdict::told`). It never stands for a witness. A member that lives answers them, and its next heartbeat undoes the
//! word, as it undoes any accusation.
//!
//! Weak spot: a false word about a member that pauses at that very moment has it called down as soon as its witnesses
//! get no answer, some tenths of a second after the word, until it beats again.

use crate::Instant;
use crate::detection::Detection;
use crate::roster::source::Source;
use crate::roster::standing::Evidence;
use crate::transport::context::Context;

impl Detection {
    /// `source` has told this node that a member is gone.
    pub fn told(&mut self, now: Instant, ctx: &mut Context<'_>, subject: u64, source: Source) {
        self.begin_probe(now, ctx, subject, now, None);
        let Some(probe) = self.probes.get_mut(&subject) else { return };
        probe.source = Some(source);
        let evidence = probe.raised.max(Some(Evidence::Told));
        self.accuse(now, ctx, subject, evidence);
        self.judge_soon(now, subject);
    }
}
