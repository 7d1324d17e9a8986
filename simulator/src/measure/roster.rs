//! How soon a change of the network ends in one roster, and who knows that it is cut off.

/// What followed each change of the network (a cut begins, heals or moves; a member dies, starts, stands still, goes on).
/// Only where a scenario states an electorate. Times in seconds.
#[derive(Debug, Default)]
pub struct RosterFigures {
    /// From each change until all that hold quorum have the same roster for as long as nothing else changes. Only of
    /// changes after some member has held quorum, and where nothing else changed for as long as `check.one-cut-within`.
    pub one: Vec<f32>,
    /// Changes after which the rosters still differed when something else changed, or at the end.
    pub never: u64,
    /// Of the changes in `one` and `never`: those after which no member held quorum in the end, so that none could differ.
    pub unheld: u64,
    /// How long rosters differed each time, where they did so later after a change than `check.one-cut-within`.
    pub late: Vec<f32>,
    /// From the moment at which a member that holds quorum hears no other, though it is heard, until it knows: it has lost
    /// quorum, is isolated, or is told that it is out.
    pub deaf: Vec<f32>,
    /// Such members that did not know, though they were given the acceptable pause.
    pub deaf_unaware: u64,
    /// The same of members that no other hears, though they hear.
    pub mute: Vec<f32>,
    /// The same.
    pub mute_unaware: u64,
    /// Of each change of the network and each member of which any holder of quorum changed its mind (down, or in again)
    /// before the next change: how often the most fickle of the holders did. A verdict that falls while the news of a change
    /// is under way (half a second) belongs to the change before; the end of a penalty counts for none.
    pub status_changes: Vec<u16>,
}
