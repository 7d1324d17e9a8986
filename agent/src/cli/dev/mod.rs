//! `dev`: a real cluster on this machine, and one small drama in it.
//!
//! Real agents in processes of their own, on loopback addresses, with all they
//! need in one temporary directory. One is killed, or the network between them is
//! cut; how long the others take to notice is measured at the sockets of all of them,
//! as any program would see it.

mod board;
mod cluster;
mod network;
mod stage;
mod step;
mod story;

use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::AbortOnDropHandle;

use self::cluster::Cluster;
use self::stage::Stage;
use self::story::{Failed, Plot, Story};
use super::exit::{Exit, say};
use super::output::Output;
use super::{reader, web};
use crate::client::Client;
use crate::task;

/// Arguments of `dev`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct Dev {
    /// How many agents. All of them vote.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000), value_name = "N")]
    nodes: u16,
    /// Tell the story once, stop everything, and exit with 0 only if it went as it should.
    #[arg(long)]
    once: bool,
    /// Kill no agent: cut the network, so that the smaller half is alone, and heal it when both sides know of it.
    #[arg(long)]
    cut: bool,
    /// Lose so many percent of all datagrams between the agents, all the time.
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=90), value_name = "PERCENT")]
    loss: Option<u8>,
    /// Run three services, web on two agents and db on a third: one is not well, and one dies.
    #[arg(long)]
    services: bool,
    /// Serve the page of the first agent, for a browser of this host, and print its address.
    #[arg(long)]
    web: bool,
    /// How long to let the cluster run before one of its members is killed, or cut off.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "5s", value_name = "TIME")]
    kill_after: Duration,
    /// Keep the directory with state, sockets and logs.
    #[arg(long)]
    keep: bool,
    /// Only the result.
    #[arg(long)]
    quiet: bool,
}

impl Dev {
    /// Plays, until the story is told or the user interrupts.
    pub(super) async fn run(self, output: &Output) -> anyhow::Result<Exit> {
        if self.cut && self.nodes < SIDES {
            anyhow::bail!(
                "a cut needs {SIDES} agents, or neither side has the majority: give --nodes {SIDES} or more"
            );
        }
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut interrupted = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
        };
        let cluster = Cluster::new(self.nodes.into(), self.keep, self.loss())?;
        let stage = Stage::new(*output, self.quiet, self.nodes.into());
        let page = match cluster.nodes().first().filter(|_| self.web) {
            Some(first) => Some(web::open(&Client::new(first.socket.to_str()), 0).await?),
            None => None,
        };
        let page = page.map(|page| (page.address, AbortOnDropHandle::new(task::start(page.serving))));
        let mut story = Story::new(cluster, stage);

        let plot = Plot {
            after: self.kill_after,
            cut: self.cut,
            services: self.services,
            page: page.as_ref().map(|(address, _)| address.clone()),
            once: self.once,
        };
        let told = tokio::select! {
            told = story.tell(plot) => Some(told),
            () = interrupted() => None,
            () = reader::gone() => None,
        };
        let stopped = tokio::select! {
            stopped = story.stop() => stopped,
            () = interrupted() => Err(Failed("stopped in a hurry".to_owned()).into()),
        };
        // From here on no child runs, or it is killed as the cluster is dropped.
        let failure = match (told, stopped) {
            (Some(Err(told)), _) => Some(told),
            (None, _) if self.once => Some(Failed("interrupted".to_owned()).into()),
            (_, Err(stopped)) => Some(stopped),
            (_, Ok(())) => None,
        };
        let failure = match failure.map(anyhow::Error::downcast::<Failed>) {
            None => None,
            Some(Ok(failed)) => Some(failed),
            Some(Err(other)) => return Err(other),
        };
        story.conclude(failure.as_ref())?;
        if failure.is_some() || self.keep {
            say(&format!("state and logs are kept in {}", story.keep().display()));
        }
        Ok(if failure.is_some() { Exit::Failed } else { Exit::Done })
    }
    /// The part that is lost in the network between the agents, if they need one that is not the machine's own.
    fn loss(&self) -> Option<f64> {
        (self.cut || self.loss.is_some()).then(|| f64::from(self.loss.unwrap_or(0)) / 100.0)
    }
}

/// From so many agents on one side of a cut has the majority.
const SIDES: u16 = 3;

const HELP: &str = "\
Real agents run as processes of their own on loopback addresses, and need no root. What each of them sees is read at its socket, as any program \
would read it. On a terminal a table moves below the story: a row for each member, a column for each agent that sees it, and \
at its foot which agents hold quorum.

Without --once the cluster runs on until Ctrl-C: ask it from another terminal (the line with --socket says how), kill an agent, \
look at it with `heartsay top`. With --cut or --loss all datagrams pass through this process, which drops them as a network would; \
agents know nothing of it, and do not hear that the port of a dead one is closed.

Examples:
  heartsay dev                   five agents; one is killed and comes back
  heartsay dev --cut             two are cut off: who loses quorum, who is down
  heartsay dev --loss 30         the same death, with 30 % of datagrams lost
  heartsay dev --web             the same in a browser
  heartsay dev --services        programs that all agents know; one dies
  heartsay dev --once -o json    for a program: what was measured, in seconds

Exit codes:
  0    all went as it should, or it was ended by Ctrl-C
  1    it did not; state and logs are kept";
