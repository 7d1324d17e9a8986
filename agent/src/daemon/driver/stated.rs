//! Members that were told of other voters than this one: what each holds for a majority is none to the other.

use std::time::Duration;

use heartsay_membership::{Instant, Name, Node, Stated};
use tracing::{info, warn};

use super::Reporter;
use crate::doctor::{Code, Said};
use crate::words::few;

impl Reporter {
    /// Looks whether all were told the same about who votes.
    pub(super) fn look_at_electorates(&mut self, node: &Node, now: Instant) {
        if self.state.electorates.is_some_and(|last| now.since(last) < EVERY) {
            return;
        }
        self.state.electorates = Some(now);
        let ours = node.quorum(now).electorate;
        let said = sentence(ours.as_deref(), &node.told_otherwise(now));
        if self.event_log.condition(Code::ExpectedDiffers, said.clone()) {
            match said {
                Some(said) => warn!("{said}"),
                None => info!("all members that answer were told the same about who votes"),
            }
        }
    }
}

fn sentence(ours: Option<&str>, others: &[(Name, Stated)]) -> Option<Said> {
    let named: Vec<String> = others
        .iter()
        .map(|(name, stated)| match stated {
            Stated::Nothing => format!("{name}: none"),
            Stated::This(theirs) if ours == Some(theirs.to_string().as_str()) => {
                format!("{name}: {theirs}, but with another fence or acceptable_pause")
            }
            Stated::This(theirs) => format!("{name}: {theirs}"),
            Stated::Another => format!("{name}: other voters, fence or acceptable_pause"),
        })
        .collect();
    (!named.is_empty()).then(|| {
        let what = format!(
            "expected is {} here and differs on other members ({}): their votes do not count for one another",
            ours.unwrap_or("not set"),
            few(&named)
        );
        Said::new(what, "state the same on all, and reload")
    })
}

/// Soon enough for people.
const EVERY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_to_three_members_are_named_with_what_they_were_told() {
        let name = |n: usize| Name::new(&format!("n{n}")).unwrap();
        assert_eq!(sentence(Some("5"), &[]), None);
        let three: Stated = Stated::This("3".parse().unwrap());
        let others: Vec<_> =
            [three.clone(), Stated::Nothing, Stated::Another, three].into_iter().enumerate().collect();
        let others: Vec<(Name, Stated)> = others.into_iter().map(|(n, stated)| (name(n), stated)).collect();
        let said = sentence(Some("5"), &others).unwrap().what;
        assert!(said.contains("is 5 here"), "{said}");
        assert!(
            said.contains("(n0: 3, n1: none, n2: other voters, fence or acceptable_pause and 1 more)"),
            "{said}"
        );
        assert!(sentence(None, &others).unwrap().what.contains("is not set here"));
        let fence = sentence(Some("3"), &others[..1]).unwrap().what;
        assert!(fence.contains("n0: 3, but with another fence"), "{fence}");
    }
}
