//! `status`, `quorum` and `version`: the agent itself.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::exit::Exit;
use super::output::{Output, age, count, fit_to_show, list, span};
use super::table::{Cell, finish};
use crate::client::{Client, ClientError};
use crate::types::{Beat, NewsDelay, Quorum, STATUSES, SelfInfo, Version};

/// `heartsay status`.
pub(super) async fn status(client: &Client, output: &Output) -> anyhow::Result<Exit> {
    let answer = client.get("/v1/self").await?;
    client.read::<SelfInfo>(&answer)?;
    output.show(&answer, |me: SelfInfo| status_text(&me, output))?;
    Ok(Exit::Done)
}

/// `heartsay quorum`: the exit code is the answer.
pub(super) async fn quorum(client: &Client, output: &Output) -> anyhow::Result<Exit> {
    let answer = client.get("/v1/quorum").await?;
    let held = client.read::<Quorum>(&answer)?.quorum == "held";
    output.show(&answer, |quorum: Quorum| {
        output.prose(&format!("{}\n{}", quorum_text(&quorum, output), quorum.reason))
    })?;
    Ok(if held { Exit::Done } else { Exit::No })
}

/// `heartsay version`: works without an agent too.
pub(super) async fn version(client: &Client, output: &Output) -> anyhow::Result<Exit> {
    let (agent, remark) = match client.get("/v1/version").await {
        Ok(answer) => {
            client.read::<Version>(&answer)?;
            let agent: Version = fit_to_show(&answer)?;
            (answer, format!("{} (protocol {} to {})", agent.version, agent.protocol_min, agent.protocol_max))
        }
        Err(ClientError::Unreachable { .. }) => (Value::Null, format!("none at {}", client.address())),
        Err(other) => return Err(other.into()),
    };
    let mine = env!("CARGO_PKG_VERSION");
    let answer = json!({ "client": { "version": mine }, "agent": agent });
    output.show(&answer, |_: IgnoredAny| format!("heartsay {mine}\nagent    {remark}"))?;
    Ok(Exit::Done)
}

/// `held: 4 of 5 present, 3 needed, for 2m10s`; by zones `held: 2 of 3 zones present, 2 needed, for 2m10s`.
pub(super) fn quorum_text(quorum: &Quorum, output: &Output) -> String {
    let since = quorum.expected.map(|_| format!(", for {}", age(&quorum.since)));
    format!("{}{}", quorum_count(quorum, output), since.unwrap_or_default())
}

/// The same without how long: of the moment in which it changed.
pub(super) fn quorum_count(quorum: &Quorum, output: &Output) -> String {
    let word = output.status(&quorum.quorum);
    match quorum.expected {
        Some(expected) => format!(
            "{word}: {} of {expected}{} present, {} needed",
            quorum.present,
            if quorum.zones.is_empty() { "" } else { " zones" },
            quorum.needed,
        ),
        None => format!("{word}: {} present; nobody is said to vote", quorum.present),
    }
}

/// The agent's reason where quorum is not held: the numbers alone may seem to suffice.
fn why_not(quorum: &Quorum) -> &str {
    if quorum.quorum == "held" { "" } else { &quorum.reason }
}

/// Whether there is an electorate: without one, quorum is never held.
pub(super) fn has_electorate(quorum: &Quorum) -> bool {
    quorum.electorate.is_some() || quorum.expected.is_some()
}

/// What there is to say without an electorate.
pub(super) const NO_ELECTORATE: &str =
    "this agent has no electorate, so quorum is never held; set \"expected\" (docs/quorum.md)";

fn status_text(me: &SelfInfo, output: &Output) -> String {
    let bold = Style::new().bold();
    let counts: Vec<String> = STATUSES
        .iter()
        .filter_map(|s| me.counts.get(*s).filter(|n| **n > 0).map(|n| format!("{n} {}", output.status(s))))
        .collect();
    let member = &me.member;
    let rows = [
        ("agent", format!("{} ({}), pid {}", member.name, member.address, me.pid)),
        ("cluster", format!("{}, profile {}", me.cluster, me.profile)),
        ("state", state(me).to_owned()),
        ("members", counts.join(", ")),
        ("agreement", agreement(me)),
        ("news", me.news_delay.as_ref().map(news).unwrap_or_default()),
        ("quorum", quorum_text(&me.quorum, output)),
        ("", why_not(&me.quorum).to_owned()),
        ("local health", health(me.local_health)),
        ("encrypted", encryption(me)),
        ("up", age(&me.started)),
        ("version", me.version.version.clone()),
    ];
    let mut table = output.table(None);
    let beat = me.beat.as_ref().map(|beat| ("beat", beat_text(beat)));
    for (key, value) in rows.into_iter().chain(beat).filter(|(_, value)| !value.is_empty()) {
        table.add_row([Cell::new(key).styled(bold), value.into()]);
    }
    for (i, seed) in me.seeds.iter().enumerate() {
        let found = match &seed.error {
            Some(error) => format!("{}: {error}", seed.name),
            None if seed.addresses == [seed.name.clone()] => seed.name.clone(),
            None => format!("{} → {}", seed.name, seed.addresses.join(", ")),
        };
        table.add_row([Cell::new(if i == 0 { "seeds" } else { "" }).styled(bold), found.into()]);
    }
    let mut text = finish(&table);
    for problem in problems(me) {
        let mark = output.paint(AnsiColor::Yellow.on_default().bold(), "!");
        let _ = write!(text, "\n{}", output.prose(&format!("{mark} {problem}")));
    }
    text
}

/// With codes, where the agent gives them.
fn problems(me: &SelfInfo) -> Vec<String> {
    if me.findings.is_empty() {
        return me.conditions.clone();
    }
    me.findings.iter().map(|one| format!("{}: {}; {}", one.code, one.what, one.remedy)).collect()
}

/// How this agent stands to the others.
pub(super) fn state(me: &SelfInfo) -> &'static str {
    if me.leaving {
        "leaving"
    } else if let Some(outside) = &me.outside {
        match outside.why.as_str() {
            "refused" => "refused: another living host has this name",
            "clock" => "refused: this host's clock is more than a day ahead of the others'",
            "kept-out" => "kept out: the others hold this member for down, though it runs",
            "down" => "down: the others have called this member down",
            _ => "unanswered: no other member answers this one",
        }
    } else if me.isolated {
        // As `driver/mismatch.rs` says it of another key or cluster, which makes the others look silent too.
        if me.conditions.iter().any(|said| said.starts_with("datagrams from ")) {
            "isolated: most others look silent, and datagrams are refused here, see below; verdicts are held"
        } else {
            "isolated: most others look silent, so probably it is this host; verdicts are held"
        }
    } else if me.joined {
        "joined"
    } else if me.seeds.is_empty() {
        "alone: no seeds are configured, so it waits to be found"
    } else if me.seeds_heard > 0 {
        "not joined yet: something came from a seed, but there is no complete view yet"
    } else {
        "not joined yet: no seed has answered"
    }
}

/// `yes, sends with key 112; also opens 37`.
fn encryption(me: &SelfInfo) -> String {
    let keys: Vec<String> = me.keys.iter().map(ToString::to_string).collect();
    match keys.as_slice() {
        // An agent that is older than this program does not tell.
        [] => if me.encrypted { "yes" } else { "no" }.to_owned(),
        [one] => format!("yes, with key {one}"),
        [first, others @ ..] => format!("yes, sends with key {first}; also opens {}", list(others)),
    }
}

fn beat_text(beat: &Beat) -> String {
    let word = if beat.beating { "in time" } else { "missed" };
    format!("{word}: the last {} ago, due every {}", age(&beat.last), span(beat.within_seconds))
}

/// `37 of 40 peers share this view`.
pub(super) fn agreement(me: &SelfInfo) -> String {
    match (me.peers_agreeing, me.peers_known) {
        (_, 0) => "no peer heard lately".to_owned(),
        (agreeing, 1) => format!("{agreeing} of 1 peer shares this view"),
        (agreeing, known) => {
            format!("{agreeing} of {} share this view", count(known, "peer", "peers"))
        }
    }
}

/// `takes 0.08s, 0.31s at most (measured 12 times)`.
pub(super) fn news(delay: &NewsDelay) -> String {
    let NewsDelay { median_seconds, slowest_seconds, beacons } = delay;
    let [median, slowest] = [*median_seconds, *slowest_seconds].map(hundredths);
    match beacons {
        1 => format!("took {slowest} (measured once)"),
        _ => format!("takes {median}, {slowest} at most (measured {beacons} times)"),
    }
}

/// `0.08s`; the time of the cluster tells no less than `<0.01s`.
pub(super) fn hundredths(seconds: f64) -> String {
    if seconds < 0.01 { "<0.01s".to_owned() } else { format!("{seconds:.2}s") }
}

/// `0 of 8, well`.
pub(super) fn health(score: u8) -> String {
    let word = match score {
        0 => "well",
        1..=2 => "a little slow",
        3..=5 => "slow",
        _ => "impaired",
    };
    format!("{score} of 8, {word}")
}
