//! The cut: the smaller half of the cluster is alone for a while.

use std::ops::Range;

use serde::Serialize;
use tokio::time::Instant;

use super::{BREATH, Change, Look, Quorum, Spread, Step, Story, Times, fail};

/// What was measured of a cut; in seconds.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cli::dev) struct Parted {
    /// How many agents were cut off.
    members: usize,
    /// From the cut until an agent that was cut off said that its side has no majority.
    pub(in crate::cli::dev) lost: Option<Spread>,
    /// From the cut until an agent of the majority saw all that are cut off down.
    pub(in crate::cli::dev) down: Option<Spread>,
    /// From the heal until an agent saw all others alive again.
    pub(in crate::cli::dev) healed: Option<Spread>,
    /// From the heal until an agent that was cut off said that its side has the majority.
    pub(in crate::cli::dev) held_again: Option<Spread>,
}

impl Story {
    /// Cuts off the last `few` agents, and heals the cut when both sides know of it.
    pub(super) async fn part(&mut self, few: usize) -> anyhow::Result<()> {
        self.until_all_hold().await?;
        let size = self.board.size();
        let sides = (0..size - few, size - few..size);
        let (lost, down) = self.cut_off(&sides).await?;
        self.watch_in_silence(BREATH).await?;
        let (healed, held_again) = self.heal(&sides).await?;
        self.result.cut = Some(Parted { members: few, lost, down, healed, held_again });
        Ok(())
    }

    /// Until every agent says that its side has the majority.
    async fn until_all_hold(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.bound();
        while !self.board.all_hold() {
            if self.next(deadline).await?.is_none() {
                return fail(format!("after {:?} not every agent says that quorum is held", self.bound()));
            }
        }
        self.stage.step(&Step::AllHold { nodes: self.board.size() })
    }

    async fn cut_off(
        &mut self,
        (most, few): &(Range<usize>, Range<usize>),
    ) -> anyhow::Result<(Option<Spread>, Option<Spread>)> {
        let beyond: Vec<usize> = few.clone().collect();
        let Some(network) = self.cluster.network() else {
            return fail("there is no network to cut".to_owned());
        };
        network.cut(&beyond);
        let cut = Instant::now();
        let (there, here) = (self.names(few.clone()), self.names(most.clone()));
        self.stage.step(&Step::Cut { members: &there, from: &here })?;

        let (mut lost, mut downs) = (Times::new(cut), Times::new(cut));
        let deadline = cut + self.bound();
        while lost.len() < few.len() || downs.len() < most.len() {
            let Some(change) = self.next(deadline).await? else {
                return fail(format!(
                    "{:?} after the cut, {} of {} that are cut off say that they have lost quorum, and {} of {} others see all \
                     of them down",
                    self.bound(),
                    lost.len(),
                    few.len(),
                    downs.len(),
                    most.len()
                ));
            };
            let Change { observer, at, .. } = change;
            if change.changed.quorum == Some(Quorum::Lost) {
                if most.contains(&observer) {
                    return fail(format!(
                        "{} has lost quorum, with the majority on its side",
                        self.name(observer)
                    ));
                }
                lost.note(observer, at);
            }
            self.tell_change(&change, cut)?;
            let all_down = few.clone().all(|member| self.board.look(observer, member).0 == Look::Down);
            if most.contains(&observer) && all_down {
                downs.note(observer, at);
            }
        }
        let (lost, down) = (lost.spread(), downs.spread());
        let beyond = self.looks(few, most);
        let (members, from, majority, nodes) = (&there, &here, most.len(), self.board.size());
        let step = Step::Parted { members, from, majority, nodes, lost, down, beyond: &beyond };
        self.stage.step(&step)?;
        Ok((lost, down))
    }

    async fn heal(
        &mut self,
        (most, few): &(Range<usize>, Range<usize>),
    ) -> anyhow::Result<(Option<Spread>, Option<Spread>)> {
        let Some(network) = self.cluster.network() else {
            return fail("there is no network to heal".to_owned());
        };
        network.heal();
        let healed = Instant::now();
        self.stage.step(&Step::Healed)?;
        let (mut whole, mut held) = (Times::new(healed), Times::new(healed));
        let deadline = healed + self.bound();
        while !self.board.complete() || !self.board.all_hold() {
            let Some(change) = self.next(deadline).await? else {
                let (bound, complete) = (self.bound(), self.board.complete_views());
                return fail(format!(
                    "{bound:?} after the cut was healed only {complete} agents see all alive"
                ));
            };
            let Change { observer, at, .. } = change;
            self.tell_change(&change, healed)?;
            if change.changed.quorum == Some(Quorum::Held) && few.contains(&observer) {
                held.note(observer, at);
            }
            if self.board.sees_all(observer) && !change.changed.members.is_empty() {
                whole.note(observer, at);
            }
        }
        let (healed, held_again) = (whole.spread(), held.spread());
        let (there, most) = (self.names(few.clone()), self.names(most.clone()));
        self.stage.step(&Step::Whole { members: &there, from: &most, healed, held_again })?;
        Ok((healed, held_again))
    }

    /// How some see others: `suspect`, or `suspect or down` where they differ.
    fn looks(&self, some: &Range<usize>, others: &Range<usize>) -> String {
        let mut words: Vec<&str> = some
            .clone()
            .flat_map(|observer| others.clone().map(move |member| (observer, member)))
            .map(|(observer, member)| self.board.look(observer, member).0.word())
            .collect();
        words.sort_unstable();
        words.dedup();
        words.join(" or ")
    }

    /// Lets time pass while the cluster is cut.
    async fn watch_in_silence(&mut self, time: std::time::Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + time;
        while self.next(deadline).await?.is_some() {}
        Ok(())
    }

    fn tell_change(&mut self, change: &Change, since: Instant) -> anyhow::Result<()> {
        let seconds = change.at.saturating_duration_since(since).as_secs_f64();
        let by = self.name(change.observer);
        for member in &change.changed.members {
            let (look, _) = self.board.look(change.observer, *member);
            let member = self.name(*member);
            self.stage.step(&Step::Seen { by: &by, member: &member, status: look.word(), seconds })?;
        }
        if let Some(quorum) = change.changed.quorum {
            let step = Step::Quorum { by: &by, quorum: quorum.word(), seconds: Some(seconds) };
            self.stage.step(&step)?;
        }
        Ok(())
    }
}
