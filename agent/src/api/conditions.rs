//! What is wrong, as this agent sees it: what it has stated, and what its view shows.

use std::borrow::Cow;
use std::time::Duration;

use heartsay_membership::{Direction, Instant, MemberView, PathState, Status};

use super::Context;
use super::knocks::Silent;
use crate::daemon::driver::Snapshot;
use crate::doctor::rules::{self, Facts, MemberFact, OutsideFact, QuorumFact, StatusFact};
use crate::doctor::{Condition, settle};
use crate::services::{Health, told};
use crate::show;

/// All that people should see, the worst first. For a snapshot with all members.
pub(crate) fn conditions(context: &Context, snapshot: &Snapshot) -> Vec<Condition> {
    settle(&stated(context, snapshot))
}

/// The same for somebody who looks: with what knocks at hosts have found. What alerts rest on does not change because
/// somebody looks.
pub(super) fn looked_at(context: &Context, snapshot: &Snapshot) -> Vec<Condition> {
    let silent: Vec<Silent> = snapshot.members.iter().filter(|view| fell_silent(view)).map(silent).collect();
    drop(context.knocks.ask(snapshot.at, &silent));
    let mut all = stated(context, snapshot);
    all.extend(context.knocks.conditions(snapshot.at, &silent));
    settle(&all)
}

fn stated(context: &Context, snapshot: &Snapshot) -> Vec<Condition> {
    let mut all = context.event_log.conditions();
    all.extend(rules::conditions(&facts(context, snapshot)));
    all
}

/// It is down, and nobody says that its process has ended.
fn fell_silent(view: &MemberView) -> bool {
    view.status == Status::Down
        && view.kept_out.is_none()
        && !view.last_words
        && view.accusers.iter().all(|accuser| !accuser.refused)
}

fn silent(view: &MemberView) -> Silent {
    Silent { name: view.name.to_string(), address: view.address, since: view.since }
}

fn facts<'a>(context: &Context, snapshot: &'a Snapshot) -> Facts<'a> {
    let (at, marks, stats, quorum) = (snapshot.at, &snapshot.marks, &snapshot.stats, &snapshot.quorum);
    let stood = |since: Instant| at.since(since);
    let outside = snapshot.outside.as_ref().map(|outside| {
        let shown = show::outside(&context.clock, outside);
        let stood = stood(outside.since);
        OutsideFact { why: outside.reason, reason: shown.reason, advice: shown.advice, stood }
    });
    Facts {
        up: stood(Instant::EPOCH),
        joined: context.has_joined(snapshot),
        outside,
        isolated: stats.isolated,
        quorum: quorum.electorate.clone().map(|electorate| QuorumFact {
            electorate,
            state: quorum.quorum,
            reason: quorum.reason.clone(),
            stood: stood(quorum.since),
        }),
        members: members(context, snapshot),
        seeds: seeds(context),
        seeds_heard: stats.seeds_heard,
        refused: stats.refusals > 0 && stats.datagrams_received == 0,
        heard_ago: marks.heard.map_or(Duration::ZERO, stood),
        rounds_uncalled: marks.rounds_uncalled,
        slow: marks.slow.map(|since| (stats.local_health, stood(since))),
        overflow: marks.overflow.map(|last| (snapshot.loss.overflow, stood(last))),
        values_too_long: stats.values_too_long,
        profile: (context.about.profile.clone(), context.about.longest_wait),
    }
}

/// Seeds that resolve to other hosts.
fn seeds(context: &Context) -> Vec<String> {
    let seeds = &context.seeds;
    if seeds.are_only_us() {
        return Vec::new();
    }
    let shown = seeds.shown().into_iter();
    shown.filter(|seed| seed.error.is_none() && !seed.addresses.is_empty()).map(|seed| seed.name).collect()
}

fn members<'a>(context: &Context, snapshot: &'a Snapshot) -> Vec<MemberFact<'a>> {
    let falls = context.event_log.falls();
    let of = |view: &MemberView| falls.get(view.name.as_str()).copied().unwrap_or(0);
    snapshot.members.iter().map(|view| member(snapshot.at, view, of(view))).collect()
}

fn member(at: Instant, view: &MemberView, falls: usize) -> MemberFact<'_> {
    let down = view.path.state == PathState::Down;
    MemberFact {
        name: view.name.as_str(),
        address: view.address,
        status: match view.status {
            Status::Alive | Status::Restarting | Status::Suspect => StatusFact::Here,
            Status::Down => StatusFact::Down,
            Status::Left => StatusFact::Away,
        },
        stood: at.since(view.since),
        zone: show::zone(view),
        state: Cow::Borrowed(&view.state),
        is_self: view.is_self,
        refused: view.refused,
        degraded: view.degraded,
        kept_out: view.kept_out.is_some(),
        fell_silent: fell_silent(view),
        falls,
        critical: critical(view),
        rtt: view.rtt,
        answers: view.reachable == Some(true),
        path_down: down.then(|| {
            let direction = view.path.direction.unwrap_or(Direction::Unknown);
            (direction, view.path.since.map_or(Duration::ZERO, |since| at.since(since)))
        }),
    }
}

/// `web`, or `web/ID` where it has one.
fn critical(view: &MemberView) -> Vec<String> {
    let services = told(&view.state).services.into_iter();
    let all =
        services.flat_map(|(name, instances)| instances.into_iter().map(move |one| (name.clone(), one)));
    all.filter(|(_, one)| one.health == Health::Critical)
        .map(|(name, one)| if one.id.is_empty() { name } else { format!("{name}/{}", one.id) })
        .collect()
}
