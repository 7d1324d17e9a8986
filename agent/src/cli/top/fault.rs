//! Whose fault it is: ours, theirs, what lies between, or that of the cluster as it is set up.

use super::facts::Facts;
use super::list::sorted;
use super::problem::Problem;
use super::trouble::Trouble;
use crate::cli::output::{count, natural};
use crate::cli::status::{agreement, health, state};
use crate::cli::why::IMPAIRED;
use crate::doctor::Code;
use crate::types::{Member, SelfInfo};
use crate::words::few;

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// At this host.
    Us,
    /// At another one.
    Them,
    /// At what lies between this host and another.
    Between,
    /// At the settings of all.
    All,
}

impl Side {
    /// In front of what is wrong.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Us => "US",
            Self::Them => "THEM",
            Self::Between => "PATH",
            Self::All => "ALL",
        }
    }

    /// Where to look for what has this code.
    pub(super) fn of(code: &str) -> Self {
        match Code::named(code) {
            Some(
                Code::SettingsRefused
                | Code::UnitNotRunning
                | Code::AgentNotRunning
                | Code::SocketRights
                | Code::AgentHangs
                | Code::SocketRemoved
                | Code::DuplicateName
                | Code::ClockOff
                | Code::AdvertisedAddress
                | Code::ServiceDoesNotBeat
                | Code::UdpBlocked
                | Code::SeedsDoNotResolve
                | Code::Isolated
                | Code::KeptOut
                | Code::NotCounted
                | Code::NeverCalled
                | Code::StateDirectory
                | Code::NeighbourTableFull
                | Code::DatagramsDoNotLeave
                | Code::ReceiveBufferSmall
                | Code::AgentSlow
                | Code::ExportFailing
                | Code::NamesHeld
                | Code::ReloadRefused
                | Code::AgentOutdated,
            ) => Self::Us,
            Some(
                Code::PortSilent
                | Code::RefusalsFiltered
                | Code::MemberDown
                | Code::MemberFlapping
                | Code::ServiceCritical
                | Code::FilterRejects
                | Code::MemberDegraded,
            ) => Self::Them,
            Some(
                Code::CutOff | Code::SeedsUnreachable | Code::MtuHole | Code::OneWayLink | Code::PathDown | Code::NoRoute,
            ) => Self::Between,
            Some(
                Code::NameClaimed
                | Code::KeyUnknown
                | Code::EncryptionDiffers
                | Code::ClusterIdDiffers
                | Code::VersionOld
                | Code::TwoMembersAtOneAddress
                | Code::CopiedStateDirectory
                | Code::ExpectedDiffers
                | Code::ExpectedTooLarge
                | Code::ExpectedTooSmall
                | Code::ProfileTooTight
                | Code::QuorumNotHeld
                | Code::ValuesTooLong
                | Code::ZoneMissing
                | Code::ZoneOfOne,
            )
            // Of an agent that is newer than this program.
            | None => Self::All,
        }
    }
}

/// The answer, one clause for each side that has a part in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The likeliest first; none: nothing is wrong.
    pub(super) clauses: Vec<(Side, String)>,
    /// What speaks for this agent, where nothing speaks against it.
    pub(super) witness: Option<String>,
}

impl Verdict {
    /// Of what is known.
    pub(super) fn of(facts: &Facts, troubles: &[Trouble], problems: &[Problem]) -> Self {
        let me = &facts.me;
        let mut clauses: Vec<(Side, String)> =
            us(me, problems).map(|said| (Side::Us, said)).into_iter().collect();
        let is_us = !clauses.is_empty();
        if doubts_us(me) {
            return Self { clauses, witness: None };
        }
        clauses.extend(them(facts, troubles, problems).map(|said| (Side::Them, said)));
        clauses.extend(said_of(Side::Between, problems).map(|said| (Side::Between, said)));
        clauses.extend(said_of(Side::All, problems).map(|said| (Side::All, said)));
        let witness = (!is_us).then(|| format!("this agent is {}; {}", health_word(me), agreement(me)));
        Self { clauses, witness }
    }
}

/// Whether what this agent says of others is worth little.
pub(super) fn doubts_us(me: &SelfInfo) -> bool {
    me.isolated || me.leaving || me.outside.is_some() || !me.joined
}

fn us(me: &SelfInfo, problems: &[Problem]) -> Option<String> {
    let first = || said_of(Side::Us, problems);
    if me.leaving || me.outside.is_some() || me.isolated {
        return Some(state(me).to_owned());
    }
    if !me.joined {
        return Some(first().unwrap_or_else(|| state(me).to_owned()));
    }
    if me.local_health >= IMPAIRED {
        return Some(format!("this host is slow itself: local health {}", health(me.local_health)));
    }
    first()
}

fn them(facts: &Facts, troubles: &[Trouble], problems: &[Problem]) -> Option<String> {
    let of = |wanted: Trouble| -> Vec<&Member> {
        let both = facts.members.iter().zip(troubles);
        both.filter(|(_, trouble)| **trouble == wanted).map(|(member, _)| member).collect()
    };
    let mut parts = Vec::new();
    for (trouble, word) in [
        (Trouble::Down, "down"),
        (Trouble::Suspect, "suspect"),
        (Trouble::Flapping, "coming and going"),
        (Trouble::Slow, "slow"),
    ] {
        let members = of(trouble);
        if members.is_empty() {
            continue;
        }
        let names = names(&members);
        let zone = one_zone(&members, &facts.members).unwrap_or_default();
        parts.push(match names.as_slice() {
            [one] => format!("{one} {word}"),
            names => format!("{} {word}{zone} ({})", names.len(), few(names)),
        });
    }
    if parts.is_empty() {
        return said_of(Side::Them, problems);
    }
    // Those beyond a cut are not to blame for it.
    if problems.iter().any(|problem| problem.code == Code::CutOff.kind().word) {
        return None;
    }
    let me = &facts.me;
    if me.peers_known > 0 && me.peers_agreeing * 2 < me.peers_known {
        parts.push("unclear yet: most peers see the cluster differently just now".to_owned());
    }
    Some(parts.join(", "))
}

/// As people order them.
pub(super) fn names<'a>(members: &[&'a Member]) -> Vec<&'a str> {
    let name = |number: usize| members.get(number).map_or("", |member| member.name.as_str());
    let order = sorted((0..members.len()).collect(), &|a, b| natural(name(a), name(b)));
    order.into_iter().map(name).collect()
}

/// `, all in zone b`, where the others are elsewhere too.
fn one_zone(members: &[&Member], all: &[Member]) -> Option<String> {
    let zone = members.first()?.zone.as_ref()?;
    let is_there = |member: &Member| member.zone.as_ref() == Some(zone);
    let here = all.iter().filter(|member| member.status != "left" && is_there(member)).count();
    let elsewhere = all.iter().any(|member| member.status == "alive" && !is_there(member));
    if !elsewhere || !members.iter().all(|member| is_there(member)) {
        return None;
    }
    Some(if members.len() == here {
        format!(", the whole zone {zone}")
    } else {
        format!(", all in zone {zone}")
    })
}

/// The first that is wrong on that side, and how many more.
fn said_of(side: Side, problems: &[Problem]) -> Option<String> {
    let mut all = problems.iter().filter(|one| one.side == side && !one.is_note());
    let first = all.next()?;
    Some(match all.count() {
        0 => first.what.clone(),
        more => format!("{}; {} more", first.what, count(more, "problem", "problems")),
    })
}

fn health_word(me: &SelfInfo) -> &'static str {
    match me.local_health {
        0 => "well",
        _ => "a little slow",
    }
}
