//! `/metrics`: OpenMetrics text for Prometheus.
//!
//! Made anew for each scrape from the counters of machine and driver; nothing is
//! counted twice. No series per peer: N agents with N series each would be the
//! largest thing in anybody's Prometheus.

use std::fmt;

use heartsay_membership::Quorum;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::api::{Context, show};
use crate::driver::Picture;

/// Of the text that [`encode`] makes.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = [(&'static str, String); 1];

/// All metrics as text.
///
/// # Errors
/// Not in practice: writing to a string.
pub(crate) fn encode(picture: &Picture, context: &Context) -> Result<String, fmt::Error> {
    let (events, seeds) = (context.board.counts(), context.seeds.shown());
    let mut registry = Registry::with_prefix("heartsay");
    let r = &mut registry;
    let (stats, loss) = (&picture.stats, &picture.loss);

    let members = show::counts(&picture.members).into_iter();
    gauges(
        r,
        "members",
        "Members in the view, by status",
        "status",
        members.map(|(s, n)| (s, signed(n as u64))),
    );
    let quorums = [Quorum::Held, Quorum::Lost, Quorum::Unsettled];
    let now = picture.quorum.quorum;
    let quorums = quorums.into_iter().map(|q| (q.to_string(), i64::from(q == now)));
    gauges(r, "quorum", "1 for the state that quorum is in", "state", quorums);
    gauge(r, "quorum_present", "Members that count for quorum", u64::from(picture.quorum.present));
    gauge(r, "quorum_needed", "Members needed for quorum", u64::from(picture.quorum.needed));
    gauge(r, "joined", "1 after the first complete view of the cluster", u64::from(picture.joined));
    let beating = !picture.gate.is_closed();
    gauge(r, "beating", "0 while the local service does not beat in time", u64::from(beating));
    gauge(r, "isolated", "1 while most others look silent at once", u64::from(stats.isolated));
    gauge(r, "local_health_score", "Doubt in ourselves: 0 well, 8 impaired", u64::from(stats.local_health));
    gauge(r, "view_peers", "Peers heard lately", stats.peers_known as u64);
    gauge(r, "view_peers_agreeing", "Peers heard lately whose view is ours", stats.peers_agreeing as u64);
    gauge(r, "tombstones", "Forgotten lives remembered as such", stats.tombstones as u64);
    let failing = seeds.iter().filter(|seed| seed.error.is_some()).count();
    gauge(r, "seeds_unresolved", "Seeds that cannot be resolved", failing as u64);
    let phi = picture.members.iter().map(|m| m.phi).filter(|phi| phi.is_finite()).fold(0.0, f64::max);
    r.register("phi_max", "Highest surprise at anybody's silence", ConstGauge::new(phi));
    let lag = ConstGauge::new(loss.lag.as_secs_f64());
    r.register_with_unit("event_loop_lag", "How late the last timer was", Unit::Seconds, lag);

    counter(r, "datagrams_sent", "Datagrams sent", stats.datagrams_sent);
    counter(
        r,
        "datagrams_held_back",
        "Datagrams not sent, to stay within the byte budget",
        stats.datagrams_held_back,
    );
    counter(r, "datagrams_received", "Datagrams received", stats.datagrams_received);
    counter(r, "sent_bytes", "UDP payload sent", stats.bytes_sent);
    counter(r, "received_bytes", "UDP payload received", stats.bytes_received);
    let dropped = stats.rejected.iter().map(|(reason, n)| ((*reason).to_owned(), *n));
    counters(r, "datagrams_dropped", "Datagrams received and refused", "reason", dropped);
    let lost = loss.obstacles.iter().map(|(reason, n)| ((*reason).to_owned(), *n));
    counters(r, "datagrams_undelivered", "Datagrams that a kernel would not deliver", "reason", lost);
    counter(r, "socket_overflow", "Datagrams the kernel dropped unread", u64::from(loss.overflow));
    counter(r, "rounds", "Heartbeats", stats.rounds);
    counter(r, "exchanges", "Exchanges begun", stats.exchanges);
    counter(r, "probes", "Direct probes sent", stats.probes);
    counter(
        r,
        "contacts_unanswered",
        "Probes and exchanges without an answer in time",
        stats.probes_unanswered,
    );
    counter(r, "probe_requests", "Probes asked of helpers", stats.probe_requests);
    counter(r, "nacks", "Helpers that heard nothing either", stats.nacks);
    counter(r, "refusals", "Ports found closed", stats.refusals);
    counter(r, "bursts", "News relayed at once", stats.bursts);
    counter(r, "claims_sent", "Claims sent", stats.claims_sent);
    counter(r, "claims_received", "Claims received", stats.claims_received);
    counter(r, "suspicions_raised", "Suspicions raised by this agent", stats.suspicions_raised);
    counter(r, "false_suspicions", "Suspicions undone by a newer heartbeat", stats.suspicions_refuted);
    counter(r, "refutations", "Accusations of ourselves answered", stats.refutations_of_self);
    counter(r, "verdicts", "Verdicts in which this agent took part", stats.verdicts);
    counter(r, "stalls", "Times this agent was not scheduled", stats.stalls);
    let transitions =
        events.iter().filter_map(|(kind, n)| Some((kind.strip_prefix("member-")?.to_owned(), *n)));
    counters(r, "state_transitions", "Changes of members, by kind", "to", transitions);
    let runs = context.hook_runs.counts().into_iter().map(|(result, n)| (result.to_owned(), n));
    counters(r, "hook_runs", "Runs of hooks, by result", "result", runs);
    let api = [&context.on_socket, &context.over_tcp].map(|admission| admission.counts());
    let sum = |n: usize| api.iter().filter_map(|counts| counts.get(n)).sum::<u64>();
    gauge(r, "api_connections", "Connections to the socket and over TCP", sum(0));
    gauge(r, "api_streams", "Event streams among them", sum(1));
    let refused = [("connections", sum(2)), ("streams", sum(3))].map(|(what, n)| (what.to_owned(), n));
    counters(r, "api_refused", "Connections and streams beyond what is served at a time", "what", refused);
    counter(r, "log_lines_dropped", "Lines of the log that nobody will read", context.log.dropped());
    let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    r.register("build", "What is running", build);

    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
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
    values: impl IntoIterator<Item = (String, u64)>,
) {
    let family = Family::<Labels, Counter>::default();
    for (of, value) in values {
        family.get_or_create(&[(label, of)]).inc_by(value);
    }
    registry.register(name, help, family);
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
