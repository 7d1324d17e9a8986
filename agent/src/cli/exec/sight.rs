//! Quorum as `exec` sees it: by the agent's stream and by questions, each with what is left of the proof.

use std::sync::Arc;
use std::time::Duration;

use heartsay_membership::Instant;
use heartsay_tokio::clock::Clock;
use tokio::sync::{Notify, watch};

use super::super::status::has_electorate;
use crate::client::{Client, ClientError};
use crate::escape::escape;
use crate::types::{Quorum, WatchLine};

/// Quorum as last seen.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    pub(super) held: bool,
    /// There is no electorate, so quorum will never be held.
    pub(super) never: bool,
    /// How often it was seen not to be held: a loss shows even when it was short.
    pub(super) lost: u64,
    /// The agent's proof is good until then, unless it is renewed. An older agent does not say.
    pub(super) until: Option<Instant>,
    pub(super) why: String,
}

impl Sight {
    /// Held, by a proof that is still good: after a pause of this process, what it saw may be old.
    pub(super) fn holds(&self, now: Instant) -> bool {
        self.held && self.until.is_none_or(|until| now < until)
    }

    /// The same, and the agent says until when.
    pub(super) fn proves(&self, now: Instant) -> bool {
        self.until.is_some() && self.holds(now)
    }
}

impl Default for Sight {
    fn default() -> Self {
        Self { held: false, never: false, lost: 0, until: None, why: NOT_ASKED.to_owned() }
    }
}

/// Follows what the agent says, over its restarts, for as long as there is a receiver.
pub(super) async fn keep_watch(client: Client, clock: Arc<Clock>, to: watch::Sender<Sight>) {
    let news = Notify::new();
    loop {
        // The stream is quick, and the questions notice an agent that stands still.
        let error = tokio::select! {
            error = follow(&client, &news, &to) => error,
            error = ask(&client, &clock, &news, &to) => error,
        };
        let why = error.to_string();
        to.send_modify(|sight| {
            *sight = Sight { held: false, never: false, lost: sight.lost + 1, until: None, why };
        });
        tokio::time::sleep(RETRY).await;
    }
}

/// A loss counts at once. That quorum is held counts from an answer: a line of the stream may have waited, for an
/// unknown time.
async fn follow(client: &Client, news: &Notify, to: &watch::Sender<Sight>) -> ClientError {
    let mut watch = loop {
        match client.watch("").await {
            Ok(watch) => break watch,
            // Too many streams: the questions still tell, half a second later.
            Err(error) if error.is_busy() => tokio::time::sleep(BUSY).await,
            Err(error) => return error,
        }
    };
    loop {
        let line = match watch.line().await {
            Ok(line) => line,
            Err(error) => return error,
        };
        match watch.read::<WatchLine>(&line) {
            Ok(WatchLine { kind, quorum: Some(quorum), .. }) if kind == "quorum" => match is_held(&quorum) {
                true => news.notify_one(),
                false => take(to, &quorum, None),
            },
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

async fn ask(client: &Client, clock: &Clock, news: &Notify, to: &watch::Sender<Sight>) -> ClientError {
    let (mut began, mut kept) = (clock.now(), client.keep());
    loop {
        let before = clock.now();
        let left = ANSWER.saturating_sub(before.since(began));
        let asked = kept.get_within("/v1/quorum", left.max(SHORTEST)).await;
        match asked.and_then(|answer| client.read::<Quorum>(&answer)) {
            Ok(quorum) => {
                // What was left was left after the question: so this is never later than the end of the proof.
                let left = quorum.left_seconds.and_then(|left| Duration::try_from_secs_f64(left).ok());
                take(to, &quorum, left.map(|left| before + left));
                tokio::select! {
                    () = tokio::time::sleep(pause(left)) => {}
                    () = news.notified() => {}
                }
                began = clock.now();
            }
            // Too many connections: that says nothing of quorum. It counts as an answer that has not come yet.
            Err(error) if error.is_busy() && clock.now().since(began) < ANSWER => {
                tokio::time::sleep(RETRY).await;
            }
            Err(error) => return error,
        }
    }
}

/// Until the next question: it must not come when what was left is gone, while the proof has been renewed.
fn pause(left: Option<Duration>) -> Duration {
    left.map_or(ASK, |left| (left / 2).clamp(SHORTEST, ASK))
}

fn is_held(quorum: &Quorum) -> bool {
    quorum.quorum == "held"
}

fn take(to: &watch::Sender<Sight>, quorum: &Quorum, until: Option<Instant>) {
    let held = is_held(quorum);
    let never = !has_electorate(quorum);
    let why = format!("quorum is {}: {}", escape(&quorum.quorum), escape(&quorum.reason));
    to.send_modify(|sight| {
        *sight = Sight { held, never, lost: sight.lost + u64::from(!held && sight.held), until, why };
    });
}

/// Before the first answer.
pub(super) const NOT_ASKED: &str = "the agent has not been asked yet";
/// How often the agent is asked, beside its stream, and how long it may take to answer. Together
/// they bound how long an agent that stands still is believed, if its proof does not run out before. Honest guess.
const ASK: Duration = Duration::from_millis(500);
const ANSWER: Duration = Duration::from_secs(2);
/// Between two tries for a place among the streams. Honest guess.
const BUSY: Duration = Duration::from_secs(5);
/// Between two questions when hardly anything is left. Honest guess.
const SHORTEST: Duration = Duration::from_millis(20);
/// How often a missing agent is looked for.
const RETRY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_asked_again_before_its_proof_runs_out() {
        let pause = |ms| pause(Some(Duration::from_millis(ms)));
        assert_eq!([1400, 1000, 450, 0].map(pause), [ASK, ASK, Duration::from_millis(225), SHORTEST]);
        assert_eq!(super::pause(None), ASK);
    }
}
