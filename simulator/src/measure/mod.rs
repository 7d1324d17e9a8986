//! How well it went: detection, mistakes, bytes, convergence.

mod episode;
mod quorum;
mod roster;
mod spread;
mod summary;

use core::time::Duration;

use serde::Serialize;

pub use episode::Episode;
pub use quorum::QuorumFigures;
pub use roster::RosterFigures;
pub use spread::Spread;
pub use summary::Summary;

/// Raw observations of one run; runs are pooled before they are summarised.
#[derive(Debug, Default)]
pub struct Measures {
    /// Deaths, pauses and blocks whose detection is timed.
    pub episodes: Vec<Episode>,
    /// What was said of members that did not deserve it.
    pub mistakes: Mistakes,
    /// Member-seconds in which a live member's view differs from the majority's.
    pub divergence: f64,
    /// How members came to know one another.
    pub forming: Forming,
    /// What was sent.
    pub traffic: Traffic,
    /// Ages of heartbeats in rounds: how far views are behind the owners.
    pub ages: Vec<u16>,
    /// What members said of quorum.
    pub quorum: QuorumFigures,
    /// What followed changes of the network.
    pub rosters: RosterFigures,
    /// From the last trouble to agreement, seconds.
    pub agreement: Option<f64>,
    /// From the last trouble until no view had a member that does not run, seconds.
    pub ghosts_gone: Option<f64>,
    /// Seconds of the whole run, summed over the members that ran in each.
    pub member_seconds: u64,
    /// Every second of the run.
    pub seconds: Vec<Second>,
    /// Disagreement over time: (seconds, members off the majority's view, wrong entries).
    pub disagreement: Vec<(f32, u32, u32)>,
}

/// Verdicts and suspicions about members that run.
#[derive(Debug, Default)]
pub struct Mistakes {
    /// A faultless member called down, counted per observer (the papers' FP).
    pub false_positives: u64,
    /// The same, by observers that are faultless too (FP-).
    pub false_positives_by_healthy: u64,
    /// Faultless members called down by any observer, each once per time it happened.
    pub healthy_evicted: u64,
    /// A faultless member suspected, counted per observer.
    pub false_suspicions: u64,
    /// Times that a member came to be suspected, each once however many suspect it.
    pub suspicions: u64,
    /// Those of them that befell a faultless member.
    pub healthy_suspected: u64,
    /// Members called down and back within 10 s, of the same life.
    pub needless_evictions: u64,
    /// Members that run and are called down, per observer, whatever their trouble.
    pub called_down: u64,
    /// Times that most of the running members held one for down that runs and is in no trouble.
    pub healthy_removed: u64,
}

/// How members came to know one another. Times in seconds.
#[derive(Debug, Default)]
pub struct Forming {
    /// When the last of the first members had its full view, after the last start. `None`: never.
    pub whole: Option<Duration>,
    /// Until each of the first members had its full view, after the last start.
    pub each: Vec<f32>,
    /// From a newcomer's start to its own full view.
    pub newcomer_full: Vec<f32>,
    /// From a newcomer's start, or from an observer's own if that is later, until the observer knows it.
    pub newcomer_known: Vec<f32>,
    /// Newcomers that never had a full view, though they lived to the end.
    pub newcomers_lost: u64,
    /// Until each of the first members had the whole state of all, after the last start; where they say much.
    pub states: Vec<f32>,
    /// From a newcomer's start until it had the whole state of all; where they say much.
    pub newcomer_states: Vec<f32>,
    /// First members and newcomers that never had, though they lived to the end.
    pub stateless: [u64; 2],
    /// Sizes that views had while the cluster formed.
    pub view_sizes: Vec<usize>,
}

/// What was sent, with IP and UDP headers.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes sent by each running member in each second after `measure.after`.
    pub bytes: Vec<u32>,
    /// The same per member: bytes, and seconds.
    pub members: Vec<(u64, u32)>,
    /// The same of each second: bytes of all members together, and how many they are.
    pub seconds: Vec<(u64, u32)>,
    /// Datagrams sent in the same time.
    pub datagrams: u64,
    /// Most bytes that any member sent in any second of the whole run.
    pub peak: u32,
}

impl Measures {
    /// Drops what grows with members and seconds, once it is summarised.
    pub fn thin(&mut self) {
        (self.traffic.bytes, self.traffic.seconds) = Default::default();
        (self.ages, self.disagreement, self.seconds) = Default::default();
        let forming = &mut self.forming;
        (forming.each, forming.newcomer_full, forming.newcomer_known) = Default::default();
        (forming.states, forming.newcomer_states) = Default::default();
    }
}

impl Traffic {
    /// Bytes per member and second in the busiest minute; of a shorter time, in all of it.
    #[must_use]
    pub fn busiest_minute(&self) -> f64 {
        let mean = |span: &[(u64, u32)]| {
            let (bytes, members) = span.iter().fold((0, 0), |(b, m), s| (b + s.0, m + u64::from(s.1)));
            bytes as f64 / members.max(1) as f64
        };
        self.seconds.windows(MINUTE.min(self.seconds.len()).max(1)).map(mean).fold(0.0, f64::max)
    }
}

/// In seconds.
const MINUTE: usize = 60;

/// What one second of a run looked like, over the members that ran at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Second {
    /// Its end, virtual seconds.
    pub at: u32,
    /// Members that run.
    pub up: u32,
    /// Bytes sent per member, with headers.
    pub bytes_mean: f32,
    /// The most that one member sent.
    pub bytes_max: u32,
    /// The most that one of the seeds (`start.contacts`) sent.
    pub bytes_contact: u32,
    /// Mean size of their tables, the dead that are not forgotten included.
    pub table_mean: f32,
    /// The largest table.
    pub table_max: u32,
    /// Pairs in which a member that does not run is in the view of one that does.
    pub ghosts: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_minute_is_found_wherever_it_begins() {
        let mut traffic = Traffic::default();
        assert_eq!(traffic.busiest_minute(), 0.0, "nothing was sent");
        traffic.seconds = vec![(400, 4); 30];
        assert_eq!(traffic.busiest_minute(), 100.0, "of a shorter time, all of it");
        traffic.seconds.extend([(1_600, 4); 45]);
        traffic.seconds.extend([(400, 4); 300]);
        assert_eq!(traffic.busiest_minute(), 325.0, "45 seconds of 400 and 15 of 100");
    }
}
