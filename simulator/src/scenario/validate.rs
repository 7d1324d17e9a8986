//! The questions that types cannot ask: combinations that make no sense.

use super::load::{hint, nearest};
use super::{Fault, Network, Protocol, Scenario, What, Who};
use crate::models::Baseline;

pub(super) fn check(s: &Scenario) -> Result<(), String> {
    if s.nodes == 0 {
        return Err("nodes = 0: a cluster has at least one member".to_owned());
    }
    if s.nodes > MOST_NODES {
        return Err(format!("nodes = {}: at most {MOST_NODES} members are simulated", s.nodes));
    }
    if s.duration.0.is_zero() {
        return Err("duration = \"0s\": nothing would happen".to_owned());
    }
    if s.start.contacts == 0 && s.nodes > 1 {
        return Err("start.contacts = 0: nobody would ever meet".to_owned());
    }
    if s.start.over.0 >= s.duration.0 {
        return Err(format!("start.over {} does not fit the duration {}", s.start.over, s.duration));
    }
    if let Some(every) = s.start.every
        && every.0.saturating_mul(s.nodes as u32 - 1) >= s.duration.0
    {
        return Err(format!(
            "start.every {every}: the last of {} members would start after the end",
            s.nodes
        ));
    }
    if s.start.state > MOST_STATE {
        return Err(format!("start.state = {}: a member says at most {MOST_STATE} bytes", s.start.state));
    }
    if s.machine != Baseline::Heartsay {
        if s.start.every.is_some() {
            let machine = s.machine.word();
            return Err(format!(
                "machine = {machine:?} is a model of a detector: it knows its cluster and cannot be joined one by one"
            ));
        }
        let strange = |f: &&Fault| {
            matches!(
                f.what,
                What::Restart
                    | What::CrashLoop
                    | What::Leave
                    | What::Join
                    | What::Churn
                    | What::DuplicateName
            ) || f.back_after.is_some()
        };
        if let Some(fault) = s.faults.iter().find(strange) {
            let (machine, what) = (s.machine.word(), fault.what.word());
            return Err(format!(
                "machine = {machine:?} is a model of a detector, not of a membership: it knows no {what:?} (nor a return)"
            ));
        }
    }
    if s.measure.every.0.is_zero() {
        return Err("measure.every must not be zero".to_owned());
    }
    s.protocol.config(s.nodes).map_err(|why| format!("protocol: {why}"))?;
    let n = &s.network;
    let shares =
        [("loss", n.loss), ("duplicate", n.duplicate), ("reorder", n.reorder), ("corrupt", n.corrupt)];
    for (key, share) in shares {
        share_is_sane(&format!("network.{key}"), share)?;
    }
    if n.bandwidth.is_some_and(|b| b <= 0.0 || !b.is_finite()) {
        return Err("network.bandwidth must be above zero".to_owned());
    }
    for path in &n.paths {
        share_is_sane("network.path.loss", path.loss)?;
        for zone in &path.between {
            if !n.zones.iter().any(|z| z.name == *zone) {
                let names = n.zones.iter().map(|z| z.name.as_str());
                return Err(format!(
                    "network.path names the zone {zone:?}, which is not defined{}",
                    hint(nearest(zone, names).as_deref())
                ));
            }
        }
    }
    check_network(n)?;
    check_protocol(&s.protocol)?;
    let limits = [
        ("divergence", s.budget.divergence),
        ("bytes-mean", s.budget.bytes_mean),
        ("bytes-p99", s.budget.bytes_p99),
        ("bytes-peak", s.budget.bytes_peak),
    ];
    if let Some((key, limit)) =
        limits.into_iter().find(|(_, limit)| limit.is_some_and(|l| l.is_nan() || l < 0.0))
    {
        return Err(format!("budget.{key} = {}: never kept", limit.unwrap_or_default()));
    }
    for (i, fault) in s.faults.iter().enumerate() {
        check_fault(s, fault).map_err(|why| format!("fault {} ({}): {why}", i + 1, fault.what.word()))?;
    }
    Ok(())
}

fn check_network(n: &Network) -> Result<(), String> {
    if n.mtu < LEAST_MTU {
        return Err(format!("network.mtu = {}: IPv4 promises {LEAST_MTU} bytes", n.mtu));
    }
    if let Some(burst) = n.burst {
        if burst.good.0.is_zero() || burst.bad.0.is_zero() {
            return Err("network.burst: good and bad times must not be zero".to_owned());
        }
        share_is_sane("network.burst.loss", burst.loss)?;
    }
    for (i, zone) in n.zones.iter().enumerate() {
        if !(zone.weight > 0.0 && zone.weight.is_finite()) {
            return Err(format!("network.zone {:?}: a weight is above zero", zone.name));
        }
        if n.zones.iter().take(i).any(|other| other.name == zone.name) {
            return Err(format!("network.zone {:?} is there twice", zone.name));
        }
    }
    for link in &n.links {
        share_is_sane("network.link.loss", link.loss.unwrap_or(0.0))?;
        if let Some(mtu) = link.mtu.filter(|mtu| *mtu < LEAST_MTU) {
            return Err(format!("network.link.mtu = {mtu}: IPv4 promises {LEAST_MTU} bytes"));
        }
    }
    Ok(())
}

fn check_protocol(p: &Protocol) -> Result<(), String> {
    if p.interval.is_some_and(|interval| interval.0.is_zero()) {
        return Err("protocol.interval must not be zero".to_owned());
    }
    let counts = [
        ("exchanges", p.exchanges.map(|calls| calls as usize)),
        ("witnesses", p.witnesses),
        ("fanout", p.fanout),
        ("missed", p.missed.map(|missed| missed as usize)),
        ("max-members", p.max_members),
    ];
    if let Some((key, _)) = counts.into_iter().find(|(_, count)| *count == Some(0)) {
        return Err(format!("protocol.{key} must not be zero"));
    }
    if p.phi_threshold.is_some_and(|phi| !(phi > 0.0 && phi.is_finite())) {
        return Err("protocol.phi-threshold must be above zero".to_owned());
    }
    Ok(())
}

fn check_fault(s: &Scenario, f: &Fault) -> Result<(), String> {
    if f.at.0 >= s.duration.0 {
        return Err(format!("at {} lies after the end of the run ({})", f.at, s.duration));
    }
    if let Some(over) = f.over.filter(|over| f.at.0 + over.0 > s.duration.0) {
        return Err(format!("at {} and over {over} reach beyond the end of the run ({})", f.at, s.duration));
    }
    if let Some(within) = f.within.filter(|within| f.at.0 + within.0 >= s.duration.0) {
        return Err(format!(
            "at {} and within {within} reach beyond the end of the run ({})",
            f.at, s.duration
        ));
    }
    let given = [
        ("who", f.who.is_some()),
        ("for", f.lasts.is_some()),
        ("on", f.on.is_some()),
        ("off", f.off.is_some()),
        ("over", f.over.is_some()),
        ("every", f.every.is_some()),
        ("back-after", f.back_after.is_some()),
        ("send", f.send.is_some()),
        ("receive", f.receive.is_some()),
        ("share", f.share.is_some()),
        ("by", f.by.is_some()),
        ("ppm", f.ppm.is_some()),
        ("work", f.work.is_some()),
        ("from", f.from.is_some()),
        ("to", f.to.is_some()),
        ("sides", f.sides.is_some()),
    ];
    let (needs, takes): (&[&str], &[&str]) = match f.what {
        What::Crash | What::Vanish | What::Restart => (&[], &["who", "over", "back-after"]),
        What::CrashLoop => (&["every"], &["who", "for", "every"]),
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
    };
    for (key, is_given) in given {
        if is_given && !takes.contains(&key) {
            return Err(format!(
                "the key `{key}` means nothing here; {} takes {}",
                f.what.word(),
                takes.join(", ")
            ));
        }
        if !is_given && needs.contains(&key) {
            return Err(format!("the key `{key}` is missing"));
        }
    }
    if f.on.is_some() != f.off.is_some() {
        return Err("`on` and `off` come together".to_owned());
    }
    if f.every.is_some_and(|every| every.0.is_zero()) || f.on.is_some_and(|on| on.0.is_zero()) {
        return Err("`every` and `on` must not be zero".to_owned());
    }
    if f.lasts.is_some_and(|lasts| lasts.0.is_zero()) || f.off.is_some_and(|off| off.0.is_zero()) {
        return Err("`for` and `off` must not be zero".to_owned());
    }
    if f.ppm.is_some_and(|ppm| ppm.unsigned_abs() > MOST_DRIFT) {
        return Err(format!("ppm lies between -{MOST_DRIFT} and {MOST_DRIFT}"));
    }
    for (key, share) in [("send", f.send), ("receive", f.receive), ("share", f.share)] {
        share_is_sane(key, share.unwrap_or(0.0))?;
    }
    if f.what == What::Lossy && f.send.is_none() && f.receive.is_none() {
        return Err("one of `send` and `receive` is needed".to_owned());
    }
    if f.sides.as_ref().is_some_and(|sides| sides.len() < 2 || sides.len() > 200) {
        return Err("a partition has 2 to 200 sides".to_owned());
    }
    if let Some(sides) = &f.sides {
        // The last side takes the rest.
        let (most, rest) = (sides.iter().map(|side| side.count(s.nodes)), sides.len() - 1);
        if most.take(rest).sum::<usize>() >= s.nodes {
            return Err("the sides leave nobody for the last of them".to_owned());
        }
        named_apart(sides)?;
    }
    if let (Some(from), Some(to)) = (&f.from, &f.to) {
        if matches!(from, Who::All) {
            return Err("`from` everybody leaves nobody who could hear them or not".to_owned());
        }
        named_apart(&[from.clone(), to.clone()])?;
    }
    if let (What::Join, Some(Who::Count(k))) = (f.what, &f.who)
        && s.nodes + k > MOST_NODES
    {
        return Err(format!("{k} newcomers: at most {MOST_NODES} members are simulated"));
    }
    for who in [&f.who, &f.from, &f.to].into_iter().flatten() {
        match who {
            Who::Count(k) if *k > s.nodes && f.what != What::Join => {
                return Err(format!("{k} members are asked for; the cluster has {}", s.nodes));
            }
            Who::Named(names) => {
                for name in names {
                    let number = name.strip_prefix('n').and_then(|n| n.parse::<usize>().ok());
                    if number.is_none_or(|n| n >= s.nodes) {
                        return Err(format!("no member is called {name:?}; they are n0 to n{}", s.nodes - 1));
                    }
                }
            }
            Who::Count(_) | Who::Share(_) | Who::All => {}
        }
    }
    Ok(())
}

/// No name stands on two sides.
fn named_apart(sides: &[Who]) -> Result<(), String> {
    let names = sides.iter().flat_map(|side| match side {
        Who::Named(names) => names.as_slice(),
        Who::Count(_) | Who::Share(_) | Who::All => &[],
    });
    let mut names: Vec<&String> = names.collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair.first() == pair.last()) {
        Some([name, ..]) => Err(format!("{name} would be cut off from itself")),
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

/// Member numbers fit 16 bits in the models' encoding.
const MOST_NODES: usize = 65_535;
/// Of the machine's 8,192, with room for a zone and for quorum.
const MOST_STATE: usize = 8000;
/// RFC 791.
const LEAST_MTU: usize = 68;
/// A clock that runs at half or one and a half times the speed: far beyond any quartz.
const MOST_DRIFT: u64 = 500_000;
