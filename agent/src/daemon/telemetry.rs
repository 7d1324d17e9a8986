//! What the agent writes to its log.
//!
//! Text for people or JSON for machines, on standard error. Datagrams that
//! were refused are counted, and told at a bounded rate: a flood of
//! rubbish must not flood the log.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::time::Duration;

use heartsay_membership::{Instant, Rejected};
use heartsay_proto::DecodeError;
use tracing::level_filters::LevelFilter;
use tracing::{debug, warn};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::daemon::log::{Form, Log};
use crate::settings::not_one_of;

/// The log of a running agent.
#[derive(Clone, Debug)]
pub(crate) struct Telemetry {
    level: reload::Handle<Targets, Registry>,
    log: Log,
}

impl Telemetry {
    /// From now on, write this much.
    pub(crate) fn set_level(&self, targets: Targets) {
        // Fails only when the subscriber is gone, and then there is no reader.
        let _ = self.level.reload(targets);
    }

    /// Where the lines go.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }
}

/// Starts logging for the whole process.
///
/// # Errors
/// It has been started before, or the system has no thread to give.
pub(crate) fn start(targets: Targets, json: bool) -> anyhow::Result<Telemetry> {
    let colour = !json && std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let form = match (json, colour) {
        (true, _) => Form::Json,
        (false, false) => Form::Text,
        (false, true) => Form::Coloured,
    };
    let log = Log::start(std::io::stderr(), form)?;
    let (filter, level) = reload::Layer::new(targets);
    // The journal stamps every line itself.
    let stamped = std::env::var_os("JOURNAL_STREAM").is_none();
    let layer = fmt::layer().with_writer(log.clone());
    let layer: Box<dyn Layer<_> + Send + Sync> = if json {
        Box::new(layer.json().flatten_event(true))
    } else {
        let layer = layer.with_ansi(colour).with_target(false);
        if stamped { Box::new(layer) } else { Box::new(layer.without_time()) }
    };
    tracing_subscriber::registry().with(filter).with(layer).try_init()?;
    Ok(Telemetry { level, log })
}

/// Reads a level, or a list of `target=level` with an optional level for the rest.
///
/// A lone level is meant for our own code; libraries stay at warnings.
///
/// # Errors
/// Not a level, not a list.
pub(crate) fn targets(text: &str) -> Result<Targets, String> {
    if let Ok(level) = text.parse::<LevelFilter>() {
        return Ok(Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("heartsay", level));
    }
    // A word alone would be taken for a target, and everything else go silent.
    let each = |part: &str| part.contains('=') || part.parse::<LevelFilter>().is_ok();
    let list = text.split(',').all(each).then(|| text.parse().ok()).flatten();
    list.ok_or_else(|| {
        let problem = "is no level (error, warn, info, debug, trace) and no list of target=level";
        not_one_of(problem, text, &["error", "warn", "info", "debug", "trace"])
    })
}

/// Refused datagrams, told at a bounded rate.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Rate);

/// One line per reason and [`QUIET`], with how many came in between.
#[derive(Debug, Default)]
pub(crate) struct Rate(BTreeMap<&'static str, Told>);

#[derive(Debug, Default)]
struct Told {
    last: Option<Instant>,
    since: u64,
}

impl Refusals {
    /// Notes one more.
    pub(crate) fn note(&mut self, now: Instant, from: SocketAddr, why: &Rejected) {
        let reason = why.reason();
        if let Some(count) = self.0.due(now, reason) {
            // Late answers, repeats, and datagrams for the life before are part of any network; the rest is a fault.
            if matches!(
                why,
                Rejected::Unexpected { .. }
                    | Rejected::Replayed { .. }
                    | Rejected::Decode(DecodeError::OtherLife)
            ) {
                debug!(reason, count, %from, "datagram refused: {why}");
            } else {
                warn!(reason, count, %from, "datagram refused: {why}");
            }
        }
    }
}

impl Rate {
    /// Counts one, and says how many to report if it is time to.
    pub(crate) fn due(&mut self, now: Instant, reason: &'static str) -> Option<u64> {
        let told = self.0.entry(reason).or_default();
        told.since += 1;
        if told.last.is_some_and(|last| now.since(last) < QUIET) {
            return None;
        }
        told.last = Some(now);
        Some(std::mem::take(&mut told.since))
    }
}

/// Time between two lines about one reason.
const QUIET: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_reason_is_one_line_in_ten_seconds() {
        let mut refusals = Rate::default();
        let at = |ms: u64| Instant::from_micros(ms * 1000);
        assert_eq!(refusals.due(at(0), "cluster"), Some(1));
        for ms in 1..10_000 {
            assert_eq!(refusals.due(at(ms), "cluster"), None);
        }
        assert_eq!(refusals.due(at(5), "checksum"), Some(1));
        assert_eq!(refusals.due(at(10_000), "cluster"), Some(10_000));
    }

    #[test]
    fn a_lone_level_is_ours_and_a_list_is_taken_as_it_is() {
        let quiet = targets("debug").unwrap();
        assert!(quiet.would_enable("heartsay_membership::node", &tracing::Level::DEBUG));
        assert!(!quiet.would_enable("hyper::proto", &tracing::Level::INFO));
        assert!(targets("info,heartsay_membership=trace").is_ok());
        assert!(targets("loud").is_err());
    }
}
