//! Raises this node's own heartbeat, once in each slot.

use core::time::Duration;

use crate::Instant;
use crate::core::Core;
use crate::identity::Heartbeat;
use crate::roster::Roster;

impl Core {
    /// Raises our heartbeat with our first action in each slot: one for the start and one for each slot since, however
    /// many were missed. So a peer that has seen one heartbeat knows when the others are due ([`Core::heartbeat_by`]).
    pub fn beat_once(&self, now: Instant, roster: &mut Roster) {
        // After a good-bye nothing may suggest that we are still here.
        if self.suspended.is_none() && !roster.is_leaving() {
            self.raise_heartbeat(roster, self.due(now).saturating_add(self.heartbeat_bias));
        }
    }

    /// Raises our heartbeat above `basis`. All later ones stay as far ahead.
    pub fn beat_above(&mut self, now: Instant, roster: &mut Roster, basis: Heartbeat) {
        let heartbeat = roster.myself().heartbeat.max(basis).saturating_add(1);
        self.heartbeat_bias = self.heartbeat_bias.max(heartbeat.saturating_sub(self.due(now)));
        self.raise_heartbeat(roster, heartbeat);
    }

    fn raise_heartbeat(&self, roster: &mut Roster, heartbeat: Heartbeat) {
        if let Some(mut myself) = roster.get_mut(self.me) {
            myself.heartbeat = myself.heartbeat.max(heartbeat);
        }
    }

    /// How many heartbeats our incarnation has had time for. Until our slots are in step with the others', slots come
    /// and go, and only whole intervals count. A heartbeat too few is made up for; one too many would seem early to
    /// all.
    fn due(&self, now: Instant) -> Heartbeat {
        let age = now.since(self.started);
        let slots = if age >= EAGER_TIME {
            self.slot_clock.slot(now).saturating_sub(self.slot_clock.slot(self.started))
        } else {
            let intervals = age.as_millis() / self.config.interval.as_millis().max(1);
            u64::try_from(intervals).unwrap_or(0)
        };
        slots.saturating_add(1)
    }
}

/// For this long a newcomer exchanges more often, and its slots may still move.
pub const EAGER_TIME: Duration = Duration::from_secs(3);
