//! The kinds of lies.

use core::fmt;

use serde::{Deserialize, Serialize};

/// One way in which a member that lies does harm, or tries to.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Lie {
    /// Accusations of silence in the name of others.
    Accuse,
    /// A verdict, with accusers that never accused.
    Verdict,
    /// Witnesses that find a member unfit, and the verdict on it.
    Unfit,
    /// Heartbeats of others, first of all of those that are suspect or down: a death is hidden.
    Heartbeat,
    /// Heartbeats in an exchange, all of them as new as can be.
    Ages,
    /// The good-bye of another.
    GoodBye,
    /// Another announces its restart.
    Restart,
    /// The life of another is not kept any more.
    Forget,
    /// A later life of another, at the liar's address or nowhere.
    Takeover,
    /// Another moves to the liar's address, as the same process.
    Move,
    /// A second host with the name of another.
    Rival,
    /// Keys and values in the state of another.
    Tags,
    /// Another says that it has lost quorum, or hears nobody.
    Deaf,
    /// Members that do not exist.
    Invent,
    /// Answers with a proof of a majority that there is not.
    Lend,
    /// Answers in the name of others to what the liar was asked.
    Vote,
    /// "I have acknowledged nothing of these members for an hour."
    Fence,
    /// "It has answered me", about each that the liar is asked to probe.
    Vouch,
    /// "Its host refuses it", about the same.
    Deny,
    /// Waves of questions that no relay began, and the votes of groups.
    Wave,
    /// "Your name is taken", "your clock is wrong", "we are full".
    Refuse,
    /// "I run your life elsewhere."
    Twin,
    /// Questions on behalf of others that are in doubt of their path.
    Joint,
    /// Questions whose answers go elsewhere, and cost more than they do.
    Ask,
    /// The roster that a member pulls, with nobody in it or with others.
    Supply,
    /// Times of the cluster far off.
    Clock,
    /// Paths that are said to take no long datagrams.
    Narrow,
    /// Cookies that were never given.
    Cookie,
    /// Last words of processes that run.
    LastWords,
    /// What came is sent back, to its sender and to others.
    Echo,
    /// What came is sent once more, later, to its first receiver or another.
    Replay,
    /// Datagrams that are right but for a few bits, with a checksum that fits.
    Mutate,
}

impl Lie {
    /// All of them.
    pub const ALL: [Self; 32] = [
        Self::Accuse,
        Self::Verdict,
        Self::Unfit,
        Self::Heartbeat,
        Self::Ages,
        Self::GoodBye,
        Self::Restart,
        Self::Forget,
        Self::Takeover,
        Self::Move,
        Self::Rival,
        Self::Tags,
        Self::Deaf,
        Self::Invent,
        Self::Lend,
        Self::Vote,
        Self::Fence,
        Self::Vouch,
        Self::Deny,
        Self::Wave,
        Self::Refuse,
        Self::Twin,
        Self::Joint,
        Self::Ask,
        Self::Supply,
        Self::Clock,
        Self::Narrow,
        Self::Cookie,
        Self::LastWords,
        Self::Echo,
        Self::Replay,
        Self::Mutate,
    ];

    /// As scenarios and the command line write it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Accuse => "accuse",
            Self::Verdict => "verdict",
            Self::Unfit => "unfit",
            Self::Heartbeat => "heartbeat",
            Self::Ages => "ages",
            Self::GoodBye => "good-bye",
            Self::Restart => "restart",
            Self::Forget => "forget",
            Self::Takeover => "takeover",
            Self::Move => "move",
            Self::Rival => "rival",
            Self::Tags => "tags",
            Self::Deaf => "deaf",
            Self::Invent => "invent",
            Self::Lend => "lend",
            Self::Vote => "vote",
            Self::Fence => "fence",
            Self::Vouch => "vouch",
            Self::Deny => "deny",
            Self::Wave => "wave",
            Self::Refuse => "refuse",
            Self::Twin => "twin",
            Self::Joint => "joint",
            Self::Ask => "ask",
            Self::Supply => "supply",
            Self::Clock => "clock",
            Self::Narrow => "narrow",
            Self::Cookie => "cookie",
            Self::LastWords => "last-words",
            Self::Echo => "echo",
            Self::Replay => "replay",
            Self::Mutate => "mutate",
        }
    }

    /// Whether it is told unasked, and not only in answers.
    pub(super) fn is_told_unasked(self) -> bool {
        !matches!(self, Self::Lend | Self::Vote | Self::Fence | Self::Vouch | Self::Deny | Self::Supply)
    }
}

impl fmt::Display for Lie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lie_is_read_by_the_word_that_it_is_written_with() {
        for lie in Lie::ALL {
            let json = serde_json::to_string(&lie).expect("a word");
            assert_eq!(json, format!("{:?}", lie.word()));
            assert_eq!(<Lie as clap::ValueEnum>::from_str(lie.word(), false), Ok(lie));
        }
        let mut all = Lie::ALL.to_vec();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), Lie::ALL.len());
        assert_eq!(<Lie as clap::ValueEnum>::value_variants().len(), Lie::ALL.len());
    }
}
