//! What comes out of members, and what they answer, as one reads it.

use std::fmt::Write;
use std::time::Duration;

use heartsay_membership::{
    Event, Instant, MemberEvent, MemberEventKind, MemberView, Name, PieceKind, Status,
};
use heartsay_proto::gossip::packet::Body;
use heartsay_proto::{Budget, Keyring, decode_packet, open};

use heartsay_testkit::{DAWN_MS, World, config};

/// Since the beginning of the story.
pub fn seconds(at: Instant) -> String {
    format!("{:.3}", at.since(Instant::EPOCH + Duration::from_secs(1)).as_secs_f64())
}

pub fn of_event(event: &Event) -> String {
    match event {
        Event::Member(event) => of_member(event),
        Event::Quorum(status) => format!("quorum {}: {}", status.quorum, status.reason),
        Event::Joined { members } => format!("has joined: {members} members"),
        Event::Outside(Some(outside)) => format!("is outside: {outside}"),
        Event::Outside(None) => "is outside no more".to_owned(),
        Event::NameRefused { holder, address, .. } => {
            format!("its name is refused: host {:x} at {address} has it", { holder.0 })
        }
        Event::ClockRefused => "its clock is refused".to_owned(),
        Event::GenerationRaised(to) => format!("raises its generation to {}", after_dawn(*to)),
        Event::GenerationReset(to) => format!("resets its generation to {}", after_dawn(*to)),
        Event::Readdressed { address, .. } => format!("is at {address} from now on"),
        Event::PathLimited { to, narrow } => format!("path to {to} narrow: {narrow}"),
        Event::Link(link) => {
            let direction = link.direction.map_or_else(String::new, |d| format!(" ({d})"));
            let through = if link.through.is_empty() { "" } else { ", reached through " };
            format!("direct path to {} {}{direction}{through}{}", link.name, link.state, list(&link.through))
        }
        Event::Isolated(yes) => format!("isolated: {yes}"),
        Event::Stalled(time) => format!("was not scheduled for {:.3} s", time.as_secs_f64()),
        Event::Asked { by, service, .. } => format!("is asked by {by} about {service}"),
        Event::Answered { member, answer, .. } => {
            format!("{member} answers: {}", if answer.is_some() { "yes" } else { "no" })
        }
        Event::LeaveDone { acknowledged, asked } => {
            format!("is done: {acknowledged} of {asked} have its word")
        }
    }
}

fn of_member(event: &MemberEvent) -> String {
    let what = match event.kind {
        MemberEventKind::Join => "is a member",
        MemberEventKind::Suspect => "is suspect",
        MemberEventKind::Alive => "is alive",
        MemberEventKind::Down => "is down",
        MemberEventKind::Left => "has left",
        MemberEventKind::Restart => "has restarted",
        MemberEventKind::Update => "has changed",
        MemberEventKind::Forgotten => "is forgotten",
        MemberEventKind::Fenced => "is fenced",
    };
    let mut text = format!("{} {what}: {}", event.name, event.reason);
    for change in &event.changed {
        let before = change.before.as_ref().map(|value| String::from_utf8_lossy(value));
        let _ = write!(text, "; {} was {}", change.key, before.as_deref().unwrap_or("not there"));
    }
    if !event.by.is_empty() {
        let _ = write!(text, " [by {}]", list(&event.by));
    }
    match event.fenced {
        Some(true) => text += ", fenced",
        Some(false) => text += ", not fenced yet",
        None => {}
    }
    text
}

fn list(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(" ")
}

/// A generation, as the time of the story at which that life began.
fn after_dawn(generation: u64) -> String {
    format!("{:.3} s", Duration::from_millis(generation.saturating_sub(DAWN_MS + 1000)).as_secs_f64())
}

pub fn kind(datagram: &[u8]) -> String {
    let mut scratch = Vec::new();
    let opened = open(datagram, &config().cluster, &Keyring::empty(), Budget::MAX, &mut scratch);
    let packet = decode_packet(opened.unwrap().0).unwrap();
    let kind = match &packet.body {
        Some(Body::Exchange(exchange)) => match exchange.step {
            1 => "syn".to_owned(),
            2 => "ack".to_owned(),
            step => format!("step {step}"),
        },
        Some(Body::Pull(_)) => "pull".to_owned(),
        Some(Body::Supply(_)) => "supply".to_owned(),
        Some(Body::Ping(_)) => "ping".to_owned(),
        Some(Body::Pong(_)) => "pong".to_owned(),
        Some(Body::ProbeRequest(_)) => "probe request".to_owned(),
        Some(Body::ProbeReport(_)) => "probe report".to_owned(),
        Some(Body::Refusal(_)) => "refusal".to_owned(),
        Some(Body::Tally(_)) => "tally".to_owned(),
        Some(Body::Twin(_)) => "twin".to_owned(),
        Some(Body::Who(_)) => "who".to_owned(),
        Some(Body::Here(_)) => "here".to_owned(),
        Some(Body::Question(_)) => "question".to_owned(),
        Some(Body::Answer(_)) => "answer".to_owned(),
        None => "news".to_owned(),
    };
    match packet.claims.len() {
        0 => kind,
        1 => format!("{kind} with 1 claim"),
        claims => format!("{kind} with {claims} claims"),
    }
}

pub fn member(world: &World, by: &str, subject: &str) -> Option<MemberView> {
    let name = Name::new(subject).ok()?;
    if world.has(by) { world.node(by).member(world.now, &name) } else { None }
}

pub fn view(world: &World, name: &str) -> String {
    let mut out = String::new();
    for member in world.node(name).view(world.now) {
        let _ = write!(out, "{} {:<10} heartbeat {:<3}", member.name, shown(&member), member.heartbeat);
        if member.is_self {
            out += " itself";
        } else {
            let _ = write!(out, " silent for {:.1} s", member.silence.as_secs_f64());
        }
        let tags = member.state.iter().filter(|(key, _)| *key == "zone" || key.starts_with("tag/"));
        for (key, value) in tags {
            let _ = write!(out, ", {key}={}", String::from_utf8_lossy(value));
        }
        if member.reachable == Some(false) {
            out += if member.refused { ", refuses us" } else { ", does not answer us" };
        }
        if let Some(until) = member.kept_out {
            let _ = write!(out, ", kept out until heartbeat {until}");
        }
        out.push('\n');
    }
    out
}

fn shown(member: &MemberView) -> String {
    if member.status == Status::Restarting { "restarting".to_owned() } else { member.status.to_string() }
}

pub fn quorum(world: &World, name: &str) -> String {
    let status = world.node(name).quorum(world.now);
    format!("{} since {}: {}\n", status.quorum, seconds(status.since), status.reason)
}

pub fn why(world: &World, by: &str, subject: &str) -> Result<String, String> {
    let member = member(world, by, subject).ok_or("not known there")?;
    let mut out = format!("{} since {}", shown(&member), seconds(member.since));
    let Some(case) = &member.case else { return Ok(out + ", nothing against it\n") };
    let _ = writeln!(out, ", {:.2} against it:", case.phi);
    for piece in &case.pieces {
        let kind = match piece.kind {
            PieceKind::Silence => "its heartbeat stands still",
            PieceKind::Direct => "does not answer us",
            PieceKind::Indirect => "does not answer helpers",
            PieceKind::Refused => "its host refuses datagrams",
            PieceKind::Told(_) => "is said to be gone",
            PieceKind::Link => "loses what we send",
            PieceKind::Flaps => "comes and goes",
        };
        let _ = write!(out, "  {:.2} {kind}", piece.phi);
        if piece.count > 1 {
            let _ = write!(out, ", {} times", piece.count);
        }
        if !piece.by.is_empty() {
            let _ = write!(out, ", by {}", list(&piece.by));
        }
        out.push('\n');
    }
    for accuser in &member.accusers {
        let _ = write!(out, "  {} accuses it as of heartbeat {}", accuser.by, accuser.basis);
        for (word, is) in [
            ("refused", accuser.refused),
            ("silence proven", accuser.proven),
            ("bad link", accuser.degraded),
            ("unfit", accuser.unfit),
            ("doubts itself", accuser.weak),
        ] {
            if is {
                let _ = write!(out, ", {word}");
            }
        }
        out.push('\n');
    }
    let _ = writeln!(out, "  witnesses {}; a verdict needs {}", list(&case.witnesses), case.needed);
    Ok(out)
}

pub fn traffic(world: &World, name: &str) -> String {
    let stats = world.node(name).stats();
    let mut out = format!("{} datagrams, {} bytes sent", stats.datagrams_sent, stats.bytes_sent);
    for (reason, count) in &stats.rejected {
        let _ = write!(out, "; {count} refused: {reason}");
    }
    out + "\n"
}
