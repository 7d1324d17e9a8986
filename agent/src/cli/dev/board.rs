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
    All(Vec<Entry>),
    /// One member changed.
    One(Entry),
    /// One member is gone from the view.
    Forgotten(String),
    /// The stream has ended.
    Blind,
}

#[derive(Debug, Deserialize)]
struct Entry {
    name: String,
    status: String,
    generation: u64,
}

/// The views of all agents.
pub(super) struct Board {
    numbers: BTreeMap<String, usize>,
    /// `views[observer][member]`.
    views: Vec<Vec<(Look, u64)>>,
    /// How many each sees alive.
    alive: Vec<usize>,
}

impl Board {
    /// Before any agent sees another.
    pub(super) fn new(names: impl Iterator<Item = String>) -> Self {
        let numbers: BTreeMap<String, usize> = names.enumerate().map(|(i, name)| (name, i)).collect();
        let size = numbers.len();
        Self { numbers, views: vec![vec![Default::default(); size]; size], alive: vec![0; size] }
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

    /// Takes in one sight; returns the members whose entries changed.
    pub(super) fn take(&mut self, sight: &Sight) -> Vec<usize> {
        match &sight.news {
            News::One(entry) => self.put(sight.observer, entry).into_iter().collect(),
            News::Forgotten(name) => {
                let number = self.numbers.get(name).copied();
                number.and_then(|n| self.set(sight.observer, n, Default::default())).into_iter().collect()
            }
            News::All(entries) => entries.iter().filter_map(|e| self.put(sight.observer, e)).collect(),
            News::Blind => {
                if let Some(view) = self.views.get_mut(sight.observer) {
                    view.fill(Default::default());
                }
                if let Some(alive) = self.alive.get_mut(sight.observer) {
                    *alive = 0;
                }
                Vec::new()
            }
        }
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
            Line { members: Some(members), .. } => News::All(members),
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
            let all = News::All(vec![entry("n1", "alive", 1), entry("n2", "alive", 1)]);
            assert_eq!(board.take(&sight(observer, all)), [0, 1]);
        }
        assert!(board.complete());
        assert_eq!(board.take(&sight(0, News::One(entry("n2", "down", 1)))), [1]);
        assert_eq!(board.look(0, 1), (Look::Down, 1));
        assert_eq!(board.complete_views(), 1);
    }

    #[test]
    fn what_is_no_news_and_who_is_no_member_changes_nothing() {
        let mut board = board();
        board.take(&sight(0, News::One(entry("n1", "alive", 1))));
        assert!(board.take(&sight(0, News::One(entry("n1", "alive", 1)))).is_empty());
        assert!(board.take(&sight(0, News::One(entry("n9", "alive", 1)))).is_empty());
        assert!(board.take(&sight(9, News::One(entry("n1", "alive", 1)))).is_empty());
    }

    #[test]
    fn an_agent_that_is_gone_sees_no_member() {
        let mut board = board();
        board.take(&sight(0, News::One(entry("n1", "alive", 1))));
        board.take(&sight(0, News::Blind));
        assert_eq!(board.look(0, 0), (Look::Unknown, 0));
        board.take(&sight(0, News::One(entry("n1", "alive", 1))));
        board.take(&sight(0, News::Forgotten("n1".to_owned())));
        assert_eq!(board.look(0, 0), (Look::Unknown, 0));
    }
}
