//! `keys`: which keys the agents have, and the three edits of the key file that change one.
//!
//! Each edit is made on this host and taken over by its agent at once. `use` and `remove` look first whether the others
//! are ready for it, by what the members say in their records.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Subcommand;
use heartsay_proto::Keyring;
use heartsay_proto::keyring::{PLAIN, entry};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::exit::{Exit, say};
use super::output::Output;
use super::table::finish;
use crate::client::Client;
use crate::file;
use crate::settings::{self, Shown};
use crate::types::Member;

/// Verbs of `keys`.
#[derive(Subcommand)]
pub(super) enum Keys {
    /// Show the ids of the keys that the agent holds, or of those in a file: a number from 1 to 255 each, made
    /// from a hash of the key. Never the keys. Says which members lack one, and how many send with it.
    List {
        /// Read this key file instead of asking the agent.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Open datagrams with one more key from now on: adds it to the end of the agent's key file.
    Add {
        /// A file with the key, as `keygen --out` makes it; or `plain`, for datagrams without a key.
        #[arg(value_name = "FILE|plain")]
        key: String,
    },
    /// Send with this key from now on: moves it to the front of the agent's key file. Refused, with exit code 4, until
    /// all members that are alive have it.
    Use {
        /// Its id, or `plain`.
        #[arg(value_name = "ID|plain")]
        id: String,
        /// Even if members lack it: they cannot read what this agent sends.
        #[arg(long)]
        force: bool,
    },
    /// Forget this key: drops it from the agent's key file. Refused, with exit code 4, while any member that is alive
    /// sends with it.
    Remove {
        /// Its id, or `plain`.
        #[arg(value_name = "ID|plain")]
        id: String,
        /// Even if members send with it: this agent cannot read that.
        #[arg(long)]
        force: bool,
    },
}

#[derive(Deserialize)]
struct Listed {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    id: u8,
    sends: bool,
    #[serde(default)]
    lacked_by: Vec<String>,
    #[serde(default)]
    sent_by: Option<usize>,
}

#[derive(Deserialize)]
struct View {
    members: Vec<Member>,
}

impl Keys {
    /// Answers; "no" when there is no key, or when others are not ready.
    pub(super) async fn run(self, client: &Client, output: &Output) -> anyhow::Result<Exit> {
        match self {
            Self::List { file: Some(file) } => list(&settings::key_ids(&file)?, None, output),
            Self::List { file: None } => {
                let ids = client.me().await?.keys;
                list(&ids, Some(&alive(client).await?), output)
            }
            Self::Add { key } => {
                let line =
                    if key == PLAIN { Zeroizing::new(PLAIN.to_owned()) } else { one_key(Path::new(&key))? };
                edit(client, output, "added", |lines| {
                    let id = id_of(&line)?.ok_or_else(|| anyhow!("{key} holds no key"))?;
                    if lines.iter().any(|old| entry(old) == entry(&line)) {
                        bail!("key {id} is in the key file already");
                    }
                    lines.push(line.clone());
                    Ok(id)
                })
                .await
            }
            Self::Use { id, force } => {
                let id = number(&id)?;
                let lacking = names(&alive(client).await?, |member| !opens(member, id));
                if !force && !lacking.is_empty() {
                    say(&format!(
                        "these members do not have key {id} yet: {}; add it there first",
                        lacking.join(", ")
                    ));
                    return Ok(Exit::No);
                }
                edit(client, output, "used", |lines| {
                    let place = place_of(lines, id)?;
                    let line = lines.remove(place);
                    let first = lines.iter().position(|line| !entry(line).is_empty()).unwrap_or(lines.len());
                    lines.insert(first, line);
                    Ok(id)
                })
                .await
            }
            Self::Remove { id, force } => {
                let id = number(&id)?;
                let sending = names(&alive(client).await?, |member| sends_with(member) == id);
                if !force && !sending.is_empty() {
                    say(&format!(
                        "these members send with key {id}: {}; let them use another first",
                        sending.join(", ")
                    ));
                    return Ok(Exit::No);
                }
                edit(client, output, "removed", |lines| {
                    let place = place_of(lines, id)?;
                    lines.remove(place);
                    Ok(id)
                })
                .await
            }
        }
    }
}

/// Shows keys by their ids, the one that seals first, and what `members` say about them.
fn list(ids: &[u8], members: Option<&[Member]>, output: &Output) -> anyhow::Result<Exit> {
    let keys = ids.iter().enumerate().map(|(i, id)| match members {
        None => json!({ "id": id, "sends": i == 0 }),
        Some(members) => json!({
            "id": id,
            "sends": i == 0,
            "lacked_by": names(members, |member| !opens(member, *id)),
            "sent_by": names(members, |member| sends_with(member) == *id).len(),
        }),
    });
    let answer = json!({ "keys": keys.collect::<Value>() });
    output.show_list(&answer, Some("keys"), |Listed { keys }| {
        let asked = keys.iter().any(|key| key.sent_by.is_some());
        let head: &[&str] = if asked { &["KEY", "USE", "SENT BY", "LACKED BY"] } else { &["KEY", "USE"] };
        let mut table = output.table((!keys.is_empty()).then_some(head));
        for key in keys {
            let used = if key.sends { "sends with it, and opens" } else { "opens" };
            let name = if key.id == 0 { PLAIN.to_owned() } else { key.id.to_string() };
            let mut row = vec![name, used.to_owned()];
            if let Some(sent_by) = key.sent_by {
                let lacked = if key.lacked_by.is_empty() { "-".to_owned() } else { key.lacked_by.join(", ") };
                row.extend([sent_by.to_string(), lacked]);
            }
            table.add_row(row);
        }
        finish(&table)
    })?;
    if ids.is_empty() {
        say("no key: datagrams are neither encrypted nor authenticated");
        return Ok(Exit::No);
    }
    Ok(Exit::Done)
}

/// The members that have to be able to read what this one sends.
async fn alive(client: &Client) -> anyhow::Result<Vec<Member>> {
    let View { members } = client.read(&client.get("/v1/members").await?)?;
    Ok(members.into_iter().filter(|member| matches!(&*member.status, "alive" | "suspect")).collect())
}

fn names(members: &[Member], fits: impl Fn(&Member) -> bool) -> Vec<String> {
    members.iter().filter(|member| fits(member)).map(|member| member.name.clone()).collect()
}

/// Whether the member says that it opens datagrams of this key. Without a key it opens plain ones.
fn opens(member: &Member, id: u8) -> bool {
    if member.keys.is_empty() { id == 0 } else { member.keys.contains(&id) }
}

fn sends_with(member: &Member) -> u8 {
    member.keys.first().copied().unwrap_or(0)
}

/// Changes the lines of the agent's key file and has the agent take it over. If the agent refuses, the file is as before.
async fn edit(
    client: &Client,
    output: &Output,
    done: &str,
    change: impl FnOnce(&mut Vec<Zeroizing<String>>) -> anyhow::Result<u8>,
) -> anyhow::Result<Exit> {
    let shown: Vec<Shown> = client.read(&client.get("/v1/config").await?)?;
    let file =
        shown.iter().find(|setting| setting.key == "key_file").and_then(|setting| setting.value.clone());
    let file = file.ok_or_else(|| {
        anyhow!(
            "the agent has no key file; set key_file to one that begins with the line \"plain\", and reload"
        )
    })?;
    // The file itself, where the setting names a link to it.
    let file = fs::canonicalize(&file).with_context(|| file.clone())?;
    let at = || file.display().to_string();
    let before = Zeroizing::new(fs::read_to_string(&file).with_context(at)?);
    let mut lines: Vec<_> = before.lines().map(|line| Zeroizing::new(line.to_owned())).collect();
    let id = change(&mut lines)?;
    let after = Zeroizing::new(lines.iter().map(|line| format!("{}\n", **line)).collect::<String>());
    if Keyring::parse(&after).map_err(|why| anyhow!("{}: {why}", file.display()))?.is_empty() {
        bail!("{} would hold no key; to go without, take key_file out of the settings", file.display());
    }
    file::put(&file, after.as_bytes()).with_context(at)?;
    if let Err(refused) = client.post("/v1/reload", &json!({}), Duration::ZERO).await {
        file::put(&file, before.as_bytes()).with_context(at)?;
        return Err(anyhow::Error::from(refused).context("the key file is as before"));
    }
    let name = if id == 0 { PLAIN.to_owned() } else { format!("key {id}") };
    output.show(&json!({ "id": id, done: true, "file": file }), |_: Value| format!("{name}: {done}"))?;
    Ok(Exit::Done)
}

/// The one key in a file.
fn one_key(file: &Path) -> anyhow::Result<Zeroizing<String>> {
    let at = || file.display().to_string();
    let text = Zeroizing::new(fs::read_to_string(file).with_context(at)?);
    let mut keys = text.lines().filter(|line| !entry(line).is_empty());
    match (keys.next(), keys.next()) {
        (Some(key), None) => Ok(Zeroizing::new(entry(key).to_owned())),
        (None, _) => bail!("{} holds no key; \"heartsay keygen\" makes one", at()),
        (Some(_), Some(_)) => bail!("{} holds more than one key", at()),
    }
}

/// The id of the key in a line, if there is one.
fn id_of(line: &str) -> anyhow::Result<Option<u8>> {
    if entry(line) == PLAIN {
        return Ok(Some(0));
    }
    Ok(Keyring::parse(line).map_err(|why| anyhow!("{}", why.problem))?.ids().first().copied())
}

fn place_of(lines: &[Zeroizing<String>], id: u8) -> anyhow::Result<usize> {
    let mut places = (0..).zip(lines).filter(|(_, line)| id_of(line).is_ok_and(|found| found == Some(id)));
    match (places.next(), places.next()) {
        (Some((place, _)), None) => Ok(place),
        (None, _) => bail!("the key file holds no key {id}"),
        (Some(_), Some(_)) => bail!("two keys of the file have the id {id}; edit it by hand, and reload"),
    }
}

fn number(id: &str) -> anyhow::Result<u8> {
    if id == PLAIN {
        return Ok(0);
    }
    id.parse()
        .ok()
        .filter(|id| *id != 0)
        .ok_or_else(|| anyhow!("{id:?} is no id of a key: a number from 1 to 255, or plain"))
}
