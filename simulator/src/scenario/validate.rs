//! The questions that types cannot ask: combinations that make no sense.
//!
//! Most are one line of a table: a rule looks at one thing and says what is wrong with it, if anything is.

use heartsay_membership::Electorate;

use super::load::{hint, nearest};
use super::network::{Burst, Link, Zone};
use super::units::number;
use super::{Fault, Network, Protocol, Scenario, What, Who};
use crate::models::Baseline;

/// What is wrong with one thing, if it is.
type Rule<T> = fn(&T) -> Option<String>;

/// A key, and something about its value.
type Key<T> = (&'static str, fn(&T) -> bool);

/// What is wrong with a scenario, and in which entry of which list.
pub(super) struct Complaint {
    pub(super) text: String,
    pub(super) place: Option<Place>,
}

/// One key of one entry of a list, counted from 0.
pub(super) struct Place {
    pub(super) list: List,
    pub(super) entry: usize,
    /// `what` of a fault where the complaint is about no single key.
    pub(super) key: &'static str,
}

/// Lists of tables in a scenario.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    Faults,
    Links,
}

/// What is wrong with one entry, and with which of its keys.
struct Wrong {
    key: &'static str,
    text: String,
}

impl From<String> for Wrong {
    fn from(text: String) -> Self {
        Self { key: "what", text }
    }
}

impl From<String> for Complaint {
    fn from(text: String) -> Self {
        Self { text, place: None }
    }
}

impl Wrong {
    fn at(self, list: List, entry: usize, name: &str) -> Complaint {
        let Self { key, text } = self;
        Complaint { text: format!("{name}: {text}"), place: Some(Place { list, entry, key }) }
    }
}

pub(super) fn check(s: &Scenario) -> Result<(), Complaint> {
    keep(&SCENARIO, s)?;
    check_machine(s)?;
    s.protocol.config(s.nodes).map_err(|why| format!("protocol: {why}"))?;
    check_network(&s.network)?;
    check_protocol(&s.protocol)?;
    check_voters(s)?;
    check_budget(s)?;
    for (i, link) in s.network.links.iter().enumerate() {
        let wrong =
            check_link(s, link).map_err(|wrong| wrong.at(List::Links, i, &format!("network.link {}", i + 1)));
        wrong?;
    }
    for (i, fault) in s.faults.iter().enumerate() {
        let name = || format!("fault {} ({})", i + 1, fault.what.word());
        check_fault(s, fault).map_err(|wrong| wrong.at(List::Faults, i, &name()))?;
    }
    Ok(())
}

/// The first rule that is broken is the complaint.
fn keep<T>(rules: &[Rule<T>], of: &T) -> Result<(), String> {
    rules.iter().find_map(|rule| rule(of)).map_or(Ok(()), Err)
}

/// Models of other detectors know less than the real machine.
fn check_machine(s: &Scenario) -> Result<(), String> {
    if s.machine == Baseline::Heartsay {
        return Ok(());
    }
    let machine = s.machine.word();
    if s.start.every.is_some() {
        return Err(format!(
            "machine = {machine:?} is a model of a detector: it knows its cluster and cannot be joined one by one"
        ));
    }
    let strange = |f: &&Fault| BEYOND_MODELS.contains(&f.what) || f.back_after.is_some();
    match s.faults.iter().find(strange) {
        Some(fault) => Err(format!(
            "machine = {machine:?} is a model of a detector, not of a membership: it knows no {:?} (nor a return)",
            fault.what.word()
        )),
        None => Ok(()),
    }
}

fn check_network(n: &Network) -> Result<(), String> {
    keep(&NETWORK, n)?;
    for path in &n.paths {
        share_is_sane("network.path.loss", path.loss)?;
        let zones = path.between.iter().try_for_each(|zone| is_zone(n, zone));
        zones.map_err(|why| format!("network.path.between: {why}"))?;
    }
    for (i, zone) in n.zones.iter().enumerate() {
        keep(&ZONE, zone)?;
        if n.zones.iter().take(i).any(|other| other.name == zone.name) {
            return Err(format!("network.zone {:?} is there twice", zone.name));
        }
    }
    Ok(())
}

fn check_link(s: &Scenario, link: &Link) -> Result<(), Wrong> {
    keep(&LINK, link)?;
    check_targets(s, &[("from", &link.from), ("to", &link.to)])
}

fn check_protocol(p: &Protocol) -> Result<(), String> {
    if let Some((key, _)) = PROTOCOL_NOT_ZERO.iter().find(|(_, is_zero)| is_zero(p)) {
        return Err(format!("protocol.{key} must not be zero"));
    }
    if p.phi_threshold.is_some_and(|phi| !(phi > 0.0 && phi.is_finite())) {
        return Err("protocol.phi-threshold must be above zero".to_owned());
    }
    Ok(())
}

/// Voters are members, of which some may come later.
fn check_voters(s: &Scenario) -> Result<(), String> {
    if let Some(who) = s.protocol.expected.as_ref().filter(|who| who.drawn(1).is_none()) {
        return Err(format!(
            "protocol.expected = \"{who}\": a number, a share or \"all\"; members are named in protocol.electorate"
        ));
    }
    let electorate = s.protocol.electorate.as_ref().and_then(|text| text.parse().ok());
    let voters: Vec<String> = match electorate {
        Some(Electorate::Voters(voters)) => voters.keys().map(ToString::to_string).collect(),
        Some(Electorate::Expected { tie, .. }) => tie.iter().map(ToString::to_string).collect(),
        Some(Electorate::Zones { zones, .. }) => {
            let known = |zone: &&String| s.network.zones.iter().any(|known| known.name == **zone);
            return match zones.keys().find(|zone| !known(zone)) {
                Some(zone) => Err(format!("protocol.electorate: no [[network.zone]] is called {zone:?}")),
                None => Ok(()),
            };
        }
        None => return Ok(()),
    };
    if s.faults.iter().any(|f| matches!(f.what, What::Join | What::Churn)) {
        return Ok(());
    }
    voters.iter().try_for_each(|name| is_member(s, name)).map_err(|why| format!("protocol.electorate: {why}"))
}

fn check_budget(s: &Scenario) -> Result<(), String> {
    let limits = [
        ("divergence", s.budget.divergence),
        ("bytes-mean", s.budget.bytes_mean),
        ("bytes-p99", s.budget.bytes_p99),
        ("bytes-minute", s.budget.bytes_minute),
        ("healthy-suspected-per-hour", s.budget.healthy_suspected_per_hour),
        ("suspicions-false-share", s.budget.suspicions_false_share),
        ("bytes-peak", s.budget.bytes_peak),
        ("bytes-member-median", s.budget.bytes_member_median),
        ("bytes-member-max", s.budget.bytes_member_max),
        ("quorum-losses-per-1000h", s.budget.quorum_losses_per_1000h),
        ("quorum-without", s.budget.quorum_without),
        ("quorum-without-share", s.budget.quorum_without_share),
    ];
    let mut given = limits.into_iter().filter_map(|(key, limit)| Some((key, limit?)));
    match given.find(|(_, limit)| limit.is_nan() || *limit < 0.0) {
        Some((key, limit)) => Err(format!("budget.{key} = {limit}: never kept")),
        None => Ok(()),
    }
}

fn check_fault(s: &Scenario, f: &Fault) -> Result<(), Wrong> {
    check_times(s, f)?;
    check_keys(f)?;
    keep(&FAULT, f)?;
    check_newcomers(s, f)?;
    let ends = [("who", &f.who), ("from", &f.from), ("to", &f.to), ("about", &f.about)];
    let ends = ends.into_iter().filter_map(|(key, who)| Some((key, who.as_ref()?)));
    let sides = f.sides.iter().flatten().map(|side| ("sides", side));
    let targets: Vec<(&str, &Who)> = ends.chain(sides).filter(|_| f.what != What::Join).collect();
    check_targets(s, &targets)?;
    check_sides(s, f)
}

/// It begins before the end of the run.
fn check_times(s: &Scenario, f: &Fault) -> Result<(), String> {
    let (at, end) = (f.at, s.duration);
    if at.0 >= end.0 {
        return Err(format!("at {at} lies after the end of the run ({end})"));
    }
    if let Some(over) = f.over.filter(|over| at.0 + over.0 > end.0) {
        return Err(format!("at {at} and over {over} reach beyond the end of the run ({end})"));
    }
    if let Some(within) = f.within.filter(|within| at.0 + within.0 >= end.0) {
        return Err(format!("at {at} and within {within} reach beyond the end of the run ({end})"));
    }
    Ok(())
}

/// Its kind takes the keys that are given, and those it needs are among them.
fn check_keys(f: &Fault) -> Result<(), String> {
    let (needs, takes) = keys(f.what);
    for (key, is_given) in FAULT_KEYS {
        if is_given(f) && !takes.contains(&key) {
            let (what, takes) = (f.what.word(), takes.join(", "));
            return Err(format!("the key `{key}` means nothing here; {what} takes {takes}"));
        }
        if !is_given(f) && needs.contains(&key) {
            return Err(format!("the key `{key}` is missing"));
        }
    }
    Ok(())
}

/// The keys that a kind of trouble needs, and those that it takes.
fn keys(what: What) -> (&'static [&'static str], &'static [&'static str]) {
    match what {
        What::Crash | What::Restart => (&[], &["who", "over", "back-after", "words-late", "words-twice"]),
        What::Vanish => (&[], &["who", "over", "back-after"]),
        What::CrashLoop => (&["every"], &["who", "for", "every", "words-late", "words-twice"]),
        What::Pause | What::Block => (&[], &["who", "for", "on", "off", "over"]),
        What::Slow => (&["work"], &["who", "for", "on", "off", "over", "work"]),
        What::ClockStep => (&["by"], &["who", "over", "by"]),
        What::ClockDrift => (&["ppm"], &["who", "ppm"]),
        What::Lossy => (&[], &["who", "for", "on", "off", "over", "send", "receive"]),
        What::Cut | What::Refuse => (&["from", "to"], &["for", "on", "off", "from", "to"]),
        What::Partition => (&["sides"], &["for", "on", "off", "sides"]),
        What::Corrupt => (&["share"], &["who", "for", "on", "off", "over", "share"]),
        What::DuplicateName => (&[], &["who", "over"]),
        What::Leave => (&[], &["who", "over", "back-after"]),
        What::Join => (&[], &["who", "over", "every"]),
        What::Churn => (&["every"], &["for", "every"]),
        What::Lie => (&[], &["who", "for", "every", "lies", "about", "forge-source"]),
    }
}

/// Each side of a cut has members, and no member is on two.
fn check_sides(s: &Scenario, f: &Fault) -> Result<(), Wrong> {
    if let Some(sides) = &f.sides {
        // The last side takes the rest.
        let members = |side| members(s, side).map_or_else(|drawn| drawn, |named| named.len());
        let (most, rest) = (sides.iter().map(members), sides.len() - 1);
        if most.take(rest).sum::<usize>() >= s.nodes {
            let text = "the sides leave no member for the last of them".to_owned();
            return Err(Wrong { key: "sides", text });
        }
        apart(s, "sides", sides.iter())?;
    }
    if let (Some(from), Some(to)) = (&f.from, &f.to) {
        apart(s, "from", [from, to].into_iter())?;
        let drawn = |who: &Who| who.drawn(s.nodes).unwrap_or(0);
        let named = |who: &Who| members(s, who).map_or(0, |named| named.len());
        for (key, one, other) in [("from", from, to), ("to", to, from)] {
            // All means all that are left; a number leaves the named out.
            let left = s.nodes - named(other).min(s.nodes);
            let takes_all = key == "from" && drawn(one) >= s.nodes;
            if takes_all || left == 0 && drawn(one) > 0 {
                return Err(Wrong {
                    key,
                    text: format!("`{key}` {one} leaves no member for the other side"),
                });
            }
        }
    }
    Ok(())
}

/// Newcomers are a number: they have no names yet.
fn check_newcomers(s: &Scenario, f: &Fault) -> Result<(), Wrong> {
    let text = match &f.who {
        Some(who) if f.what == What::Join && who.drawn(1).is_none() => {
            format!("`who` {who}: newcomers are a number, and get the next names")
        }
        Some(Who::Count(k)) if f.what == What::Join && s.nodes + k > MOST_NODES => {
            format!("{k} newcomers: at most {MOST_NODES} members are simulated")
        }
        _ => return Ok(()),
    };
    Err(Wrong { key: "who", text })
}

/// Each of these choices hits members that there are.
fn check_targets(s: &Scenario, targets: &[(&'static str, &Who)]) -> Result<(), Wrong> {
    targets.iter().try_for_each(|(key, who)| {
        hits(s, who).map_err(|text| Wrong { key, text: format!("`{key}`: {text}") })
    })
}

fn hits(s: &Scenario, who: &Who) -> Result<(), String> {
    match who {
        Who::Count(k) if *k > s.nodes => {
            Err(format!("{k} members are asked for; the cluster has {}", s.nodes))
        }
        Who::Named(names) if names.is_empty() => Err("an empty list hits no member".to_owned()),
        Who::Named(names) => {
            if let Some(name) = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
                return Err(format!("{} is named twice", name.1));
            }
            names.iter().try_for_each(|name| is_member(s, name))
        }
        Who::Zones(zones) if zones.is_empty() => Err("an empty list hits no member".to_owned()),
        Who::Zones(zones) => {
            zones.iter().try_for_each(|zone| is_zone(&s.network, zone))?;
            match members(s, who) {
                Ok(members) if members.is_empty() => {
                    Err(format!("{who} has no member where nodes = {}", s.nodes))
                }
                _ => Ok(()),
            }
        }
        Who::Count(_) | Who::Share(_) | Who::All => Ok(()),
    }
}

/// The members that are named, one by one or by zone, or how many are drawn.
fn members(s: &Scenario, who: &Who) -> Result<Vec<usize>, usize> {
    let zones = s.network.zones_of(s.nodes);
    let named = who.named(zones.iter().map(|zone| s.network.zone_name(*zone)));
    named.ok_or_else(|| who.drawn(s.nodes).unwrap_or(0))
}

fn is_zone(n: &Network, name: &str) -> Result<(), String> {
    if n.zones.iter().any(|zone| zone.name == name) {
        return Ok(());
    }
    if n.zones.is_empty() {
        return Err(format!("no zone is called {name:?}; there is no [[network.zone]]"));
    }
    let names: Vec<&str> = n.zones.iter().map(|zone| zone.name.as_str()).collect();
    let hint = hint(nearest(name, names.iter().copied()).as_deref());
    Err(format!("no zone is called {name:?}; they are {}{hint}", names.join(", ")))
}

fn is_member(s: &Scenario, name: &str) -> Result<(), String> {
    if number(name).is_some_and(|number| number < s.nodes) {
        return Ok(());
    }
    let zone = if s.network.zones.iter().any(|zone| zone.name == name) {
        format!(", and that is a zone: write {{ zone = {name:?} }}")
    } else {
        String::new()
    };
    Err(format!("no member is called {name:?}{zone}; they are n0 to n{}", s.nodes - 1))
}

/// No member stands on two sides.
fn apart<'a>(s: &Scenario, key: &'static str, sides: impl Iterator<Item = &'a Who>) -> Result<(), Wrong> {
    let mut members: Vec<usize> = sides.filter_map(|side| members(s, side).ok()).flatten().collect();
    members.sort_unstable();
    match members.windows(2).find(|pair| pair.first() == pair.last()) {
        Some([member, ..]) => Err(Wrong { key, text: format!("n{member} would be cut off from itself") }),
        _ => Ok(()),
    }
}

fn share_is_sane(key: &str, share: f64) -> Result<(), String> {
    if (0.0..=1.0).contains(&share) {
        Ok(())
    } else {
        Err(format!("{key} = {share}: a share lies between 0 and 1"))
    }
}

fn check_burst(key: &str, burst: Option<Burst>) -> Result<(), String> {
    let Some(burst) = burst else { return Ok(()) };
    if burst.good.0.is_zero() || burst.bad.0.is_zero() {
        return Err(format!("{key}: good and bad times must not be zero"));
    }
    share_is_sane(&format!("{key}.loss"), burst.loss)
}

/// What is wrong with the first of these shares that is none.
fn shares(shares: &[(&str, f64)]) -> Option<String> {
    shares.iter().find_map(|(key, share)| share_is_sane(key, *share).err())
}

fn unless(good: bool, complaint: impl FnOnce() -> String) -> Option<String> {
    (!good).then(complaint)
}

const SCENARIO: [Rule<Scenario>; 8] = [
    |s| unless(s.nodes > 0, || "nodes = 0: a cluster has at least one member".to_owned()),
    |s| {
        unless(s.nodes <= MOST_NODES, || {
            format!("nodes = {}: at most {MOST_NODES} members are simulated", s.nodes)
        })
    },
    |s| unless(!s.duration.0.is_zero(), || "duration = \"0s\": nothing would happen".to_owned()),
    |s| {
        unless(s.start.contacts > 0 || s.nodes == 1, || {
            "start.contacts = 0: the members would never meet".to_owned()
        })
    },
    |s| {
        unless(s.start.over.0 < s.duration.0, || {
            format!("start.over {} does not fit the duration {}", s.start.over, s.duration)
        })
    },
    |s| {
        let every = s.start.every?;
        unless(every.0.saturating_mul(s.nodes as u32 - 1) < s.duration.0, || {
            format!("start.every {every}: the last of {} members would start after the end", s.nodes)
        })
    },
    |s| {
        unless(s.start.state <= MOST_STATE, || {
            format!("start.state = {}: a member says at most {MOST_STATE} bytes", s.start.state)
        })
    },
    |s| unless(!s.measure.every.0.is_zero(), || "measure.every must not be zero".to_owned()),
];

const NETWORK: [Rule<Network>; 5] = [
    |n| {
        shares(&[
            ("network.loss", n.loss),
            ("network.duplicate", n.duplicate),
            ("network.reorder", n.reorder),
            ("network.corrupt", n.corrupt),
        ])
    },
    |n| {
        unless(n.bandwidth.is_none_or(|b| b > 0.0 && b.is_finite()), || {
            "network.bandwidth must be above zero".to_owned()
        })
    },
    |n| unless(n.mtu >= LEAST_MTU, || format!("network.mtu = {}: IPv4 promises {LEAST_MTU} bytes", n.mtu)),
    |n| check_burst("network.burst", n.burst).err(),
    |n| n.paths.iter().find_map(|path| check_burst("network.path.burst", path.burst).err()),
];

const ZONE: [Rule<Zone>; 1] = [|zone| {
    unless(zone.weight > 0.0 && zone.weight.is_finite(), || {
        format!("network.zone {:?}: a weight is above zero", zone.name)
    })
}];

const LINK: [Rule<Link>; 2] = [
    |link| shares(&[("network.link.loss", link.loss.unwrap_or(0.0))]),
    |link| {
        let mtu = link.mtu?;
        unless(mtu >= LEAST_MTU, || format!("network.link.mtu = {mtu}: IPv4 promises {LEAST_MTU} bytes"))
    },
];

const PROTOCOL_NOT_ZERO: [Key<Protocol>; 6] = [
    ("interval", |p| p.interval.is_some_and(|interval| interval.0.is_zero())),
    ("exchanges", |p| p.exchanges == Some(0)),
    ("witnesses", |p| p.witnesses == Some(0)),
    ("fanout", |p| p.fanout == Some(0)),
    ("missed", |p| p.missed == Some(0)),
    ("max-members", |p| p.max_members == Some(0)),
];

const FAULT: [Rule<Fault>; 7] = [
    |f| unless(f.on.is_some() == f.off.is_some(), || "`on` and `off` come together".to_owned()),
    |f| {
        let zero = [f.every, f.on].into_iter().flatten().any(|span| span.0.is_zero());
        unless(!zero, || "`every` and `on` must not be zero".to_owned())
    },
    |f| {
        let zero = [f.lasts, f.off].into_iter().flatten().any(|span| span.0.is_zero());
        unless(!zero, || "`for` and `off` must not be zero".to_owned())
    },
    |f| {
        unless(f.ppm.is_none_or(|ppm| ppm.unsigned_abs() <= MOST_DRIFT), || {
            format!("ppm lies between -{MOST_DRIFT} and {MOST_DRIFT}")
        })
    },
    |f| {
        let [send, receive, share] = [f.send, f.receive, f.share].map(Option::unwrap_or_default);
        shares(&[("send", send), ("receive", receive), ("share", share)])
    },
    |f| {
        unless(f.what != What::Lossy || f.send.is_some() || f.receive.is_some(), || {
            "one of `send` and `receive` is needed".to_owned()
        })
    },
    |f| {
        let sides = f.sides.as_ref()?;
        unless((2..=MOST_SIDES).contains(&sides.len()), || format!("a partition has 2 to {MOST_SIDES} sides"))
    },
];

const FAULT_KEYS: [Key<Fault>; 21] = [
    ("who", |f| f.who.is_some()),
    ("for", |f| f.lasts.is_some()),
    ("on", |f| f.on.is_some()),
    ("off", |f| f.off.is_some()),
    ("over", |f| f.over.is_some()),
    ("every", |f| f.every.is_some()),
    ("back-after", |f| f.back_after.is_some()),
    ("send", |f| f.send.is_some()),
    ("receive", |f| f.receive.is_some()),
    ("share", |f| f.share.is_some()),
    ("by", |f| f.by.is_some()),
    ("ppm", |f| f.ppm.is_some()),
    ("work", |f| f.work.is_some()),
    ("from", |f| f.from.is_some()),
    ("to", |f| f.to.is_some()),
    ("sides", |f| f.sides.is_some()),
    ("words-late", |f| f.words_late.is_some()),
    ("words-twice", |f| f.words_twice),
    ("lies", |f| f.lies.is_some()),
    ("about", |f| f.about.is_some()),
    ("forge-source", |f| f.forge_source),
];

/// Trouble with a membership, which models do not have.
const BEYOND_MODELS: [What; 7] =
    [What::Restart, What::CrashLoop, What::Leave, What::Join, What::Churn, What::DuplicateName, What::Lie];
/// Member numbers fit 16 bits in the models' encoding.
const MOST_NODES: usize = 65_535;
/// Of the machine's 8,192, with room for a zone and for quorum.
const MOST_STATE: usize = 8000;
/// RFC 791.
const LEAST_MTU: usize = 68;
/// A clock that runs at a tenth of its speed, as under a starved hypervisor: far beyond any quartz.
const MOST_DRIFT: u64 = 900_000;
/// Sides are numbered in 8 bits.
const MOST_SIDES: usize = 200;
