//! What lies between the members.

use serde::Deserialize;

use super::{Delay, Span, Who};

/// What lies between the members.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Network {
    /// Round trip between any two members; each direction draws half of one. Default 500 us.
    pub rtt: Delay,
    /// Share of datagrams lost, each on its own.
    pub loss: f64,
    /// Loss in bursts (Gilbert 1960, Elliott 1963), on each directed link on its own.
    pub burst: Option<Burst>,
    /// Share of datagrams that arrive twice.
    pub duplicate: f64,
    /// Share of datagrams held back by up to `reorder-by`.
    pub reorder: f64,
    /// See `reorder`. Default 20 ms.
    pub reorder_by: Span,
    /// Share of datagrams in which a few bits flip on the way.
    pub corrupt: f64,
    /// Larger IP packets vanish (payload and 28 bytes of headers). Default 1,500.
    pub mtu: usize,
    /// Bytes per second that each member's link carries outwards; datagrams queue. None: no limit.
    pub bandwidth: Option<f64>,
    /// Longest queue before that link; what comes then is lost. Default 100 ms.
    pub queue: Span,
    /// Whether the host of a stopped process answers *port unreachable*.
    pub refusals: bool,
    /// Sites. Members are dealt out in order of their number.
    #[serde(rename = "zone")]
    pub zones: Vec<Zone>,
    /// Round trips and loss between sites.
    #[serde(rename = "path")]
    pub paths: Vec<Path>,
    /// Rules for single links.
    #[serde(rename = "link")]
    pub links: Vec<Link>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            rtt: Delay::Constant(Span(core::time::Duration::from_micros(500))),
            loss: 0.0,
            burst: None,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_by: Span::ms(20),
            corrupt: 0.0,
            mtu: 1500,
            bandwidth: None,
            queue: Span::ms(100),
            refusals: false,
            zones: Vec::new(),
            paths: Vec::new(),
            links: Vec::new(),
        }
    }
}

impl Network {
    /// The zone of each of `nodes` members, which are dealt out in order of their number, as weights say; empty: there are none.
    #[must_use]
    pub fn zones_of(&self, nodes: usize) -> Vec<u16> {
        let weight: f64 = self.zones.iter().map(|zone| zone.weight).sum();
        let mut zones: Vec<u16> = Vec::new();
        let mut dealt = 0.0;
        for (number, zone) in (0u16..).zip(&self.zones) {
            dealt += zone.weight;
            let upto = (nodes as f64 * dealt / weight).round() as usize;
            zones.resize(upto.max(zones.len()), number);
        }
        zones
    }

    /// Name of a zone by its number.
    #[must_use]
    pub fn zone_name(&self, zone: u16) -> Option<&str> {
        self.zones.get(usize::from(zone)).map(|zone| zone.name.as_str())
    }
}

/// Two states of a link and the loss in each.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Burst {
    /// Mean length of good times.
    pub good: Span,
    /// Mean length of bad times.
    pub bad: Span,
    /// Share lost in bad times. Default 1.
    #[serde(default = "one")]
    pub loss: f64,
}

/// A site.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Zone {
    /// Its name; members announce it as their `zone`.
    pub name: String,
    /// Its share of the members. Default: an equal one.
    #[serde(default = "one")]
    pub weight: f64,
}

/// What lies between two sites, or inside one.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Path {
    /// The two zones (twice the same: inside it).
    pub between: [String; 2],
    /// Round trip.
    pub rtt: Delay,
    /// Share of datagrams lost, each on its own.
    #[serde(default)]
    pub loss: f64,
    /// Loss in bursts that strike all links between the two zones at once, both ways: one state for the pair. It comes on
    /// top of `loss` and of the bursts of single links (`network.burst`).
    pub burst: Option<Burst>,
}

/// A rule for single links; replaces `rtt`, `loss` and `mtu` there.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Link {
    /// Senders, by name or zone.
    pub from: Who,
    /// Receivers, by name or zone.
    pub to: Who,
    /// Whether the way back follows the same rule. Default false.
    #[serde(default)]
    pub both: bool,
    /// Round trip; default as elsewhere.
    pub rtt: Option<Delay>,
    /// Share of datagrams lost; default as elsewhere.
    pub loss: Option<f64>,
    /// Larger IP packets vanish; default as elsewhere.
    pub mtu: Option<usize>,
}

fn one() -> f64 {
    1.0
}
