//! Who sees whom how: the views of all agents, side by side.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::client::{Client, ClientError};

/// How one agent sees one member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Look {
    /// Not at all.
    #[default]
    Unknown,
    /// `alive`.
    Alive,
    /// `suspect`.
    Suspect,
    /// `down`.
    Down,
    /// `left`.
    Left,
}

/// What one agent says of its side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Quorum {
    /// Nothing yet.
    #[default]
    Unknown,
    /// `unsettled`.
    Unsettled,
    /// `held`.
    Held,
    /// `lost`.
    Lost,
}

/// One line of one agent's stream, with the moment at which it was here.
#[derive(Debug)]
pub(super) struct Sight {
    /// Whose stream.
    pub(super) observer: usize,
    /// When it arrived.
    pub(super) at: Instant,
    news: News,
}

#[derive(Debug)]
enum News {
    /// The stream has begun, or begins again.
    All(Vec<Entry>, Quorum),
    /// One member changed.
    One(Entry),
    /// One member is gone from the view.
    Forgotten(String),
    /// What the agent says of its side.
    Quorum(Quorum),
    /// An instance of a service is another.
    Service(Instance),
    /// The stream has ended.
    Blind,
}

#[derive(Debug, Deserialize)]
struct Entry {
    name: String,
    status: String,
    generation: u64,
}

/// How an agent sees an instance of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instance {
    /// Of the service.
    pub(super) service: String,
    /// Where it runs.
    pub(super) member: String,
    /// `passing`, `warning`, `critical` or `gone`.
    pub(super) state: String,
}

/// What a sight changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// The members whose entries are others.
    pub(super) members: Vec<usize>,
    /// What the agent says of its side now.
    pub(super) quorum: Option<Quorum>,
    /// An instance that is another.
    pub(super) service: Option<Instance>,
}

/// The views of all agents.
pub(super) struct Board {
    numbers: BTreeMap<String, usize>,
    /// `views[observer][member]`.
    views: Vec<Vec<(Look, u64)>>,
    /// How many each sees alive.
    alive: Vec<usize>,
    /// What each says of its side.
    quorum: Vec<Quorum>,
    /// The instances that each has told of, as they are now.
    services: Vec<Vec<Instance>>,
}

impl Board {
    /// Before any agent sees another.
    pub(super) fn new(names: impl Iterator<Item = String>) -> Self {
        let numbers: BTreeMap<String, usize> = names.enumerate().map(|(i, name)| (name, i)).collect();
        let size = numbers.len();
        Self {
            numbers,
            views: vec![vec![Default::default(); size]; size],
            alive: vec![0; size],
            quorum: vec![Quorum::Unknown; size],
            services: vec![Vec::new(); size],
        }
    }

    /// How many agents there are.
    pub(super) fn size(&self) -> usize {
        self.views.len()
    }

    /// How `observer` sees `member`, and which life of it.
    pub(super) fn look(&self, observer: usize, member: usize) -> (Look, u64) {
        self.views.get(observer).and_then(|v| v.get(member)).copied().unwrap_or_default()
    }

    /// Whether all agents see all alive.
    pub(super) fn complete(&self) -> bool {
        self.alive.iter().all(|alive| *alive == self.size())
    }

    /// How many agents see all alive.
    pub(super) fn complete_views(&self) -> usize {
        self.alive.iter().filter(|alive| **alive == self.size()).count()
    }

    /// What `observer` says of its side.
    pub(super) fn quorum(&self, observer: usize) -> Quorum {
        self.quorum.get(observer).copied().unwrap_or_default()
    }

    /// Whether all agents say that their side has the majority.
    pub(super) fn all_hold(&self) -> bool {
        self.quorum.iter().all(|quorum| *quorum == Quorum::Held)
    }

    /// Whether `observer` sees an instance so.
    pub(super) fn sees(&self, observer: usize, instance: &Instance) -> bool {
        self.services.get(observer).is_some_and(|seen| seen.contains(instance))
    }

    /// Whether `observer` sees all alive.
    pub(super) fn sees_all(&self, observer: usize) -> bool {
        self.alive.get(observer).is_some_and(|alive| *alive == self.size())
    }

    /// Takes in one sight; returns what it changed.
    pub(super) fn take(&mut self, sight: &Sight) -> Changed {
        let of = |members: Vec<usize>| Changed { members, ..Changed::default() };
        match &sight.news {
            News::One(entry) => of(self.put(sight.observer, entry).into_iter().collect()),
            News::Forgotten(name) => {
                let number = self.numbers.get(name).copied();
                of(number.and_then(|n| self.set(sight.observer, n, Default::default())).into_iter().collect())
            }
            News::All(entries, quorum) => {
                let members = entries.iter().filter_map(|e| self.put(sight.observer, e)).collect();
                Changed { members, quorum: self.say(sight.observer, *quorum), service: None }
            }
            News::Quorum(quorum) => {
                Changed { quorum: self.say(sight.observer, *quorum), ..Changed::default() }
            }
            News::Service(instance) => {
                if let Some(seen) = self.services.get_mut(sight.observer) {
                    seen.retain(|old| (&old.service, &old.member) != (&instance.service, &instance.member));
                    seen.push(instance.clone());
                }
                Changed { service: Some(instance.clone()), ..Changed::default() }
            }
            News::Blind => {
                self.say(sight.observer, Quorum::Unknown);
                if let Some(view) = self.views.get_mut(sight.observer) {
                    view.fill(Default::default());
                }
                if let Some(alive) = self.alive.get_mut(sight.observer) {
                    *alive = 0;
                }
                Changed::default()
            }
        }
    }

    fn say(&mut self, observer: usize, new: Quorum) -> Option<Quorum> {
        let old = self.quorum.get_mut(observer)?;
        (std::mem::replace(old, new) != new).then_some(new)
    }

    fn put(&mut self, observer: usize, entry: &Entry) -> Option<usize> {
        let member = *self.numbers.get(&entry.name)?;
        let look = match entry.status.as_str() {
            "alive" => Look::Alive,
            "suspect" => Look::Suspect,
            "down" => Look::Down,
            "left" => Look::Left,
            _ => Look::Unknown,
        };
        self.set(observer, member, (look, entry.generation))
    }

    fn set(&mut self, observer: usize, member: usize, new: (Look, u64)) -> Option<usize> {
        let old = self.views.get_mut(observer)?.get_mut(member)?;
        let alive = self.alive.get_mut(observer)?;
        if *old == new {
            return None;
        }
        *alive += usize::from(new.0 == Look::Alive);
        *alive -= usize::from(old.0 == Look::Alive);
        *old = new;
        Some(member)
    }
}

/// Follows one agent for as long as this runs, over its deaths and restarts.
pub(super) async fn observe(observer: usize, socket: PathBuf, to: mpsc::Sender<Sight>) {
    let client = Client::new(socket.to_str());
    let mut pause = SHORTEST;
    loop {
        match follow(observer, &client, &to, &mut pause).await {
            Ok(()) => return,
            Err(_) => {
                // Why is of no interest: the processes themselves are watched elsewhere.
                let blind = Sight { observer, at: Instant::now(), news: News::Blind };
                if to.send(blind).await.is_err() {
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = LONGEST.min(pause * 2);
            }
        }
    }
}

/// Ends well when the receiver is gone.
async fn follow(
    observer: usize,
    client: &Client,
    to: &mpsc::Sender<Sight>,
    pause: &mut Duration,
) -> Result<(), ClientError> {
    let mut watch = client.watch("").await?;
    *pause = SHORTEST;
    loop {
        let raw = watch.line().await?;
        let at = Instant::now();
        let line: Line = watch.read(&raw)?;
        let news = match line {
            Line { members: Some(members), quorum, .. } => {
                News::All(members, quorum.map(|q| q.read()).unwrap_or_default())
            }
            Line { quorum: Some(quorum), .. } => News::Quorum(quorum.read()),
            Line { service: Some(service), kind, .. } => News::Service(service.read(&kind)),
            Line { kind, name: Some(name), .. } if kind == "member-forgotten" => News::Forgotten(name),
            Line { name: Some(name), status: Some(status), generation: Some(generation), .. } => {
                News::One(Entry { name, status, generation })
            }
            _ => continue,
        };
        if to.send(Sight { observer, at, news }).await.is_err() {
            return Ok(());
        }
    }
}

/// As much of a line as matters here: a thousand agents tell a thousand members each.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    status: Option<String>,
    generation: Option<u64>,
    members: Option<Vec<Entry>>,
    quorum: Option<QuorumLine>,
    service: Option<ServiceLine>,
}

#[derive(Deserialize)]
struct QuorumLine {
    quorum: String,
}

#[derive(Deserialize)]
struct ServiceLine {
    name: String,
    member: String,
    health: String,
}

impl QuorumLine {
    fn read(&self) -> Quorum {
        match self.quorum.as_str() {
            "held" => Quorum::Held,
            "lost" => Quorum::Lost,
            _ => Quorum::Unsettled,
        }
    }
}

impl ServiceLine {
    fn read(self, kind: &str) -> Instance {
        let state = if kind == "service-gone" { "gone".to_owned() } else { self.health };
        Instance { service: self.name, member: self.member, state }
    }
}

/// Between two looks for an agent that starts: below what a person sees …
const SHORTEST: Duration = Duration::from_millis(10);
/// … and, for one that is dead, above what costs anything.
const LONGEST: Duration = Duration::from_millis(160);

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Board {
        Board::new(["n1", "n2"].map(str::to_owned).into_iter())
    }

    fn sight(observer: usize, news: News) -> Sight {
        Sight { observer, at: Instant::now(), news }
    }

    fn entry(name: &str, status: &str, generation: u64) -> Entry {
        Entry { name: name.to_owned(), status: status.to_owned(), generation }
    }

    #[test]
    fn a_board_is_complete_when_all_see_all_alive() {
        let mut board = board();
        for observer in 0..2 {
            assert!(!board.complete());
            let all = News::All(vec![entry("n1", "alive", 1), entry("n2", "alive", 1)], Quorum::Held);
            let changed = board.take(&sight(observer, all));
            assert_eq!((changed.members, changed.quorum), (vec![0, 1], Some(Quorum::Held)));
        }
        assert!(board.complete() && board.all_hold());
        assert_eq!(board.take(&sight(0, News::One(entry("n2", "down", 1)))).members, [1]);
        assert_eq!(board.look(0, 1), (Look::Down, 1));
        assert_eq!(board.complete_views(), 1);
    }

    #[test]
    fn what_is_no_news_and_who_is_no_member_changes_nothing() {
        let mut board = board();
        board.take(&sight(0, News::One(entry("n1", "alive", 1))));
        for nothing in [
            sight(0, News::One(entry("n1", "alive", 1))),
            sight(0, News::One(entry("n9", "alive", 1))),
            sight(9, News::One(entry("n1", "alive", 1))),
            sight(0, News::Quorum(Quorum::Unknown)),
            sight(9, News::Quorum(Quorum::Lost)),
        ] {
            assert_eq!(board.take(&nothing), Changed::default());
        }
    }

    #[test]
    fn an_agent_that_is_gone_sees_no_member() {
        let mut board = board();
        board.take(&sight(0, News::One(entry("n1", "alive", 1))));
        board.take(&sight(0, News::Quorum(Quorum::Held)));
        board.take(&sight(0, News::Blind));
        assert_eq!((board.look(0, 0), board.quorum(0)), ((Look::Unknown, 0), Quorum::Unknown));
        board.take(&sight(0, News::One(entry("n1", "alive", 1))));
        board.take(&sight(0, News::Forgotten("n1".to_owned())));
        assert_eq!(board.look(0, 0), (Look::Unknown, 0));
    }
}
