//! `dev`: a real cluster on this machine, and one small drama in it.
//!
//! Real agents in processes of their own, on loopback addresses, with all they
//! need in one temporary directory. One is killed; how long the others take to
//! notice is measured at the sockets of all of them, as any program would see it.

mod board;
mod cluster;
mod stage;
mod story;

use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use self::cluster::Cluster;
use self::stage::Stage;
use self::story::{Failed, Story};
use super::exit::{Exit, say};
use super::output::Output;
use super::reader;

/// Arguments of `dev`.
#[derive(Args)]
pub(super) struct Dev {
    /// How many agents.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000), value_name = "N")]
    nodes: u16,
    /// Tell the story once, stop everything, and exit with 0 only if it went as it should.
    #[arg(long)]
    once: bool,
    /// How long to let the cluster run before one of its members is killed.
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
        let cluster = Cluster::new(self.nodes.into(), self.keep)?;
        let stage = Stage::new(*output, self.quiet, self.nodes.into());
        let mut story = Story::new(cluster, stage);

        let told = tokio::select! {
            told = story.tell(self.kill_after, self.once) => Some(told),
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
}
