//! `why NAME`: the case of one member, in sentences.

use clap::Args;
use jiff::Timestamp;

use super::completions::MEMBER;
use super::exit::Exit;
use super::moment::moment;
use super::output::{Output, age, brief, count, fit_to_show, list, natural, span};
use super::past;
use super::status::{agreement, health};
use super::table::finish;
use crate::client::{Client, ClientError, segment};
use crate::doctor::Code;
use crate::recorder::stamp;
use crate::types::{Accusation, Case, Evidence, Member, Members, Past, Piece, SelfInfo};
use crate::words::few;

/// Arguments of `why`.
#[derive(Args)]
pub(super) struct Why {
    /// The member in question.
    #[arg(value_hint = MEMBER)]
    name: String,
    /// As it was then, by the history: 10m, 2h or 3d ago, 14:03, 2026-11-20 14:03, or RFC 3339; in UTC.
    #[arg(long, allow_hyphen_values = true, value_parser = moment, value_name = "TIME")]
    at: Option<Timestamp>,
}

impl Why {
    /// Explains the member's status.
    pub(super) async fn run(self, client: &Client, output: &Output) -> anyhow::Result<Exit> {
        if let Some(at) = self.at {
            return self.then(at, client, output).await;
        }
        let answer = match client.get(&format!("/v1/members/{}", segment(&self.name))).await {
            Ok(answer) => answer,
            Err(error) => return Err(unknown(client, &self.name, error).await),
        };
        client.read::<Member>(&answer)?;
        let me = client.get("/v1/self").await?;
        client.read::<SelfInfo>(&me)?;
        let me: SelfInfo = fit_to_show(&me)?;
        output.show(&answer, |member: Member| case(&member, &me, output))?;
        Ok(Exit::Done)
    }

    /// The same of the past, as the history has it.
    async fn then(&self, at: Timestamp, client: &Client, output: &Output) -> anyhow::Result<Exit> {
        let path = format!("/v1/history/{}?at={}", segment(&self.name), segment(&stamp(at)));
        let answer = match client.get(&path).await {
            Ok(answer) => answer,
            Err(error) => return Err(unknown(client, &self.name, error).await),
        };
        let found: Past = client.read(&answer)?;
        output.show(&answer, |past: Past| past::case(&past, output))?;
        Ok(if found.status.is_some() { Exit::Done } else { Exit::No })
    }
}

/// For a "not found", the same with the name that was probably meant.
pub(super) async fn unknown(client: &Client, name: &str, error: ClientError) -> anyhow::Error {
    if !error.is_not_found() {
        return error.into();
    }
    let Ok(answer) = client.get("/v1/members").await else { return error.into() };
    let Ok(members) = client.read::<Members>(&answer) else { return error.into() };
    match nearest(name, members.members.iter().map(|member| &member.name)) {
        Some(meant) => anyhow::anyhow!("no member is called {name}; did you mean {meant}?"),
        None => anyhow::anyhow!("no member is called {name}"),
    }
}

/// The name that was probably meant.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    names
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > ALIKE)
        .map(|(_, known)| known)
}

/// The case in paragraphs.
pub(super) fn case(member: &Member, me: &SelfInfo, output: &Output) -> String {
    let mut paragraphs = vec![output.prose(&headline(member, me, output))];
    if member.name == me.member.name {
        paragraphs.push(output.prose(&format!(
            "That is the agent that answers here; of itself it needs no evidence. \
             Its local health is {}; {}.",
            health(me.local_health),
            agreement(me)
        )));
        return paragraphs.join("\n\n");
    }
    paragraphs.push(accusations(member, output));
    if let Some(evidence) = &member.evidence {
        paragraphs.push(output.prose(&silence(member, evidence)));
    }
    // What its host has said needs no looks of ours, and makes none worth telling.
    if !told_its_end(member) {
        if let Some(case) = member.evidence.as_ref().and_then(|e| e.case.as_ref()) {
            paragraphs.push(pieces(case, member, me, output));
        }
        paragraphs.push(output.prose(&contact(member)));
    }
    if let Some(evidence) = member.evidence.as_ref().filter(|e| !e.outlook.is_empty()) {
        let outlook = format!("What would change this: {}", sentence(&evidence.outlook));
        paragraphs.push(output.prose(&outlook));
    }
    paragraphs.push(output.prose(&them_or_us(member, me)));
    paragraphs.join("\n\n")
}

fn headline(member: &Member, me: &SelfInfo, output: &Output) -> String {
    let fenced = match member.fenced {
        Some(true) => "\nFenced: the lease that it had has run out; it stood down or will never act on it.",
        Some(false) => "\nNot fenced: it is not certain that its lease has run out.",
        None => "",
    };
    // A life is numbered by the time at which it began; a wrong clock may have numbered it otherwise.
    let began = i64::try_from(member.generation).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
    let began = began.map_or_else(String::new, |at| format!(", and its agent started at {at:.0}"));
    format!(
        "{} is {}, for {}, as {} sees it. Its address is {}{began}.{fenced}",
        member.name,
        output.status(&member.status),
        age(&member.since),
        me.member.name,
        member.address,
    )
}

/// Whether it is down because its host says that the process has ended.
fn told_its_end(member: &Member) -> bool {
    member.evidence.as_ref().is_some_and(|evidence| evidence.last_words)
}

fn accusations(member: &Member, output: &Output) -> String {
    let accusations = member.evidence.as_ref().map(|e| e.accusations.as_slice()).unwrap_or_default();
    if accusations.is_empty() {
        return match (member.status.as_str(), member.accusers.as_slice()) {
            ("left", _) => "It said good-bye itself.".to_owned(),
            _ if told_its_end(member) => {
                "Its host says that the process has ended: its last words, which need no witness.".to_owned()
            }
            (_, []) => "Nobody accuses it.".to_owned(),
            (_, accusers) => format!("It is accused by {}.", few(accusers)),
        };
    }
    let mut accusations: Vec<_> = accusations.iter().collect();
    accusations.sort_by(|a, b| natural(&a.by, &b.by));
    let mut table = output.table(Some(&["ACCUSER", "EVIDENCE", "SINCE", "UNDONE BY", "WEIGHT"]));
    for accusation in &accusations {
        table.add_row([
            accusation.by.clone(),
            charge(accusation),
            age(&accusation.since),
            undone_by(accusation.basis, member.heartbeat, member.evidence.as_ref()),
            weight(accusation).to_owned(),
        ]);
    }
    let who = count(accusations.len(), "member accuses it", "members accuse it");
    format!("{who}:\n{}", finish(&table))
}

/// What ends an accusation that stands up to heartbeat `basis`, in the time that it takes the member.
pub(super) fn undone_by(basis: u64, heartbeat: u64, evidence: Option<&Evidence>) -> String {
    let beats = basis.saturating_sub(heartbeat).saturating_add(1);
    match (u32::try_from(beats), evidence) {
        (Ok(beats @ 2..), Some(evidence)) if evidence.mean_seconds > 0.0 => {
            format!("{} of heartbeats", span(f64::from(beats) * evidence.mean_seconds))
        }
        _ => "a heartbeat".to_owned(),
    }
}

/// What the accusation counts for.
pub(super) fn weight(accusation: &Accusation) -> &'static str {
    match (accusation.weak, accusation.proven) {
        (true, _) => "weak: the accuser doubts itself",
        (false, true) => "proven",
        (false, false) => "not proven yet",
    }
}

/// What the accuser says of it.
pub(super) fn charge(accusation: &Accusation) -> String {
    let own = match accusation.kind.as_str() {
        "told" => "",
        "silent" => "silence, also when asked",
        "refused" => "its host says: no such process",
        "degraded" => "alive, loses far more than others",
        "unfit" => "alive, unfit: stay out until then",
        other => other,
    };
    let told = accusation.source.as_ref().map(|source| format!("told by {source}"));
    let words = [told.as_deref().unwrap_or_default(), own];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("; ")
}

/// What this agent has found out itself.
fn pieces(case: &Case, member: &Member, me: &SelfInfo, output: &Output) -> String {
    let asked =
        format!("Its witnesses are {}; a verdict needs {} of them.", list(&case.witnesses), case.needed);
    let own = own_word(case, member, me);
    if case.pieces.is_empty() {
        let own = own.unwrap_or_else(|| "This agent has nothing of its own against it.".to_owned());
        return output.prose(&format!("{own} {asked}"));
    }
    let mut table = output.table(Some(&["OWN EVIDENCE", "φ", "BY", "SINCE", "LAST"]));
    for piece in &case.pieces {
        let by = if piece.by.is_empty() { "this agent".to_owned() } else { list(&piece.by) };
        let phi = format!("{:.1}", piece.phi);
        table.add_row([piece_words(piece), phi, by, age(&piece.first), age(&piece.last)]);
    }
    let own = own.map_or_else(String::new, |own| format!("{own} "));
    let worth = format!("Silence and refusals are worth φ {:.1} here (5 accuses, 8 testifies):", case.phi);
    format!("{}\n{}\n{}", output.prose(&worth), finish(&table), output.prose(&format!("{own}{asked}")))
}

/// What one piece of evidence is.
pub(super) fn piece_words(piece: &Piece) -> String {
    let n = usize::try_from(piece.count).unwrap_or(usize::MAX);
    match piece.kind.as_str() {
        "silence" => "its heartbeat is overdue".to_owned(),
        "direct" => count(n, "question unanswered", "questions unanswered"),
        "indirect" => count(n, "helper's question unanswered", "helpers' questions unanswered"),
        "refused" => "its host refuses: no such process".to_owned(),
        "told" => format!("{} says that it is gone", piece.source.as_deref().unwrap_or("a source")),
        "link" => format!("{} unanswered while it lived", count(n, "recent question", "recent questions")),
        "flaps" => format!("back from down {} of late", count(n, "time", "times")),
        other => other.to_owned(),
    }
}

/// What this agent says against it without a piece of evidence to show: its looks end with a verdict, its word stands.
fn own_word(case: &Case, member: &Member, me: &SelfInfo) -> Option<String> {
    let has = |kinds: &[&str]| case.pieces.iter().any(|piece| kinds.contains(&piece.kind.as_str()));
    let accusations = member.evidence.as_ref().map(|e| e.accusations.as_slice()).unwrap_or_default();
    let own: Vec<String> = accusations
        .iter()
        .filter(|accusation| accusation.by == me.member.name)
        .filter(|accusation| match accusation.kind.as_str() {
            "silent" => !has(&["silence", "direct", "indirect"]),
            "refused" => !has(&["refused"]),
            "told" => !has(&["told"]),
            "degraded" | "unfit" => !has(&["link", "flaps"]),
            _ => true,
        })
        .map(|accusation| format!("{}, for {}", charge(accusation), age(&accusation.since)))
        .collect();
    (!own.is_empty()).then(|| {
        format!("This agent accuses it itself ({}); it is not looking at it just now.", own.join("; "))
    })
}

fn silence(member: &Member, evidence: &Evidence) -> String {
    let silent = span(evidence.silence_seconds);
    let habit = if evidence.samples == 0 {
        "its habit is not learnt yet".to_owned()
    } else {
        format!(
            "it usually advances every {} ± {} (learnt from {})",
            brief(evidence.mean_seconds),
            brief(evidence.deviation_seconds),
            count(evidence.samples.try_into().unwrap_or(usize::MAX), "step", "steps")
        )
    };
    let surprise = match member.status.as_str() {
        "down" | "left" => String::new(),
        _ => format!(
            " Surprise φ is {:.1}; from {:.1} on it is asked directly. Silence alone never accuses.",
            member.phi, evidence.phi_threshold
        ),
    };
    format!("Its heartbeat last advanced {silent} ago; {habit}.{surprise}")
}

fn contact(member: &Member) -> String {
    let evidence = member.evidence.as_ref();
    let rtt = evidence.and_then(|e| e.rtt_seconds);
    let last = evidence.and_then(|e| e.last_direct.as_deref());
    let mut text = match member.reachable {
        Some(true) => "Direct contact from here works".to_owned(),
        Some(false) if member.refused => {
            "Direct contact from here fails: datagrams are refused though it lives, so by a packet filter \
             (there, here or between), not by its process"
                .to_owned()
        }
        Some(false) => "Direct contact from here fails".to_owned(),
        None => "Direct contact from here has not been tried".to_owned(),
    };
    if let Some(rtt) = rtt {
        text += &format!(", round trip {}", brief(rtt));
    }
    if let Some(last) = last {
        text += &format!("; it last answered us {} ago", age(last));
    }
    text + "."
}

/// Whether the trouble is the member's or our own.
fn them_or_us(member: &Member, me: &SelfInfo) -> String {
    let facts = format!(
        "local health {}, {}, {}",
        health(me.local_health),
        if me.isolated { "isolated" } else { "not isolated" },
        agreement(me)
    );
    let trouble = matches!(member.status.as_str(), "suspect" | "down");
    if !trouble && member.reachable != Some(false) {
        return format!("This agent: {facts}.");
    }
    let verdict = if me.outside.is_some() {
        "Probably us: the others do not count this agent as a member just now; see heartsay status"
    } else if me.isolated {
        "Probably us: most others look silent too, so this agent holds its verdicts"
    } else if me.local_health >= IMPAIRED {
        "Possibly us: this host is slow itself"
    } else if me.findings.iter().any(|finding| finding.code == Code::CutOff.kind().word) {
        "Probably neither: this side is cut off, or most others have died; see heartsay doctor"
    } else if !trouble {
        "It lives, but not for us: others hear it. Look at the path between the two hosts"
    } else if me.peers_known > 0 && me.peers_agreeing * 2 < me.peers_known {
        "Unclear: most peers see the cluster differently just now"
    } else {
        "Probably them: this agent is well"
    };
    format!("Them or us? {verdict} ({facts}).")
}

fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with('.') { text.to_owned() } else { format!("{text}.") }
}

/// Jaro-Winkler likeness of a slip of the fingers; below it a hint confuses more than it helps. Honest guess.
const ALIKE: f64 = 0.75;
/// Local health from which the machine marks its own accusations as weak is its
/// business; from half the scale a person should look here first. Honest guess.
pub(super) const IMPAIRED: u8 = 4;
