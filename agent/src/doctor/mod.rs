//! What is wrong, in the same words for `status`, `doctor`, the API and the metrics.
//!
//! A *condition* is a code, a sentence and a remedy. The agent states some itself while they stand (the
//! [event log](crate::event_log::EventLog) keeps them); [`rules`] draw the others from the view; [`host`] adds what only the host's own
//! settings show. [`settle`] makes of them what people see: what has stood for long enough, and does not follow from
//! something else that stands.
//!
//! Picture: a doctor who names the illness, not the fever. *Weak spot*: which condition follows from which is a table
//! written by people; two illnesses at once may hide one another until the first is cured. What an outsider can forge
//! hides nothing ([`Forger`]).

pub(crate) mod code;
pub(crate) mod host;
pub(crate) mod rules;

use std::fmt;
use std::time::Duration;

pub(crate) use code::{Code, Forger, Severity};

/// What is wrong and what to do, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// One sentence without a full stop.
    pub(crate) what: String,
    /// Empty: that of the code.
    pub(crate) remedy: String,
}

impl Said {
    /// With a remedy that is more exact than that of the code.
    pub(crate) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

impl From<String> for Said {
    fn from(what: String) -> Self {
        Self { what, remedy: String::new() }
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", self.remedy) }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) code: Code,
    /// The member, seed or file that it is about; empty: this agent, or its cluster.
    pub(crate) of: String,
    pub(crate) said: Said,
    /// How long it has stood; `None`: unknown, so it is shown at once.
    pub(crate) stood: Option<Duration>,
}

impl Condition {
    /// About this agent, of unknown age.
    pub(crate) fn new(code: Code, said: impl Into<Said>) -> Self {
        Self { code, of: String::new(), said: said.into(), stood: None }
    }

    /// The same about a member, a seed or a file.
    pub(crate) fn of(self, of: impl Into<String>) -> Self {
        Self { of: of.into(), ..self }
    }

    /// The same, known to have stood for so long.
    pub(crate) fn stood(self, stood: Duration) -> Self {
        Self { stood: Some(stood), ..self }
    }

    /// What to do.
    pub(crate) fn remedy(&self) -> &str {
        if self.said.remedy.is_empty() { self.code.kind().remedy } else { &self.said.remedy }
    }

    /// More than a note.
    pub(crate) fn is_problem(&self) -> bool {
        self.code.kind().severity != Severity::Note
    }

    fn is_visible(&self) -> bool {
        self.stood.is_none_or(|stood| stood >= self.code.kind().visible)
    }

    fn follows_from(&self, cause: &Self) -> bool {
        // What is wrong with one of a crowd explains nothing about the others.
        if self.of.is_empty() && self.code.is_of_a_member() && !cause.of.is_empty() {
            return false;
        }
        let same = self.of.is_empty() || cause.of.is_empty() || self.of == cause.of;
        same && self.code.kind().after.contains(&cause.code)
    }
}

/// What people are shown of all that stands: causes only, the worst first, each once.
pub(crate) fn settle(all: &[Condition]) -> Vec<Condition> {
    let is_cause = |one: &Condition| !all.iter().any(|cause| one.follows_from(cause));
    let mut shown: Vec<Condition> =
        all.iter().filter(|one| one.is_visible() && is_cause(one)).cloned().collect();
    shown.sort_by(|a, b| {
        let rank = |one: &Condition| (one.code.kind().severity, one.code);
        rank(a).cmp(&rank(b)).then_with(|| a.of.cmp(&b.of))
    });
    shown.dedup_by(|a, b| (a.code, &a.of) == (b.code, &b.of));
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(code: Code, of: &str, stood: u64) -> Condition {
        Condition::new(code, code.to_string()).of(of).stood(Duration::from_secs(stood))
    }

    fn codes(shown: &[Condition]) -> Vec<(Code, &str)> {
        shown.iter().map(|one| (one.code, one.of.as_str())).collect()
    }

    #[test]
    fn what_follows_from_something_else_is_hidden_also_while_that_is_not_yet_shown() {
        let all = vec![
            condition(Code::QuorumNotHeld, "", 60),
            condition(Code::Isolated, "", 60),
            condition(Code::UdpBlocked, "", 60),
            condition(Code::ZoneOfOne, "z", 60),
        ];
        assert_eq!(codes(&settle(&all)), [(Code::UdpBlocked, ""), (Code::ZoneOfOne, "z")]);
        let young = vec![condition(Code::Isolated, "", 0), condition(Code::MemberDown, "m2", 60)];
        assert_eq!(codes(&settle(&young)), []);
    }

    #[test]
    fn a_cause_about_one_member_hides_nothing_about_another() {
        let all = vec![
            condition(Code::MemberDown, "m2", 60),
            condition(Code::MemberDown, "m3", 60),
            condition(Code::PortSilent, "m3", 60),
            condition(Code::QuorumNotHeld, "", 60),
        ];
        assert_eq!(codes(&settle(&all)), [(Code::PortSilent, "m3"), (Code::MemberDown, "m2")]);
    }

    #[test]
    fn a_cause_about_one_member_hides_no_crowd() {
        let all = vec![condition(Code::PortSilent, "m2", 60), condition(Code::MemberDown, "", 60)];
        assert_eq!(codes(&settle(&all)), [(Code::PortSilent, "m2"), (Code::MemberDown, "")]);
    }

    #[test]
    fn a_condition_waits_until_it_is_sure_and_is_shown_at_once_where_nobody_knows_since_when() {
        let wait = Code::PathDown.kind().visible.as_secs();
        assert!(wait > 0);
        assert!(settle(&[condition(Code::PathDown, "m2", wait - 1)]).is_empty());
        assert_eq!(settle(&[condition(Code::PathDown, "m2", wait)]).len(), 1);
        let unknown = Condition { stood: None, ..condition(Code::PathDown, "m2", 0) };
        assert_eq!(settle(&[unknown]).len(), 1);
    }

    #[test]
    fn the_worst_comes_first_and_what_two_say_is_said_once() {
        let all = vec![
            condition(Code::ZoneOfOne, "z", 60),
            condition(Code::ReloadRefused, "", 60),
            condition(Code::StateDirectory, "", 60),
            condition(Code::StateDirectory, "", 90),
        ];
        let shown = settle(&all);
        assert_eq!(
            codes(&shown),
            [(Code::StateDirectory, ""), (Code::ReloadRefused, ""), (Code::ZoneOfOne, "z")]
        );
        assert_eq!(shown[0].stood, Some(Duration::from_secs(60)), "the first that said it");
    }

    #[test]
    fn the_remedy_of_the_code_stands_in_where_none_is_said() {
        let plain = condition(Code::ClockOff, "", 0);
        assert_eq!(plain.remedy(), Code::ClockOff.kind().remedy);
        let exact = Condition { said: Said::new("what", "do this"), ..plain };
        assert_eq!((exact.remedy(), exact.said.to_string().as_str()), ("do this", "what; do this"));
    }
}
