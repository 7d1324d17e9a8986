//! What is wrong, one line for each cause, with what to do.

use super::facts::{Facts, Instance};
use super::fault::{Side, doubts_us, names};
use crate::doctor::Code;
use crate::types::{Finding, Member};
use crate::words::few;

/// One cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Where to look.
    pub(super) side: Side,
    /// `error`, `warning` or `note`.
    pub(super) severity: String,
    /// As `doctor` has it; empty for what it leaves to the lists of members and services.
    pub(super) code: String,
    /// The member, seed or file.
    pub(super) of: Option<String>,
    /// One sentence.
    pub(super) what: String,
    /// What to do.
    pub(super) remedy: String,
    /// RFC 3339.
    pub(super) since: Option<String>,
}

impl Problem {
    /// As the agent or its host says it.
    pub(super) fn found(finding: &Finding) -> Self {
        Self {
            side: Side::of(&finding.code),
            severity: finding.severity.clone(),
            code: finding.code.clone(),
            of: finding.of.clone(),
            what: finding.what.clone(),
            remedy: finding.remedy.clone(),
            since: finding.since.clone(),
        }
    }

    /// Nothing is wrong yet.
    pub(super) fn is_note(&self) -> bool {
        self.severity == "note"
    }
}

/// All of them, the worst first.
pub(super) fn problems(facts: &Facts, services: &[Instance]) -> Vec<Problem> {
    let ailing: Vec<Problem> = services.iter().filter_map(|one| ailing(one, &facts.me.member.name)).collect();
    let critical = Code::ServiceCritical.kind().word;
    // Told below with what its check says, where that is known here.
    let told = |one: &Finding| {
        one.code == critical && ailing.iter().any(|ill| ill.code == critical && ill.of == one.of)
    };
    let (mut all, notes): (Vec<Problem>, Vec<Problem>) = facts
        .me
        .findings
        .iter()
        .filter(|one| !told(one))
        .map(|one| Problem { side: side(one, facts), ..Problem::found(one) })
        .partition(|one| !one.is_note());
    if all.is_empty() && facts.me.findings.is_empty() {
        // An agent that is older gives no codes.
        all.extend(facts.me.conditions.iter().map(|said| warning(Side::All, said.clone(), "")));
    }
    // One that is cut off suspects all the others.
    if !doubts_us(&facts.me) {
        all.extend(suspects(&facts.members));
    }
    all.extend(ailing);
    all.extend(notes);
    all
}

/// A member far in the future is wrong itself where others agree with this host on the time: they are in its view.
fn side(finding: &Finding, facts: &Facts) -> Side {
    let agrees = |member: &Member| member.status == "alive" && member.name != facts.me.member.name;
    let theirs = finding.code == Code::ClockOff.kind().word && finding.of.is_some();
    if theirs && facts.members.iter().any(agrees) { Side::Them } else { Side::of(&finding.code) }
}

fn suspects(members: &[Member]) -> Option<Problem> {
    let suspects: Vec<&Member> = members.iter().filter(|member| member.status == "suspect").collect();
    let names = names(&suspects);
    let first = suspects.first()?;
    let what = match names.as_slice() {
        [one] if first.accusers.is_empty() => format!("{one} is suspect"),
        [one] => format!("{one} is suspect, accused by {}", few(&first.accusers)),
        many => format!("{} members are suspect: {}", many.len(), few(many)),
    };
    let of = (names.len() == 1).then(|| first.name.clone());
    let since = (names.len() == 1).then(|| first.since.clone());
    let remedy = "wait for the verdict: it clears, or is called down within seconds";
    Some(Problem { of, since, ..warning(Side::Them, what, remedy) })
}

fn ailing(instance: &Instance, me: &str) -> Option<Problem> {
    let one = &instance.told;
    // One on a member that is down is that member's problem.
    if one.status != "alive" || !matches!(one.health.as_str(), "warning" | "critical") {
        return None;
    }
    let text = one.text.as_ref().map_or_else(String::new, |text| format!(" ({text})"));
    let what =
        format!("{} on {} is {}{text}, as its host says", instance.full_name(), one.member, one.health);
    let code = if one.health == "critical" { Code::ServiceCritical.kind().word } else { "" };
    let remedy = format!("look at the program there; {} of {} are healthy", instance.healthy, instance.known);
    Some(Problem {
        code: code.to_owned(),
        of: Some(one.member.clone()),
        ..warning(if one.member == me { Side::Us } else { Side::Them }, what, &remedy)
    })
}

fn warning(side: Side, what: String, remedy: &str) -> Problem {
    Problem {
        side,
        severity: "warning".to_owned(),
        code: String::new(),
        of: None,
        what,
        remedy: remedy.to_owned(),
        since: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::invented::{facts, finding, member, members};
    use super::*;

    #[test]
    fn the_clock_of_a_newcomer_is_its_own_fault_where_others_agree_with_us() {
        let of_one =
            finding("clock-off", "error", Some("others"), "n9 began 3 days after the time of this host");
        let side = |members: Vec<Member>, of: &Finding| {
            problems(&facts(members, std::slice::from_ref(of)), &[])[0].side
        };
        assert_eq!(side(members(3), &of_one), Side::Them);
        assert_eq!(side(vec![member("n1", "alive", "a")], &of_one), Side::Us);
        let ours = finding("clock-off", "error", None, "peers say that this host's clock is ahead");
        assert_eq!(side(members(3), &ours), Side::Us);
    }
}
