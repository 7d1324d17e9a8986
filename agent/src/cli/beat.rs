//! `beat`: the local service tells the agent that it is well.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::process::Command;
use tokio::time::MissedTickBehavior;

use super::exit::{Exit, say};
use super::output::{Output, span};
use crate::client::Client;
use crate::group::Group;
use crate::types::Beat as Answer;

/// Arguments of `beat`.
#[derive(Args)]
pub(super) struct Beat {
    /// Beat again and again, until stopped.
    #[arg(long, value_parser = interval, value_name = "TIME")]
    every: Option<Duration>,
    /// With --every: run this command each time, and beat only if it succeeds before the next is due.
    #[arg(last = true, requires = "every", value_name = "CHECK")]
    check: Vec<OsString>,
}

impl Beat {
    /// Beats.
    pub(super) async fn run(self, client: &Client, output: &Output) -> anyhow::Result<Exit> {
        let Some(every) = self.every else {
            let answer = client.post("/v1/beat", &json!({}), Duration::ZERO).await?;
            client.read::<Answer>(&answer)?;
            output.show(&answer, |beat: Answer| {
                format!("the next beat is due within {}", span(beat.within_seconds))
            })?;
            return Ok(Exit::Done);
        };
        let mut moments = tokio::time::interval(every);
        moments.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut trouble, mut kept) = (None, client.keep());
        loop {
            moments.tick().await;
            let now = match self.well(every).await {
                Ok(()) => match kept.post("/v1/beat", &json!({})).await {
                    Ok(_) => None,
                    // It may be starting, or between two lives.
                    Err(error) if error.may_pass() => Some(error.to_string()),
                    Err(error) => return Err(error.into()),
                },
                Err(why) => Some(format!("no beat: {why}")),
            };
            // Once when it begins, once when it is over.
            if now != trouble {
                say(now.as_deref().unwrap_or("beating"));
            }
            trouble = now;
        }
    }

    /// Whether the check succeeds in time; without one, all is well.
    async fn well(&self, time_limit: Duration) -> Result<(), String> {
        let Some((program, arguments)) = self.check.split_first() else { return Ok(()) };
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        let mut group = Group::start(&mut command)
            .await
            .map_err(|e| format!("cannot run {}: {e}", program.to_string_lossy()))?;
        match group.run(Some(time_limit), Duration::ZERO).await {
            Ok(Some(status)) if status.success() => Ok(()),
            Ok(Some(status)) => Err(format!("the check ended with {status}")),
            Ok(None) => Err(format!("the check took longer than {time_limit:?}")),
            Err(error) => Err(format!("the check is lost: {error}")),
        }
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("must be more than nothing".to_owned()),
        Ok(interval) => Ok(interval),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_between_two_beats_is_refused() {
        assert!(interval("0s").is_err() && interval("x").is_err());
        assert_eq!(interval("1ms"), Ok(Duration::from_millis(1)));
    }
}
