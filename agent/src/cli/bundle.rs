//! `bundle`: what the report of a defect needs, in one file, and never a key.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueHint};
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use nix::libc;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::process::Command;

use super::doctor;
use super::exit::{Exit, say};
use super::output::{Output, count};
use super::table::finish;
use crate::client::{Client, ClientError};

/// Arguments of `bundle`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct Bundle {
    /// Write to this file, which must not exist [default: heartsay-NAME-TIME.tar.gz in this directory].
    #[arg(long, value_hint = ValueHint::FilePath, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// One file in it.
struct Part {
    name: &'static str,
    what: &'static str,
    /// Its text, or why it is missing.
    text: Result<String, String>,
}

/// What is printed.
#[derive(Serialize, Deserialize)]
struct Listing {
    /// The archive.
    file: String,
    parts: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    name: String,
    what: String,
    /// `null`: it is missing.
    bytes: Option<usize>,
    /// Why it is missing.
    error: Option<String>,
}

impl Bundle {
    /// Asks for everything, packs it, and says what is in it.
    pub(super) async fn run(self, client: &Client, output: &Output) -> anyhow::Result<Exit> {
        let me = client.get("/v1/self").await;
        let config = client.get("/v1/config").await;
        let keys = config.as_ref().map(keys).unwrap_or_default();
        let name = me.as_ref().ok().and_then(|me| me.pointer("/member/name")).and_then(Value::as_str);
        let folder = folder(name.unwrap_or("without-agent"), Timestamp::now());
        let exit = if me.is_ok() { Exit::Done } else { Exit::NoAgent };
        let mut parts = gather(client, me, config).await;
        for text in parts.iter_mut().filter_map(|part| part.text.as_mut().ok()) {
            without_keys(text, &keys);
        }
        let path = self.out.unwrap_or_else(|| PathBuf::from(format!("{folder}.tar.gz")));
        pack(&path, &folder, &parts)?;
        let listing =
            Listing { file: path.display().to_string(), parts: parts.iter().map(Part::row).collect() };
        output
            .show_list(&serde_json::to_value(listing)?, Some("parts"), |listing| table(&listing, output))?;
        if output.is_text() {
            say(
                "look through it before you send it: it has names and addresses, and the log has what hooks wrote",
            );
        }
        Ok(exit)
    }
}

/// Everything, one after the other: a part that is missing keeps no other from being there.
async fn gather(
    client: &Client,
    me: Result<Value, ClientError>,
    config: Result<Value, ClientError>,
) -> Vec<Part> {
    let part = |name, what, text| Part { name, what, text };
    let version =
        json!({ "client": env!("CARGO_PKG_VERSION"), "agent": client.get("/v1/version").await.ok() });
    let mut parts = vec![
        part("version.json", "versions of this program and of the agent", pretty(&version)),
        part("host.txt", "kernel, distribution, load and memory", Ok(host())),
        part(
            "config.json",
            "settings, without commands and keys",
            said(config.map(|config| without_commands(&config))),
        ),
        part("self.json", "the agent, as status shows it", said(me)),
    ];
    let report = doctor::report(client).await.map_err(|e| e.to_string());
    parts.push(part(
        "doctor.json",
        "what heartsay doctor finds, without sending anything",
        report.and_then(|r| pretty(&r)),
    ));
    for (name, what, path) in [
        ("members.json", "members with evidence", "/v1/members?evidence=true"),
        ("paths.json", "direct paths", "/v1/paths"),
        ("quorum.json", "quorum", "/v1/quorum"),
        ("services.json", "services", "/v1/services"),
        ("exports.json", "how exports fare", "/v1/exports"),
        ("stats.json", "counters", "/v1/stats"),
        ("history.json", "what happened in the last seven days", "/v1/history?limit=1000000"),
    ] {
        parts.push(part(name, what, said(client.get(path).await)));
    }
    let metrics = client.text("/metrics").await.map_err(|e| e.to_string());
    parts.push(part("metrics.txt", "metrics", metrics));
    parts.push(part("log.txt", "the log, as the journal has it", journal().await));
    parts
}

fn said(answer: Result<Value, ClientError>) -> Result<String, String> {
    answer.map_err(|e| e.to_string()).and_then(|answer| pretty(&answer))
}

fn pretty(value: &Value) -> Result<String, String> {
    serde_json::to_string_pretty(value).map_err(|e| e.to_string())
}

/// Settings without what runs somewhere: commands hold passwords.
fn without_commands(config: &Value) -> Value {
    let mut config = config.clone();
    for row in config.as_array_mut().into_iter().flatten() {
        let key = row.get("key").and_then(Value::as_str).unwrap_or_default();
        let is_command = COMMANDS.contains(&key.split('.').next().unwrap_or_default());
        if is_command && let Some(value) = row.get_mut("value").filter(|value| !value.is_null()) {
            *value = json!("(left out)");
        }
    }
    config
}

/// The keys of the agent, if this user may read them, to see to it that none is in the archive.
fn keys(config: &Value) -> Vec<String> {
    let is_file = |row: &&Value| row.get("key").and_then(Value::as_str) == Some("key_file");
    let row = config.as_array().and_then(|rows| rows.iter().find(is_file));
    let Some(path) = row.and_then(|row| row.get("value")).and_then(Value::as_str) else { return Vec::new() };
    let text = read(Path::new(path)).unwrap_or_default();
    let lines =
        text.lines().map(str::trim).filter(|line| !line.starts_with('#') && line.len() >= SHORTEST_KEY);
    lines.map(str::to_owned).collect()
}

fn without_keys(text: &mut String, keys: &[String]) {
    for key in keys.iter().filter(|key| !key.is_empty()) {
        if text.contains(key.as_str()) {
            *text = text.replace(key.as_str(), "(key)");
        }
    }
}

fn host() -> String {
    let files = ["/proc/version", "/etc/os-release", "/proc/loadavg", "/proc/uptime", "/proc/meminfo"];
    let part = |path: &str| match read(Path::new(path)) {
        Ok(text) => format!("# {path}\n{}\n\n", text.trim_end()),
        Err(e) => format!("# {path}: {e}\n\n"),
    };
    files.into_iter().map(part).collect()
}

/// The beginning of a plain file.
fn read(path: &Path) -> io::Result<String> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let mut bytes = Vec::new();
    file.take(LONGEST_FILE).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn journal() -> Result<String, String> {
    let mut journal = Command::new("journalctl");
    journal.args(["--no-pager", "--quiet", "--output", "short-iso", "--lines", "5000", "--unit", "heartsay"]);
    journal.stdin(Stdio::null()).kill_on_drop(true);
    let ran = tokio::time::timeout(PATIENCE, journal.output()).await;
    let ran = ran.map_err(|_| "journalctl does not answer".to_owned())?;
    let ran = ran.map_err(|e| format!("journalctl cannot be run: {e}"))?;
    match String::from_utf8_lossy(&ran.stdout).into_owned() {
        text if text.trim().is_empty() => {
            Err("the journal shows this user nothing of the unit heartsay; add the agent's log by hand"
                .to_owned())
        }
        text => Ok(text),
    }
}

/// Writes the archive, which only its owner can read. One that fails is not left behind.
fn pack(path: &Path, folder: &str, parts: &[Part]) -> anyhow::Result<()> {
    let at = || path.display().to_string();
    let refused = || match path.exists() {
        true => format!("{} is there already, and stays; give another --out", at()),
        false => at(),
    };
    let file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).with_context(refused)?;
    write(file, folder, parts)
        .inspect_err(|_| drop(std::fs::remove_file(path)))
        .with_context(|| format!("{} cannot be written", at()))
}

fn write(file: File, folder: &str, parts: &[Part]) -> io::Result<()> {
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
    for part in parts {
        let Ok(text) = &part.text else { continue };
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(now);
        archive.append_data(&mut header, format!("{folder}/{}", part.name), text.as_bytes())?;
    }
    let mut file = archive.into_inner()?.finish()?;
    file.flush()?;
    file.sync_all()
}

/// What the archive and the directory in it are called.
fn folder(name: &str, now: Timestamp) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') { c } else { '_' };
    let name: String = name.chars().map(plain).collect();
    let time: String = format!("{now:.0}").chars().filter(|c| !matches!(c, '-' | ':')).collect();
    format!("heartsay-{name}-{time}")
}

impl Part {
    fn row(&self) -> Row {
        Row {
            name: self.name.to_owned(),
            what: self.what.to_owned(),
            bytes: self.text.as_ref().ok().map(String::len),
            error: self.text.as_ref().err().cloned(),
        }
    }
}

fn table(listing: &Listing, output: &Output) -> String {
    let mut table = output.table(Some(&["FILE", "BYTES", "WHAT"]));
    for row in &listing.parts {
        let (bytes, what) = match (&row.bytes, &row.error) {
            (Some(bytes), _) => (bytes.to_string(), row.what.clone()),
            (None, error) => ("missing".to_owned(), first_line(error.as_deref().unwrap_or_default())),
        };
        table.add_row([row.name.clone(), bytes, what]);
    }
    let files = listing.parts.iter().filter(|row| row.bytes.is_some()).count();
    format!("{}\n\n{} in {}", finish(&table), count(files, "file", "files"), listing.file)
}

/// Of a reason: what to do about it is the same for all.
fn first_line(reason: &str) -> String {
    reason.lines().next().unwrap_or_default().to_owned()
}

/// Settings whose values are commands, or have some in them.
const COMMANDS: [&str; 3] = ["hooks", "export", "service"];
/// 32 bytes in base64.
const SHORTEST_KEY: usize = 43;
/// In bytes: the longest key file.
const LONGEST_FILE: u64 = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);

const HELP: &str = "\
What is in it is listed, with what is missing and why. Never in it: keys, and the commands of hooks, exports and checks, \
which may hold passwords. The archive can be read by its owner alone. Nothing is sent anywhere.

Exit codes:
  0    it is written
  1    it could not be written
  3    it is written, without what the agent would say: there is none";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_left_out_of_the_settings_and_the_rest_is_as_it_was() {
        let row = |key: &str, value: Value| json!({ "key": key, "value": value, "origin": "default", "reload": false });
        let config = json!([
            row("cluster", json!("shop")),
            row("hooks", Value::Null),
            row("hooks.on_self", json!("curl -u me:secret")),
            row("export", json!("a secret")),
            row("service.web", json!("secret")),
            row("hook_timeout", json!("30s")),
        ]);
        let shown = without_commands(&config);
        assert!(!shown.to_string().contains("secret"), "{shown}");
        assert_eq!(shown[0], config[0]);
        assert_eq!(shown[1]["value"], Value::Null);
        assert_eq!(shown[2]["value"], "(left out)");
        assert_eq!(shown[5], config[5]);
    }

    #[test]
    fn a_key_that_got_anywhere_is_taken_out() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keyring");
        let key = format!("{}=", "A".repeat(43));
        std::fs::write(&file, format!("# {}\nplain\n {key} \n", "c".repeat(50))).unwrap();
        let keys = keys(&json!([{ "key": "key_file", "value": file }]));
        assert_eq!(keys, [key.as_str()]);
        let mut text = format!("<{key}>");
        without_keys(&mut text, &keys);
        assert_eq!(text, "<(key)>");
    }

    #[test]
    fn a_name_leads_to_no_other_directory() {
        let now = "2026-11-20T14:03:09.5Z".parse().unwrap();
        assert_eq!(folder("../a b", now), "heartsay-.._a_b-20261120T140309Z");
    }

    #[test]
    fn a_file_that_is_there_is_not_touched_and_one_that_fails_is_not_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bundle.tar.gz");
        let parts = [
            Part { name: "a.txt", what: "a", text: Ok("text".to_owned()) },
            Part { name: "b", what: "b", text: Err("no".to_owned()) },
        ];
        pack(&path, "folder", &parts).unwrap();
        let written = std::fs::read(&path).unwrap();
        let error = pack(&path, "folder", &parts).unwrap_err().to_string();
        assert!(error.contains("is there already"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), written);
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(written.as_slice()));
        let names: Vec<PathBuf> =
            archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().into_owned()).collect();
        assert_eq!(names, [Path::new("folder/a.txt")]);
    }
}
