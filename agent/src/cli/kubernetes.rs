//! `kubernetes`: what is known of the members, for the cluster that runs on their hosts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::exec::signals;
use super::exit::{Exit, say};
use super::output::{Format, Output, print};
use crate::client::Client;
use crate::kubernetes::{Api, Ended, Event, Tainter};

/// Verbs of `kubernetes`.
#[derive(Subcommand)]
pub(super) enum Kubernetes {
    /// Put a NoExecute taint on the node of each member that is down, and take it off when the member is alive again.
    Taint(Taint),
}

/// Arguments of `kubernetes taint`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct Taint {
    /// Only say what would be done. Nothing is written, not even the lease.
    #[arg(long)]
    dry_run: bool,
    /// Do what is to be done now, and end.
    #[arg(long)]
    once: bool,
    /// Key of the taint; its value is empty and its effect NoExecute.
    #[arg(long, value_parser = key, default_value = "heartsay.io/down", value_name = "KEY")]
    key: String,
    /// The API server, https://HOST:PORT [default: that of the cluster in which this runs].
    #[arg(long, value_name = "URL")]
    api: Option<String>,
    /// Token of the service account; read again for each request.
    #[arg(long, default_value_os_t = account("token"), value_name = "FILE")]
    token_file: PathBuf,
    /// Certificates that vouch for the API server, in PEM; read again for each request.
    #[arg(long, default_value_os_t = account("ca.crt"), value_name = "FILE")]
    ca_file: PathBuf,
    /// Namespace of the lease `heartsay-taint`, whose holder acts [default: that of the service account].
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Who this instance is to the lease, unique among them; the name of the pod [default: the name of the member].
    #[arg(long, value_name = "NAME")]
    identity: Option<String>,
    /// For how long the lease holds without being renewed. Until then nothing is done when its holder dies.
    #[arg(long, value_parser = lease, default_value = "15s", value_name = "TIME")]
    lease: Duration,
}

impl Kubernetes {
    /// Does it.
    pub(super) async fn run(self, client: Client, output: &Output) -> anyhow::Result<Exit> {
        match self {
            Self::Taint(verb) => verb.run(client, output).await,
        }
    }
}

impl Taint {
    async fn run(self, client: Client, output: &Output) -> anyhow::Result<Exit> {
        let once = self.once;
        let mut tainter = match self.tainter(client) {
            Ok(tainter) => tainter,
            Err(why) => {
                say(&why);
                return Ok(Exit::Code(ExitCode::from(USAGE)));
            }
        };
        let mut signals = signals()?;
        let mut tell = |event: Event| show(&event, output);
        let ended = async {
            if once {
                tainter.once(&mut tell).await
            } else {
                tainter.run(&mut tell).await.map(|()| Ended::Done)
            }
        };
        let ended = tokio::select! {
            ended = ended => ended,
            Some(_) = signals.recv() => Ok(Ended::Done),
        };
        tainter.end().await;
        Ok(match ended? {
            Ended::Done => Exit::Done,
            Ended::Held | Ended::Standby => Exit::No,
            Ended::Failed => Exit::Failed,
            Ended::NoAgent => Exit::Code(ExitCode::from(NO_AGENT)),
        })
    }

    fn tainter(self, client: Client) -> Result<Tainter, String> {
        let url = self.api.or_else(in_cluster).ok_or(
            "KUBERNETES_SERVICE_HOST is not set, so this does not run in a pod: name the API server by --api",
        )?;
        let api = Api::new(&url, self.token_file, self.ca_file)?;
        let own = || fs::read_to_string(account("namespace")).ok().map(|name| name.trim().to_owned());
        let namespace =
            self.namespace.or_else(own).ok_or("no namespace for the lease: name one by --namespace")?;
        if !is_label(&namespace) {
            return Err(format!("{namespace:?} is no name of a namespace"));
        }
        let identity = self.identity.filter(|identity| !identity.is_empty());
        Ok(Tainter::new(api, client, self.key, identity, (namespace, self.lease), self.dry_run))
    }
}

/// As every pod is told.
fn in_cluster() -> Option<String> {
    let of = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (host, port) = (of("KUBERNETES_SERVICE_HOST")?, of("KUBERNETES_SERVICE_PORT"));
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Some(format!("https://{host}:{}", port.as_deref().unwrap_or("443")))
}

/// Where every pod finds it.
fn account(file: &str) -> PathBuf {
    Path::new("/var/run/secrets/kubernetes.io/serviceaccount").join(file)
}

fn show(event: &Event, output: &Output) -> anyhow::Result<()> {
    match output.format {
        Format::Jsonl => print(&serde_json::to_string(event)?),
        Format::Json => print(&serde_json::to_string_pretty(event)?),
        Format::Yaml => print(&format!("---\n{}", serde_saphyr::to_string(event)?)),
        Format::Table | Format::Wide => output.say(&sentence(event)),
    }
}

fn sentence(event: &Event) -> String {
    let would = if event.dry_run { "would be " } else { "" };
    let what = match (event.kind, &event.node) {
        ("taint", Some(node)) => format!("{node} {would}tainted: "),
        ("untaint", Some(node)) => format!("{node} {would}freed of the taint: "),
        (kind, Some(node)) => format!("{kind}: {node}: "),
        (kind, None) => format!("{kind}: "),
    };
    format!("{}  {what}{}", event.time, event.reason)
}

/// `PREFIX/NAME`, as Kubernetes asks of keys; a prefix keeps it apart from those of others.
fn key(text: &str) -> Result<String, String> {
    let (prefix, name) = text.split_once('/').ok_or("it is not of the form PREFIX/NAME")?;
    let is_name = |name: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        name.len() <= 63
            && name.chars().all(fits)
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    if prefix.len() > 253 || !prefix.split('.').all(is_label) {
        return Err(format!("{prefix:?} is not a domain in small letters"));
    }
    if !is_name(name) {
        return Err(format!("{name:?} is not a name of letters, digits, - _ and ."));
    }
    Ok(text.to_owned())
}

/// Of RFC 1123.
fn is_label(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=63).contains(&text.len())
        && text.chars().all(|c| fits(c) || c == '-')
        && text.starts_with(fits)
        && text.ends_with(fits)
}

fn lease(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|e| e.to_string())?;
    if (1..=300).contains(&time.as_secs()) { Ok(time) } else { Err("it is between 1s and 5m".to_owned()) }
}

const HELP: &str = "\
Acts only while the agent beside it answers, is in the cluster, is not isolated and holds quorum; otherwise the taints stay as they \
are, and it says so. At most a tenth of the nodes, and at least one, have the taint at a time. Of many instances, the holder of the \
lease acts. Taints of others, also of the same key with a value, are never touched.

Types of lines (-o jsonl): lead, standby, hold, taint, untaint, floor, absent, failed.

Exit codes:
  0    ended by a signal, and the lease given back; with --once: all is done
  1    with --once: the API server refused or did not answer, five times
  2    usage: the command line, or no API server is known
  3    with --once: no agent answers
  4    with --once: nothing was done, since the agent is not to be
       believed now, or another instance acts
Without --once it goes on over every failure, with longer and longer pauses, up to 30 s.";

/// As everywhere.
const USAGE: u8 = 2;
const NO_AGENT: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_that_kubernetes_takes() {
        for good in ["heartsay.io/down", "a/B_c.d", "x-1.example.org/0"] {
            assert!(key(good).is_ok(), "{good}");
        }
        for bad in ["down", "/down", "a/", "A/down", "a..b/down", "a/-down", "a/b/c", "a/d own", "-a/b"] {
            assert!(key(bad).is_err(), "{bad}");
        }
    }
}
