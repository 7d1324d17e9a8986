//! The story: they meet, one is killed, all notice, it comes back, all notice. With a cut, that takes the place of the death.

mod cut;
mod services;

use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::cut::Parted;
use super::board::{Board, Changed, Instance, Look, Quorum, Sight, observe};
use super::cluster::Cluster;
use super::stage::Stage;
use super::step::Step;

/// What is to happen.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    /// The cluster runs for so long before it does.
    pub(super) after: Duration,
    /// The network is cut and healed; else an agent is killed and started again.
    pub(super) cut: bool,
    /// Services run on some agents, and one of them dies.
    pub(super) services: bool,
    /// Where a browser finds the page of the first agent.
    pub(super) page: Option<String>,
    /// The end is the end.
    pub(super) once: bool,
}

/// The play as it goes on.
pub(super) struct Story {
    cluster: Cluster,
    board: Board,
    stage: Stage,
    sights: mpsc::Receiver<Sight>,
    /// Dropped with the story, and the tasks with it.
    observers: JoinSet<()>,
    to_us: mpsc::Sender<Sight>,
    result: Told,
    /// When the processes were last looked at.
    looked: Instant,
    /// Killed as the story is dropped.
    services: Vec<tokio::process::Child>,
}

/// What was measured; in seconds.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Told {
    /// How many agents.
    pub(super) nodes: usize,
    /// From the last start until all saw all.
    pub(super) formed_seconds: Option<f64>,
    /// From the kill until a survivor saw `suspect`.
    pub(super) suspect: Option<Spread>,
    /// From the kill until a survivor saw `down`.
    pub(super) down: Option<Spread>,
    /// From the start of the new life until a survivor saw it.
    pub(super) restart: Option<Spread>,
    /// From the end of a service until an agent saw that it is gone.
    pub(super) service_gone: Option<Spread>,
    /// How the cut went.
    pub(super) cut: Option<Parted>,
}

/// How a time is spread over the agents that measured it; in seconds.
#[derive(Clone, Copy, Debug, Serialize, PartialEq)]
pub(super) struct Spread {
    /// How many measured it.
    pub(super) observers: usize,
    /// Half of them were faster.
    pub(super) median_seconds: f64,
    /// The slowest.
    pub(super) max_seconds: f64,
}

/// The story did not go as it should.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Failed(pub(super) String);

impl Story {
    /// Sets the scene; no agent runs yet.
    pub(super) fn new(cluster: Cluster, stage: Stage) -> Self {
        let (to_us, sights) = mpsc::channel(QUEUE);
        let board = Board::new(cluster.nodes().iter().map(|n| n.name.clone()));
        let result = Told { nodes: board.size(), ..Told::default() };
        Self {
            cluster,
            board,
            stage,
            sights,
            observers: JoinSet::new(),
            to_us,
            result,
            looked: Instant::now(),
            services: Vec::new(),
        }
    }

    /// Tells it all; if it is not to be told once it then goes on showing what happens until it is stopped.
    pub(super) async fn tell(&mut self, plot: Plot) -> anyhow::Result<()> {
        self.meet(plot.page.as_deref()).await?;
        if plot.services {
            self.serve().await?;
        }
        self.pass(plot.after).await?;
        let size = self.board.size();
        if plot.services {
            self.lose_a_service().await?;
            self.pass(BREATH).await?;
        }
        if plot.cut {
            self.part(size - size.div_ceil(2).max(size / 2 + 1)).await?;
        } else if size > 1 {
            let victim = size / 2;
            let generation = self.die(victim).await?;
            self.pass(BREATH).await?;
            self.return_of(victim, generation).await?;
        }
        if !plot.once {
            self.go_on().await?;
        }
        Ok(())
    }

    /// Asks all agents to leave, and waits for it.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        self.stage.step(&Step::Stopping { nodes: self.board.size() })?;
        self.observers.abort_all();
        self.services.clear();
        let unclean = self.cluster.stop(self.bound()).await;
        if !unclean.is_empty() {
            return Err(Failed(format!("did not stop cleanly: {}", unclean.join(", "))).into());
        }
        Ok(())
    }

    /// Says how it went.
    pub(super) fn conclude(&mut self, failure: Option<&Failed>) -> anyhow::Result<()> {
        self.stage.conclude(&self.result, failure)
    }

    /// Leaves the directory of the play behind.
    pub(super) fn keep(&mut self) -> &Path {
        self.cluster.keep()
    }

    async fn meet(&mut self, page: Option<&str>) -> anyhow::Result<()> {
        let size = self.board.size();
        self.stage.step(&Step::Starting { nodes: size, dir: self.cluster.dir() })?;
        for (index, node) in self.cluster.nodes().iter().enumerate() {
            self.observers.spawn(observe(index, node.socket.clone(), self.to_us.clone()));
        }
        for index in 0..size {
            self.cluster.start(index)?;
            // A thousand starts take a while: see, show and be interruptible meanwhile.
            tokio::task::yield_now().await;
            while let Ok(sight) = self.sights.try_recv() {
                self.board.take(&sight);
            }
            self.stage.draw(&self.board, self.cluster.nodes())?;
        }
        let started = Instant::now();
        let deadline = started + self.bound();
        let mut last = started;
        while !self.board.complete() {
            match self.next(deadline).await? {
                Some(change) => last = change.at,
                None => {
                    let complete = self.board.complete_views();
                    return fail(format!("after {:?} only {complete} of {size} see all", self.bound()));
                }
            }
        }
        let seconds = (last - started).as_secs_f64();
        self.result.formed_seconds = Some(seconds);
        self.stage.step(&Step::Formed { nodes: size, seconds })?;
        if let Some(first) = self.cluster.nodes().first() {
            self.stage.step(&Step::Hint { socket: &first.socket, page })?;
        }
        Ok(())
    }

    /// Kills `victim`; returns the generation that died.
    async fn die(&mut self, victim: usize) -> anyhow::Result<u64> {
        let (_, generation) = self.board.look(0, victim);
        let pid = self.cluster.nodes().get(victim).and_then(|n| n.pid());
        let name = self.name(victim);
        let killed = self.cluster.crash(victim).await?;
        self.stage.step(&Step::Killed { member: &name, pid })?;

        let mut suspects = Times::new(killed);
        let mut downs = Times::new(killed);
        let deadline = killed + self.bound();
        while downs.len() + 1 < self.board.size() {
            let Some(Change { observer, at, changed: Changed { members, .. } }) = self.next(deadline).await?
            else {
                let seen = downs.len();
                return fail(format!(
                    "after {:?} only {seen} of {} survivors see that {name} is down",
                    self.bound(),
                    self.board.size() - 1
                ));
            };
            for member in members {
                let (look, _) = self.board.look(observer, member);
                let times = match look {
                    _ if member != victim => {
                        self.expect_well(observer, member)?;
                        continue;
                    }
                    Look::Suspect => &mut suspects,
                    Look::Down => &mut downs,
                    Look::Unknown | Look::Alive | Look::Left => continue,
                };
                if let Some(seconds) = times.note(observer, at) {
                    let by = self.name(observer);
                    self.stage.step(&Step::Seen { by: &by, member: &name, status: look.word(), seconds })?;
                }
            }
        }
        self.result.suspect = suspects.spread();
        self.result.down = downs.spread();
        let (suspect, down) = (self.result.suspect, self.result.down);
        self.stage.step(&Step::Noticed { member: &name, suspect, down })?;
        Ok(generation)
    }

    async fn return_of(&mut self, victim: usize, before: u64) -> anyhow::Result<()> {
        let name = self.name(victim);
        let started = Instant::now();
        self.cluster.start(victim)?;
        let pid = self.cluster.nodes().get(victim).and_then(|n| n.pid());
        self.stage.step(&Step::Restarted { member: &name, pid })?;

        let mut backs = Times::new(started);
        let deadline = started + self.bound();
        while backs.len() + 1 < self.board.size() || !self.board.complete() {
            let Some(Change { observer, at, changed: Changed { members, .. } }) = self.next(deadline).await?
            else {
                let seen = backs.len();
                return fail(format!(
                    "after {:?} only {seen} of {} survivors see the new life of {name}, and {} views are complete",
                    self.bound(),
                    self.board.size() - 1,
                    self.board.complete_views()
                ));
            };
            for member in members {
                let (look, generation) = self.board.look(observer, member);
                if member != victim {
                    self.expect_well(observer, member)?;
                } else if observer != victim
                    && look == Look::Alive
                    && generation > before
                    && let Some(seconds) = backs.note(observer, at)
                {
                    let by = self.name(observer);
                    self.stage.step(&Step::Seen { by: &by, member: &name, status: "alive", seconds })?;
                }
            }
        }
        self.result.restart = backs.spread();
        let (_, after) = self.board.look(0, victim);
        let restart = self.result.restart;
        self.stage.step(&Step::Returned { member: &name, restart, before, after })
    }

    /// Lets time pass in which nothing should happen.
    async fn pass(&mut self, time: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + time;
        while let Some(change) = self.next(deadline).await? {
            for member in change.changed.members {
                self.expect_well(change.observer, member)?;
            }
        }
        Ok(())
    }

    /// Shows what happens from now on.
    async fn go_on(&mut self) -> anyhow::Result<()> {
        self.stage.step(&Step::GoingOn)?;
        loop {
            let deadline = Instant::now() + DAY;
            while let Some(change) = self.next_whatever(deadline).await? {
                let by = self.name(change.observer);
                let Changed { members, quorum, service } = change.changed;
                for member in members {
                    let (look, _) = self.board.look(change.observer, member);
                    let member = self.name(member);
                    self.stage.step(&Step::Changed { by: &by, member: &member, status: look.word() })?;
                }
                if let Some(quorum) = quorum {
                    self.stage.step(&Step::Quorum { by: &by, quorum: quorum.word(), seconds: None })?;
                }
                if let Some(Instance { service, member, state }) = service {
                    let (service, member, state) = (&service, &member, &state);
                    self.stage.step(&Step::Service { by: &by, service, member, state, seconds: None })?;
                }
            }
        }
    }

    /// The next change, or `None` at the deadline. An agent that ends by itself ends the story.
    async fn next(&mut self, deadline: Instant) -> anyhow::Result<Option<Change>> {
        let change = self.next_whatever(deadline).await?;
        // Not for every sight: a large cluster has many of both.
        if self.looked.elapsed() < TICK {
            return Ok(change);
        }
        self.looked = Instant::now();
        if let Some((index, status)) = self.cluster.ended() {
            let last_words = self.cluster.nodes().get(index).map(|n| n.last_words()).unwrap_or_default();
            return fail(format!(
                "{} ended by itself ({status}); its last words:\n{last_words}",
                self.name(index)
            ));
        }
        Ok(change)
    }

    async fn next_whatever(&mut self, deadline: Instant) -> anyhow::Result<Option<Change>> {
        loop {
            let now = Instant::now();
            if now >= deadline {
                return Ok(None);
            }
            self.stage.draw(&self.board, self.cluster.nodes())?;
            match tokio::time::timeout_at(deadline.min(now + TICK), self.sights.recv()).await {
                Ok(Some(sight)) => {
                    let changed = self.board.take(&sight);
                    return Ok(Some(Change { observer: sight.observer, at: sight.at, changed }));
                }
                Ok(None) => return fail("all observers are gone".to_owned()),
                // An empty change, so that the caller looks at the processes.
                Err(_) if Instant::now() < deadline => {
                    return Ok(Some(Change { observer: 0, at: now, changed: Changed::default() }));
                }
                Err(_) => {}
            }
        }
    }

    /// Only the victim may be called down.
    fn expect_well(&self, observer: usize, member: usize) -> anyhow::Result<()> {
        match self.board.look(observer, member) {
            (Look::Down | Look::Left, _) => {
                let (by, name) = (self.name(observer), self.name(member));
                fail(format!("{by} calls {name} down, which runs"))
            }
            (Look::Unknown | Look::Alive | Look::Suspect, _) => Ok(()),
        }
    }

    /// `n1 to n3`, `n4 and n5`, `n3`.
    fn names(&self, members: std::ops::Range<usize>) -> String {
        let (first, last) = (self.name(members.start), self.name(members.end.saturating_sub(1)));
        match members.len() {
            0 | 1 => first,
            2 => format!("{first} and {last}"),
            _ => format!("{first} to {last}"),
        }
    }

    fn name(&self, index: usize) -> String {
        self.cluster.nodes().get(index).map(|n| n.name.clone()).unwrap_or_default()
    }

    /// How long any act may take. Far above what it takes on an idle machine, so that a busy
    /// one does not fail the story. Honest guess.
    fn bound(&self) -> Duration {
        let size = u32::try_from(self.board.size()).unwrap_or(u32::MAX);
        Duration::from_secs(15) + Duration::from_millis(150) * size
    }
}

/// One view that changed.
struct Change {
    observer: usize,
    at: Instant,
    changed: Changed,
}

/// When each observer first saw something.
struct Times {
    from: Instant,
    seen: Vec<(usize, Duration)>,
}

impl Times {
    fn new(from: Instant) -> Self {
        Self { from, seen: Vec::new() }
    }

    fn len(&self) -> usize {
        self.seen.len()
    }

    /// Seconds since the beginning, if this observer had not seen it before.
    fn note(&mut self, observer: usize, at: Instant) -> Option<f64> {
        if self.seen.iter().any(|(o, _)| *o == observer) {
            return None;
        }
        let after = at.saturating_duration_since(self.from);
        self.seen.push((observer, after));
        Some(after.as_secs_f64())
    }

    fn spread(&self) -> Option<Spread> {
        let mut times: Vec<f64> = self.seen.iter().map(|(_, after)| after.as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        // The upper of the two in the middle: never flatters.
        let median_seconds = *times.get(times.len() / 2)?;
        Some(Spread { observers: times.len(), median_seconds, max_seconds: *times.last()? })
    }
}

fn fail<T>(what: String) -> anyhow::Result<T> {
    Err(Failed(what).into())
}

/// Between the verdict and the new life, so that a person can read.
const BREATH: Duration = Duration::from_secs(2);
/// How often the processes are looked at, and the picture moves, when nothing happens.
const TICK: Duration = Duration::from_millis(100);
/// Sights that may wait; beyond it the agents hold them back.
const QUEUE: usize = 4096;
const DAY: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_takes_the_first_sight_of_each_and_does_not_flatter() {
        let from = Instant::now();
        let mut times = Times::new(from);
        assert_eq!(times.spread(), None);
        for (observer, ms) in [(1, 300), (2, 100), (3, 200), (4, 400), (2, 900)] {
            times.note(observer, from + Duration::from_millis(ms));
        }
        assert_eq!(times.spread(), Some(Spread { observers: 4, median_seconds: 0.3, max_seconds: 0.4 }));
    }
}
