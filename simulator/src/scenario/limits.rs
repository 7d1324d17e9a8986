//! What must hold, and the limits on the measures.

use serde::Deserialize;

use super::Span;

/// What must hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Check {
    /// When the last trouble is over, all live members agree with the truth within this. Default 30 s.
    pub agree_within: Span,
    /// Whether that is asked at all. Default true; false where the trouble lasts to the end.
    pub liveness: bool,
    /// Tables compared with their predecessors after every step, not only once a second in
    /// a few members. Default false: it is slow.
    pub every_step: bool,
    /// After a partition began, the side without a majority must have noticed within this. Default: the promised
    /// bound, seven tenths of the acceptable pause and 2 % for the clocks.
    pub quorum_within: Option<Span>,
    /// Whether it is asked that two sides of a cut never both hold quorum. Default true; false where cuts move from one
    /// shape to another, of which only the fence promises something.
    pub sides: bool,
    /// Whether it is asked that no member that is put out holds quorum beside those that put it out. Default: as `sides`.
    pub put_out: Option<bool>,
    /// Whether it is asked, where an electorate is stated, that any change of the network ends in one roster among all
    /// that hold quorum. Default true.
    pub one_cut: bool,
    /// Within what time after the last change. Default: one and three quarters of the acceptable pause (3.5 s).
    pub one_cut_within: Option<Span>,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            agree_within: Span::secs(30),
            liveness: true,
            every_step: false,
            quorum_within: None,
            sides: true,
            put_out: None,
            one_cut: true,
            one_cut_within: None,
        }
    }
}

/// Limits on the measures, over all seeds of a run together.
///
/// One flat struct, as its fields are the keys of `[budget]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Budget {
    /// Mean time until an observer suspects.
    pub suspect_mean: Option<Span>,
    /// 99th percentile of the same.
    pub suspect_p99: Option<Span>,
    /// Median time until an observer says down.
    pub down_median: Option<Span>,
    /// 99th percentile of the same.
    pub down_p99: Option<Span>,
    /// The slowest of all observers.
    pub down_max: Option<Span>,
    /// Median, over subjects, of the first observer's time.
    pub first_down_median: Option<Span>,
    /// Deaths that some live observer never noticed.
    pub missed: Option<u64>,
    /// A faultless member called down, per observer.
    pub false_positives: Option<u64>,
    /// The same by faultless observers.
    pub false_positives_by_healthy: Option<u64>,
    /// A faultless member suspected, per observer.
    pub false_suspicions: Option<u64>,
    /// Times that a faultless member came to be suspected by any, per hour of each member.
    pub healthy_suspected_per_hour: Option<f64>,
    /// The share of faultless members among those that came to be suspected.
    pub suspicions_false_share: Option<f64>,
    /// Faultless members called down by any observer.
    pub healthy_evicted: Option<u64>,
    /// Until most members hold an impaired one for down, the slowest; broken too if one never was.
    pub removed_max: Option<Span>,
    /// From a death until an observer says that the dead member's lease has run out, the slowest; broken too if one
    /// never did.
    pub fenced_max: Option<Span>,
    /// Times that an impaired member was removed again.
    pub removed_again: Option<u64>,
    /// Times that most members held a faultless one for down.
    pub healthy_removed: Option<u64>,
    /// Running members called down, per observer, whatever their trouble.
    pub called_down: Option<u64>,
    /// From the end of the trouble until no view has a member that does not run, the slowest seed.
    pub ghosts_gone: Option<Span>,
    /// Called down and back within 10 s.
    pub needless_evictions: Option<u64>,
    /// Member-seconds off the majority's view.
    pub divergence: Option<f64>,
    /// Running members that say at the end that they hold quorum.
    pub quorum_held: Option<u64>,
    /// Times that a healthy member lost quorum.
    pub quorum_losses: Option<u64>,
    /// The same per 1,000 member-hours of healthy members.
    pub quorum_losses_per_1000h: Option<f64>,
    /// Member-seconds without quorum of healthy members.
    pub quorum_without: Option<f64>,
    /// Their share of all member-seconds of healthy members.
    pub quorum_without_share: Option<f64>,
    /// The longest time that a healthy member was without quorum after it had lost it.
    pub quorum_gap_max: Option<Span>,
    /// 99th percentile of the time until a member that holds quorum without a majority within reach says lost; broken too
    /// if one never did.
    pub quorum_to_lose_p99: Option<Span>,
    /// The slowest of the same.
    pub quorum_to_lose_max: Option<Span>,
    /// 99th percentile of the time from the heal until such a member holds quorum again; broken too if one never did.
    pub quorum_to_regain_p99: Option<Span>,
    /// The slowest of the same.
    pub quorum_to_regain_max: Option<Span>,
    /// 99th percentile of the time from a change of the network until all that hold quorum have one roster for good;
    /// broken too if they never had.
    pub one_roster_p99: Option<Span>,
    /// Until a member that hears no other knows it, the slowest; broken too if one never did.
    pub deaf_knows_max: Option<Span>,
    /// Until a member that no other hears knows it, the slowest; broken too if one never did.
    pub mute_knows_max: Option<Span>,
    /// Most changes of mind of one holder of quorum about one member, down or in again, between two changes of the network.
    pub changes_max: Option<u64>,
    /// From the last start of the first members to the last full view.
    pub formation: Option<Span>,
    /// From a newcomer's start to its own full view, the slowest.
    pub newcomer_full: Option<Span>,
    /// From a newcomer's start until all know it, the slowest.
    pub newcomer_known: Option<Span>,
    /// From the last start of the first members until each has the whole state of all, the slowest.
    pub states: Option<Span>,
    /// From a newcomer's start until it has the whole state of all, the slowest.
    pub newcomer_states: Option<Span>,
    /// From the end of the trouble to agreement, the slowest seed.
    pub agreement: Option<Span>,
    /// Bytes sent per member and second, mean after `measure.after`.
    pub bytes_mean: Option<f64>,
    /// 99th percentile over (member, second).
    pub bytes_p99: Option<f64>,
    /// Mean of the busiest minute.
    pub bytes_minute: Option<f64>,
    /// Mean of the median member.
    pub bytes_member_median: Option<f64>,
    /// Mean of the member that sends most.
    pub bytes_member_max: Option<f64>,
    /// The most that any member sent in any second of the whole run.
    pub bytes_peak: Option<f64>,
}
