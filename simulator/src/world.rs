//! The made-up world: takes the next thing from the queue, sets the clock, hands it in, drains.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use heartsay_membership::{
    Command, Config, Event, HostId, Identity, Input, Instant, MemberEvent, MemberEventKind, Name, Node,
    Output, Quorum, Status, Transmit,
};

use crate::checks::{Quorums, Row, Safety, Violations, liveness};
use crate::dice::{Dice, Seed};
use crate::faults::Act;
use crate::host::{Clock, Host, Inbox, Parcel, Process, Sent, address, number};
use crate::measure::{Episode, Measures};
use crate::models::{GENERATION, Machine, Part, Yardstick};
use crate::network::{Arrival, HEADER, Network};
use crate::oracle::{Belief, Board, GRACE, Life, Oracle};
use crate::queue::Queue;
use crate::recording::{LOOK, Recording};
use crate::scenario::Scenario;
use crate::trace::{Trace, WORLD};

/// One run in progress.
pub struct World {
    pub(crate) now: Instant,
    pub(crate) queue: Queue<Happening>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) network: Network,
    pub(crate) oracle: Oracle,
    pub(crate) board: Board,
    pub(crate) scenario: Scenario,
    pub(crate) dice: Dice,
    pub(crate) trace: Trace,
    pub(crate) quorums: Quorums,
    pub(crate) cut_since: Vec<Instant>,
    pub(crate) measures: Measures,
    pub(crate) violations: Violations,
    pub(crate) live: usize,
    pub(crate) recording: Option<Recording>,
    config: Config,
    seed: Seed,
    safety: Safety,
    marks: Vec<Marks>,
    calm: Instant,
    formed_from: Instant,
    unformed: usize,
    view_sizes: BTreeSet<usize>,
    sampled: Instant,
    rejected: BTreeMap<&'static str, u64>,
    arrivals: Vec<Arrival>,
    events: Vec<Event>,
}

/// What the queue holds.
pub(crate) enum Happening {
    Wake(usize),
    Ready(usize),
    Arrive {
        to: usize,
        from: usize,
        bytes: Bytes,
    },
    Refuse {
        at: usize,
        to: usize,
    },
    WallClock {
        host: usize,
        life: u64,
    },
    Act(Act),
    Second,
    Sample,
    /// A look at the recorded pair.
    Look,
}

/// Book-keeping about one member as a subject.
#[derive(Default)]
struct Marks {
    episode: Option<usize>,
    newcomer: Option<Newcomer>,
    formed: bool,
    evicted: Option<Instant>,
    down: Option<Instant>,
    back: bool,
}

struct Newcomer {
    since: Instant,
    generation: u64,
    full: bool,
    known: Vec<bool>,
}

/// What a run leaves behind.
pub struct Ended {
    /// How well it went.
    pub measures: Measures,
    /// What must not happen, and did.
    pub violations: Violations,
    /// Fingerprint of everything that happened.
    pub trace: u64,
    /// Inputs handed to machines.
    pub inputs: u64,
    /// Datagrams that did not arrive, by cause.
    pub lost: crate::network::Lost,
    /// Inputs that machines refused, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Sum of the machines' own counters, over the members that run at the end.
    pub counters: BTreeMap<&'static str, u64>,
    /// What pictures are drawn from, if it was asked for.
    pub recording: Option<Recording>,
}

impl World {
    /// The beginning of `scenario` as `seed` draws it.
    ///
    /// # Errors
    /// Settings that the machine does not take.
    pub fn new(scenario: &Scenario, seed: u64, trace: Trace) -> Result<Self, String> {
        let seed = Seed(seed);
        let mut world = Self {
            now: Instant::EPOCH,
            queue: Queue::new(),
            hosts: Vec::new(),
            network: Network::new(&scenario.network, scenario.nodes, seed.dice("network", 0)),
            oracle: Oracle::default(),
            board: Board::default(),
            scenario: scenario.clone(),
            dice: seed.dice("faults", 0),
            trace,
            quorums: Quorums::default(),
            cut_since: Vec::new(),
            measures: Measures::default(),
            violations: Violations::default(),
            live: 0,
            recording: None,
            config: scenario.protocol.config(scenario.nodes)?,
            seed,
            safety: Safety::default(),
            marks: Vec::new(),
            calm: Instant::EPOCH,
            formed_from: Instant::EPOCH,
            unformed: scenario.nodes,
            view_sizes: BTreeSet::new(),
            sampled: Instant::EPOCH,
            rejected: BTreeMap::new(),
            arrivals: Vec::new(),
            events: Vec::new(),
        };
        world.plan();
        Ok(world)
    }

    /// Records what pictures need, and phi of `pair` (observer, subject).
    #[must_use]
    pub fn recorded(mut self, pair: Option<(usize, usize)>) -> Self {
        let mut recording = Recording { pair, ..Recording::default() };
        self.hosts.iter().for_each(|_| recording.add());
        self.recording = Some(recording);
        if pair.is_some() {
            self.queue.push(self.now + LOOK, Happening::Look);
        }
        self
    }

    /// Runs to the end of the scenario. `progress` hears of every virtual second.
    pub fn run(mut self, progress: &dyn Fn(Duration)) -> Ended {
        let end = Instant::EPOCH + self.scenario.duration.0;
        while let Some((at, happening)) = self.queue.pop() {
            if at > end {
                break;
            }
            self.now = at;
            if matches!(happening, Happening::Second) {
                progress(at.since(Instant::EPOCH));
            }
            self.step(happening);
        }
        self.now = end;
        self.finish()
    }

    fn step(&mut self, happening: Happening) {
        match happening {
            Happening::Wake(host) => self.wake(host),
            Happening::Ready(host) => self.serve(host),
            Happening::Arrive { to, from, bytes } => self.arrive(to, Parcel::Datagram { from, bytes }),
            Happening::Refuse { at, to } => self.arrive(at, Parcel::Refused { to }),
            Happening::WallClock { host, life } => self.tell_time(host, life),
            Happening::Act(act) => self.act(act),
            Happening::Second => self.second(),
            Happening::Sample => self.sample(),
            Happening::Look => self.look(),
        }
    }

    /// Adds a host; with `subject`, one that claims another's name.
    pub(crate) fn add_host(&mut self, subject: Option<usize>) -> usize {
        let host = self.hosts.len();
        let own = subject.is_none();
        let subject = subject.unwrap_or(host);
        // Numbers make valid names; the fallback cannot be reached.
        let Ok(name) = Name::new(&format!("n{subject}")) else { return host };
        if own {
            self.oracle.add(&name);
        } else {
            self.oracle.add_shadow();
        }
        self.board.add();
        if let Some(recording) = &mut self.recording {
            recording.add();
        }
        self.marks.push(Marks::default());
        if host >= self.scenario.nodes {
            self.network.add();
        }
        let mut dice = self.seed.dice("host", host as u64);
        let id = u128::from(dice.word()) << 64 | u128::from(dice.word());
        let reach = self.scenario.start.clock_offset.0;
        let offset = dice.within(reach * 2).as_micros() as i64 - reach.as_micros() as i64;
        let mut wall = Clock::new(self.now, UNIX_BASE_US + self.now.as_micros(), 0);
        wall.step(self.now, offset);
        self.hosts.push(Host {
            name,
            address: address(host),
            subject,
            host_id: HostId(id),
            stored: 0,
            lives: 0,
            wall,
            process: None,
            silent: false,
            paused: 0,
            blocked: 0,
            work: Duration::ZERO,
            busy_until: Instant::EPOCH,
            inbox: Inbox::default(),
            outbox: Vec::new(),
            started: Instant::EPOCH,
            second: Sent::default(),
        });
        host
    }

    /// Starts a process on `host`, which must have none.
    pub(crate) fn start(&mut self, host: usize) {
        if self.hosts[host].process.is_some() {
            return;
        }
        self.calm = self.now;
        let now = self.now;
        let zone = self.network.zone(host).map(str::to_owned);
        let (h, scenario) = (&mut self.hosts[host], &self.scenario);
        let unix_ms = h.wall.read(now) / 1000;
        let remembers = h.stored > 0;
        h.stored = unix_ms.max(h.stored + 1);
        let part = (scenario.machine != Yardstick::Heartsay).then_some(Part {
            me: host,
            nodes: scenario.nodes,
            settle: scenario.start.over.0,
            pause: self.config.acceptable_pause,
        });
        let generation = if part.is_some() { GENERATION } else { h.stored };
        let life_seed = self.seed.number("node", (host as u64) << 32 | h.lives);
        h.lives += 1;
        h.silent = false;
        h.started = now;
        h.second = Sent::default();
        let identity = Identity {
            name: h.name.clone(),
            host_id: h.host_id,
            generation,
            address: h.address,
            state: zone.map(|zone| ("zone".to_owned(), zone.into_bytes())).into_iter().collect(),
        };
        let clock = Clock::new(now, 0, h.wall.ppm());
        let node = if let Some(part) = part {
            Ok(Machine::model(self.scenario.machine, part, Seed(life_seed).dice("model", 0), Instant::EPOCH))
        } else {
            let node = Node::new(identity, self.config.clone(), life_seed, Instant::EPOCH);
            node.map(|node| Machine::Real(Box::new(node)))
        };
        let node = match node {
            Ok(node) => node,
            Err(error) => {
                self.violations.add(now, "no-start", || error.to_string());
                return;
            }
        };
        h.process = Some(Box::new(Process { node, clock, armed: None, wants: Instant::NEVER, spins: 0 }));
        let (subject, life, name) = (h.subject, h.lives, h.name.to_string());
        self.trace.say(now, &name, || format!("starts, generation {generation}"));
        self.oracle.truth(subject).lives.push(Life { generation, host, heartbeat: 0 });
        self.record(|film| film.trouble(now, subject, GONE, false));
        if subject == host {
            self.board.set_up(now, host, true);
            let truth = self.oracle.truth(host);
            (truth.up, truth.started) = (true, true);
            self.live += 1;
            let marks = &mut self.marks[host];
            marks.episode = None;
            if now > self.formed_from {
                marks.newcomer = Some(Newcomer { since: now, generation, full: false, known: Vec::new() });
            }
        }
        let contacts = self.scenario.start.contacts.min(self.scenario.nodes);
        let mut seeds: Vec<usize> = (0..contacts).filter(|&c| c != host).collect();
        if remembers {
            seeds.extend((0..REMEMBERED).map(|_| self.dice.below(self.hosts.len())).filter(|&p| p != host));
        }
        self.tell_time(host, life);
        let seeds = seeds.into_iter().map(address).collect();
        self.hand(host, COMMAND, Input::Command(Command::Seeds(seeds)), &[]);
    }

    /// Ends the process on `host`. `silent`: the host is gone with it.
    pub(crate) fn stop(&mut self, host: usize, silent: bool) {
        let Some(process) = self.hosts[host].process.take() else { return };
        self.calm = self.now;
        let h = &mut self.hosts[host];
        h.silent = silent;
        h.inbox.clear();
        h.outbox.clear();
        let (name, subject) = (h.name.clone(), h.subject);
        let local = Instant::from_micros(process.clock.read(self.now));
        if let Some((generation, heartbeat)) = process.node.own(local, &name)
            && let Some(life) = self.oracle.truth(subject).life(generation)
        {
            life.heartbeat = life.heartbeat.max(heartbeat);
        }
        self.trace.say(self.now, name.as_str(), || if silent { "vanishes".into() } else { "stops".into() });
        self.safety.forget(host);
        self.quorums.ended(host);
        if subject == host {
            if let Some(film) = &mut self.recording {
                for other in (0..self.hosts.len()).filter(|other| *other != host) {
                    film.believes(self.now, host, other, self.board.belief(host, other), Belief::Unknown);
                }
                film.trouble(self.now, host, GONE, true);
            }
            self.board.set_up(self.now, host, false);
            self.oracle.truth(host).up = false;
            self.live -= 1;
            self.marks[host].newcomer = None;
            for episode in &mut self.measures.episodes {
                if self.now.since(episode.onset) < EXCUSABLE
                    && episode.down.get(host).is_some_and(|t| *t < 0.0)
                {
                    episode.excuse(host);
                }
            }
        }
    }

    /// Begins to time the detection of what befalls `subject`.
    pub(crate) fn open_episode(&mut self, subject: usize, fatal: bool) {
        let observers =
            (0..self.hosts.len()).filter(|&o| o != subject && self.oracle.members()[o].up).collect();
        self.marks[subject].episode = Some(self.measures.episodes.len());
        self.measures.episodes.push(Episode::new(subject, self.now, fatal, observers));
    }

    /// Something about the world changed: the calm begins anew.
    pub(crate) fn disturb(&mut self, line: impl FnOnce() -> String) {
        self.calm = self.now;
        self.trace.say(self.now, WORLD, line);
    }

    /// Handles what waits at `host` and what its timer asks for.
    pub(crate) fn serve(&mut self, host: usize) {
        loop {
            let h = &mut self.hosts[host];
            let Some(process) = &h.process else { return };
            if h.paused > 0 || self.now < h.busy_until {
                return;
            }
            let timer_due = process.wants <= self.now;
            let mail_due = h.blocked == 0 && !h.inbox.is_empty();
            if mail_due && !(timer_due && h.inbox.timer_next) {
                h.inbox.timer_next = !h.work.is_zero();
                if let Some(parcel) = h.inbox.pop() {
                    self.deliver(host, parcel);
                }
            } else if timer_due {
                h.inbox.timer_next = false;
                self.hand(host, TIMEOUT, Input::Timeout, &[]);
            } else {
                return;
            }
        }
    }

    pub(crate) fn command(&mut self, host: usize, command: Command) {
        self.hand(host, COMMAND, Input::Command(command), &[]);
    }

    /// Sends what waited at the edge of `host`.
    pub(crate) fn flush(&mut self, host: usize) {
        for (to, bytes) in std::mem::take(&mut self.hosts[host].outbox) {
            self.carry(host, &Transmit { to, bytes });
        }
    }

    fn arrive(&mut self, to: usize, parcel: Parcel) {
        let h = &mut self.hosts[to];
        if h.process.is_none() {
            self.network.lost.nobody += 1;
            if let Parcel::Datagram { from, .. } = parcel
                && !h.silent
                && self.network.refusals()
                && let Some(delay) = self.network.carry_refusal(self.now, to, from)
            {
                self.queue.push(self.now + delay, Happening::Refuse { at: from, to });
            }
            return;
        }
        let idle = h.paused == 0 && h.blocked == 0 && self.now >= h.busy_until && h.inbox.is_empty();
        if idle {
            self.deliver(to, parcel);
            return;
        }
        // A blocked member's edge holds everything (Lifeguard); a paused or slow one has a socket buffer.
        let bound = if h.blocked > 0 { usize::MAX } else { SOCKET_BUFFER };
        if !h.inbox.push(parcel, bound) {
            self.network.lost.buffer += 1;
        }
        self.serve(to);
    }

    fn deliver(&mut self, host: usize, parcel: Parcel) {
        match parcel {
            Parcel::Datagram { from, bytes } => {
                let from = self.hosts[from].address;
                self.hand(host, DATAGRAM, Input::Datagram { from, bytes: &bytes }, &bytes);
            }
            Parcel::Refused { to } => {
                let to = self.hosts[to].address;
                self.hand(host, REFUSED, Input::Refused { to }, &[]);
            }
        }
    }

    fn tell_time(&mut self, host: usize, life: u64) {
        let h = &self.hosts[host];
        if h.lives != life || h.process.is_none() {
            return;
        }
        self.queue.push(self.now + Duration::from_secs(60), Happening::WallClock { host, life });
        if h.paused == 0 {
            let unix_ms = h.wall.read(self.now) / 1000;
            self.hand(host, WALL_CLOCK, Input::WallClock { unix_ms }, &unix_ms.to_le_bytes());
        }
    }

    fn wake(&mut self, host: usize) {
        let now = self.now;
        let h = &mut self.hosts[host];
        let Some(process) = h.process.as_mut().filter(|p| p.armed == Some(now)) else { return };
        process.armed = None;
        self.serve(host);
        self.arm(host);
    }

    /// Sees to it that the queue holds a wake-up no later than the machine wants one.
    fn arm(&mut self, host: usize) {
        let now = self.now;
        let h = &mut self.hosts[host];
        let Some(process) = &mut h.process else { return };
        if process.wants == Instant::NEVER || (h.paused > 0 && process.wants <= now) {
            return;
        }
        let at = process.wants.max(h.busy_until).max(now);
        if process.armed.is_none_or(|armed| armed > at || armed < now) {
            process.armed = Some(at);
            self.queue.push(at, Happening::Wake(host));
        }
    }

    /// The whole contract: hand in one input with the time, then drain.
    fn hand(&mut self, host: usize, kind: u8, input: Input<'_>, traced: &[u8]) {
        let now = self.now;
        let Some(mut process) = self.hosts[host].process.take() else { return };
        self.trace.input(now, host, kind, traced);
        let local = Instant::from_micros(process.clock.read(now));
        if let Err(rejected) = process.node.handle(local, input) {
            *self.rejected.entry(rejected.reason()).or_default() += 1;
        }
        let mut events = std::mem::take(&mut self.events);
        let wants = loop {
            match process.node.poll_output() {
                Output::Transmit(transmit) => self.depart(host, transmit),
                Output::Event(event) => events.push(event),
                Output::Timeout(when) => break process.clock.when(when.as_micros()),
            }
        };
        process.spins = if kind == TIMEOUT && wants <= now { process.spins + 1 } else { 0 };
        process.wants = if process.spins > MOST_SPINS { now + Duration::from_millis(1) } else { wants };
        let (spins, size) = (process.spins, process.node.members());
        let h = &mut self.hosts[host];
        h.process = Some(process);
        if !h.work.is_zero() {
            h.busy_until = now + h.work;
            self.queue.push(h.busy_until, Happening::Ready(host));
        }
        self.arm(host);
        if spins > MOST_SPINS {
            self.violations.add(now, "spins", || format!("n{host} asks again and again to be woken at once"));
        }
        let names = self.oracle.members().len();
        Safety::size(&mut self.violations, now, self.hosts[host].name.as_str(), size, names);
        for event in events.drain(..) {
            self.note(host, event);
        }
        self.events = events;
        if self.scenario.check.every_step {
            self.inspect(host, false);
        }
    }

    fn depart(&mut self, host: usize, transmit: Transmit) {
        let h = &mut self.hosts[host];
        let limit = self.config.datagram.limit();
        Safety::datagram(&mut self.violations, self.now, h.name.as_str(), transmit.bytes.len(), limit);
        if h.blocked > 0 {
            h.outbox.push((transmit.to, transmit.bytes));
        } else {
            self.carry(host, &transmit);
        }
    }

    fn carry(&mut self, host: usize, transmit: &Transmit) {
        let h = &mut self.hosts[host];
        let size = transmit.bytes.len();
        h.second.bytes += (size + HEADER) as u32;
        h.second.datagrams += 1;
        let work = h.work;
        let Some(to) = number(transmit.to).filter(|&to| to < self.hosts.len()) else { return };
        let mut arrivals = std::mem::take(&mut self.arrivals);
        self.network.carry(self.now, host, to, &transmit.bytes, &mut arrivals);
        let (name, to_name) = (self.hosts[host].name.as_str(), self.hosts[to].name.as_str());
        self.trace.sent(self.now, host, name, to_name, size, arrivals.len());
        for (delay, bytes) in arrivals.drain(..) {
            self.queue.push(self.now + work + delay, Happening::Arrive { to, from: host, bytes });
        }
        self.arrivals = arrivals;
    }

    fn note(&mut self, host: usize, event: Event) {
        let now = self.now;
        let name = self.hosts[host].name.clone();
        let own = self.hosts[host].subject == host;
        match event {
            Event::Member(event) => self.note_member(host, &name, own, &event),
            Event::Quorum(status) => {
                self.trace
                    .say(now, name.as_str(), || format!("quorum {:?}: {}", status.quorum, status.reason));
                if own {
                    // Before, for one that says late that it has lost; after, for one that says too soon that it holds.
                    self.check_sides();
                    self.quorums.says(&mut self.violations, now, host, &status);
                    self.check_sides();
                }
            }
            Event::GenerationRaised(generation) => {
                self.hosts[host].stored = generation;
                let subject = self.hosts[host].subject;
                self.oracle.truth(subject).lives.push(Life { generation, host, heartbeat: 0 });
                self.trace.say(now, name.as_str(), || format!("raises its generation to {generation}"));
            }
            Event::LeaveDone { acknowledged, asked } => {
                self.trace.say(now, name.as_str(), || format!("has left; {acknowledged} of {asked} know"));
                self.stop(host, false);
            }
            Event::Joined { members } => {
                self.trace.say(now, name.as_str(), || format!("joined: {members} members"));
            }
            Event::NameRefused { holder, .. } => {
                self.trace.say(now, name.as_str(), || format!("is refused: host {holder} holds the name"));
                self.stop(host, false);
            }
            Event::ClockRefused => self.trace.say(now, name.as_str(), || "clock refused by peers".to_owned()),
            Event::Isolated(isolated) => {
                self.trace.say(now, name.as_str(), || format!("isolated: {isolated}"));
            }
            Event::Stalled(by) => self.trace.say(now, name.as_str(), || format!("stalled for {by:?}")),
        }
    }

    fn note_member(&mut self, observer: usize, name: &Name, own: bool, event: &MemberEvent) {
        let now = self.now;
        self.trace.member(now, observer, name.as_str(), event);
        let hosts = &self.hosts;
        let claim = (&event.name, event.generation, event.heartbeat);
        let owner = |host: usize| owners_word(hosts, host, now);
        let subject = Safety::claim(&mut self.violations, now, name.as_str(), claim, &mut self.oracle, owner);
        let Some(subject) = subject.filter(|&s| own && s != observer) else { return };
        let belief = match event.kind {
            MemberEventKind::Forgotten => Belief::Unknown,
            MemberEventKind::Join
            | MemberEventKind::Suspect
            | MemberEventKind::Alive
            | MemberEventKind::Down
            | MemberEventKind::Left
            | MemberEventKind::Restart
            | MemberEventKind::Update => Belief::Is(event.status),
        };
        let old = self.board.belief(observer, subject);
        self.board.set(now, observer, subject, belief);
        if old != belief {
            self.record(|film| film.believes(now, observer, subject, old, belief));
        }
        if belief.present() {
            self.known(observer, subject, event.generation);
        }
        if old == belief {
            return;
        }
        let truth = &self.oracle.members()[subject];
        let current = truth.lives.iter().rev().find(|life| life.host == subject).map(|life| life.generation);
        if current != Some(event.generation) {
            return;
        }
        let down = belief == Belief::Is(Status::Down);
        if (down || belief == Belief::Is(Status::Suspect))
            && let Some(episode) = self.marks[subject].episode
        {
            self.measures.episodes[episode].noticed(observer, now, down);
        }
        if down && truth.up {
            self.mistaken(observer, subject);
        }
        let marks = &mut self.marks[subject];
        let was_down = old == Belief::Is(Status::Down);
        if was_down
            && belief.present()
            && marks.down.is_some_and(|at| now.since(at) <= NEEDLESS)
            && !marks.back
        {
            marks.back = true;
            self.measures.needless_evictions += 1;
        }
    }

    /// `observer` calls down a member that is up.
    fn mistaken(&mut self, observer: usize, subject: usize) {
        let now = self.now;
        if self.network.apart(observer, subject, now, Duration::ZERO) {
            let acts = |member| proof_is_good(&self.hosts, member, now);
            self.quorums.verdict(&mut self.violations, now, observer, subject, acts);
        }
        let marks = &mut self.marks[subject];
        if marks.down.is_none_or(|at| now.since(at) > NEEDLESS) {
            marks.back = false;
        }
        marks.down = Some(now);
        let members = self.oracle.members();
        if members[subject].in_trouble(now) || self.network.apart(observer, subject, now, GRACE) {
            return;
        }
        self.measures.false_positives += 1;
        if !members[observer].in_trouble(now) {
            self.measures.false_positives_by_healthy += 1;
        }
        if marks.evicted.is_none_or(|at| now.since(at) > NEEDLESS) {
            self.measures.healthy_evicted += 1;
        }
        marks.evicted = Some(now);
    }

    /// `observer` has `subject` in its view.
    fn known(&mut self, observer: usize, subject: usize, generation: u64) {
        let now = self.now;
        if let Some(newcomer) = &mut self.marks[subject].newcomer
            && generation >= newcomer.generation
        {
            if observer >= newcomer.known.len() {
                newcomer.known.resize(observer + 1, false);
            }
            if !std::mem::replace(&mut newcomer.known[observer], true) {
                self.measures.newcomer_known.push(now.since(newcomer.since).as_secs_f32());
            }
        }
        if self.board.view_size(observer) < self.live {
            return;
        }
        let marks = &mut self.marks[observer];
        if let Some(newcomer) = marks.newcomer.as_mut().filter(|n| !n.full) {
            newcomer.full = true;
            self.measures.newcomer_full.push(now.since(newcomer.since).as_secs_f32());
        }
        if now >= self.formed_from && observer < self.scenario.nodes && !marks.formed {
            marks.formed = true;
            self.unformed -= 1;
            let took = now.since(self.formed_from);
            self.measures.formation_each.push(took.as_secs_f32());
            if self.unformed == 0 {
                self.measures.formation = Some(took);
                self.trace.say(now, WORLD, || format!("formed {took:?} after the last start"));
            }
        }
    }

    fn plan(&mut self) {
        let start = self.scenario.start.clone();
        let mut dice = self.seed.dice("start", 0);
        for member in 0..self.scenario.nodes {
            self.add_host(None);
            let at = match start.every {
                Some(every) => every.0 * member as u32,
                None if member < start.contacts => Duration::ZERO,
                None => dice.within(start.over.0),
            };
            self.formed_from = self.formed_from.max(Instant::EPOCH + at);
            self.queue.push(Instant::EPOCH + at, Happening::Act(Act::Start(member)));
        }
        for (i, fault) in self.scenario.faults.iter().enumerate() {
            self.queue.push(Instant::EPOCH + fault.at.0, Happening::Act(Act::Begin(i)));
        }
        self.queue.push(Instant::EPOCH + SECOND, Happening::Second);
        self.queue.push(Instant::EPOCH + self.scenario.measure.every.0, Happening::Sample);
    }

    fn second(&mut self) {
        let now = self.now;
        let counted = now.since(Instant::EPOCH) >= self.scenario.measure.after.0 + SECOND;
        for h in &mut self.hosts {
            let sent = std::mem::take(&mut h.second);
            self.measures.bytes_peak = self.measures.bytes_peak.max(sent.bytes);
            if counted && h.process.is_some() && now.since(h.started) >= SECOND {
                self.measures.bytes.push(sent.bytes);
                self.measures.datagrams += u64::from(sent.datagrams);
            }
        }
        self.check_sides();
        let seconds = now.as_micros() / 1_000_000;
        if self.unformed > 0 {
            self.view_sizes.extend(self.board.view_sizes());
        }
        let nodes = self.hosts.len();
        let watched = (INSPECTED_ROWS / nodes.max(1)).clamp(2, nodes.max(2)).min(nodes);
        let ages = counted && seconds.is_multiple_of(AGES_EVERY);
        for i in 0..watched {
            self.inspect(i * nodes / watched, ages);
        }
        self.queue.push(now + SECOND, Happening::Second);
    }

    /// At most one side of each cut holds quorum, as soon as the bound on saying so has passed.
    fn check_sides(&mut self) {
        let within =
            self.scenario.check.quorum_within.map_or(self.config.lease().mul_f64(CLOCK_RATES), |w| w.0);
        let acts = |member| proof_is_good(&self.hosts, member, self.now);
        self.quorums.sides(&mut self.violations, self.now, &self.network, &self.cut_since, within, acts);
    }

    fn sample(&mut self) {
        let (running, agreeing) = self.board.majority();
        let off = running - agreeing;
        let dt = self.now.since(self.sampled).as_secs_f64();
        self.sampled = self.now;
        // While the cluster forms, views differ by nature.
        if self.unformed == 0 {
            self.measures.divergence += off as f64 * dt;
        }
        let at = self.now.since(Instant::EPOCH).as_secs_f32();
        self.measures.disagreement.push((at, off as u32, self.board.wrong() as u32));
        self.queue.push(self.now + self.scenario.measure.every.0, Happening::Sample);
    }

    pub(crate) fn record(&mut self, what: impl FnOnce(&mut Recording)) {
        self.recording.as_mut().map(what);
    }

    fn look(&mut self) {
        let now = self.now;
        self.queue.push(now + LOOK, Happening::Look);
        let Some((observer, subject)) = self.recording.as_ref().and_then(|film| film.pair) else { return };
        let Some(name) = self.hosts.get(subject).map(|h| h.name.clone()) else { return };
        let Some(process) = self.hosts.get(observer).and_then(|h| h.process.as_ref()) else { return };
        let local = Instant::from_micros(process.clock.read(now));
        if let Some(view) = process.node.real().and_then(|node| node.member(local, &name)) {
            self.record(|film| film.sample(now, view.phi));
        }
    }

    /// Looks at the whole table of `observer`.
    fn inspect(&mut self, observer: usize, ages: bool) {
        let now = self.now;
        let Some(process) = &self.hosts[observer].process else { return };
        let name = self.hosts[observer].name.clone();
        let own = self.hosts[observer].subject == observer;
        let mut rows = Vec::new();
        for view in process.node.view(Instant::from_micros(process.clock.read(now))) {
            let hosts = &self.hosts;
            let claim = (&view.name, view.generation, view.heartbeat);
            let owner = |host: usize| owners_word(hosts, host, now);
            let subject =
                Safety::claim(&mut self.violations, now, name.as_str(), claim, &mut self.oracle, owner);
            let Some(subject) = subject else { continue };
            let belief = Belief::Is(view.status);
            rows.push(Row { subject, generation: view.generation, heartbeat: view.heartbeat, belief });
            if !own || view.is_self || subject == observer {
                continue;
            }
            let told = self.board.belief(observer, subject);
            if told != belief {
                self.violations.add(now, "view-without-event", || {
                    format!("{name} has n{subject} as {belief:?}; its events said {told:?}")
                });
            }
            if ages
                && self.oracle.members()[subject].up
                && let Some((generation, current)) = owners_word(&self.hosts, subject, now)
                && generation == view.generation
            {
                let age = current.saturating_sub(view.heartbeat);
                self.measures.ages.push(u16::try_from(age).unwrap_or(u16::MAX));
            }
        }
        self.safety.table(&mut self.violations, now, observer, &rows);
    }

    fn finish(mut self) -> Ended {
        let now = self.now;
        let check = self.scenario.check.clone();
        // A scenario that begins trouble must leave time for the calm to be judged.
        self.measures.agreement = liveness(&mut self.violations, now, self.calm, &self.board, &check);
        if self.scenario.machine != Yardstick::Heartsay {
            // The rules are the real machine's; a model is measured, not checked.
            self.violations = Violations::default();
        }
        self.measures.quorum = self.quorums.count();
        self.measures.view_sizes = self.view_sizes.into_iter().collect();
        let newcomers = self.marks.iter().filter_map(|m| m.newcomer.as_ref());
        self.measures.newcomers_lost = newcomers.filter(|n| !n.full).count() as u64;
        let mut counters = BTreeMap::new();
        let processes = self.hosts.iter().filter_map(|h| h.process.as_ref());
        for node in processes.filter_map(|process| process.node.real()) {
            let s = node.stats();
            for (key, value) in [
                ("rounds", s.rounds),
                ("exchanges", s.exchanges),
                ("probes", s.probes),
                ("probes-unanswered", s.probes_unanswered),
                ("probe-requests", s.probe_requests),
                ("nacks", s.nacks),
                ("refusals", s.refusals),
                ("bursts", s.bursts),
                ("claims-sent", s.claims_sent),
                ("claims-received", s.claims_received),
                ("stale-claims", s.stale_claims),
                ("suspicions-raised", s.suspicions_raised),
                ("suspicions-refuted", s.suspicions_refuted),
                ("refutations-of-self", s.refutations_of_self),
                ("verdicts", s.verdicts),
                ("stalls", s.stalls),
                ("pages-equal", s.pages_equal),
                ("pages-unequal", s.pages_unequal),
                ("isolated", u64::from(s.isolated)),
                ("tombstones", s.tombstones as u64),
            ] {
                *counters.entry(key).or_default() += value;
            }
        }
        Ended {
            measures: self.measures,
            violations: self.violations,
            trace: self.trace.hash(),
            inputs: self.trace.inputs(),
            lost: self.network.lost,
            rejected: self.rejected,
            counters,
            recording: self.recording,
        }
    }
}

/// Whether `member`, asked now, could still say that it holds quorum: its proof has not run out by its own clock.
fn proof_is_good(hosts: &[Host], member: usize, now: Instant) -> bool {
    let Some(process) = hosts.get(member).and_then(|h| h.process.as_ref()) else { return false };
    let local = Instant::from_micros(process.clock.read(now));
    process.node.real().is_some_and(|node| node.quorum(local).quorum == Quorum::Held)
}

/// Generation and heartbeat that the process on `host` gives itself.
fn owners_word(hosts: &[Host], host: usize, now: Instant) -> Option<(u64, u64)> {
    let h = hosts.get(host)?;
    let process = h.process.as_ref()?;
    let local = Instant::from_micros(process.clock.read(now));
    process.node.own(local, &h.name)
}

/// Clocks may differ from true time by 1 %: what one calls a second, another calls up to 1.02.
const CLOCK_RATES: f64 = 1.02;
/// Kind of the band in which no process runs.
const GONE: &str = "gone";
const DATAGRAM: u8 = 1;
const REFUSED: u8 = 2;
const TIMEOUT: u8 = 3;
const WALL_CLOCK: u8 = 4;
const COMMAND: u8 = 5;
const SECOND: Duration = Duration::from_secs(1);
/// Called down and back within this is a needless eviction (as in the targets).
const NEEDLESS: Duration = Duration::from_secs(10);
/// An observer that dies this soon after a death need not have noticed it.
const EXCUSABLE: Duration = Duration::from_secs(60);
/// 2026-01-01 00:00 UTC: the virtual clocks begin here, for ever.
const UNIX_BASE_US: u64 = 1_767_225_600_000_000;
/// Linux' default `rmem_default`.
const SOCKET_BUFFER: usize = 212_992;
/// Peers that a restarted member dials besides its contacts, as an agent does from its disk.
const REMEMBERED: usize = 3;
/// Table rows looked at per virtual second: enough to bite, cheap enough to leave on.
const INSPECTED_ROWS: usize = 1024;
/// Seconds between two looks at the ages of heartbeats.
const AGES_EVERY: u64 = 5;
/// A machine that asks to be woken at once more often than this is in a loop.
const MOST_SPINS: u32 = 1000;
