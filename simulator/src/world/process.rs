//! Hosts are added; processes begin and end on them.

use core::time::Duration;

use heartsay_membership::{Command, HostId, Identity, Input, Instant, Name, Node};

use super::World;
use super::driver::COMMAND;
use super::marks::{Marks, Newcomer};
use crate::bits::Members;
use crate::host::{Clock, Host, Inbox, Process, Sent, address};
use crate::measure::Episode;
use crate::models::{Baseline, GENERATION, Machine, Part};
use crate::oracle::{Belief, Life};
use crate::sim_rng::Seed;

impl World {
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
            agreed: Vec::new(),
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
        let part = (scenario.machine != Baseline::Heartsay).then_some(Part {
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
            state: zone
                .map(|zone| ("zone".to_owned(), zone.into_bytes()))
                .into_iter()
                .chain(tags(scenario.start.state, self.config.datagram.limit() / 3))
                .collect(),
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
            marks.stated = false;
            if now > self.formed_from {
                marks.newcomer =
                    Some(Newcomer { since: now, generation, full: false, known: Members::default() });
            }
        }
        let contacts = self.scenario.start.contacts.min(self.scenario.nodes);
        let mut seeds: Vec<usize> = (0..contacts).filter(|&c| c != host).collect();
        if (0..contacts).all(|c| c == host || self.oracle.members()[c].is_over()) {
            // Whoever starts a member when all contacts are gone for good names somebody who is there.
            let up: Vec<usize> =
                (0..self.hosts.len()).filter(|&m| m != host && self.board.is_up(m)).collect();
            seeds.extend(up.get(self.dice.below(up.len())));
        }
        let remembered: Vec<usize> = if remembers {
            (0..REMEMBERED).map(|_| self.dice.below(self.hosts.len())).filter(|&p| p != host).collect()
        } else {
            Vec::new()
        };
        self.tell_time(host, life);
        let agreed = self.hosts[host].agreed.clone();
        if !agreed.is_empty() {
            self.hand(host, COMMAND, Input::Command(Command::Agreed(agreed)), &[]);
        }
        if !remembered.is_empty() {
            let remembered = remembered.into_iter().map(address).collect();
            self.hand(host, COMMAND, Input::Command(Command::Remembered(remembered)), &[]);
        }
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
        let (generation, heartbeat) = process.node.own();
        if let Some(life) = self.oracle.truth(subject).life(generation) {
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
}

/// So many bytes of tags, in values of `value` bytes.
fn tags(bytes: usize, value: usize) -> impl Iterator<Item = (String, Vec<u8>)> {
    (0..bytes.div_ceil(value)).map(move |i| {
        let key = format!("tag/k{i:02}");
        let length = value.min(bytes - i * value).saturating_sub(key.len());
        (key, vec![b'x'; length])
    })
}

/// An observer that dies this soon after a death need not have noticed it.
const EXCUSABLE: Duration = Duration::from_secs(60);
/// 2026-01-01 00:00 UTC: the virtual clocks begin here, for ever.
const UNIX_BASE_US: u64 = 1_767_225_600_000_000;
/// Peers that a restarted member dials besides its contacts, as an agent does from its disk.
const REMEMBERED: usize = 3;
/// Kind of the band in which no process runs.
const GONE: &str = "gone";
