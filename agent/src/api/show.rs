//! The machine's view in the words of the API.

use std::collections::BTreeMap;
use std::time::Duration;

use heartsay_membership::{MemberView, QuorumStatus, Status};

use super::types::{Accusation, Evidence, Member, Quorum};
use crate::clock::Clock;

/// One member, without evidence.
#[must_use]
pub(crate) fn member(clock: &Clock, view: &MemberView) -> Member {
    Member {
        name: view.name.to_string(),
        host_id: view.host_id.to_string(),
        generation: view.generation,
        heartbeat: view.heartbeat,
        status: view.status.to_string(),
        address: view.address.to_string(),
        zone: zone(view),
        tags: tags(view),
        phi: finite(view.phi),
        since: clock.stamp(view.since),
        reachable: view.reachable,
        accusers: view.accusers.iter().map(|accuser| accuser.by.to_string()).collect(),
        evidence: None,
    }
}

/// One member with everything its status rests on.
#[must_use]
pub(crate) fn member_with_evidence(clock: &Clock, view: &MemberView, phi_threshold: f64) -> Member {
    let evidence = Evidence {
        silence_seconds: seconds(view.silence),
        mean_seconds: seconds(view.mean_interval),
        deviation_seconds: seconds(view.deviation),
        samples: view.samples,
        phi_threshold,
        rtt_seconds: view.rtt.map(seconds),
        last_direct: view.last_direct.map(|at| clock.stamp(at)),
        accusations: view
            .accusers
            .iter()
            .map(|accuser| Accusation {
                by: accuser.by.to_string(),
                kind: if accuser.refused { "refused" } else { "silent" }.to_owned(),
                basis: accuser.basis,
                weak: accuser.weak,
                since: clock.stamp(accuser.since),
            })
            .collect(),
        down_as_of: view.verdict,
        outlook: outlook(view, phi_threshold),
    };
    Member { evidence: Some(evidence), ..member(clock, view) }
}

/// Quorum with its reason.
#[must_use]
pub(crate) fn quorum(clock: &Clock, status: &QuorumStatus) -> Quorum {
    Quorum {
        quorum: status.quorum.to_string(),
        present: status.present,
        needed: status.needed,
        expected: status.expected,
        reason: status.reason.clone(),
        since: clock.stamp(status.since),
        electorate: status.electorate.clone(),
        until: status.until.map(|until| clock.stamp(until)),
    }
}

/// Members by status; every status is there, also with none.
#[must_use]
pub(crate) fn counts(members: &[MemberView]) -> BTreeMap<String, usize> {
    let every = [Status::Alive, Status::Suspect, Status::Down, Status::Left];
    let mut counts: BTreeMap<String, usize> = every.iter().map(|status| (status.to_string(), 0)).collect();
    for member in members {
        *counts.entry(member.status.to_string()).or_default() += 1;
    }
    counts
}

/// The member's tags. Bytes that are no text are shown as the replacement character.
#[must_use]
pub(crate) fn tags(view: &MemberView) -> BTreeMap<String, String> {
    view.state
        .iter()
        .filter_map(|(key, value)| {
            Some((key.strip_prefix("tag/")?.to_owned(), String::from_utf8_lossy(value).into_owned()))
        })
        .collect()
}

/// The member's zone.
#[must_use]
pub(crate) fn zone(view: &MemberView) -> Option<String> {
    view.state.get("zone").map(|zone| String::from_utf8_lossy(zone).into_owned())
}

/// What would change the status, in one sentence.
fn outlook(view: &MemberView, phi_threshold: f64) -> String {
    let newest_basis = view.accusers.iter().map(|accuser| accuser.basis).max();
    match (view.status, newest_basis) {
        (Status::Alive, _) if view.is_self => "this is the answering agent itself".to_owned(),
        (Status::Alive, None) => {
            format!("silence up to φ {phi_threshold} makes us probe it; probes unanswered make it suspect")
        }
        (Status::Alive, Some(basis)) => {
            format!("accused, but its heartbeat {} may already be past the basis {basis}", view.heartbeat)
        }
        (Status::Suspect, Some(basis)) => format!(
            "a heartbeat above {basis} clears it; it is called down once enough of its witnesses agree"
        ),
        (Status::Suspect, None) => {
            "any newer heartbeat clears it; it is called down once enough of its witnesses agree".to_owned()
        }
        (Status::Down, _) => match view.verdict {
            Some(as_of) => format!("any heartbeat above {as_of} brings it back"),
            None => "any newer heartbeat brings it back".to_owned(),
        },
        (Status::Left, _) => "it said good-bye; a new start of it brings it back".to_owned(),
    }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// JSON knows no infinity; nobody reads beyond a thousand digits of surprise,
/// nor the thousandth part of one.
fn finite(phi: f64) -> f64 {
    if phi.is_nan() { 0.0 } else { (phi.clamp(0.0, 1000.0) * 1000.0).round() / 1000.0 }
}
