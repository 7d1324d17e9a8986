//! Hosts are added; processes begin and end on them.

use core::time::Duration;

use heartsay_membership::{Command, Generation, HostId, Identity, Instant, Name, Node};

use super::World;
use crate::host::{Clock, Host, Inbox, Process, Sent, address};
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
        self.meter.add();
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
            liar: None,
        });
        host
    }

    /// Starts a process on `host`, which must have none.
    pub(crate) fn start(&mut self, host: usize) {
        if self.hosts[host].process.is_some() {
            return;
        }
        self.changed();
        let remembers = self.hosts[host].stored > 0;
        let (node, generation) = match self.machine(host) {
            Ok(machine) => machine,
            Err(why) => return self.judge.no_start(self.now, &why),
        };
        let h = &mut self.hosts[host];
        let clock = Clock::new(self.now, 0, h.wall.ppm());
        let wants = Instant::NEVER;
        self.proofs.begins(host, h.subject == host);
        h.process = Some(Box::new(Process { node, clock, armed: None, wants, spins: 0, leaving: false }));
        self.enter(host, generation);
        self.introduce(host, remembers);
    }

    /// A machine for the next life of `host`, and its generation.
    fn machine(&mut self, host: usize) -> Result<(Machine, Generation), String> {
        let zone = self.network.zone(host).map(str::to_owned);
        let config = self.config_of(host);
        let (h, scenario) = (&mut self.hosts[host], &self.scenario);
        let unix_ms = h.wall.read(self.now) / 1000;
        h.stored = unix_ms.max(h.stored + 1);
        let life_seed = self.seed.number("node", (host as u64) << 32 | h.lives);
        h.lives += 1;
        h.silent = false;
        h.started = self.now;
        h.second = Sent::default();
        if scenario.machine != Baseline::Heartsay {
            let part = Part {
                me: host,
                nodes: scenario.nodes,
                settle: scenario.start.over.0,
                pause: self.config.acceptable_pause,
            };
            let dice = Seed(life_seed).dice("model", 0);
            return Ok((Machine::model(scenario.machine, part, dice, Instant::EPOCH), GENERATION));
        }
        let zone = zone.map(|zone| ("zone".to_owned(), zone.into_bytes()));
        let tags = tags(scenario.start.state, self.config.datagram.limit() / 3);
        let identity = Identity {
            name: h.name.clone(),
            host_id: h.host_id,
            generation: h.stored,
            address: h.address,
            state: zone.into_iter().chain(tags).collect(),
        };
        let node = Node::new(identity, config, life_seed, Instant::EPOCH);
        let node = node.map_err(|error| error.to_string())?;
        Ok((Machine::Real(Box::new(node)), h.stored))
    }

    /// A life has begun: it is told to all that keep books.
    fn enter(&mut self, host: usize, generation: Generation) {
        let (now, subject) = (self.now, self.hosts[host].subject);
        self.trace.say(now, self.hosts[host].name.as_str(), || format!("starts, generation {generation}"));
        self.oracle.truth(subject).lives.push(Life { generation, host, heartbeat: 0 });
        self.record(|film| film.trouble(now, subject, GONE, false));
        if subject == host {
            self.board.set_up(now, host, true);
            let truth = self.oracle.truth(host);
            (truth.up, truth.started) = (true, true);
            self.meter.started(now, host, generation);
        }
    }

    /// Tells a new process the time and whom to dial, as its agent would.
    fn introduce(&mut self, host: usize, remembers: bool) {
        let contacts = self.scenario.start.contacts.min(self.scenario.nodes);
        let mut seeds: Vec<usize> = (0..contacts).filter(|&c| c != host).collect();
        if (0..contacts).all(|c| c == host || self.oracle.members()[c].is_over()) {
            // When all contacts are gone for good, the operator of a new member names one that is there.
            let up: Vec<usize> =
                (0..self.hosts.len()).filter(|&m| m != host && self.board.is_up(m)).collect();
            seeds.extend(up.get(self.dice.below(up.len())));
        }
        let remembered: Vec<usize> = if remembers {
            (0..REMEMBERED).map(|_| self.dice.below(self.hosts.len())).filter(|&p| p != host).collect()
        } else {
            Vec::new()
        };
        self.tell_time(host, self.hosts[host].lives);
        if !remembered.is_empty() {
            self.command(host, Command::Remembered(remembered.into_iter().map(address).collect()));
        }
        self.command(host, Command::Seeds(seeds.into_iter().map(address).collect()));
    }

    /// Ends the process on `host`. `silent`: the host is gone with it.
    pub(crate) fn stop(&mut self, host: usize, silent: bool) {
        let Some(process) = self.hosts[host].process.take() else { return };
        self.changed();
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
        self.judge.ended(host);
        if subject == host {
            if let Some(film) = &mut self.recording {
                for other in (0..self.hosts.len()).filter(|other| *other != host) {
                    film.believes(self.now, host, other, self.board.belief(host, other), Belief::Unknown);
                }
                film.trouble(self.now, host, GONE, true);
            }
            self.board.set_up(self.now, host, false);
            self.oracle.truth(host).up = false;
            self.meter.stopped(self.now, host);
        }
        self.stand();
    }

    /// Begins to time the detection of what befalls `subject`.
    pub(crate) fn open_episode(&mut self, subject: usize, fatal: bool) {
        let observers =
            (0..self.hosts.len()).filter(|&o| o != subject && self.oracle.members()[o].up).collect();
        self.meter.open_episode(self.now, subject, fatal, observers);
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

/// 2026-01-01 00:00 UTC: the wall clocks of every run begin here.
const UNIX_BASE_US: u64 = 1_767_225_600_000_000;
/// Peers that a restarted member dials besides its contacts, as an agent does from its disk.
const REMEMBERED: usize = 3;
/// Kind of the band in which no process runs.
const GONE: &str = "gone";
