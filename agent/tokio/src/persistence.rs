//! Peers and generation on their way to the disk.
//!
//! The [store](crate::store) writes and waits for the disk; this keeps the loop from waiting with it, and decides what is
//! worth writing when.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use heartsay_membership::{Event, Instant, Node, Status};
use tokio::task::{AbortHandle, JoinSet};

use crate::store::{Peer, Store};

/// What a member leaves for its next life, written beside the loop so that a slow disk never holds it up.
pub struct Persistence {
    store: Arc<Store>,
    /// Told how each write went.
    report: Report,
    /// Known from earlier lives and not seen in this one; kept for a day, so that a start during an outage does not forget
    /// where to look.
    remembered: Vec<Peer>,
    /// The peers differ from those that were written.
    changed: bool,
    /// When the peers were last handed to the disk.
    last: Instant,
    /// That write.
    saving: Option<AbortHandle>,
    /// What is on its way to the disk.
    writes: JoinSet<()>,
}

/// Is told what was written (`"peers"` or `"generation"`) and how that went, on the thread that wrote.
pub type Report = Arc<dyn Fn(&'static str, io::Result<()>) + Send + Sync>;

impl Persistence {
    /// For `store`, with the peers of earlier lives. Writes at once what could not be written at the start.
    #[must_use]
    pub fn new(now: Instant, store: Arc<Store>, remembered: Vec<Peer>, report: Report) -> Self {
        let mut this = Self {
            store,
            report,
            remembered,
            changed: false,
            last: now,
            saving: None,
            writes: JoinSet::new(),
        };
        if this.store.is_behind() {
            this.write("generation", |_| Ok(()));
        }
        this
    }

    /// What of an event the next life has to know goes to the disk at once: a restart must not go back to an earlier
    /// generation.
    pub fn note(&mut self, node: &Node, event: &Event) {
        match event {
            Event::GenerationRaised(generation) | Event::Readdressed { generation, .. } => {
                let generation = *generation;
                self.write("generation", move |store| store.save_generation(generation));
            }
            Event::GenerationReset(generation) => {
                let generation = *generation;
                self.write_only("generation", move |store| store.reset_generation(generation));
            }
            Event::Member(event) => self.changed |= event.name != *node.me(),
            Event::Quorum(_)
            | Event::Joined { .. }
            | Event::LeaveDone { .. }
            | Event::Outside(_)
            | Event::NameRefused { .. }
            | Event::ClockRefused
            | Event::PathLimited { .. }
            | Event::Link(_)
            | Event::Isolated(_)
            | Event::Stalled(_)
            | Event::Asked { .. }
            | Event::Answered { .. } => {}
        }
    }

    /// Saves the peers when that is due. Wanted now and then, for instance at each wake-up of the node.
    pub fn tend(&mut self, node: &Node, now: Instant) {
        let wanted = if self.changed || self.store.is_behind() { SAVE_EVERY } else { LOOK_EVERY };
        let idle = self.saving.as_ref().is_none_or(AbortHandle::is_finished);
        if now.since(self.last) < wanted || !idle {
            return;
        }
        if now > Instant::EPOCH + REMEMBERED_FOR {
            self.remembered.clear();
        }
        (self.changed, self.last) = (false, now);
        let peers = self.peers(node);
        self.saving = Some(self.write("peers", move |store| save(store, &peers)));
    }

    /// At the end: saves the peers, and waits until all is written.
    ///
    /// # Errors
    /// The peers could not be saved.
    pub async fn end(mut self, node: &Node) -> io::Result<()> {
        let (peers, store) = (self.peers(node), Arc::clone(&self.store));
        let saved = tokio::task::spawn_blocking(move || save(&store, &peers)).await;
        while self.writes.join_next().await.is_some() {}
        saved.map_err(io::Error::other)?
    }

    /// All peers in the view, and those of earlier lives that are not in it.
    fn peers(&self, node: &Node) -> Vec<Peer> {
        let me = node.me();
        let others = node.summaries().filter(|member| member.name != me && member.status != Status::Left);
        let seen = others.map(|member| Peer { name: member.name.to_string(), address: member.address });
        with_remembered(seen.collect(), &self.remembered)
    }

    /// Writes beside the loop, and then what could not be written before.
    fn write(
        &mut self,
        what: &'static str,
        write: impl FnOnce(&Store) -> io::Result<()> + Send + 'static,
    ) -> AbortHandle {
        self.write_only(what, move |store| write(store).and_then(|()| store.catch_up()))
    }

    fn write_only(
        &mut self,
        what: &'static str,
        write: impl FnOnce(&Store) -> io::Result<()> + Send + 'static,
    ) -> AbortHandle {
        while self.writes.try_join_next().is_some() {}
        let (store, report) = (Arc::clone(&self.store), Arc::clone(&self.report));
        self.writes.spawn_blocking(move || report(what, write(&store)))
    }
}

impl fmt::Debug for Persistence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Persistence").field("store", &self.store).finish_non_exhaustive()
    }
}

/// Together with what was removed from the state directory meanwhile.
fn save(store: &Store, peers: &[Peer]) -> io::Result<()> {
    store.restore()?;
    store.save_peers(peers)
}

fn with_remembered(mut seen: Vec<Peer>, remembered: &[Peer]) -> Vec<Peer> {
    let names: BTreeSet<&str> = seen.iter().map(|peer| peer.name.as_str()).collect();
    let unseen: Vec<Peer> =
        remembered.iter().filter(|old| !names.contains(old.name.as_str())).cloned().collect();
    seen.extend(unseen);
    seen
}

/// How often a changing list of peers is written, and how soon after the start at the earliest: while many start together,
/// each has a new peer every moment, and all wait for one disk.
const SAVE_EVERY: Duration = Duration::from_secs(10);
/// How often an unchanged list is looked at, and the state directory with it. What has not changed is not written.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// As long as the cluster itself remembers who is down.
const REMEMBERED_FOR: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    use heartsay_membership::{Cluster, Config, Identity, Name, Profile};

    #[tokio::test]
    async fn the_next_life_knows_the_peers_and_the_generation_of_this_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), 1_000).unwrap());
        let me = Identity {
            name: Name::new("n1").unwrap(),
            host_id: store.host_id(),
            generation: store.generation(),
            address: "127.0.0.1:4327".parse().unwrap(),
            state: Vec::new(),
        };
        let config = Config::new(Cluster::new("test").unwrap(), Profile::Local);
        let node = Node::new(me, config, 1, Instant::EPOCH).unwrap();
        let old = vec![Peer { name: "n2".to_owned(), address: "127.0.0.2:4327".parse().unwrap() }];
        let written: Report = Arc::new(|what, result| assert!(result.is_ok(), "{what}: {result:?}"));
        let mut persistence = Persistence::new(Instant::EPOCH, store, old.clone(), written);
        persistence.note(&node, &Event::GenerationRaised(5_000));
        persistence.end(&node).await.unwrap();
        let next = Store::open(dir.path(), 1_000).unwrap();
        assert_eq!(next.peers(), old, "not seen in this life, and kept");
        assert_eq!(next.generation(), 5_001);
    }
}
