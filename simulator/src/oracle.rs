//! What really is, and what each member believes: the two are compared here.

use core::time::Duration;
use std::collections::{BTreeMap, HashMap};

use heartsay_membership::{Generation, Heartbeat, Instant, Name, Status};

/// The truth about every member.
#[derive(Debug, Default)]
pub struct Oracle {
    by_name: HashMap<Name, usize>,
    members: Vec<Truth>,
}

/// The truth about one member.
#[derive(Debug, Default)]
pub struct Truth {
    /// A process runs (it may stand still).
    pub up: bool,
    /// It ever ran.
    pub started: bool,
    /// Every life that ever began under this name, oldest first.
    pub lives: Vec<Life>,
    troubles: u16,
    healthy_since: Instant,
}

/// One life of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Its generation.
    pub generation: Generation,
    /// Which simulated host lives it.
    pub host: usize,
    /// Its owner's own heartbeat, as last looked up.
    pub heartbeat: Heartbeat,
}

impl Oracle {
    /// Adds a member that has not started yet and says its number.
    pub fn add(&mut self, name: &Name) -> usize {
        self.by_name.insert(name.clone(), self.members.len());
        self.members.push(Truth::default());
        self.members.len() - 1
    }

    /// Keeps a number free for a host that bears another's name.
    pub fn add_shadow(&mut self) {
        self.members.push(Truth::default());
    }

    /// Number of the member called `name`.
    #[must_use]
    pub fn find(&self, name: &Name) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Members that were ever added.
    #[must_use]
    pub fn members(&self) -> &[Truth] {
        &self.members
    }

    /// The truth about one.
    pub fn truth(&mut self, member: usize) -> &mut Truth {
        &mut self.members[member]
    }
}

impl Truth {
    /// The life of `generation`.
    pub fn life(&mut self, generation: Generation) -> Option<&mut Life> {
        self.lives.iter_mut().rev().find(|life| life.generation == generation)
    }

    /// Trouble begins.
    pub fn strike(&mut self) {
        self.troubles += 1;
    }

    /// Trouble ends.
    pub fn relieve(&mut self, now: Instant) {
        self.troubles = self.troubles.saturating_sub(1);
        self.healthy_since = now;
    }

    /// In trouble now.
    #[must_use]
    pub fn is_struck(&self) -> bool {
        self.troubles > 0
    }

    /// It ran and does not run any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.started && !self.up
    }

    /// In trouble now, or less than [`GRACE`] ago.
    #[must_use]
    pub fn in_trouble(&self, now: Instant) -> bool {
        self.is_struck() || (self.healthy_since > Instant::EPOCH && now.since(self.healthy_since) < GRACE)
    }
}

/// What every member believes of every other, kept up to date from their events.
#[derive(Debug, Default)]
pub struct Board {
    rows: Vec<Row>,
    up: Vec<bool>,
    started: Vec<bool>,
    wrong: usize,
    right_since: Instant,
    /// Since when an observer has suspected a member (in this life of it).
    doubts: BTreeMap<(usize, usize), Instant>,
    /// Of each member: how many running others hold it for down.
    absent: Vec<u32>,
    /// Of each member: how many running others suspect it.
    suspected: Vec<u32>,
    running: usize,
    ghosts: usize,
    haunted_until: Instant,
}

#[derive(Debug, Default)]
struct Row {
    running: bool,
    belief: Vec<Belief>,
    present: usize,
    hash: u64,
}

impl Row {
    fn of(&self, subject: usize) -> Belief {
        self.belief.get(subject).copied().unwrap_or_default()
    }

    /// A row is as long as the cluster, one byte per member, once its owner knows another.
    fn put(&mut self, subject: usize, belief: Belief, members: usize) {
        if subject >= self.belief.len() {
            self.belief.reserve_exact(members - self.belief.len());
            self.belief.resize(members, Belief::Unknown);
        }
        self.belief[subject] = belief;
    }
}

/// What one member thinks of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Belief {
    /// Not in its table.
    #[default]
    Unknown,
    /// In its table with this status.
    Is(Status),
}

impl Belief {
    /// Whether that counts as a member of the cluster.
    #[must_use]
    pub fn present(self) -> bool {
        match self {
            Self::Unknown | Self::Is(Status::Down | Status::Left) => false,
            Self::Is(Status::Alive | Status::Restarting | Status::Suspect) => true,
        }
    }

    /// Whether it was called down. (A member that said good-bye was not.)
    #[must_use]
    pub fn down(self) -> bool {
        self == Self::Is(Status::Down)
    }

    /// Whether it is accused, without a verdict yet.
    #[must_use]
    pub fn suspects(self) -> bool {
        self == Self::Is(Status::Suspect)
    }
}

impl Board {
    /// Adds a member that has not started.
    pub fn add(&mut self) {
        self.up.push(false);
        self.started.push(false);
        self.absent.push(0);
        self.suspected.push(0);
        self.rows.push(Row::default());
    }

    /// The process of `member` starts, with an empty table, or ends.
    pub fn set_up(&mut self, now: Instant, member: usize, up: bool) {
        let (mut wrong, mut ghosts) = self.about(member);
        (self.wrong, self.ghosts) = (self.wrong - wrong, self.ghosts - ghosts);
        for (subject, belief) in self.rows[member].belief.iter().enumerate() {
            self.absent[subject] -= u32::from(belief.down());
            self.suspected[subject] -= u32::from(belief.suspects());
        }
        self.running = if up { self.running + 1 } else { self.running - usize::from(self.up[member]) };
        self.up[member] = up;
        self.started[member] |= up;
        let row = &mut self.rows[member];
        row.running = up;
        row.belief = Vec::new();
        row.present = 0;
        row.hash = 0;
        self.doubts.retain(|(observer, _), _| *observer != member);
        for (_, since) in self.doubts.iter_mut().filter(|((_, subject), _)| *subject == member) {
            *since = now;
        }
        (wrong, ghosts) = self.about(member);
        (self.wrong, self.ghosts) = (self.wrong + wrong, self.ghosts + ghosts);
        self.right_since = now;
        self.haunted_until = now;
    }

    /// `observer` now believes this of `subject`.
    pub fn set(&mut self, now: Instant, observer: usize, subject: usize, belief: Belief) {
        let before = self.is_wrong(observer, subject);
        let members = self.up.len();
        let row = &mut self.rows[observer];
        let old = row.of(subject);
        if old.present() != belief.present() {
            row.hash ^= scatter(subject);
            row.present = if belief.present() { row.present + 1 } else { row.present - 1 };
            if !self.up[subject] {
                self.ghosts = if belief.present() { self.ghosts + 1 } else { self.ghosts - 1 };
                self.haunted_until = now;
            }
        }
        self.absent[subject] += u32::from(belief.down());
        self.absent[subject] -= u32::from(old.down());
        self.suspected[subject] += u32::from(belief.suspects());
        self.suspected[subject] -= u32::from(old.suspects());
        row.put(subject, belief, members);
        if belief.suspects() {
            self.doubts.entry((observer, subject)).or_insert(now);
        } else {
            self.doubts.remove(&(observer, subject));
        }
        let after = self.is_wrong(observer, subject);
        self.wrong = self.wrong + usize::from(after) - usize::from(before);
        if before != after {
            self.right_since = now;
        }
    }

    /// Members whose process runs.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running
    }

    /// Whether the process of `member` runs.
    #[must_use]
    pub fn is_up(&self, member: usize) -> bool {
        self.up[member]
    }

    /// What `observer` believes of `subject`.
    #[must_use]
    pub fn belief(&self, observer: usize, subject: usize) -> Belief {
        self.rows[observer].of(subject)
    }

    /// Size of `observer`'s view, itself included.
    #[must_use]
    pub fn view_size(&self, observer: usize) -> usize {
        self.rows[observer].present + 1
    }

    /// Fingerprint of the roster of `observer`, itself included: equal rosters have equal ones.
    #[must_use]
    pub fn roster(&self, observer: usize) -> u64 {
        self.rows[observer].hash ^ scatter(observer)
    }

    /// The same, as if none of `left_out` were on it.
    #[must_use]
    pub fn roster_without(&self, observer: usize, left_out: &[usize]) -> u64 {
        let present = |subject: &&usize| **subject == observer || self.belief(observer, **subject).present();
        left_out.iter().filter(present).fold(self.roster(observer), |hash, subject| hash ^ scatter(*subject))
    }

    /// Pairs in which the belief is wrong: a live member missing or called
    /// down, or a dead one present. Suspicion of a live member is not wrong.
    #[must_use]
    pub fn wrong(&self) -> usize {
        self.wrong
    }

    /// When the last wrong belief came or went.
    #[must_use]
    pub fn right_since(&self) -> Instant {
        self.right_since
    }

    /// Whether most of the running others hold `subject` for down.
    #[must_use]
    pub fn is_out(&self, subject: usize) -> bool {
        let others = self.running - usize::from(self.up[subject]);
        self.absent[subject] as usize * 2 > others
    }

    /// How many running members suspect `subject`.
    #[must_use]
    pub fn suspected_by(&self, subject: usize) -> u32 {
        self.suspected[subject]
    }

    /// Pairs in which the observer runs and has a member in its view that does not run.
    #[must_use]
    pub fn ghosts(&self) -> usize {
        self.ghosts
    }

    /// When the number of ghosts last changed.
    #[must_use]
    pub fn haunted_until(&self) -> Instant {
        self.haunted_until
    }

    /// Wrong pairs and ghosts with `member` in them.
    fn about(&self, member: usize) -> (usize, usize) {
        let (mut wrong, mut ghosts) = (0, 0);
        for other in (0..self.rows.len()).filter(|other| *other != member) {
            for (observer, subject) in [(other, member), (member, other)] {
                wrong += usize::from(self.is_wrong(observer, subject));
                ghosts += usize::from(!self.up[subject] && self.rows[observer].of(subject).present());
            }
        }
        (wrong, ghosts)
    }

    /// Up to `limit` pairs (observer, subject) of which `test` holds.
    pub fn examples(&self, limit: usize, test: impl Fn(&Self, usize, usize) -> bool) -> Vec<(usize, usize)> {
        let n = self.rows.len();
        let pairs = (0..n).flat_map(|o| (0..n).map(move |s| (o, s)));
        pairs.filter(|&(o, s)| test(self, o, s)).take(limit).collect()
    }

    /// Whether `observer` is wrong about `subject`.
    #[must_use]
    pub fn is_wrong(&self, observer: usize, subject: usize) -> bool {
        let row = &self.rows[observer];
        observer != subject
            && row.running
            && self.started[subject]
            && row.of(subject).present() != self.up[subject]
    }

    /// Observer and subject of the suspicions of a member that is up which have lasted for longer than `patience` at `now`.
    pub fn lasting_doubts(&self, now: Instant, patience: Duration) -> impl Iterator<Item = (usize, usize)> {
        let lasting = move |&((_, subject), since): &((usize, usize), Instant)| {
            self.up[subject] && now.since(since) > patience
        };
        self.doubts.iter().map(|(pair, since)| (*pair, *since)).filter(lasting).map(|(pair, _)| pair)
    }

    /// Running members, and how many of them share the commonest view.
    #[must_use]
    pub fn majority(&self) -> (usize, usize) {
        // A member's own place in its view is left out of its row: add it.
        let running = self.rows.iter().enumerate().filter(|(_, row)| row.running);
        let mut views: Vec<u64> = running.map(|(i, row)| row.hash ^ scatter(i)).collect();
        views.sort_unstable();
        let most = views.chunk_by(|a, b| a == b).map(<[u64]>::len).max().unwrap_or(0);
        (views.len(), most)
    }

    /// Sizes of all running members' views.
    pub fn view_sizes(&self) -> impl Iterator<Item = usize> {
        self.rows.iter().filter(|row| row.running).map(|row| row.present + 1)
    }
}

/// A well-mixed word per member (splitmix64, Steele 2014); their sum by XOR is a view's fingerprint.
fn scatter(member: usize) -> u64 {
    let mut z = (member as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// After trouble, a member is not called healthy for this long: what is then
/// on its way still speaks of the trouble.
pub const GRACE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    #[test]
    fn a_board_counts_who_is_wrong_about_whom() {
        let mut board = Board::default();
        for member in 0..3 {
            board.add();
            board.set_up(at(0), member, true);
        }
        assert_eq!(board.wrong(), 6, "no member knows another");
        for (o, s) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            board.set(at(5), o, s, Belief::Is(Status::Alive));
        }
        assert_eq!((board.wrong(), board.majority()), (0, (3, 3)));
        board.set_up(at(10), 2, false);
        assert_eq!((board.wrong(), board.ghosts()), (2, 2), "two still believe in it");
        assert!(!board.is_out(2));
        board.set(at(11), 0, 2, Belief::Is(Status::Suspect));
        assert_eq!((board.wrong(), board.majority()), (2, (2, 2)));
        board.set(at(12), 0, 2, Belief::Is(Status::Down));
        assert_eq!((board.wrong(), board.majority(), board.ghosts()), (1, (2, 1), 1));
        assert!(!board.is_out(2), "one of two is no majority");
        board.set(at(12), 1, 2, Belief::Is(Status::Down));
        assert!(board.is_out(2));
        board.set(at(13), 1, 2, Belief::Unknown);
        assert_eq!((board.ghosts(), board.haunted_until()), (0, at(12)));
        assert_eq!((board.wrong(), board.right_since()), (0, at(12)));
        board.set(at(14), 0, 1, Belief::Is(Status::Suspect));
        board.set(at(15), 0, 1, Belief::Is(Status::Suspect));
        let doubts = |board: &Board, now| board.lasting_doubts(at(now), Duration::from_millis(5)).collect();
        let (early, late): (Vec<_>, Vec<_>) = (doubts(&board, 19), doubts(&board, 20));
        assert_eq!((early, late, board.wrong()), (vec![], vec![(0, 1)], 0));
        assert_eq!(board.view_size(0), 2);
        assert_eq!(board.suspected_by(1), 1);
        board.set_up(at(22), 0, false);
        assert_eq!(board.suspected_by(1), 0, "its process has ended");
    }

    #[test]
    fn trouble_lasts_a_little_longer_than_its_cause() {
        let mut truth = Truth::default();
        assert!(!truth.in_trouble(at(0)));
        truth.strike();
        truth.relieve(at(1000));
        assert!(truth.in_trouble(at(1001)));
        assert!(!truth.in_trouble(at(1000) + GRACE));
    }
}
