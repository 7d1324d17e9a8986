//! What is known of a member, and the order of it (docs/protocol.md, *claims*).
//!
//! Knowledge of one life is a set of high-water marks, and a later life replaces an earlier one. Merging takes the higher
//! of each: a join of a lattice, so that neither order nor repetition matters, and nothing known is ever lost.

/// What is known of a member. The order of the fields is that of the marks, not of claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Known {
    /// Which life.
    pub generation: u64,
    /// The highest heartbeat of that life.
    pub heartbeat: u64,
    /// It said good-bye in that life.
    pub left: bool,
    /// A verdict: down as of this heartbeat. One that a heartbeat has refuted is forgotten.
    pub down: Option<u64>,
}

/// What this means for those that ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Nothing that counts is said against it. (Accusations, which end in a verdict or in nothing, are not of this
    /// specification.)
    Alive,
    /// A verdict that no heartbeat has refuted.
    Down,
    /// Good-bye, for this life.
    Left,
}

impl Known {
    /// The status that these marks mean.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self { left: true, .. } => Status::Left,
            Self { down: Some(basis), heartbeat, .. } if basis >= heartbeat => Status::Down,
            Self { .. } => Status::Alive,
        }
    }

    /// What both know together.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        if self.generation != other.generation {
            return if self.generation > other.generation { self } else { other }.tidy();
        }
        Self {
            generation: self.generation,
            heartbeat: self.heartbeat.max(other.heartbeat),
            left: self.left || other.left,
            down: self.down.max(other.down),
        }
        .tidy()
    }

    /// Whether this is `earlier`, or what it becomes by hearing more.
    #[must_use]
    pub fn follows(self, earlier: Self) -> bool {
        self.join(earlier) == self
    }

    /// The same, without a verdict that is refuted.
    #[must_use]
    pub fn tidy(mut self) -> Self {
        self.down = self.down.filter(|basis| *basis >= self.heartbeat);
        self
    }
}

/// What an observer tells of a member: less than it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Which life.
    pub generation: u64,
    /// The highest heartbeat known.
    pub heartbeat: u64,
    /// What it is said to be.
    pub status: Status,
}

impl Told {
    /// Whether an observer that told `earlier` may tell this: whether there are two [`Known`], each with what was told of
    /// it, of which the later follows the earlier.
    #[must_use]
    pub fn may_follow(&self, earlier: &Self) -> bool {
        if self.generation != earlier.generation {
            return self.generation > earlier.generation;
        }
        let refuted = match (earlier.status, self.status) {
            (Status::Left, after) => after == Status::Left,
            // Down as of a heartbeat that is not below the one then known.
            (Status::Down, Status::Alive) => self.heartbeat > earlier.heartbeat,
            (Status::Down, Status::Down | Status::Left) | (Status::Alive, _) => true,
        };
        self.heartbeat >= earlier.heartbeat && refuted
    }
}
