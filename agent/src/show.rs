//! The machine's view in the words of the API.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use heartsay_membership::{
    AccuserView, CaseView, Direction, Instant, KEYS_KEY, LinkEvent, MemberView, NewsDelays, OutsideReason,
    PathState, PathTold, PathView, PieceKind, QuorumStatus, Status, ZONE,
};

use crate::daemon::driver::ServiceWatchdog;
use crate::doctor::Condition;
use crate::falls::is_flapping;
use crate::load;
use crate::types::{
    Accusation, Beat, Case, Evidence, Finding, Load, Member, NewsDelay, Outside, PathRow, Piece, Quorum,
    Through, ZoneVotes,
};
use heartsay_tokio::clock::Clock;

/// How often members fell of late, as the event log counts it.
pub(crate) type Fallen = BTreeMap<String, usize>;

/// One member, without evidence.
#[must_use]
pub(crate) fn member(clock: &Clock, view: &MemberView, fallen: &Fallen) -> Member {
    let falls = fallen.get(view.name.as_str()).copied().unwrap_or(0);
    Member {
        name: view.name.to_string(),
        host_id: view.host_id.to_string(),
        generation: view.generation,
        heartbeat: view.heartbeat,
        status: view.status.to_string(),
        address: view.address.to_string(),
        zone: zone(view).map(Cow::into_owned),
        tags: tags(view),
        version: version(view),
        load: load(view),
        keys: keys(view),
        beating: view.state.get(BEAT).is_none_or(|word| *word != MISSED),
        phi: finite(view.phi),
        since: clock.stamp(view.since),
        reachable: view.reachable,
        refused: view.refused,
        accusers: view.accusers.iter().map(|accuser| accuser.by.to_string()).collect(),
        degraded: view.degraded,
        kept_out_until: view.kept_out,
        kept_out_seconds: view.kept_out.map(|until| seconds(pace(view, until))),
        falls,
        flapping: is_flapping(falls),
        restarting_seconds: view.restarting.map(seconds),
        fenced: view.fenced,
        evidence: None,
    }
}

/// How long the member takes to get its heartbeat above this one, as it has beaten so far.
fn pace(view: &MemberView, above: u64) -> Duration {
    let beats = above.saturating_sub(view.heartbeat).saturating_add(1);
    view.mean_interval.saturating_mul(u32::try_from(beats).unwrap_or(u32::MAX))
}

/// The version of its agent, as it says.
#[must_use]
pub(crate) fn version(view: &MemberView) -> Option<String> {
    view.state.get(VERSION).map(|text| String::from_utf8_lossy(text).into_owned())
}

/// How busy its host is, as it says.
#[must_use]
pub(crate) fn load(view: &MemberView) -> Option<Load> {
    load::read(view.state.get(load::KEY)?)
}

/// One member with everything its status rests on.
#[must_use]
pub(crate) fn member_with_evidence(
    clock: &Clock,
    view: &MemberView,
    fallen: &Fallen,
    phi_threshold: f64,
) -> Member {
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
                kind: kind(accuser).to_owned(),
                source: accuser.source.map(|source| source.to_string()),
                proven: accuser.proven || accuser.unfit,
                basis: accuser.basis,
                weak: accuser.weak,
                since: clock.stamp(accuser.since),
            })
            .collect(),
        down_as_of: view.verdict,
        last_words: view.last_words,
        outlook: outlook(view, phi_threshold),
        case: view.case.as_ref().map(|case| shown(clock, case)),
    };
    Member { evidence: Some(evidence), ..member(clock, view, fallen) }
}

/// The direct path to a member, as it is at `now`.
#[must_use]
pub(crate) fn path(clock: &Clock, now: Instant, view: &MemberView) -> PathRow {
    path_row(clock, now, view, &view.path)
}

fn path_row(clock: &Clock, now: Instant, view: &MemberView, path: &PathView) -> PathRow {
    let ms_ago = |at: Instant| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX);
    let through = path.through.iter();
    PathRow {
        name: view.name.to_string(),
        id: view.host_id.to_string(),
        address: view.address.to_string(),
        state: path.state.to_string(),
        since: path.since.map(|at| clock.stamp(at)),
        direction: path.direction.map(|direction| direction.to_string()),
        unanswered: path.unanswered,
        last_direct_ms_ago: view.last_direct.map(ms_ago),
        rtt_ms: view.rtt.map(|rtt| finite(seconds(rtt) * 1e3)),
        through: through.map(|(name, at)| Through { name: name.to_string(), ms_ago: ms_ago(*at) }).collect(),
    }
}

/// A path of another member, as that one tells it. `to`: what is known here of the member at its far end.
#[must_use]
pub(crate) fn path_told(clock: &Clock, at: Instant, path: &PathTold, to: &MemberView) -> PathRow {
    let told = PathView {
        state: path.state,
        since: path.since,
        direction: path.direction,
        unanswered: path.unanswered,
        through: path.through.clone(),
    };
    let row = path_row(clock, at, to, &told);
    PathRow { last_direct_ms_ago: None, rtt_ms: None, ..row }
}

/// What a change of a direct path means, in one sentence.
#[must_use]
pub(crate) fn link_reason(link: &LinkEvent) -> String {
    match (link.state, link.direction) {
        (PathState::Down, Some(direction)) => {
            let fails = match direction {
                Direction::Out => {
                    "what this agent sends does not arrive there, and what it sends arrives here"
                }
                Direction::In => "what it sends does not arrive here",
                Direction::Both => "nothing arrives in either direction",
                Direction::Unknown => "which direction fails is not known yet",
            };
            format!("it does not answer this agent directly, though it lives: {fails}")
        }
        (PathState::Down | PathState::Up | PathState::Unknown, _) => {
            "it answers this agent directly again".to_owned()
        }
    }
}

/// Quorum as it is at `now`, for an answer that is read at once.
#[must_use]
pub(crate) fn quorum_at(clock: &Clock, now: Instant, status: &QuorumStatus) -> Quorum {
    let left = status.until.map(|until| seconds(until.since(now)));
    Quorum { left_seconds: left, ..quorum(clock, status) }
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
        left_seconds: None,
        fence: status.fence,
        zones: status.zones.iter().map(zone_votes).collect(),
    }
}

fn zone_votes(votes: &heartsay_membership::ZoneVotes) -> ZoneVotes {
    ZoneVotes {
        zone: votes.zone.clone(),
        present: votes.present,
        needed: votes.needed,
        expected: votes.expected,
    }
}

/// Why the others do not count this agent, and what to do.
#[must_use]
pub(crate) fn outside(clock: &Clock, outside: &heartsay_membership::Outside) -> Outside {
    let advice = match outside.reason {
        OutsideReason::NameRefused { .. } => {
            "give one of the two another --name; a cloned machine needs a state directory of its own"
        }
        OutsideReason::ClockAhead => {
            "set this host's clock (timedatectl set-ntp true, or chronyc makestep); the agent then joins by itself"
        }
        OutsideReason::KeptOut { .. } => {
            "look at this host's interface, cable, packet filter and advertised address; what runs on it must not act \
             as if it held quorum"
        }
        OutsideReason::Down => "bring the local service back, so that it beats",
        OutsideReason::Unanswered => {
            "see that UDP passes both ways between the others and the address that this agent advertises"
        }
    };
    Outside {
        why: outside.reason.word().to_owned(),
        by: outside.by.iter().map(ToString::to_string).collect(),
        since: clock.stamp(outside.since),
        reason: outside.to_string(),
        advice: advice.to_owned(),
    }
}

/// Something that is wrong; `since` in RFC 3339, if that is known.
#[must_use]
pub(crate) fn finding(condition: &Condition, since: Option<String>) -> Finding {
    let (kind, of) = (condition.code.kind(), &condition.of);
    Finding {
        code: kind.word.to_owned(),
        severity: kind.severity.word().to_owned(),
        of: (!of.is_empty()).then(|| of.clone()),
        what: condition.said.what.clone(),
        remedy: condition.remedy().to_owned(),
        since,
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

/// Ids of the keys that the member says to have, the one that it sends with first; 0: plain datagrams.
#[must_use]
pub(crate) fn keys(view: &MemberView) -> Vec<u8> {
    let ids = view.state.get(KEYS_KEY).map(|ids| String::from_utf8_lossy(ids)).unwrap_or_default();
    ids.split(',').filter_map(|id| id.parse().ok()).collect()
}

/// What the local service has to do; `None` where nothing.
#[must_use]
pub(crate) fn beat(clock: &Clock, service_watchdog: &ServiceWatchdog) -> Option<Beat> {
    let within_seconds = seconds(service_watchdog.within()?);
    Some(Beat {
        beating: !service_watchdog.is_closed(),
        within_seconds,
        last: clock.stamp(service_watchdog.last()),
    })
}

/// How long the latest news took; `None` before the first.
#[must_use]
pub(crate) fn news_delay(delays: &NewsDelays) -> Option<NewsDelay> {
    let mut latest = delays.latest().to_vec();
    latest.sort_unstable();
    let median = latest.get(latest.len() / 2)?;
    let slowest = latest.last()?;
    Some(NewsDelay {
        median_seconds: seconds(*median),
        slowest_seconds: seconds(*slowest),
        beacons: latest.len(),
    })
}

/// The member's zone.
#[must_use]
pub(crate) fn zone(view: &MemberView) -> Option<Cow<'_, str>> {
    view.state.get(ZONE).map(|zone| String::from_utf8_lossy(zone))
}

fn kind(accuser: &AccuserView) -> &'static str {
    match (accuser.refused, accuser.unfit, accuser.degraded) {
        (true, ..) => "refused",
        (_, true, _) => "unfit",
        (_, _, true) => "degraded",
        _ if accuser.told => "told",
        _ => "silent",
    }
}

fn shown(clock: &Clock, case: &CaseView) -> Case {
    let pieces = case.pieces.iter().map(|piece| {
        let (word, source) = match piece.kind {
            PieceKind::Silence => ("silence", None),
            PieceKind::Direct => ("direct", None),
            PieceKind::Indirect => ("indirect", None),
            PieceKind::Refused => ("refused", None),
            PieceKind::Told(source) => ("told", Some(source.to_string())),
            PieceKind::Link => ("link", None),
            PieceKind::Flaps => ("flaps", None),
        };
        Piece {
            kind: word.to_owned(),
            source,
            phi: finite(piece.phi),
            count: piece.count,
            by: piece.by.iter().map(ToString::to_string).collect(),
            first: clock.stamp(piece.first),
            last: clock.stamp(piece.last),
        }
    });
    Case {
        phi: finite(case.phi),
        pieces: pieces.collect(),
        witnesses: case.witnesses.iter().map(ToString::to_string).collect(),
        needed: case.needed,
        proven: case.proven,
        refused: case.refused,
        unfit: case.unfit,
        silent: case.silent,
        told: case.told,
        pause_left_seconds: seconds(case.pause_left),
        basis: case.basis,
        held: case.held,
    }
}

/// What is missing for a verdict on a suspect, or would clear it.
fn missing(case: &CaseView) -> String {
    let clears = if case.basis.is_some() { ", or a newer heartbeat of it clears it" } else { "" };
    let left = case.pause_left.as_secs_f64();
    let pause = if left > 0.0 { format!(" and {left:.1} s more of silence") } else { String::new() };
    let held = if case.held { "; verdicts wait longer now, as many are silent" } else { "" };
    // The word of a source spares the pause.
    let (found, those, pause) = if case.told > 0 {
        (case.silent, "get no answer", String::new())
    } else {
        (case.proven, "have proven silence", pause)
    };
    format!(
        "{found} of {} witnesses {those}; a verdict needs {}{pause}{clears}{held}",
        case.needed,
        match case.needed.saturating_sub(found) {
            0 => "no more".to_owned(),
            1 => "one more".to_owned(),
            more => format!("{more} more"),
        }
    )
}

/// What would change the status, in one sentence.
fn outlook(view: &MemberView, phi_threshold: f64) -> String {
    if let (Status::Suspect, Some(case)) = (view.status, &view.case) {
        return missing(case);
    }
    if let (Status::Down, Some(until)) = (view.status, view.kept_out) {
        let left = pace(view, until).as_secs_f64();
        return format!(
            "kept out: {left:.0} s more of good behaviour let it in, and bad behaviour makes that longer"
        );
    }
    if let (Status::Alive, true) = (view.status, view.degraded) {
        return "alive but degraded: it goes out when a quorum of its witnesses finds it unfit, and is forgotten as its link recovers".to_owned();
    }
    let newest_basis = view.accusers.iter().map(|accuser| accuser.basis).max();
    match (view.status, newest_basis) {
        (Status::Alive, _) if view.is_self => "this is the answering agent itself".to_owned(),
        (Status::Restarting, _) => format!(
            "it said that it restarts: its next life ends that, and in {:.0} s at the latest we look after it",
            view.restarting.unwrap_or_default().as_secs_f64()
        ),
        (Status::Alive, None) => {
            format!("silence up to φ {phi_threshold} makes us probe it; probes unanswered make it suspect")
        }
        (Status::Alive, Some(basis)) => {
            let left = pace(view, basis).as_secs_f64();
            format!(
                "accused, but not enough of its witnesses agree; if it is well, its heartbeats clear it within {left:.0} s"
            )
        }
        (Status::Suspect, Some(_) | None) => {
            "a newer heartbeat of it clears it; it is called down once enough of its witnesses agree"
                .to_owned()
        }
        (Status::Down, _) if view.last_words => {
            "its host says that the process has ended; the next one brings it back".to_owned()
        }
        (Status::Down, _) => match view.verdict {
            Some(_) => "a newer heartbeat of it brings it back".to_owned(),
            // No verdict is left: it is alive by hearsay.
            None => "others tell of a newer heartbeat; it comes back when it speaks to us, or makes one more"
                .to_owned(),
        },
        (Status::Left, _) => "it said good-bye; a new start of it brings it back".to_owned(),
    }
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// JSON knows no infinity, and neither a phi above a thousand nor its
/// thousandth part tells a reader anything.
fn finite(phi: f64) -> f64 {
    if phi.is_nan() { 0.0 } else { (phi.clamp(0.0, 1000.0) * 1000.0).round() / 1000.0 }
}

/// Status word of a `self` line: the others count this agent as a member again.
pub(crate) const IN: &str = "in";
/// What a member tells of its agent.
pub(crate) const VERSION: &str = "version";
/// What a member tells of itself when its service does not beat.
pub(crate) const BEAT: &str = "beat";
pub(crate) const MISSED: &[u8] = b"missed";
