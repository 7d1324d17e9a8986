//! The processes of a play cluster. None of them outlives this one.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::network::Network;

/// All agents of the play, in one directory.
pub(super) struct Cluster {
    dir: TempDir,
    program: PathBuf,
    nodes: Vec<Node>,
    /// The children's stdin, never written. It ends when this process does, however that
    /// happens, and every agent that was told so leaves then.
    lifeline: (PipeReader, PipeWriter),
    /// Between the agents, if it is to be cut or to lose something.
    network: Option<Network>,
}

/// One agent.
pub(super) struct Node {
    /// `n1`, `n2`, …
    pub(super) name: String,
    /// Where others reach it.
    pub(super) address: SocketAddr,
    /// Where it gossips.
    bind: SocketAddr,
    /// Where it answers.
    pub(super) socket: PathBuf,
    state: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

impl Cluster {
    /// Prepares directory and addresses; starts no agent. With `loss`, from 0 to 1, there is a network between the agents that can
    /// be cut and loses so many datagrams.
    pub(super) fn new(size: usize, keep: bool, loss: Option<f64>) -> anyhow::Result<Self> {
        let dir = playground(keep)?;
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut reached = addresses(if loss.is_some() { size * 2 } else { size })?;
        let binds = if loss.is_some() { reached.split_off(size) } else { reached.clone() };
        let network = loss.map(|loss| {
            let ports = reached.iter().zip(&binds).map(|(at, agent)| Ok((UdpSocket::bind(at)?, *agent)));
            Network::new(ports.collect::<io::Result<Vec<_>>>()?, loss)
        });
        let network = network.transpose().context("cannot make the network between the agents")?;
        let nodes = binds
            .into_iter()
            .zip(reached)
            .enumerate()
            .map(|(i, (bind, address))| {
                let name = format!("n{}", i + 1);
                let at = |ending: &str| dir.path().join(format!("{name}{ending}"));
                let (socket, state, log) = (at(".sock"), at(""), at(".log"));
                Node { name, address, bind, socket, state, log, child: None }
            })
            .collect();
        allow_files(size);
        Ok(Self { dir, program, nodes, lifeline: io::pipe()?, network })
    }

    /// Everything about the cluster is below this.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// In the order of their names' numbers.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Starts a node that does not run.
    pub(super) fn start(&mut self, index: usize) -> anyhow::Result<()> {
        let seed = self.nodes.first().map(|n| n.address.to_string()).unwrap_or_default();
        // All agents together log N² lines about one another; of many agents that is too much to read.
        let log_level = if self.nodes.len() > TALKATIVE { "warn" } else { "info" };
        // All vote, so that quorum can be tried here too.
        let expected = self.nodes.len().to_string();
        let Some(node) = self.nodes.get_mut(index) else { bail!("there is no node {index}") };
        fs::create_dir_all(&node.state)?;
        let log = File::options().create(true).append(true).open(&node.log)?;
        let mut command = clean(&self.program);
        command
            .arg("agent")
            .args(["--config", "/dev/null", "--cluster", "dev", "--profile", "local"])
            .args(["--log-level", log_level])
            .args(["--name", &node.name, "--bind", &node.bind.to_string(), "--seed", &seed])
            .args(["--expected", &expected])
            .args(if node.bind == node.address {
                vec![]
            } else {
                vec!["--advertise".to_owned(), node.address.to_string()]
            })
            .arg("--state-dir")
            .arg(&node.state)
            .arg("--socket")
            .arg(&node.socket)
            .arg("--exit-with-stdin")
            .stdin(self.lifeline.0.try_clone()?)
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C at the terminal is for us; the children are told in an orderly way.
            .process_group(0)
            .kill_on_drop(true);
        node.child = Some(command.spawn().context("cannot start an agent")?);
        Ok(())
    }

    /// Starts a program of the host of a node, as its service: registered while it runs.
    pub(super) fn serve(&self, index: usize, service: &str, port: u16) -> anyhow::Result<Child> {
        let Some(node) = self.nodes.get(index) else { bail!("there is no node {index}") };
        let mut command = clean(&self.program);
        command
            .arg("--socket")
            .arg(&node.socket)
            .args(["exec", "--service", service, "--service-port", &port.to_string(), "--", "cat"])
            .stdin(self.lifeline.0.try_clone()?)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        command.spawn().context("cannot start a service")
    }

    /// The network between the agents, where it was asked for.
    pub(super) fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// Ends a node as a crash would; returns the moment just before.
    pub(super) async fn crash(&mut self, index: usize) -> anyhow::Result<Instant> {
        let child = self.nodes.get_mut(index).and_then(|n| n.child.take());
        let mut child = child.context("the node does not run")?;
        let at = Instant::now();
        child.start_kill()?;
        child.wait().await?;
        Ok(at)
    }

    /// A node that has ended by itself, with how it ended. Forgets the process.
    pub(super) fn ended(&mut self) -> Option<(usize, ExitStatus)> {
        self.nodes.iter_mut().enumerate().find_map(|(i, node)| {
            let status = node.child.as_mut()?.try_wait().ok()??;
            node.child = None;
            Some((i, status))
        })
    }

    /// Asks all agents to leave and waits; one that does not within `bound` is killed.
    /// Returns the names of agents that did not stop cleanly.
    pub(super) async fn stop(&mut self, bound: Duration) -> Vec<String> {
        for node in &self.nodes {
            if let Some(pid) = node.pid().and_then(|p| p.try_into().ok()) {
                // One that has just ended by itself shows below.
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
        }
        let deadline = Instant::now() + bound;
        let mut unclean = Vec::new();
        for node in &mut self.nodes {
            let Some(mut child) = node.child.take() else { continue };
            match tokio::time::timeout_at(deadline, child.wait()).await {
                Ok(Ok(status)) if status.success() => {}
                Ok(_) => unclean.push(node.name.clone()),
                Err(_) => {
                    // Fails only for one that has ended meanwhile.
                    let _ = child.kill().await;
                    unclean.push(node.name.clone());
                }
            }
        }
        unclean
    }

    /// Leaves the directory behind.
    pub(super) fn keep(&mut self) -> &Path {
        self.dir.disable_cleanup(true);
        self.dir.path()
    }
}

impl Node {
    /// Process id while it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// The last lines it wrote.
    pub(super) fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(LAST_WORDS);
        lines.get(from..).unwrap_or_default().join("\n")
    }
}

/// Nothing of the machine's own agent, neither file nor environment, reaches the play.
fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (key, _) in std::env::vars_os().filter(|(key, _)| ours(key)) {
        command.env_remove(key);
    }
    command
}

fn ours(variable: &OsString) -> bool {
    variable.to_string_lossy().starts_with("HEARTSAY_")
}

/// Loopback addresses, all on the port that real hosts use. Where only 127.0.0.1 is loopback, that with a free port each.
fn addresses(size: usize) -> anyhow::Result<Vec<SocketAddr>> {
    for _ in 0..ATTEMPTS {
        let mut network = [0_u8];
        getrandom::fill(&mut network)?;
        let [network] = network;
        let hosts = (1..=size).filter_map(|i| {
            let [high, low] = u16::try_from(i).ok()?.to_be_bytes();
            Some(SocketAddr::from((Ipv4Addr::new(127, network.max(1), high, low), PORT)))
        });
        let hosts: Vec<SocketAddr> = hosts.collect();
        if hosts.iter().all(|host| UdpSocket::bind(host).is_ok()) {
            return Ok(hosts);
        }
    }
    // All held at once, so that no two are the same.
    let held: Vec<UdpSocket> =
        (0..size).map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
    Ok(held.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>()?)
}

/// In memory, if the system has a place for files there: hundreds of agents that begin a life would wait for the
/// disk, each three times, to keep what goes with the play. What is to be kept is on the disk, and `TMPDIR` says where.
fn playground(keep: bool) -> io::Result<TempDir> {
    let mut new = tempfile::Builder::new();
    new.prefix("heartsay-dev-");
    let told = keep || std::env::var_os("TMPDIR").is_some();
    let in_memory = if told { None } else { new.tempdir_in(IN_MEMORY).ok() };
    in_memory.map_or_else(|| new.tempdir(), Ok)
}

/// A pipe, a watch and perhaps a place in the network for each agent, and some to spare. Where the system says no, opening a file will say it again.
fn allow_files(size: usize) {
    let wanted = size as u64 * 3 + 64;
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < wanted
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard);
    }
}

/// The agents' default.
const PORT: u16 = 4327;
/// Where Linux has files in memory.
const IN_MEMORY: &str = "/dev/shm";
/// Networks below 127/8 to look at; another play may use one.
const ATTEMPTS: usize = 4;
/// Up to this many agents each writes down what it hears.
const TALKATIVE: usize = 50;
/// Lines of a log that say why an agent did not start.
const LAST_WORDS: usize = 12;
