//! What the view of an agent says about what is wrong: a pure function of the [facts](Facts).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use heartsay_membership::{Direction, OutsideReason, Quorum, TAG};

use super::{Code, Condition, Said};
use crate::falls::is_flapping;
use crate::words::{FEW, few};

/// What an agent knows at one moment, as far as rules need it. Of members it copies nothing that may be long: each scrape of
/// the metrics asks for the facts of all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts<'a> {
    /// Since the agent started.
    pub(crate) up: Duration,
    /// In a complete view and counted, or the first of its cluster.
    pub(crate) joined: bool,
    /// Why the others do not count it.
    pub(crate) outside: Option<OutsideFact>,
    /// Most others look silent.
    pub(crate) isolated: bool,
    /// Who votes, and whether that suffices; `None`: no electorate is stated.
    pub(crate) quorum: Option<QuorumFact>,
    /// All that are known, this agent among them.
    pub(crate) members: Vec<MemberFact<'a>>,
    /// Names of seeds that have addresses of others.
    pub(crate) seeds: Vec<String>,
    /// Addresses of seeds that sent anything before the agent had joined.
    pub(crate) seeds_heard: usize,
    /// Hosts said that no agent listens there.
    pub(crate) refused: bool,
    /// Since any datagram came.
    pub(crate) heard_ago: Duration,
    /// Heartbeats of this agent since another member last called it.
    pub(crate) rounds_uncalled: u64,
    /// For how long its doubt in itself has been [`SLOW`] or more; with the score.
    pub(crate) slow: Option<(u8, Duration)>,
    /// Datagrams that the kernel dropped unread, and since it last did.
    pub(crate) overflow: Option<(u32, Duration)>,
    /// Values of others that are too long here.
    pub(crate) values_too_long: usize,
    /// `local`, `lan` or `wan`, with the longest that it waits for an answer.
    pub(crate) profile: (String, Duration),
}

/// See [`Facts::outside`].
#[derive(Clone, Debug)]
pub(crate) struct OutsideFact {
    pub(crate) why: OutsideReason,
    /// One sentence.
    pub(crate) reason: String,
    /// What to do.
    pub(crate) advice: String,
    /// For how long.
    pub(crate) stood: Duration,
}

/// See [`Facts::quorum`].
#[derive(Clone, Debug)]
pub(crate) struct QuorumFact {
    pub(crate) electorate: String,
    pub(crate) state: Quorum,
    /// One sentence.
    pub(crate) reason: String,
    /// For how long.
    pub(crate) stood: Duration,
}

/// One member.
#[derive(Clone, Debug)]
pub(crate) struct MemberFact<'a> {
    pub(crate) name: &'a str,
    pub(crate) address: SocketAddr,
    pub(crate) status: StatusFact,
    /// For how long it has had this status.
    pub(crate) stood: Duration,
    pub(crate) zone: Option<Cow<'a, str>>,
    /// Its key-value state, for its tags.
    pub(crate) state: Cow<'a, BTreeMap<String, Vec<u8>>>,
    /// This agent.
    pub(crate) is_self: bool,
    /// Its host refuses our datagrams though it lives.
    pub(crate) refused: bool,
    /// It loses far more than others.
    pub(crate) degraded: bool,
    /// It is kept out as unfit.
    pub(crate) kept_out: bool,
    /// It is down, and nobody says that its process has ended.
    pub(crate) fell_silent: bool,
    /// How often it was called down in the last ten minutes, by what is its own.
    pub(crate) falls: usize,
    /// Its services that are critical, as it says.
    pub(crate) critical: Vec<String>,
    pub(crate) rtt: Option<Duration>,
    /// It has answered this agent directly.
    pub(crate) answers: bool,
    /// The direct path is down: what fails, and for how long.
    pub(crate) path_down: Option<(Direction, Duration)>,
}

/// As far as rules tell them apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum StatusFact {
    /// Alive or suspect.
    #[default]
    Here,
    Down,
    /// Left, or about to come back.
    Away,
}

/// All that the facts show; not yet [settled](super::settle).
pub(crate) fn conditions(facts: &Facts<'_>) -> Vec<Condition> {
    let mut all = Vec::new();
    outside(facts, &mut all);
    all.extend(udp_blocked(facts));
    all.extend(never_called(facts));
    all.extend(seeds_unreachable(facts));
    paths(facts, &mut all);
    let beyond = beyond_a_cut(facts);
    all.extend(cut_off(facts, &beyond));
    flapping(facts, &beyond, &mut all);
    down(facts, &beyond, &mut all);
    each_member(facts, &mut all);
    voters(facts, &mut all);
    all.extend(quorum(facts));
    zones(facts, &mut all);
    all.extend(round_trips(facts));
    this_agent(facts, &mut all);
    all
}

fn outside(facts: &Facts<'_>, all: &mut Vec<Condition>) {
    let Some(outside) = &facts.outside else { return };
    let code = match outside.why {
        OutsideReason::NameRefused { .. } => Code::DuplicateName,
        OutsideReason::ClockAhead => Code::ClockOff,
        OutsideReason::KeptOut { .. } => Code::KeptOut,
        OutsideReason::Down | OutsideReason::Unanswered => Code::NotCounted,
    };
    let said = Said::new(outside.reason.clone(), outside.advice.clone());
    all.push(Condition::new(code, said).stood(outside.stood));
}

/// Nothing at all comes, though there are others: it is this host, or its link. Of one other alone it cannot be told which
/// of the two it is.
fn udp_blocked(facts: &Facts<'_>) -> Option<Condition> {
    let others = others(facts).filter(|member| member.status != StatusFact::Away).count();
    let unanswered = facts.outside.as_ref().is_some_and(|outside| outside.why == OutsideReason::Unanswered);
    let silent = facts.heard_ago >= SILENT && others >= 2 && (facts.isolated || unanswered);
    silent.then(|| {
        let what = format!(
            "no datagram has come from any of the {others} other members for {} s",
            facts.heard_ago.as_secs()
        );
        Condition::new(Code::UdpBlocked, what)
    })
}

/// Others answer and none calls: what they are told of where this agent is leads elsewhere, or a filter lets only answers in.
/// In each round some member calls this one ([`UNCALLED`]).
fn never_called(facts: &Facts<'_>) -> Option<Condition> {
    let answering: Vec<String> = others(facts)
        .filter(|member| member.status == StatusFact::Here && member.answers && member.path_down.is_none())
        .map(|member| member.name.to_owned())
        .collect();
    let address = facts.members.iter().find(|member| member.is_self)?.address;
    (facts.joined && !answering.is_empty() && facts.rounds_uncalled >= UNCALLED).then(|| {
        let said = Said::new(
            format!(
                "{} answer this agent, and no member has called it at {address}, where it says that it is, for {} heartbeats",
                few(&answering),
                facts.rounds_uncalled
            ),
            format!(
                "see that advertise is an address of this host, or the outer one of its NAT, and that packet filters let others begin:                  UDP to {address}"
            ),
        );
        Condition::new(Code::NeverCalled, said)
    })
}

/// Also where something came from the address of a seed: the address is not proven, and no member has come of it.
fn seeds_unreachable(facts: &Facts<'_>) -> Option<Condition> {
    let alone = !facts.joined && others(facts).next().is_none();
    if !alone || facts.seeds.is_empty() {
        return None;
    }
    let seeds = few(&facts.seeds);
    let said = if facts.refused {
        Said::new(
            format!("no agent listens at {seeds}: a host there refuses"),
            "start the agent there, or mend the seeds here",
        )
    } else if facts.seeds_heard > 0 {
        Said::new(
            format!(
                "something comes from {seeds}, no answer that lets this agent in, and no other member is known"
            ),
            "see that an agent of the same cluster and key runs there, that UDP passes both ways, and that it is no load \
             balancer: that may lead this agent to itself",
        )
    } else {
        format!("no answer from {seeds}, and no other member is known").into()
    };
    Some(Condition::new(Code::SeedsUnreachable, said).stood(facts.up))
}

fn paths(facts: &Facts<'_>, all: &mut Vec<Condition>) {
    for one_way in [true, false] {
        let mut found = Vec::new();
        for member in others(facts) {
            let Some((direction, stood)) = &member.path_down else { continue };
            let is_one_way = matches!(direction, Direction::In | Direction::Out);
            if is_one_way != one_way {
                continue;
            }
            let MemberFact { name, address, .. } = member;
            let said = match direction {
                Direction::Out => Said::new(
                    format!(
                        "what this agent sends to {name} does not arrive there, and what {name} sends arrives here"
                    ),
                    format!("look at packet filters and routes from here to {address}"),
                ),
                Direction::In => Said::new(
                    format!("what {name} sends to this agent does not arrive here"),
                    format!("look at packet filters and routes from {address} to here"),
                ),
                Direction::Both => Said::new(
                    format!("nothing passes between this agent and {name}, which others reach"),
                    format!("look at the link to {address}, and at packet filters for this pair"),
                ),
                Direction::Unknown => format!("{name} lives and does not answer this agent directly").into(),
            };
            let code = if one_way { Code::OneWayLink } else { Code::PathDown };
            found.push(Condition::new(code, said).of(*name).stood(*stood));
        }
        all.extend(gathered(found, "direct paths are down, to"));
    }
}

/// The members that a cut has probably parted from this side: it has lost quorum, and at least as many as are left fell silent.
fn beyond_a_cut<'a>(facts: &'a Facts<'_>) -> Vec<&'a str> {
    let has_lost = facts.quorum.as_ref().is_some_and(|quorum| quorum.state == Quorum::Lost);
    let silent: Vec<&str> =
        others(facts).filter(|member| member.fell_silent).map(|member| member.name).collect();
    let here = facts.members.iter().filter(|member| member.status == StatusFact::Here).count();
    if has_lost && silent.len() >= here.max(2) { silent } else { Vec::new() }
}

fn cut_off(facts: &Facts<'_>, beyond: &[&str]) -> Option<Condition> {
    let QuorumFact { stood, .. } = facts.quorum.as_ref().filter(|_| !beyond.is_empty())?;
    let names: Vec<String> = beyond.iter().map(|name| (*name).to_owned()).collect();
    let what = format!(
        "this side has lost quorum and {} members fell silent for it ({}): they go on without it, unless their hosts have died",
        names.len(),
        few(&names)
    );
    Some(Condition::new(Code::CutOff, what).stood(*stood))
}

/// Those that come and go, whatever they are just now.
fn flapping(facts: &Facts<'_>, beyond: &[&str], all: &mut Vec<Condition>) {
    let is_here =
        |member: &&MemberFact<'_>| member.status != StatusFact::Away && !beyond.contains(&member.name);
    let found = others(facts).filter(is_here).filter(|member| is_flapping(member.falls)).map(|member| {
        let MemberFact { name, address, falls, kept_out, .. } = member;
        let now = match (member.status, kept_out) {
            (StatusFact::Down, true) => ", and is kept out for a while",
            (StatusFact::Down, false) => ", and down now",
            (StatusFact::Here | StatusFact::Away, _) => "",
        };
        let typed = for_a_shell(name);
        let said = Said::new(
            format!("{name} at {address} comes and goes: {falls} times down in ten minutes{now}"),
            format!(
                "look there: cable, interface, packet filter, and whether its agent is restarted again and again; heartsay history {typed} \
                 shows when"
            ),
        );
        Condition::new(Code::MemberFlapping, said).of(*name).stood(member.stood)
    });
    all.extend(gathered(found.collect(), "members come and go:"));
}

fn down(facts: &Facts<'_>, beyond: &[&str], all: &mut Vec<Condition>) {
    // One that comes and goes is told as that.
    let is_down = |member: &&MemberFact<'_>| {
        member.status == StatusFact::Down && !is_flapping(member.falls) && !beyond.contains(&member.name)
    };
    let found = others(facts).filter(is_down).map(|member| {
        let MemberFact { name, address, kept_out, fell_silent, .. } = member;
        let typed = for_a_shell(name);
        let said = if *kept_out {
            Said::new(
                format!("{name} is kept out: it loses too much, or comes and goes too often"),
                format!("look at the interface, cable and packet filter of {address}; heartsay why {typed} shows the evidence"),
            )
        } else if *fell_silent {
            Said::new(
                format!("{name} at {address} is down: it fell silent"),
                format!(
                    "look whether that host runs and can be reached (power, cable, packet filter), then at its agent; heartsay why {typed} \
                     shows the evidence; if it is gone for good: heartsay forget {typed}"
                ),
            )
        } else {
            Said::new(
                format!("{name} at {address} is down: its agent has ended"),
                format!(
                    "start the agent there; heartsay why {typed} shows the evidence; if it is gone for good: heartsay forget {typed}"
                ),
            )
        };
        Condition::new(Code::MemberDown, said).of(*name).stood(member.stood)
    });
    all.extend(gathered(found.collect(), "members are down:"));
}

fn each_member(facts: &Facts<'_>, all: &mut Vec<Condition>) {
    let here = || others(facts).filter(|member| member.status == StatusFact::Here);
    let refusing = here().filter(|member| member.refused).map(|member| {
        let what = format!("the host of {} refuses this agent's datagrams, though {0} lives", member.name);
        Condition::new(Code::FilterRejects, what).of(member.name)
    });
    all.extend(gathered(refusing.collect(), "members live, and their hosts refuse datagrams:"));
    let degraded = here().filter(|member| member.degraded).map(|member| {
        let what = format!("{} loses far more of its datagrams than others", member.name);
        Condition::new(Code::MemberDegraded, what).of(member.name)
    });
    all.extend(gathered(degraded.collect(), "members lose far more of their datagrams than others:"));
    // This agent's own too: nobody else looks after them.
    let ill = facts.members.iter().filter(|m| m.status == StatusFact::Here && !m.critical.is_empty());
    let critical = ill.map(|member| {
        let is = if member.critical.len() == 1 { "is" } else { "are" };
        let what = format!("{} on {} {is} critical", few(&member.critical), member.name);
        Condition::new(Code::ServiceCritical, what).of(member.name)
    });
    all.extend(gathered(critical.collect(), "members have services that are critical:"));
}

/// Whether as many are known as are expected to vote.
fn voters(facts: &Facts<'_>, all: &mut Vec<Condition>) {
    let Some(QuorumFact { electorate, .. }) = &facts.quorum else { return };
    // A member that has said good-bye is one of those that are expected, until it is forgotten.
    let known = || facts.members.iter();
    let here = |member: &&MemberFact<'_>| member.status != StatusFact::Away;
    let (expected, voters, present) = match Voters::read(electorate) {
        Some(Voters::Number(expected)) => (expected, known().count(), known().filter(here).count()),
        Some(Voters::Tag { key, value, expected }) => {
            let key = format!("{TAG}{key}");
            let votes = |member: &&MemberFact<'_>| {
                member.state.get(&key).is_some_and(|is| String::from_utf8_lossy(is) == value)
            };
            (expected, known().filter(votes).count(), known().filter(here).filter(votes).count())
        }
        Some(Voters::Names(names)) => {
            let known: BTreeSet<&str> = known().map(|member| member.name).collect();
            let unknown: Vec<&String> = names.iter().filter(|name| !known.contains(name.as_str())).collect();
            if !unknown.is_empty() {
                let what = format!("expected is {electorate}, and no member is called {}", few(&unknown));
                all.push(Condition::new(Code::ExpectedTooLarge, what).stood(facts.up));
            }
            return;
        }
        None => return,
    };
    if voters < expected {
        let needed = expected / 2 + 1;
        let never = if voters < needed { ", so quorum cannot be held" } else { "" };
        let what = format!("expected is {electorate}, and {voters} voters are known{never}");
        all.push(Condition::new(Code::ExpectedTooLarge, what).stood(facts.up));
    } else if present > expected {
        let what = format!(
            "expected is {electorate}, and {present} voters are known: those that came last have no vote"
        );
        all.push(Condition::new(Code::ExpectedTooSmall, what).stood(facts.up));
    }
}

/// Electorates whose size can be compared with what is known.
#[derive(Debug, PartialEq, Eq)]
enum Voters {
    Number(usize),
    Tag { key: String, value: String, expected: usize },
    Names(Vec<String>),
}

impl Voters {
    /// `None` for zones and weights, whose arithmetic is the machine's own.
    fn read(electorate: &str) -> Option<Self> {
        let text = electorate.split_once("+tie=").map_or(electorate, |(before, _)| before);
        if text.starts_with("zones:") || text.contains('*') {
            return None;
        }
        if let Ok(number) = text.parse() {
            return Some(Self::Number(number));
        }
        if let Some((tag, expected)) = text.rsplit_once(':')
            && let (Some((key, value)), Ok(expected)) = (tag.split_once('='), expected.parse())
        {
            return Some(Self::Tag { key: key.to_owned(), value: value.to_owned(), expected });
        }
        Some(Self::Names(text.split(',').map(|name| name.trim().to_owned()).collect()))
    }
}

/// While one that comes and goes is down, it follows from that; while it is there, it does not.
fn quorum(facts: &Facts<'_>) -> Option<Condition> {
    let QuorumFact { state, reason, stood, .. } = facts.quorum.as_ref()?;
    let is_gone = |member: &MemberFact<'_>| member.status == StatusFact::Down && is_flapping(member.falls);
    if others(facts).any(is_gone) {
        return None;
    }
    (*state != Quorum::Held)
        .then(|| Condition::new(Code::QuorumNotHeld, format!("quorum is {state}: {reason}")).stood(*stood))
}

fn zones(facts: &Facts<'_>, all: &mut Vec<Condition>) {
    let here: Vec<&MemberFact<'_>> =
        facts.members.iter().filter(|member| member.status == StatusFact::Here).collect();
    let mut zones: BTreeMap<&str, Vec<&MemberFact<'_>>> = BTreeMap::new();
    for member in &here {
        if let Some(zone) = &member.zone {
            zones.entry(zone).or_default().push(member);
        }
    }
    let without: Vec<&str> = here.iter().filter(|member| member.zone.is_none()).map(|m| m.name).collect();
    if !zones.is_empty() && !without.is_empty() {
        let what = format!("{} has no zone, and others have one", few(&without));
        all.push(Condition::new(Code::ZoneMissing, what).stood(facts.up));
    }
    let largest = zones.values().map(Vec::len).max().unwrap_or(0);
    if largest < SEVERAL {
        // Three zones of one member each are a plan, not a slip.
        return;
    }
    for (zone, members) in &zones {
        if let [only] = members.as_slice() {
            let what = format!("zone {zone} has one member, {}, and another zone has {largest}", only.name);
            all.push(Condition::new(Code::ZoneOfOne, what).of(*zone));
        }
    }
}

/// Answers have to come within the longest wait of the profile, with room for their spread.
fn round_trips(facts: &Facts<'_>) -> Option<Condition> {
    let (profile, longest) = &facts.profile;
    let limit = *longest / ROOM;
    let measured =
        || others(facts).filter(|member| member.status == StatusFact::Here && member.rtt.is_some());
    let far: Vec<(&str, Duration)> =
        measured().filter_map(|member| Some((member.name, member.rtt.filter(|rtt| *rtt > limit)?))).collect();
    // The widest one has no wider one.
    if limit.is_zero() || profile == "wan" || far.is_empty() {
        return None;
    }
    let names: Vec<&str> = far.iter().map(|(name, _)| *name).collect();
    let most = far.iter().map(|(_, rtt)| rtt.as_millis()).max().unwrap_or(0);
    let wider = if profile == "local" { "lan" } else { "wan" };
    Some(Condition::new(
        Code::ProfileTooTight,
        Said::new(
            format!(
                "the round trip to {} takes up to {most} ms, and profile {profile} suits up to {} ms",
                few(&names),
                limit.as_millis()
            ),
            format!("set profile = \"{wider}\" on all members and restart them"),
        ),
    ))
}

fn this_agent(facts: &Facts<'_>, all: &mut Vec<Condition>) {
    if let Some((score, stood)) = facts.slow {
        let what = format!(
            "this agent is slow or badly connected (local health {score} of 8); its accusations count for less"
        );
        all.push(Condition::new(Code::AgentSlow, what).stood(stood));
    }
    if let Some((dropped, ago)) = facts.overflow.filter(|(_, ago)| *ago < RECENT) {
        let what = format!("the kernel dropped {dropped} datagrams unread, the last {} s ago", ago.as_secs());
        all.push(Condition::new(Code::ReceiveBufferSmall, what));
    }
    if facts.values_too_long > 0 {
        let what = format!(
            "{} values of other members are too long for this agent's datagrams and are passed on by others only",
            facts.values_too_long
        );
        all.push(Condition::new(Code::ValuesTooLong, what));
    }
}

fn others<'f>(facts: &'f Facts<'_>) -> impl Iterator<Item = &'f MemberFact<'f>> {
    facts.members.iter().filter(|member| !member.is_self)
}

/// What is safe to copy into a shell: a name is what another host says, and may hold anything but spaces.
fn for_a_shell(name: &str) -> &str {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
    let plain = name.starts_with(is_plain) && name.chars().all(|c| is_plain(c) || c == '-');
    if plain { name } else { "NAME" }
}

/// Up to three of a kind one by one; more in one line, which is read, while a list is not.
fn gathered(mut found: Vec<Condition>, are: &str) -> Vec<Condition> {
    if found.len() <= FEW {
        return found;
    }
    let names: Vec<String> = found.iter().map(|one| one.of.clone()).collect();
    let oldest = found.iter().filter_map(|one| one.stood).max();
    let Some(first) = found.pop() else { return found };
    let what = format!("{} {are} {}", names.len(), few(&names));
    vec![Condition { stood: oldest, ..Condition::new(first.code, what) }]
}

/// Doubt of an agent in itself from which on an operator should look. Honest guess.
pub(crate) const SLOW: u8 = 3;
/// Without any datagram: ten rounds of the usual interval, in each of which at least one answer comes.
const SILENT: Duration = Duration::from_secs(10);
/// In each round each member is called once, or about once where clocks or views differ. So even with half of all datagrams
/// lost, rounds without a call are fewer.
const UNCALLED: u64 = 30;
/// A burst that was lost is told for so long.
const RECENT: Duration = Duration::from_secs(600);
/// Members of a zone beside which a zone of one looks like a slip. Honest guess.
const SEVERAL: usize = 3;
/// So many usual round trips fit the longest wait for an answer; RFC 6298 waits for one and four deviations. Honest guess.
const ROOM: u32 = 4;

#[cfg(test)]
mod tests {
    use heartsay_membership::HostId;

    use super::super::settle;
    use super::*;

    fn member(name: &str) -> MemberFact<'_> {
        MemberFact {
            name,
            address: ([10, 0, 0, 1], 4327).into(),
            status: StatusFact::Here,
            stood: MINUTE,
            zone: None,
            state: Cow::default(),
            is_self: name == "m1",
            refused: false,
            degraded: false,
            kept_out: false,
            fell_silent: false,
            falls: 0,
            critical: Vec::new(),
            rtt: Some(Duration::from_millis(1)),
            answers: true,
            path_down: None,
        }
    }

    fn well() -> Facts<'static> {
        Facts {
            up: MINUTE,
            joined: true,
            quorum: Some(QuorumFact {
                electorate: "5".to_owned(),
                state: Quorum::Held,
                reason: String::new(),
                stood: MINUTE,
            }),
            members: ["m1", "m2", "m3", "m4", "m5"].map(member).to_vec(),
            seeds: vec!["10.0.0.1".to_owned()],
            seeds_heard: 1,
            profile: ("lan".to_owned(), Duration::from_secs(1)),
            ..Facts::default()
        }
    }

    /// What is shown after a change of what is well.
    fn codes(change: impl FnOnce(&mut Facts<'static>)) -> Vec<&'static str> {
        let mut facts = well();
        change(&mut facts);
        settle(&conditions(&facts)).iter().map(|one| one.code.kind().word).collect()
    }

    fn outside(why: OutsideReason) -> Option<OutsideFact> {
        let (reason, advice) = ("the reason".to_owned(), "the advice".to_owned());
        Some(OutsideFact { why, reason, advice, stood: MINUTE })
    }

    fn lost(facts: &mut Facts<'_>) {
        facts.quorum.as_mut().unwrap().state = Quorum::Lost;
    }

    #[test]
    fn nothing_is_said_of_a_cluster_that_is_well() {
        assert_eq!(codes(|_| ()), [""; 0]);
        assert_eq!(codes(|facts| facts.members.retain(|m| m.is_self)), ["expected-too-large"]);
        // The first of its cluster.
        assert_eq!(codes(|facts| *facts = Facts { joined: true, ..Facts::default() }), [""; 0]);
    }

    #[test]
    fn why_the_others_do_not_count_an_agent_has_a_code_for_each_reason() {
        let (holder, address) = (HostId(1), ([10, 0, 0, 1], 4327).into());
        for (why, code) in [
            (OutsideReason::NameRefused { holder, address, generation: 1 }, "duplicate-name"),
            (OutsideReason::ClockAhead, "clock-off"),
            (OutsideReason::KeptOut { wait: MINUTE }, "kept-out"),
            (OutsideReason::Down, "not-counted"),
            (OutsideReason::Unanswered, "not-counted"),
        ] {
            assert_eq!(codes(|facts| facts.outside = outside(why)), [code]);
        }
    }

    #[test]
    fn silence_of_all_others_is_a_block_here_and_of_one_other_it_is_not_known_where() {
        let silent = |facts: &mut Facts<'_>| {
            (facts.isolated, facts.heard_ago) = (true, SILENT);
            for member in facts.members.iter_mut().filter(|member| !member.is_self) {
                member.status = StatusFact::Down;
            }
            lost(facts);
        };
        assert_eq!(codes(silent), ["udp-blocked"]);
        let heard = |facts: &mut Facts<'_>| {
            silent(facts);
            facts.heard_ago = Duration::from_secs(9);
        };
        assert!(!codes(heard).contains(&"udp-blocked"));
        let of_two = |facts: &mut Facts<'_>| {
            silent(facts);
            facts.members.truncate(2);
        };
        assert!(!codes(of_two).contains(&"udp-blocked"));
        let quiet_but_well = |facts: &mut Facts<'_>| facts.heard_ago = MINUTE;
        assert_eq!(codes(quiet_but_well), [""; 0]);
    }

    #[test]
    fn an_agent_that_others_answer_and_never_call_is_told_elsewhere_than_it_is() {
        let uncalled = |facts: &mut Facts<'_>| facts.rounds_uncalled = UNCALLED;
        assert_eq!(codes(uncalled), ["never-called"]);
        for change in [
            |facts: &mut Facts<'_>| facts.rounds_uncalled = UNCALLED - 1,
            // None answers either: that is another fault.
            |facts: &mut Facts<'_>| facts.members.iter_mut().for_each(|member| member.answers = false),
            |facts: &mut Facts<'_>| {
                facts.members.iter_mut().for_each(|member| member.status = StatusFact::Away);
            },
            |facts: &mut Facts<'_>| facts.joined = false,
        ] {
            let shown = codes(|facts| {
                uncalled(facts);
                change(facts);
            });
            assert!(!shown.contains(&"never-called"), "{shown:?}");
        }
    }

    #[test]
    fn seeds_that_do_not_answer_are_told_after_a_while_and_only_by_an_agent_that_is_alone() {
        let alone = |facts: &mut Facts<'_>| {
            (facts.joined, facts.seeds_heard) = (false, 0);
            facts.members.truncate(1);
        };
        assert_eq!(codes(alone), ["seeds-unreachable"]);
        for change in [
            |facts: &mut Facts<'_>| facts.up = Duration::from_secs(9),
            |facts: &mut Facts<'_>| facts.seeds.clear(),
            |facts: &mut Facts<'_>| facts.joined = true,
            |facts: &mut Facts<'_>| facts.members.push(member("m2")),
        ] {
            let shown = codes(|facts| {
                alone(facts);
                change(facts);
            });
            assert!(!shown.contains(&"seeds-unreachable"), "{shown:?}");
        }
        let mut facts = well();
        alone(&mut facts);
        facts.refused = true;
        assert!(conditions(&facts)[0].said.what.contains("no agent listens"));
        // Which anyone can send in the name of a seed.
        (facts.refused, facts.seeds_heard) = (false, 1);
        assert!(conditions(&facts)[0].said.what.contains("something comes from 10.0.0.1"));
    }

    #[test]
    fn a_path_that_fails_one_way_is_told_from_one_that_fails_both_ways() {
        for (direction, code) in [
            (Direction::In, "one-way-link"),
            (Direction::Out, "one-way-link"),
            (Direction::Both, "path-down"),
            (Direction::Unknown, "path-down"),
        ] {
            let down = |facts: &mut Facts<'_>| facts.members[2].path_down = Some((direction, MINUTE));
            assert_eq!(codes(down), [code], "{direction}");
        }
        let young = |facts: &mut Facts<'_>| {
            facts.members[2].path_down = Some((Direction::Both, Duration::from_secs(1)));
        };
        assert_eq!(codes(young), [""; 0]);
    }

    #[test]
    fn members_that_are_down_are_named_one_by_one_and_a_crowd_in_one_line() {
        let down = |n: usize| {
            move |facts: &mut Facts<'_>| {
                "6".clone_into(&mut facts.quorum.as_mut().unwrap().electorate);
                facts.members.push(member("m6"));
                for member in facts.members.iter_mut().skip(1).take(n) {
                    member.status = StatusFact::Down;
                }
            }
        };
        assert_eq!(codes(down(1)), ["member-down"]);
        assert_eq!(codes(down(3)), ["member-down"; 3]);
        assert_eq!(codes(down(4)), ["member-down"]);
        let mut facts = well();
        down(4)(&mut facts);
        let all = conditions(&facts);
        assert_eq!(all[0].said.what, "4 members are down: m2, m3, m4 and 1 more");
        assert_eq!(codes(|facts| facts.members[3].refused = true), ["filter-rejects"]);
        assert_eq!(codes(|facts| facts.members[3].degraded = true), ["member-degraded"]);
    }

    #[test]
    fn a_side_without_quorum_blames_the_cut_and_not_those_beyond_it() {
        let beyond = |silent: usize| {
            move |facts: &mut Facts<'static>| {
                lost(facts);
                for member in facts.members.iter_mut().rev().take(3) {
                    member.status = StatusFact::Down;
                }
                facts.members.iter_mut().rev().take(silent).for_each(|member| member.fell_silent = true);
            }
        };
        assert_eq!(codes(beyond(3)), ["cut-off"]);
        assert_eq!(codes(beyond(1)), ["member-down"; 3], "most have died, as their hosts say");
        let holds = |facts: &mut Facts<'static>| {
            beyond(3)(facts);
            facts.quorum.as_mut().unwrap().state = Quorum::Held;
        };
        assert_eq!(codes(holds), ["member-down"; 3]);
    }

    #[test]
    fn a_member_that_comes_and_goes_is_named_for_that_also_while_it_is_down() {
        let falls = |falls: usize, status: StatusFact| {
            move |facts: &mut Facts<'_>| (facts.members[3].falls, facts.members[3].status) = (falls, status)
        };
        assert_eq!(codes(falls(1, StatusFact::Here)), [""; 0]);
        assert_eq!(codes(falls(1, StatusFact::Down)), ["member-down"]);
        assert_eq!(codes(falls(2, StatusFact::Here)), ["member-flapping"]);
        assert_eq!(codes(falls(2, StatusFact::Down)), ["member-flapping"]);
        assert!(!codes(falls(9, StatusFact::Away)).contains(&"member-flapping"));
        let outside = |facts: &mut Facts<'_>| {
            facts.outside = outside(OutsideReason::Down);
            falls(3, StatusFact::Down)(facts);
        };
        assert_eq!(codes(outside), ["not-counted"], "it may be this host that comes and goes");
    }

    #[test]
    fn a_loss_of_quorum_follows_from_a_member_that_comes_and_goes_only_while_that_is_down() {
        let lost_with = |status: StatusFact| {
            move |facts: &mut Facts<'_>| {
                lost(facts);
                (facts.members[3].falls, facts.members[3].status) = (2, status);
            }
        };
        assert_eq!(codes(lost_with(StatusFact::Down)), ["member-flapping"]);
        assert_eq!(codes(lost_with(StatusFact::Here)), ["member-flapping", "quorum-not-held"]);
    }

    #[test]
    fn a_planned_stop_is_no_error_of_the_electorate() {
        let left = |number: usize| {
            move |facts: &mut Facts<'static>| {
                facts.members.iter_mut().rev().take(number).for_each(|m| m.status = StatusFact::Away);
            }
        };
        for electorate in ["5", "role=voter:5", "m1,m2,m3,m4,m5"] {
            let told = |facts: &mut Facts<'static>| {
                electorate.clone_into(&mut facts.quorum.as_mut().unwrap().electorate);
                for voter in &mut facts.members {
                    voter.state.to_mut().insert(format!("{TAG}role"), b"voter".to_vec());
                }
            };
            let stopped = |facts: &mut Facts<'static>| {
                told(facts);
                left(1)(facts);
            };
            assert_eq!(codes(stopped), [""; 0], "{electorate}");
            let forgotten = |facts: &mut Facts<'static>| {
                told(facts);
                facts.members.pop();
            };
            assert_eq!(codes(forgotten), ["expected-too-large"], "{electorate}");
        }
        let too_many = |facts: &mut Facts<'static>| {
            left(3)(facts);
            lost(facts);
        };
        assert_eq!(codes(too_many), ["quorum-not-held"]);
        let replaced = |facts: &mut Facts<'static>| {
            left(1)(facts);
            facts.members.push(member("m6"));
        };
        assert_eq!(codes(replaced), [""; 0], "five are here, and one has gone");
    }

    #[test]
    fn a_service_that_is_critical_is_named_with_its_member_and_not_where_that_is_down() {
        let critical = |member: usize, names: &'static [&'static str]| {
            move |facts: &mut Facts<'_>| {
                facts.members[member].critical = names.iter().map(|&name| name.to_owned()).collect();
            }
        };
        assert_eq!(codes(critical(0, &["web"])), ["service-critical"], "its own");
        assert_eq!(codes(critical(4, &["web", "db/2"])), ["service-critical"]);
        let mut facts = well();
        critical(4, &["web", "db/2"])(&mut facts);
        assert_eq!(conditions(&facts)[0].said.what, "web, db/2 on m5 are critical");
        let gone = |facts: &mut Facts<'_>| {
            critical(4, &["web"])(facts);
            facts.members[4].status = StatusFact::Down;
        };
        assert_eq!(codes(gone), ["member-down"]);
    }

    #[test]
    fn a_command_to_copy_holds_no_name_that_means_something_to_a_shell() {
        for (name, typed) in
            [("db-1.shop", "db-1.shop"), ("-f", "NAME"), ("a;reboot", "NAME"), ("$(id)", "NAME")]
        {
            let mut facts = well();
            let down = MemberFact { status: StatusFact::Down, ..member(name) };
            facts.members.push(down);
            let all = conditions(&facts);
            let down = all.iter().find(|one| one.code == Code::MemberDown).unwrap();
            assert!(down.said.remedy.contains(&format!("heartsay forget {typed}")), "{}", down.said.remedy);
        }
    }

    #[test]
    fn electorates_of_another_size_than_the_cluster_are_told() {
        for (electorate, shown) in [
            ("5", &[][..]),
            ("4+tie=m1", &["expected-too-small"]),
            ("6", &["expected-too-large"]),
            ("11", &["expected-too-large"]),
            ("role=voter:2", &[]),
            ("role=voter:3", &["expected-too-large"]),
            ("role=voter:1", &["expected-too-small"]),
            ("m1,m2,m3", &[]),
            ("m1,m2,m9", &["expected-too-large"]),
            ("zones:east=9,west=9", &[]),
            ("70*votes", &[]),
        ] {
            let told = |facts: &mut Facts<'_>| {
                electorate.clone_into(&mut facts.quorum.as_mut().unwrap().electorate);
                for voter in facts.members.iter_mut().take(2) {
                    voter.state.to_mut().insert(format!("{TAG}role"), b"voter".to_vec());
                }
            };
            assert_eq!(codes(told), shown, "{electorate}");
        }
        let young = |facts: &mut Facts<'_>| {
            facts.members.truncate(2);
            facts.up = Duration::from_secs(29);
        };
        assert_eq!(codes(young), [""; 0], "the others are still to come");
        assert_eq!(codes(lost), ["quorum-not-held"]);
    }

    #[test]
    fn a_zone_of_one_beside_larger_ones_is_worth_a_look_and_zones_of_one_each_are_a_plan() {
        let zones = |zones: [Option<&'static str>; 5]| {
            codes(|facts| {
                for (member, zone) in facts.members.iter_mut().zip(zones) {
                    member.zone = zone.map(Cow::from);
                }
            })
        };
        let (a, b, c) = (Some("a"), Some("b"), Some("c"));
        assert_eq!(zones([a, a, a, a, b]), ["zone-of-one"]);
        assert_eq!(zones([a, a, b, b, c]), [""; 0]);
        assert_eq!(zones([a, a, a, b, b]), [""; 0]);
        assert_eq!(zones([a, a, a, b, None]), ["zone-missing", "zone-of-one"]);
    }

    #[test]
    fn round_trips_are_held_against_the_profile() {
        let far = |profile: &'static str, wait, rtt| {
            codes(|facts| {
                facts.profile = (profile.to_owned(), Duration::from_millis(wait));
                facts.members[4].rtt = Some(Duration::from_millis(rtt));
            })
        };
        assert_eq!(far("lan", 1000, 250), [""; 0]);
        assert_eq!(far("lan", 1000, 251), ["profile-too-tight"]);
        assert_eq!(far("local", 500, 126), ["profile-too-tight"]);
        assert_eq!(far("wan", 3000, 2000), [""; 0], "there is no wider one");
    }

    #[test]
    fn an_agent_that_is_slow_or_loses_datagrams_says_so() {
        let slow = |s| move |facts: &mut Facts<'_>| facts.slow = Some((3, Duration::from_secs(s)));
        assert_eq!(codes(slow(29)), [""; 0]);
        assert_eq!(codes(slow(30)), ["agent-slow"]);
        let dropped = |s| move |facts: &mut Facts<'_>| facts.overflow = Some((7, Duration::from_secs(s)));
        assert_eq!(codes(dropped(599)), ["receive-buffer-small"]);
        assert_eq!(codes(dropped(600)), [""; 0]);
        assert_eq!(codes(|facts| facts.values_too_long = 1), ["values-too-long"]);
    }

    const MINUTE: Duration = Duration::from_secs(60);
}
