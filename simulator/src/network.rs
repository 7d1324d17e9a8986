//! What lies between the members: delay, loss, doubles, queues, cuts.
//!
//! Purely a judge: it says when and in what shape a datagram arrives, if it
//! does. The world carries it there.

use core::time::Duration;
use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use heartsay_membership::Instant;

use crate::scenario::{Burst, Delay, Network as Rules, Who};
use crate::sim_rng::SimRng;

/// Bytes of IP and UDP header per datagram (IPv4).
pub const HEADER: usize = 28;

/// The network of one run.
#[derive(Debug)]
pub struct Network {
    rules: Rules,
    dice: SimRng,
    zone_of: Vec<u16>,
    between: Vec<Option<(Delay, f64)>>,
    links: HashMap<(u32, u32), LinkRule>,
    dead_links: Vec<(usize, usize)>,
    bursts: HashMap<(u32, u32), BurstState>,
    /// The same of whole paths, by the numbers of their zones, the lower first.
    path_bursts: HashMap<(u16, u16), PathBurst>,
    edges: Vec<Edge>,
    cuts: Vec<Cut>,
    filters: Vec<Cut>,
    /// Why datagrams did not arrive.
    pub lost: Lost,
}

/// Where one directed link differs.
#[derive(Clone, Debug)]
struct LinkRule {
    rtt: Option<Delay>,
    loss: Option<f64>,
    mtu: Option<usize>,
}

/// Counters of datagrams that did not arrive, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lost {
    /// By chance.
    pub chance: u64,
    /// In a bad time of a link.
    pub burst: u64,
    /// Across a cut.
    pub cut: u64,
    /// At a filter that refuses.
    pub refused: u64,
    /// At a lossy member.
    pub edge: u64,
    /// Larger than the path.
    pub mtu: u64,
    /// Before a full link.
    pub queue: u64,
    /// At a host where no process listened.
    pub nobody: u64,
    /// In the full socket buffer of a member that stands still or lags.
    pub buffer: u64,
}

/// What is wrong at one member's own link.
#[derive(Clone, Copy, Debug, Default)]
pub struct Edge {
    /// Share lost of what it sends.
    pub send: f64,
    /// Share lost of what it is sent.
    pub receive: f64,
    /// Share of its datagrams in which bits flip.
    pub corrupt: f64,
    free_at: Instant,
}

/// Some that do not hear some others.
#[derive(Clone, Debug)]
pub struct Cut {
    /// Side of each member; 0: not concerned.
    pub side: Vec<u8>,
    /// Only what side 1 sends is not heard elsewhere.
    pub one_way: bool,
    /// Whether it is in force.
    pub active: bool,
    /// When it was last put in force.
    pub since: Instant,
    /// When it was last lifted.
    pub lifted: Instant,
}

impl Cut {
    /// One that is not yet in force.
    fn planned(side: Vec<u8>, one_way: bool) -> Self {
        Self { side, one_way, active: false, since: Instant::EPOCH, lifted: Instant::EPOCH }
    }

    /// Side of a member.
    #[must_use]
    pub fn side(&self, member: usize) -> u8 {
        self.side.get(member).copied().unwrap_or(0)
    }

    /// Whether each member stands on some side, so that none joins two of them.
    #[must_use]
    pub fn divides(&self, members: usize) -> bool {
        (0..members).all(|member| self.side(member) != 0)
    }

    fn stops(&self, from: usize, to: usize) -> bool {
        let (from, to) = (self.side(from), self.side(to));
        from != 0 && to != 0 && from != to && (!self.one_way || from == 1)
    }
}

/// Whether the time was good or bad when it was last looked at.
#[derive(Clone, Copy, Debug)]
struct BurstState {
    bad: bool,
    at: Instant,
}

/// Bursts that all links between two zones share.
#[derive(Clone, Copy, Debug)]
struct PathBurst {
    burst: Burst,
    state: Option<BurstState>,
}

impl BurstState {
    /// A two-state chain in continuous time, moved on only when it is looked at:
    /// the chance of having changed over `dt` has a closed form.
    fn next(state: Option<Self>, now: Instant, burst: Burst, dice: &mut SimRng) -> Self {
        let (good, bad) = (burst.good.0.as_secs_f64(), burst.bad.0.as_secs_f64());
        let share_bad = bad / (good + bad);
        let p_bad = match state {
            None => share_bad,
            Some(Self { bad: was, at }) => {
                let rate = 1.0 / good + 1.0 / bad;
                let memory = libm::exp(-now.since(at).as_secs_f64() * rate);
                share_bad + (f64::from(u8::from(was)) - share_bad) * memory
            }
        };
        Self { bad: dice.chance(p_bad), at: now }
    }
}

/// One arrival: after how long, and with which bytes.
pub type Arrival = (Duration, Bytes);

impl Network {
    /// The network for members `0 .. nodes`.
    #[must_use]
    pub fn new(rules: &Rules, nodes: usize, dice: SimRng) -> Self {
        let zones = rules.zones.len();
        let mut between = vec![None; zones * zones];
        let mut path_bursts = HashMap::new();
        let number = |name: &str| rules.zones.iter().position(|z| z.name == name);
        for path in &rules.paths {
            if let (Some(a), Some(b)) = (number(&path.between[0]), number(&path.between[1])) {
                between[a * zones + b] = Some((path.rtt.clone(), path.loss));
                between[b * zones + a] = Some((path.rtt.clone(), path.loss));
                if let Some(burst) = path.burst {
                    path_bursts.insert((a.min(b) as u16, a.max(b) as u16), PathBurst { burst, state: None });
                }
            }
        }
        let zone_of = rules.zones_of(nodes);
        let numbers = |who: &Who| -> Vec<u32> {
            let named = who.named(zone_of.iter().map(|zone| rules.zone_name(*zone)));
            let drawn = || (0..who.drawn(nodes).unwrap_or(0)).collect();
            named.unwrap_or_else(drawn).into_iter().map(|number: usize| number as u32).collect()
        };
        let mut links = HashMap::new();
        for link in &rules.links {
            let rule = LinkRule { rtt: link.rtt.clone(), loss: link.loss, mtu: link.mtu };
            for from in numbers(&link.from) {
                for to in numbers(&link.to) {
                    links.insert((from, to), rule.clone());
                    if link.both {
                        links.insert((to, from), rule.clone());
                    }
                }
            }
        }
        let mut network = Self {
            rules: rules.clone(),
            dice,
            zone_of,
            between,
            dead_links: dead(&links),
            links,
            bursts: HashMap::new(),
            path_bursts,
            edges: Vec::new(),
            cuts: Vec::new(),
            filters: Vec::new(),
            lost: Lost::default(),
        };
        network.edges.resize(nodes, Edge::default());
        network
    }

    /// Makes room for one more member. It joins the zones in turn, and stands where its zone stands as a whole. Else, where
    /// a cut leaves no member out, it stands on the side of some other member, as a host does, and does not join the sides.
    pub fn add(&mut self) {
        let members = self.edges.len();
        if !self.rules.zones.is_empty() {
            let zone = u16::try_from(members % self.rules.zones.len()).unwrap_or(0);
            let zones = &self.zone_of;
            for cut in self.cuts.iter_mut().chain(&mut self.filters) {
                if let Some(side) = side_of_zone(cut, zones, zone).filter(|_| follows(cut, zones)) {
                    cut.side.resize(members, 0);
                    cut.side.push(side);
                }
            }
            self.zone_of.push(zone);
        }
        let divided = |cut: &Cut| cut.side.len() == members && cut.divides(members);
        if self.cuts.iter().any(divided) {
            let beside = self.dice.below(members);
            for cut in self.cuts.iter_mut().filter(|cut| divided(cut)) {
                cut.side.push(cut.side(beside));
            }
        }
        self.edges.push(Edge::default());
    }

    /// How many there are, whether they have started or not.
    #[must_use]
    pub fn members(&self) -> usize {
        self.edges.len()
    }

    /// Name of the zone of a member.
    #[must_use]
    pub fn zone(&self, member: usize) -> Option<&str> {
        self.rules.zone_name(*self.zone_of.get(member)?)
    }

    /// Whether hosts of stopped processes answer.
    #[must_use]
    pub fn refusals(&self) -> bool {
        self.rules.refusals
    }

    /// The state of a member's own link.
    pub fn edge(&mut self, member: usize) -> &mut Edge {
        &mut self.edges[member]
    }

    /// Adds a cut, not yet in force, and says its number.
    pub fn plan_cut(&mut self, side: Vec<u8>, one_way: bool) -> usize {
        self.cuts.push(Cut::planned(side, one_way));
        self.cuts.len() - 1
    }

    /// Puts a cut in force or lifts it.
    pub fn set_cut(&mut self, cut: usize, active: bool, now: Instant) {
        let cut = &mut self.cuts[cut];
        if active {
            cut.since = now;
        } else if cut.active {
            cut.lifted = now;
        }
        cut.active = active;
    }

    /// Adds a filter that refuses what would have to cross a cut of this shape, not yet in force, and says its number.
    pub fn plan_filter(&mut self, side: Vec<u8>, one_way: bool) -> usize {
        self.filters.push(Cut::planned(side, one_way));
        self.filters.len() - 1
    }

    /// Puts a filter in force or lifts it.
    pub fn set_filter(&mut self, filter: usize, active: bool, now: Instant) {
        let filter = &mut self.filters[filter];
        (filter.active, filter.lifted) = (active, now);
    }

    /// Whether a filter answers for `to` when `from` calls it.
    #[must_use]
    pub fn refuses(&self, from: usize, to: usize) -> bool {
        self.filters.iter().any(|filter| filter.active && filter.stops(from, to))
    }

    /// A datagram goes as far as a filter before `to`: how long its answer takes to come back; `None`: one of the two is lost.
    pub fn refuse(&mut self, now: Instant, from: usize, to: usize) -> Option<Duration> {
        self.lost.refused += 1;
        let there = self.carry_refusal(now, from, to)?;
        let back = self.carry_refusal(now + there, to, from)?;
        Some(there + back)
    }

    /// All cuts of the run.
    #[must_use]
    pub fn cuts(&self) -> &[Cut] {
        &self.cuts
    }

    /// All filters of the run.
    #[must_use]
    pub fn filters(&self) -> &[Cut] {
        &self.filters
    }

    /// Whether, in either direction, these two are cut apart, or were less than `grace` ago.
    #[must_use]
    pub fn apart(&self, a: usize, b: usize, now: Instant, grace: Duration) -> bool {
        self.cuts.iter().any(|cut| {
            let counts = cut.active || (cut.lifted > Instant::EPOCH && now.since(cut.lifted) < grace);
            counts && (cut.stops(a, b) || cut.stops(b, a))
        })
    }

    /// What tells the links of this member from those of another: its sides of all cuts and filters in force, and its zone.
    #[must_use]
    pub fn place(&self, member: usize) -> Vec<u8> {
        let sides = self.barriers().map(|cut| cut.side(member));
        let zone = self.zone_of.get(member).copied().unwrap_or(0).to_be_bytes();
        sides.chain(zone).collect()
    }

    /// Whether both directions between two members carry anything, as far as their places say.
    #[must_use]
    pub fn is_two_way(&self, a: usize, b: usize) -> bool {
        let loss = self.path(a, b).map_or(self.rules.loss, |(_, loss)| *loss);
        loss < 1.0 && !self.barriers().any(|cut| cut.stops(a, b) || cut.stops(b, a))
    }

    /// Whether anything that `from` sends can reach `to`.
    #[must_use]
    pub fn carries(&self, from: usize, to: usize) -> bool {
        let edge = |member: usize| self.edges.get(member).copied().unwrap_or_default();
        let link = self.links.get(&pair(from, to)).and_then(|link| link.loss);
        let path = || self.path(from, to).map_or(self.rules.loss, |(_, loss)| *loss);
        let shares = [link.unwrap_or_else(path), edge(from).send, edge(to).receive];
        shares.iter().all(|lost| *lost < 1.0) && !self.barriers().any(|cut| cut.stops(from, to))
    }

    /// Pairs of members, the lower number first, whose own link carries nothing in at least one direction.
    #[must_use]
    pub fn dead_links(&self) -> &[(usize, usize)] {
        &self.dead_links
    }

    /// Cuts and filters in force.
    fn barriers(&self) -> impl Iterator<Item = &Cut> {
        self.cuts.iter().chain(&self.filters).filter(|cut| cut.active)
    }

    /// Judges a datagram: up to two arrivals go into `arrivals`.
    pub fn carry(
        &mut self,
        now: Instant,
        from: usize,
        to: usize,
        bytes: &Bytes,
        arrivals: &mut Vec<Arrival>,
    ) {
        let Some(wait) = self.survives(now, from, to, bytes.len()) else { return };
        let copies = if self.dice.chance(self.rules.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            let mut delay = wait + self.delay(from, to);
            if self.dice.chance(self.rules.reorder) {
                delay += self.dice.within(self.rules.reorder_by.0);
            }
            let corrupt = self.edges[from].corrupt.max(self.rules.corrupt);
            let bytes = if self.dice.chance(corrupt) { self.flip(bytes) } else { bytes.clone() };
            arrivals.push((delay, bytes));
        }
    }

    /// How long an answer of the kernel takes from `from` to `to`; `None`: lost.
    pub fn carry_refusal(&mut self, now: Instant, from: usize, to: usize) -> Option<Duration> {
        let wait = self.survives(now, from, to, HEADER)?;
        Some(wait + self.delay(from, to))
    }

    /// How long a datagram waits before its link, or `None` when it is lost.
    fn survives(&mut self, now: Instant, from: usize, to: usize, size: usize) -> Option<Duration> {
        if self.cuts.iter().any(|cut| cut.active && cut.stops(from, to)) {
            self.lost.cut += 1;
            return None;
        }
        let link = self.links.get(&pair(from, to));
        if size + HEADER > link.and_then(|link| link.mtu).unwrap_or(self.rules.mtu) {
            self.lost.mtu += 1;
            return None;
        }
        let wait = self.queue(now, from, size)?;
        let edge_loss = (self.edges[from].send, self.edges[to].receive);
        if self.dice.chance(edge_loss.0) || self.dice.chance(edge_loss.1) {
            self.lost.edge += 1;
            return None;
        }
        let loss = match self.links.get(&pair(from, to)) {
            Some(LinkRule { loss: Some(loss), .. }) => *loss,
            _ => self.path(from, to).map_or(self.rules.loss, |(_, loss)| *loss),
        };
        if self.dice.chance(loss) {
            self.lost.chance += 1;
            return None;
        }
        if self.lost_in_burst(now, from, to) {
            self.lost.burst += 1;
            return None;
        }
        Some(wait)
    }

    /// Whether a bad time of the link, or of the path that it shares with others, takes a datagram.
    fn lost_in_burst(&mut self, now: Instant, from: usize, to: usize) -> bool {
        if let Some(burst) = self.rules.burst {
            let state = self.bursts.get(&pair(from, to)).copied();
            let state = BurstState::next(state, now, burst, &mut self.dice);
            self.bursts.insert(pair(from, to), state);
            if state.bad && self.dice.chance(burst.loss) {
                return true;
            }
        }
        let zones = self.zone_of.get(from).zip(self.zone_of.get(to)).map(|(a, b)| (*a.min(b), *a.max(b)));
        let Some(path) = zones.and_then(|zones| self.path_bursts.get_mut(&zones)) else { return false };
        let state = BurstState::next(path.state, now, path.burst, &mut self.dice);
        path.state = Some(state);
        state.bad && self.dice.chance(path.burst.loss)
    }

    fn queue(&mut self, now: Instant, from: usize, size: usize) -> Option<Duration> {
        let Some(bandwidth) = self.rules.bandwidth else { return Some(Duration::ZERO) };
        let edge = &mut self.edges[from];
        let start = edge.free_at.max(now);
        let wait = start.since(now);
        if wait > self.rules.queue.0 {
            self.lost.queue += 1;
            return None;
        }
        let takes = Duration::from_secs_f64((size + HEADER) as f64 / bandwidth);
        edge.free_at = start + takes;
        Some(wait + takes)
    }

    fn delay(&mut self, from: usize, to: usize) -> Duration {
        if from == to {
            return Duration::from_micros(20);
        }
        let mut delay = &self.rules.rtt;
        if let Some(LinkRule { rtt: Some(rtt), .. }) = self.links.get(&pair(from, to)) {
            delay = rtt;
        } else if let Some((Some(a), Some(b))) = Some((self.zone_of.get(from), self.zone_of.get(to)))
            && let Some((rtt, _)) = &self.between[usize::from(*a) * self.rules.zones.len() + usize::from(*b)]
        {
            delay = rtt;
        }
        delay.draw(&mut self.dice) / 2
    }

    fn path(&self, from: usize, to: usize) -> Option<&(Delay, f64)> {
        let (a, b) = (self.zone_of.get(from)?, self.zone_of.get(to)?);
        self.between.get(usize::from(*a) * self.rules.zones.len() + usize::from(*b))?.as_ref()
    }

    fn flip(&mut self, bytes: &Bytes) -> Bytes {
        let mut copy = bytes.to_vec();
        for _ in 0..=self.dice.below(4) {
            let bit = self.dice.below(copy.len() * 8);
            if let Some(byte) = copy.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
        copy.into()
    }
}

/// Whether a cut goes between zones: each stands on one side as a whole.
fn follows(cut: &Cut, zones: &[u16]) -> bool {
    let mut of_zone = HashMap::new();
    let whole = |(member, zone)| {
        let side = cut.side(member);
        *of_zone.entry(zone).or_insert(side) == side
    };
    zones.iter().enumerate().all(whole)
}

/// Where the members of a zone stand, if it has any.
fn side_of_zone(cut: &Cut, zones: &[u16], zone: u16) -> Option<u8> {
    zones.iter().position(|other| *other == zone).map(|member| cut.side(member))
}

/// Pairs with a direction in which nothing arrives, each once and in order.
fn dead(links: &HashMap<(u32, u32), LinkRule>) -> Vec<(usize, usize)> {
    let dead = links.iter().filter(|(_, rule)| rule.loss.is_some_and(|loss| loss >= 1.0));
    let pairs = dead.map(|((a, b), _)| (*a.min(b) as usize, *a.max(b) as usize));
    let pairs: BTreeSet<(usize, usize)> = pairs.collect();
    pairs.into_iter().filter(|(a, b)| a != b).collect()
}

fn pair(from: usize, to: usize) -> (u32, u32) {
    (from as u32, to as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Link, Path, Span, Zone};
    use crate::sim_rng::Seed;

    fn network(rules: &Rules) -> Network {
        Network::new(rules, 8, Seed(11).dice("network", 0))
    }

    fn carried(network: &mut Network, at: u64, from: usize, to: usize) -> Vec<Arrival> {
        let mut arrivals = Vec::new();
        let bytes = Bytes::from_static(&[0; 100]);
        network.carry(Instant::from_micros(at), from, to, &bytes, &mut arrivals);
        arrivals
    }

    #[test]
    fn each_direction_takes_half_a_round_trip() {
        let mut network = network(&Rules::default());
        assert_eq!(carried(&mut network, 0, 0, 1)[0].0, Duration::from_micros(250));
    }

    #[test]
    fn loss_and_doubles_come_at_their_rates() {
        let mut network = network(&Rules { loss: 0.1, duplicate: 0.2, ..Rules::default() });
        let n = 20_000;
        let arrivals: usize = (0..n).map(|i| carried(&mut network, i, 0, 1).len()).sum();
        let rate = arrivals as f64 / n as f64;
        assert!((rate - 0.9 * 1.2).abs() < 0.02, "{rate}");
        assert!((network.lost.chance as f64 / n as f64 - 0.1).abs() < 0.01);
    }

    #[test]
    fn bursts_lose_their_share_and_in_a_row() {
        let burst = Burst { good: Span::ms(900), bad: Span::ms(100), loss: 1.0 };
        let mut network = network(&Rules { burst: Some(burst), ..Rules::default() });
        let lost: Vec<bool> =
            (0..200_000).map(|i| carried(&mut network, i * 1000, 0, 1).is_empty()).collect();
        let share = lost.iter().filter(|l| **l).count() as f64 / lost.len() as f64;
        assert!((share - 0.1).abs() < 0.02, "share lost {share}");
        let in_a_row = lost.windows(2).filter(|w| w[0] && w[1]).count() as f64;
        let after_loss = in_a_row / lost.iter().filter(|l| **l).count() as f64;
        assert!(after_loss > 0.95, "a loss is followed by a loss in {after_loss}");
    }

    /// Forty seconds in which members 0 and 1 of one site call 6 and 7 of the other by turns, and one call inside the site.
    /// How often each of the five links loses, and in how many rounds of the first four some lose and some do not.
    fn rounds(rules: &Rules) -> ([usize; 5], usize) {
        let mut network = network(rules);
        let links = [(0, 6), (1, 7), (7, 0), (6, 1), (0, 1)];
        let (mut lost, mut split) = ([0; 5], 0);
        for round in 0..10_000 {
            let was: Vec<bool> = links
                .iter()
                .map(|(from, to)| carried(&mut network, round * 4000, *from, *to).is_empty())
                .collect();
            lost.iter_mut().zip(&was).for_each(|(count, lost)| *count += usize::from(*lost));
            split += usize::from(was[..4].iter().any(|lost| *lost) && !was[..4].iter().all(|lost| *lost));
        }
        (lost, split)
    }

    #[test]
    fn links_between_two_sites_lose_together_where_the_path_has_bursts_and_each_alone_where_links_have() {
        let zone = |name: &str| Zone { name: name.to_owned(), weight: 1.0 };
        let burst = Burst { good: Span::ms(300), bad: Span::ms(100), loss: 1.0 };
        let between = ["b".to_owned(), "a".to_owned()];
        let path = Path { between, rtt: Delay::Constant(Span::ms(20)), loss: 0.0, burst: Some(burst) };
        let zones = vec![zone("a"), zone("b")];
        let (lost, split) = rounds(&Rules { zones: zones.clone(), paths: vec![path], ..Rules::default() });
        assert_eq!((split, lost[4]), (0, 0), "all or none, and none inside a site");
        let share = lost[0] as f64 / 10_000.0;
        assert!((share - 0.25).abs() < 0.1, "{share}");
        let (lost, split) = rounds(&Rules { zones, burst: Some(burst), ..Rules::default() });
        assert!(split > 3000 && lost[4] > 1000, "{split} {lost:?}");
    }

    #[test]
    fn a_share_of_a_bursts_datagrams_survives() {
        let zones = vec![Zone { name: "a".to_owned(), weight: 1.0 }];
        let burst = Burst { good: Span::ms(1), bad: Span::secs(1000), loss: 0.3 };
        let between = ["a".to_owned(), "a".to_owned()];
        let path = Path { between, rtt: Delay::Constant(Span::ms(1)), loss: 0.0, burst: Some(burst) };
        let mut network = network(&Rules { zones, paths: vec![path], ..Rules::default() });
        let lost = (0..10_000).filter(|i| carried(&mut network, *i, 0, 1).is_empty()).count();
        assert!((lost as f64 / 10_000.0 - 0.3).abs() < 0.02, "{lost}");
        assert_eq!(network.lost.burst, lost as u64);
    }

    #[test]
    fn a_one_way_cut_stops_one_direction_only() {
        let mut network = network(&Rules::default());
        let cut = network.plan_cut(vec![1, 2], true);
        network.set_cut(cut, true, Instant::EPOCH);
        assert!(carried(&mut network, 0, 0, 1).is_empty());
        assert_eq!(carried(&mut network, 0, 1, 0).len(), 1);
        assert_eq!(carried(&mut network, 0, 0, 2).len(), 1, "member 2 is not concerned");
        let second = Instant::from_micros(1_000_000);
        network.set_cut(cut, false, second);
        assert_eq!(carried(&mut network, 0, 0, 1).len(), 1);
        assert!(network.apart(1, 0, second, Duration::from_secs(1)));
        assert!(!network.apart(1, 0, second + Duration::from_secs(1), Duration::from_secs(1)));
    }

    #[test]
    fn a_newcomer_during_a_cut_stands_on_one_side_of_it() {
        let mut network = network(&Rules::default());
        let whole = network.plan_cut(vec![1, 1, 1, 1, 2, 2, 2, 2], false);
        let part = network.plan_cut(vec![1, 2], false);
        network.set_cut(whole, true, Instant::EPOCH);
        network.set_cut(part, true, Instant::EPOCH);
        (0..40).for_each(|_| network.add());
        assert!(network.cuts()[whole].divides(network.members()));
        assert_eq!(network.cuts()[part].side(8), 0, "a cut of a path concerns no other member");
        let near = (8..48).filter(|m| network.cuts()[whole].side(*m) == 1).count();
        assert!((8..32).contains(&near), "{near} of 40 beside the first four of eight");
        let reached = |network: &mut Network, from| carried(network, 0, from, 20).len();
        assert_eq!(reached(&mut network, 0) + reached(&mut network, 7), 1);
    }

    #[test]
    fn a_newcomer_of_a_zone_that_is_cut_off_as_a_whole_is_cut_off_with_it() {
        let zone = |name: &str| Zone { name: name.to_owned(), weight: 1.0 };
        let rules = Rules { zones: vec![zone("east"), zone("west")], ..Rules::default() };
        let mut network = network(&rules);
        let whole = network.plan_cut(vec![1, 1, 1, 1, 2, 2, 2, 2], false);
        let path = network.plan_cut(vec![0, 0, 0, 0, 2, 2, 2, 2], false);
        let inside = network.plan_cut(vec![1, 0, 0, 0, 2, 0, 0, 0], false);
        for (number, side) in [(8, 1), (9, 2), (10, 1), (11, 2)] {
            network.add();
            assert_eq!(network.zone(number), Some(["east", "west"][number % 2]));
            assert_eq!(network.cuts()[whole].side(number), side);
            assert_eq!(network.cuts()[path].side(number), if side == 2 { 2 } else { 0 });
            assert_eq!(network.cuts()[inside].side(number), 0);
        }
    }

    #[test]
    fn a_narrow_link_queues_and_then_drops() {
        let rules = Rules { bandwidth: Some(1280.0), queue: Span::ms(250), ..Rules::default() };
        let mut network = network(&rules);
        let delays: Vec<_> = (0..5).map(|_| carried(&mut network, 0, 0, 1).first().map(|a| a.0)).collect();
        let ms = |ms: u64| Some(Duration::from_millis(ms) + Duration::from_micros(250));
        assert_eq!(delays, [ms(100), ms(200), ms(300), None, None]);
        assert_eq!(network.lost.queue, 2);
    }

    #[test]
    fn what_is_larger_than_the_path_vanishes() {
        let mut network = network(&Rules { mtu: 127, ..Rules::default() });
        assert!(carried(&mut network, 0, 0, 1).is_empty());
        assert_eq!(network.lost.mtu, 1);
    }

    #[test]
    fn one_direction_of_a_link_may_take_less() {
        let link = |name: &str| Who::Named(vec![name.to_owned()]);
        let (from, to) = (link("n0"), link("n5"));
        let narrow = Link { from, to, both: false, rtt: None, loss: None, mtu: Some(127) };
        let mut network = network(&Rules { links: vec![narrow], ..Rules::default() });
        assert!(carried(&mut network, 0, 0, 5).is_empty());
        assert_eq!((carried(&mut network, 0, 5, 0).len(), carried(&mut network, 0, 0, 4).len()), (1, 1));
        assert_eq!(network.lost.mtu, 1);
    }

    #[test]
    fn zones_and_links_have_their_own_round_trips() {
        let zone = |name: &str| Zone { name: name.to_owned(), weight: 1.0 };
        let between = ["a".to_owned(), "b".to_owned()];
        let rtt = Delay::Constant(Span::ms(20));
        let link = |name: &str| Who::Named(vec![name.to_owned()]);
        let rules = Rules {
            zones: vec![zone("a"), zone("b")],
            paths: vec![Path { between, rtt, loss: 0.0, burst: None }],
            links: vec![Link {
                from: link("n0"),
                to: link("n5"),
                both: false,
                rtt: Some(Delay::Constant(Span::ms(80))),
                loss: None,
                mtu: None,
            }],
            ..Rules::default()
        };
        let mut network = network(&rules);
        let ms = |arrivals: Vec<Arrival>| arrivals[0].0.as_micros();
        assert_eq!(ms(carried(&mut network, 0, 0, 3)), 250);
        assert_eq!(ms(carried(&mut network, 0, 0, 4)), 10_000);
        assert_eq!(ms(carried(&mut network, 0, 0, 5)), 40_000);
        assert_eq!(ms(carried(&mut network, 0, 5, 0)), 10_000);
        assert_eq!(network.zone(7), Some("b"));
    }

    #[test]
    fn flipped_bits_change_the_bytes_and_nothing_else() {
        let mut network = network(&Rules { corrupt: 1.0, ..Rules::default() });
        let arrival = &carried(&mut network, 0, 0, 1)[0].1;
        assert_eq!(arrival.len(), 100);
        assert!(arrival.iter().any(|b| *b != 0));
    }
}
