//! Last words: a process has ended, and its host says so.
//!
//! Picture: a will that is opened. What it says counts as soon as the seal on it is seen to fit, and needs no witness.
//! Nobody can open it before (proto's `last_words.rs`), so no member and no outsider can end another with it, and a
//! copy that comes late, or twice, ends nothing but the process that has ended.
//!
//! It is a verdict with its own proof: down as of the highest heartbeat that the process can have had by now. A newer
//! heartbeat undoes it like any other.

use std::sync::Arc;

use heartsay_proto::last_words::DATAGRAM as LAST_WORDS;
use heartsay_proto::{LastSecret, LastWords};

use crate::Instant;
use crate::gossip::broadcast::is_all;
use crate::identity::Name;
use crate::node::Node;
use crate::roster::claim::Claim;
use crate::roster::fingerprint;
use crate::roster::standing::Marks;

/// The datagram to be sent, to as many as `told` members, once the process of `name` has ended that was given this
/// [`Config::last_words`](crate::Config::last_words). Something has to keep it that outlives the process.
#[must_use]
pub fn last_words(name: &Name, secret: LastSecret, told: usize) -> [u8; LAST_WORDS] {
    let told = u16::try_from(told).unwrap_or(u16::MAX);
    LastWords { subject: fingerprint::of_name(name), secret, told }.write()
}

impl Node {
    /// A process has ended. If it was ours, it was that of a copy of this machine.
    pub(crate) fn on_last_words(&mut self, now: Instant, words: &LastWords) {
        let LastWords { subject, secret, told } = words;
        let fits = self.roster.get(*subject).filter(|member| member.incarnation.ends_with(secret));
        let Some(member) = fits else {
            self.core.stats.last_words_unproven += 1;
            return;
        };
        if *subject == self.core.me {
            return self.outlive_last_words(now);
        }
        if member.marks().last_words.is_some() {
            return;
        }
        self.core.stats.last_words += 1;
        let basis = self.core.heartbeat_by(&self.roster, member, now);
        let marks = Marks { down: Some(basis), last_words: Some(*secret), ..Marks::default() };
        let Some(mut member) = self.roster.get_mut(*subject) else { return };
        member.mark(&marks);
        drop(member);
        let reason = self.reason_for(*subject);
        self.refresh(now, *subject, reason);
        if is_all(&self.roster, usize::from(*told)) {
            self.gossip.broadcast.skip_first_wave(now, *subject);
        }
    }

    /// Leaves of a claim's last words those that are true. A verdict without them is one like any other.
    pub(crate) fn prove_last_words(&self, claim: &mut Claim) {
        let Some(secret) = claim.standing.marks.last_words else { return };
        let known = self.known_life(claim).map(|member| &*member.incarnation);
        let life = known.or(claim.incarnation.as_ref());
        if !life.is_some_and(|life| life.ends_with(&secret)) {
            claim.standing.marks.last_words = None;
        }
    }

    /// Whether a claim says truly that our process has ended.
    pub(crate) fn is_told_dead(&self, secret: Option<LastSecret>) -> bool {
        secret.is_some_and(|secret| self.roster.myself().incarnation.ends_with(&secret))
    }

    /// A copy of this process has ended, with our secret. We live on, without one.
    pub(crate) fn outlive_last_words(&mut self, now: Instant) {
        Arc::make_mut(&mut self.core.config).last_words = None;
        self.begin_anew(now, self.roster.myself().incarnation.generation);
    }
}
