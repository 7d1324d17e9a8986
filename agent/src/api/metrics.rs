//! `/metrics`: text for Prometheus, in its own format or, when asked for, as OpenMetrics.
//!
//! Made anew for each scrape from the counters of machine and driver; nothing is
//! counted twice. No series per peer: N agents with N series each would be the
//! largest part of a Prometheus. Each series exists from the start, as 0: a
//! rate needs a value before the first event.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use heartsay_membership::{NewsDelays, OutsideReason, Quorum, Rejected, Stats};
use heartsay_proto::DecodeError;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::api::Context;
use crate::daemon::driver::{MEMBER_EVENTS, Snapshot};
use crate::doctor::Code;
use crate::export::keeper::State;
use crate::names::Fare;
use crate::recorder::Recorder;
use crate::show;
use heartsay_tokio::net;

/// How the metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Prometheus' text format 0.0.4: what is understood by all.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The one that an `Accept` header asks for; the text format where it does not say.
    #[must_use]
    pub(crate) fn wanted(accept: &str) -> Self {
        let weight = |kind: &str| {
            let weights = accept.split(',').filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                parts.next().filter(|media| media.eq_ignore_ascii_case(kind))?;
                let quality = parts.find_map(|part| part.strip_prefix("q="));
                Some(quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0)))
            });
            weights.fold(0.0, f64::max)
        };
        let wanted = weight("application/openmetrics-text");
        if wanted > 0.0 && wanted >= weight("text/plain") { Self::OpenMetrics } else { Self::Text }
    }

    /// What the answer says it is.
    #[must_use]
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

type Labels = [(&'static str, String); 1];

/// All metrics as text.
///
/// # Errors
/// Not in practice: writing to a string.
pub(crate) fn encode(snapshot: &Snapshot, context: &Context, format: Format) -> Result<String, fmt::Error> {
    let cluster = [("cluster".into(), context.about.cluster.clone().into())];
    let mut registry = Registry::with_prefix_and_labels("heartsay", cluster.into_iter());
    members(&mut registry, snapshot);
    standing(&mut registry, snapshot, context);
    health(&mut registry, snapshot, context);
    traffic(&mut registry, snapshot);
    protocol(&mut registry, &snapshot.stats);
    paths(&mut registry, &snapshot.stats);
    exports(&mut registry, context);
    if let Some(names) = &context.names {
        dns(&mut registry, &names.fare());
    }
    process(&mut registry, context);
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    match format {
        Format::OpenMetrics => Ok(out),
        Format::Text => as_text(&out),
    }
}

/// The view, and what it means for quorum.
fn members(r: &mut Registry, snapshot: &Snapshot) {
    let members = show::counts(&snapshot.members).into_iter().map(|(s, n)| (s, signed(n as u64)));
    gauges(r, "members", "Members in the view, by status", "status", members);
    let quorums = [Quorum::Held, Quorum::Lost, Quorum::Unsettled];
    let now = snapshot.quorum.quorum;
    let quorums = quorums.into_iter().map(|q| (q.to_string(), i64::from(q == now)));
    gauges(r, "quorum", "1 for the state that quorum is in", "state", quorums);
    gauge(r, "quorum_present", "Members that count for quorum", u64::from(snapshot.quorum.present));
    gauge(r, "quorum_needed", "Members needed for quorum", u64::from(snapshot.quorum.needed));
}

/// Whether this agent counts as a member.
fn standing(r: &mut Registry, snapshot: &Snapshot, context: &Context) {
    let none_to_find = context.seeds.are_only_us() && snapshot.outside.is_none();
    gauge(
        r,
        "joined",
        "1 after the first complete view, or where there is no other member to look for, while the others count this agent as a member",
        u64::from(snapshot.joined || none_to_find),
    );
    let why = snapshot.outside.as_ref().map(|outside| outside.reason.word());
    let reasons =
        OutsideReason::WORDS.into_iter().map(|word| (word.to_owned(), i64::from(why == Some(word))));
    let help = "1 for the reason why the others do not count this agent as a member";
    gauges(r, "outside", help, "reason", reasons);
    let beating = !snapshot.service_watchdog.is_closed() && !snapshot.suspended;
    gauge(r, "beating", "0 while the local service does not beat in time", u64::from(beating));
}

/// How well this agent sees and hears.
fn health(r: &mut Registry, snapshot: &Snapshot, context: &Context) {
    let (stats, seeds) = (&snapshot.stats, context.seeds.shown());
    let unresolved = seeds.iter().filter(|seed| seed.error.is_some()).count();
    let standing = super::conditions(context, snapshot);
    let conditions = standing.iter().filter(|one| one.is_problem()).count();
    for (name, help, value) in [
        ("isolated", "1 while most others look silent at once", u64::from(stats.isolated)),
        ("local_health_score", "Doubt in ourselves: 0 well, 8 impaired", u64::from(stats.local_health)),
        ("view_peers", "Peers heard lately", stats.peers_known as u64),
        ("view_peers_agreeing", "Peers heard lately whose view is ours", stats.peers_agreeing as u64),
        ("tombstones", "Forgotten lives remembered as such", stats.tombstones as u64),
        ("seeds_unresolved", "Seeds that cannot be resolved", unresolved as u64),
        ("conditions", "Problems that status shows", conditions as u64),
        ("paths_down", "Living members that do not answer this agent directly", stats.paths_down as u64),
        (
            "paths_narrow",
            "Paths on which long datagrams get lost and short ones arrive",
            stats.narrow_paths as u64,
        ),
    ] {
        gauge(r, name, help, value);
    }
    let codes = Code::ALL
        .iter()
        .map(|code| (code.to_string(), i64::from(standing.iter().any(|one| one.code == *code))));
    gauges(r, "condition", "1 while heartsay doctor finds this in the agent", "code", codes);
    let phi = snapshot.members.iter().map(|m| m.phi).filter(|phi| phi.is_finite()).fold(0.0, f64::max);
    r.register("phi_max", "Highest surprise (phi) at the silence of a member", ConstGauge::new(phi));
    let lag = ConstGauge::new(snapshot.loss.lag.as_secs_f64());
    r.register_with_unit("event_loop_lag", "How late the last timer was", Unit::Seconds, lag);
    let help = "How long news took to reach this agent, by the beacons of other members";
    r.register_with_unit("news_delay", help, Unit::Seconds, Delays(snapshot.news_delays.clone()));
}

/// What leaves and arrives, and what does not.
fn traffic(r: &mut Registry, snapshot: &Snapshot) {
    let (stats, loss) = (&snapshot.stats, &snapshot.loss);
    let held_back = "Datagrams not sent, to stay within the byte budget";
    for (name, help, value) in [
        ("datagrams_sent", "Datagrams sent", stats.datagrams_sent),
        ("datagrams_held_back", held_back, stats.datagrams_held_back),
        ("datagrams_received", "Datagrams received", stats.datagrams_received),
        ("sent_bytes", "UDP payload sent", stats.bytes_sent),
        ("received_bytes", "UDP payload received", stats.bytes_received),
    ] {
        counter(r, name, help, value);
    }
    let reasons = DecodeError::REASONS.into_iter().chain(Rejected::REASONS);
    let dropped = from_zero(reasons, stats.rejected.iter().map(|(reason, n)| (*reason, *n)));
    counters(r, "datagrams_dropped", "Datagrams received and refused", "reason", dropped);
    let lost = from_zero(net::SEND_FAILURES, loss.failures.iter().map(|(reason, n)| (*reason, *n)));
    counters(r, "datagrams_undelivered", "Datagrams that a kernel would not deliver", "reason", lost);
    counter(r, "socket_overflow", "Datagrams the kernel dropped unread", u64::from(loss.overflow));
}

/// The machine's own counters.
fn protocol(r: &mut Registry, stats: &Stats) {
    let unanswered = "Probes and exchanges without an answer in time";
    for (name, help, value) in [
        ("rounds", "Heartbeats", stats.rounds),
        ("exchanges", "Exchanges begun", stats.exchanges),
        ("calls_received", "Exchanges that other members began with this agent", stats.calls_received),
        ("probes", "Direct probes sent", stats.probes),
        ("contacts_unanswered", unanswered, stats.probes_unanswered),
        ("probe_requests", "Probes asked of helpers", stats.probe_requests),
        ("nacks", "Helpers that heard nothing either", stats.nacks),
        ("refusals", "Ports found closed", stats.refusals),
        ("refusals_unproven", "Refusals that quote no open request; ignored", stats.refusals_unproven),
        ("refusals_cut", "Refusals that quote too little to be verified; ignored", stats.refusals_cut),
        ("bursts", "News relayed at once", stats.bursts),
        ("claims_sent", "Claims sent", stats.claims_sent),
        ("claims_received", "Claims received", stats.claims_received),
        ("suspicions_raised", "Suspicions raised by this agent", stats.suspicions_raised),
        ("false_suspicions", "Suspicions undone by a newer heartbeat", stats.suspicions_refuted),
        ("refutations", "Accusations of ourselves answered", stats.refutations_of_self),
        ("verdicts", "Verdicts in which this agent took part", stats.verdicts),
        ("last_words", "Processes that ended, as their hosts told this agent", stats.last_words),
        ("last_words_unproven", "Last words that fit no known process", stats.last_words_unproven),
        ("stalls", "Times this agent was not scheduled", stats.stalls),
    ] {
        counter(r, name, help, value);
    }
}

/// Direct paths, without a series for each pair.
fn paths(r: &mut Registry, stats: &Stats) {
    let changes = [("down", stats.path_downs), ("up", stats.path_ups)];
    counters(
        r,
        "path_changes",
        "Direct paths to living members that went down, or work again",
        "to",
        changes,
    );
    let unwatched = "Doubts about direct paths that were not followed, as too many others were";
    counter(r, "paths_unwatched", unwatched, stats.paths_unwatched);
}

/// A series for each export, by its place; none without exports.
fn exports(r: &mut Registry, context: &Context) {
    let states: Vec<_> = context.exports.states().into_iter().map(|(e, state)| (e.label(), state)).collect();
    let each = |value: fn(&State) -> u64| {
        let values = states.iter().map(move |(label, state)| (label.clone(), signed(value(state))));
        values.collect::<Vec<_>>()
    };
    let place = "export";
    gauges(r, "export_members", "Members in the list that is published", place, each(|s| s.members as u64));
    let left_out = "Members left out of the list because of what they say";
    gauges(r, "export_left_out", left_out, place, each(|s| s.left_out as u64));
    let held = "1 while a newer list is held back";
    gauges(r, "export_held", held, place, each(|s| u64::from(s.held.is_some())));
    let failing = "1 while the list cannot be published, or its command fails";
    gauges(
        r,
        "export_failing",
        failing,
        place,
        each(|s| u64::from(s.error.is_some() || s.run_error.is_some())),
    );
    for (name, help, value) in [
        ("export_changes", "Times the list has changed", (|s| s.changes) as fn(&State) -> u64),
        ("export_errors", "Times it could not be published", |s| s.errors),
    ] {
        let family = Family::<Labels, Counter>::default();
        for (label, state) in &states {
            family.get_or_create(&[(place, label.clone())]).inc_by(value(state));
        }
        r.register(name, help, family);
    }
    let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
    for (label, state) in &states {
        if let Some(changed) = state.changed {
            let ago = context.clock.now().since(changed).as_secs_f64();
            family.get_or_create(&[(place, label.clone())]).set(ago);
        }
    }
    r.register_with_unit("export_unchanged", "Since the list last changed", Unit::Seconds, family);
}

/// The names that are answered; none of it without `dns_listen`.
fn dns(r: &mut Registry, fare: &Fare) {
    gauge(r, "dns_members", "Members that have a name in the DNS", fare.members as u64);
    let left_out = "Members without a name or role in the DNS, and instances of services without a place, because of what they say";
    gauge(r, "dns_left_out", left_out, fare.left_out as u64);
    let held = "1 while the names are kept as they were, or are not known yet";
    gauge(r, "dns_held", held, u64::from(fare.held));
    counters(r, "dns_answers", "Answers of the DNS, by result", "result", fare.results.iter().copied());
    for (name, help, value) in [
        ("dns_truncated", "Answers of the DNS that were cut to fit", fare.cut),
        ("dns_unanswered", "Messages to the DNS port that are no question", fare.unanswered),
        ("dns_connections_refused", "Connections to the DNS beyond what is served at a time", fare.closed),
    ] {
        counter(r, name, help, value);
    }
}

/// What the process around the machine has done.
fn process(r: &mut Registry, context: &Context) {
    let events = context.event_log.counts();
    let to = |kind: &'static str| kind.strip_prefix("member-").unwrap_or(kind);
    let transitions = MEMBER_EVENTS.map(|kind| (to(kind), events.get(kind).copied().unwrap_or(0)));
    counters(r, "state_transitions", "Changes of members, by kind", "to", transitions);
    let runs = context.hook_runs.counts();
    counters(r, "hook_runs", "Runs of hooks, by result", "result", runs);
    let api = [&context.on_socket, &context.over_tcp].map(|admission| admission.counts());
    let sum = |n: usize| api.iter().filter_map(|counts| counts.get(n)).sum::<u64>();
    gauge(r, "api_connections", "Connections to the socket and over TCP", sum(0));
    gauge(r, "api_streams", "Event streams among them", sum(1));
    let refused = [("connections", sum(2)), ("streams", sum(3))];
    counters(r, "api_refused", "Connections and streams beyond what is served at a time", "what", refused);
    if let Some(fare) = context.event_log.recorder().map(Recorder::fare) {
        counter(r, "history_entries", "Entries of the history that were written", fare.written);
        counter(r, "history_left_out", "Events that are missing in the history", fare.left_out);
        gauge(r, "history_bytes", "Size of the history on disk", fare.bytes);
    }
    counter(r, "log_lines_dropped", "Lines of the log that were lost", context.log.dropped());
    let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    r.register("build", "What is running", build);
}

/// OpenMetrics as text format 0.0.4. There a counter is called what its samples are called, units are not said, and
/// there are no infos; the samples are the same.
fn as_text(open: &str) -> Result<String, fmt::Error> {
    let mut out = String::with_capacity(open.len());
    let mut help = None;
    for line in open.lines() {
        if let Some(told) = line.strip_prefix("# HELP ") {
            help = told.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|told| told.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                _ => ("", kind),
            };
            if let Some((_, text)) = help.take().filter(|(helped, _)| *helped == name) {
                writeln!(out, "# HELP {name}{suffix} {text}")?;
            }
            writeln!(out, "# TYPE {name}{suffix} {kind}")?;
        } else if !line.starts_with('#') {
            writeln!(out, "{line}")?;
        }
    }
    Ok(out)
}

/// All that can be counted, also what has not come yet; and what came besides.
fn from_zero(
    all: impl IntoIterator<Item = &'static str>,
    counted: impl Iterator<Item = (&'static str, u64)>,
) -> BTreeMap<&'static str, u64> {
    let mut counts: BTreeMap<_, _> = all.into_iter().map(|word| (word, 0)).collect();
    counts.extend(counted);
    counts
}

/// As the machine counts them.
#[derive(Debug)]
struct Delays(NewsDelays);

impl EncodeMetric for Delays {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let bounds = NewsDelays::BOUNDS.iter().map(Duration::as_secs_f64).chain([f64::INFINITY]);
        let classes: Vec<(f64, u64)> = bounds.zip(self.0.counts().iter().copied()).collect();
        let count = classes.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(self.0.total().as_secs_f64(), count, &classes, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    registry.register(name, help, ConstGauge::new(signed(value)));
}

fn counter(registry: &mut Registry, name: &str, help: &str, value: u64) {
    registry.register(name, help, ConstCounter::new(value));
}

fn gauges(
    registry: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    values: impl IntoIterator<Item = (String, i64)>,
) {
    let family = Family::<Labels, Gauge>::default();
    for (of, value) in values {
        family.get_or_create(&[(label, of)]).set(value);
    }
    registry.register(name, help, family);
}

fn counters(
    registry: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    values: impl IntoIterator<Item = (&'static str, u64)>,
) {
    let family = Family::<Labels, Counter>::default();
    for (of, value) in values {
        family.get_or_create(&[(label, of.to_owned())]).inc_by(value);
    }
    registry.register(name, help, family);
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_written_for_those_who_ask_for_it() {
        use Format::{OpenMetrics, Text};
        for (accept, format) in [
            ("", Text),
            ("*/*", Text),
            ("text/plain", Text),
            ("application/openmetrics-text", OpenMetrics),
            // Prometheus 2.42 and 3.0.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,*/*;q=0.2",
                OpenMetrics,
            ),
            ("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.2", Text),
            ("application/openmetrics-text;q=0", Text),
        ] {
            assert_eq!(Format::wanted(accept), format, "{accept}");
        }
    }

    #[test]
    fn a_counter_is_called_what_its_samples_are_called() {
        let open = "# HELP a_sent Sent.\n# TYPE a_sent counter\na_sent_total{of=\"x\"} 1\n# HELP a_lag_seconds Lag.\n# TYPE a_lag_seconds gauge\n# UNIT a_lag_seconds seconds\na_lag_seconds 0.5\n# HELP a_build B.\n# TYPE a_build info\na_build_info{v=\"1\"} 1\n# EOF\n";
        let text = "# HELP a_sent_total Sent.\n# TYPE a_sent_total counter\na_sent_total{of=\"x\"} 1\n# HELP a_lag_seconds Lag.\n# TYPE a_lag_seconds gauge\na_lag_seconds 0.5\n# HELP a_build_info B.\n# TYPE a_build_info gauge\na_build_info{v=\"1\"} 1\n";
        assert_eq!(as_text(open).unwrap(), text);
    }
}
